"""Diagrams of nets: their boxes, arrows and frames, and that Graphviz accepts their source."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import netdef as package
from netdef.inspect import draw
from netdef.layers.base import LAYERS, Layer

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = """
layer { name: "d" type: "Input" top: "x" top: "y" input_param { shape { dim: [4, 3, 8, 8] } shape { dim: 4 } } }
"""
NET = (
    HEAD
    + """
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p" bottom: "y" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "p" bottom: "y" top: "acc" }
layer { name: "prob" type: "Softmax" bottom: "p" top: "prob" }
"""
)
TEMPLATES = (
    'import "std/resnet.net"\n'
    + HEAD
    + 'residual_stage { stage: 2 blocks: 2 bottom: "x" out: 8 stride: 1 bottleneck: false }\n'
)


def pictured(text: str, *fold: str) -> draw.Picture:
    return draw.picture(package.load(text), fold)


def titles(drawn: draw.Picture) -> list[str]:
    return [box.title for box in drawn.boxes]


def arrows(drawn: draw.Picture) -> set[tuple[str, str, str]]:
    names = {box.key: box.title for box in drawn.boxes} | {key: f"({name})" for key, name in drawn.loose.items()}
    return {(names[arrow.start], names[arrow.end], arrow.text) for arrow in drawn.arrows}


def test_in_place_layers_are_in_the_box_of_their_blob():
    drawn = pictured(NET)
    assert titles(drawn) == ["d", "c", "p", "loss", "acc", "prob"]
    assert drawn.boxes[1].lines == ("Convolution 3x3 / 2, 6", "BatchNorm · ReLU")
    assert drawn.boxes[2].lines == ("Pooling global ave",)
    assert (drawn.boxes[1].layers, drawn.boxes[1].parameters) == (3, 6 * 27 + 6 + 13)


def test_a_blob_that_other_layers_use_before_it_is_changed_has_its_own_box():
    text = HEAD + 'layer { name: "a" type: "Power" bottom: "x" top: "a" }\n'
    text += 'layer { name: "b" type: "TanH" bottom: "a" top: "b" }\n'
    text += 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
    assert titles(pictured(text)) == ["d", "a", "b", "r"]


def test_arrows_show_shapes_and_labels_are_next_to_losses_and_metrics():
    assert arrows(pictured(NET)) == {
        ("d", "c", "4x3x8x8"),
        ("c", "p", "4x6x3x3"),
        ("p", "loss", "4x6x1x1"),
        ("p", "acc", "4x6x1x1"),
        ("p", "prob", "4x6x1x1"),
        ("(y)", "loss", "4"),
        ("(y)", "acc", "4"),
        ("prob", "(prob)", "4x6x1x1"),
    }


def test_an_input_of_which_only_the_shape_is_used_is_a_name():
    text = """
        layer { name: "d" type: "Input" top: "x" input_param { shape { dim: [1, 3, 32, 32] } } }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
        layer { name: "p" type: "PriorBox" bottom: "c" bottom: "x" top: "p" prior_box_param { min_size: 8 } }
        layer { name: "q" type: "PriorBox" bottom: "c" bottom: "c" top: "q" prior_box_param { min_size: 8 } }
    """
    found = arrows(pictured(text))
    assert ("(x)", "p", "1x3x32x32") in found and ("d", "p", "1x3x32x32") not in found
    assert {("c", "p", "1x4x30x30"), ("c", "q", "1x4x30x30")} <= found


def test_families():
    assert [box.family for box in pictured(NET).boxes] == [
        "data", "convolution", "pooling", "loss", "metric", "activation",
    ]  # fmt: skip
    assert {cls.family for _, cls in LAYERS} <= set(draw.FAMILIES)


def test_a_family_without_a_color_is_drawn_as_other():
    class Gate(Layer):
        family = "gates"

    class Score(Layer):
        is_loss = True

    assert draw.family(Gate()) == "other"
    assert draw.family(Score()) == "loss"


@pytest.mark.parametrize(
    "layer, words",
    [
        ("Convolution convolution_param { num_output: 64 kernel_size: 7 stride: 2 }", "Convolution 7x7 / 2, 64"),
        (
            "Convolution convolution_param { num_output: 4 kernel_h: 3 kernel_w: 1 group: 2 }",
            "Convolution 3x1 in 2 groups, 4",
        ),
        (
            "Deconvolution convolution_param { num_output: 8 kernel_size: [2, 3] stride: [1, 2] }",
            "Deconvolution 2x3 / 2, 8",
        ),
        ("Im2col convolution_param { kernel_size: 3 }", "Im2col 3x3"),
        ("Pooling pooling_param { pool: AVE global_pooling: true }", "Pooling global ave"),
        ("Pooling pooling_param { kernel_size: 2 stride: 2 }", "Pooling max 2x2 / 2"),
        ("InnerProduct inner_product_param { num_output: 5 }", "InnerProduct, 5"),
        ("Dropout dropout_param { dropout_ratio: 0.25 }", "Dropout 0.25"),
        ("Reorg reorg_param { stride: 2 }", "Reorg / 2"),
        ("ShuffleChannel shuffle_channel_param { group: 3 }", "ShuffleChannel in 3 groups"),
        ("ReLU", "ReLU"),
    ],
)
def test_the_description_of_a_layer(layer: str, words: str):
    kind, _, block = layer.partition(" ")
    head = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 12, 8, 8] } } }'
    net = package.load(f'{head} layer {{ name: "a" type: "{kind}" bottom: "x" top: "a" {block} }}')
    assert net.layers[-1].layer.describe() == words


def test_templates_become_frames():
    drawn = pictured(TEMPLATES)
    inner = [box.frame.title if box.frame else "" for box in drawn.boxes]
    assert inner == ["", *["residual_basic res2a"] * 4, *["residual_basic res2b"] * 3]
    assert {box.frame.inside.title for box in drawn.boxes if box.frame and box.frame.inside} == {"residual_stage res2"}
    assert "batch_norm" not in draw.dot(drawn)  # a frame around one box would add no information


def test_frames_fold_into_boxes():
    drawn = pictured(TEMPLATES, "residual_basic")
    assert titles(drawn) == ["d", "residual_basic res2a", "residual_basic res2b"]
    assert arrows(drawn) == {
        ("d", "residual_basic res2a", "4x3x8x8"),
        ("residual_basic res2a", "residual_basic res2b", "4x8x8x8"),
        ("residual_basic res2b", "(res2b)", "4x8x8x8"),
    }
    whole = pictured(TEMPLATES, "all")
    assert titles(whole) == ["d", "residual_stage res2"]
    assert whole.boxes[1].layers == len(package.load(TEMPLATES).layers) - 1
    assert f"{whole.boxes[1].layers} layers" in whole.boxes[1].lines
    parts = sum(box.parameters for box in pictured(TEMPLATES).boxes)
    assert whole.boxes[1].parameters == parts


def test_prefixes_of_names_are_frames_in_a_net_without_templates():
    text = HEAD + "".join(
        f'layer {{ name: "{name}" type: "Power" bottom: "{below}" top: "{name}" }}\n'
        for below, name in [("x", "a/1"), ("a/1", "a/2"), ("a/2", "b"), ("b", "c/1")]
    )
    assert [box.frame and box.frame.title for box in pictured(text).boxes] == [None, "a", "a", None, None]


def test_diagrams_as_source(golden):
    drawn = draw.picture(package.load(EXAMPLES / "digits.net"))
    golden("digits.dot", draw.dot(drawn))
    golden("digits.mmd", draw.mermaid(drawn))
    golden("stage.mmd", draw.mermaid(pictured(TEMPLATES), sideways=True))


def test_special_characters_in_names_are_escaped(tmp_path: Path):
    text = HEAD + r'layer { name: "a\"<b>&\\]" type: "Power" bottom: "x" top: "a\"<b>&\\]" }'
    drawn = pictured(text)
    assert "<b>a&quot;&lt;b&gt;&amp;\\]</b>" in draw.dot(drawn)
    assert 'label="a\\"<b>&\\\\]"' in draw.dot(drawn)
    assert '["<b>a&quot;&lt;b&gt;&amp;\\]</b>' in draw.mermaid(drawn)
    if shutil.which("dot"):
        draw.save(package.load(text), tmp_path / "x.svg")
        assert "</svg>" in (tmp_path / "x.svg").read_text()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("name", ["resnet50", "googlenet"])
def test_graphviz_draws_the_examples(name: str, tmp_path: Path):
    net = package.load(EXAMPLES / f"{name}.net")
    draw.save(net, tmp_path / "net.svg")
    svg = (tmp_path / "net.svg").read_text()
    drawn = draw.picture(net)
    assert svg.count('class="node"') == len(drawn.boxes) + len(drawn.loose)
    assert svg.count('class="edge"') == len(drawn.arrows)
    width, height = map(float, re.findall(r'<svg width="(\d+)pt" height="(\d+)pt"', svg)[0])
    assert width < 900 and height < 6000  # narrow enough for a page
    assert [p.name for p in tmp_path.iterdir()] == ["net.svg"]


def test_folding_does_not_change_a_single_layer():
    net = package.load(EXAMPLES / "googlenet.net")
    boxes = {box.title: box for box in draw.picture(net, ["all"]).boxes}
    assert boxes["pool1/3x3_s2"].lines == ("Pooling max 3x3 / 2",)
    assert boxes["inception_3a"].lines == ("14 layers", "163,696 parameters")


def test_a_chain_of_equal_folded_boxes_is_one_box():
    """A diagram with 35 of them, one below the other, would not fit on a page."""
    text = TEMPLATES.replace("blocks: 2", "blocks: 6")
    drawn = pictured(text, "residual_basic")
    assert titles(drawn) == ["d", "residual_basic res2a", "5 x residual_basic"]
    chain, net = drawn.boxes[2], package.load(text)
    assert chain.lines[:2] == ("res2b to res2f", f"{chain.layers} layers")
    assert (
        chain.layers
        == len(chain.names)
        == sum(node.name.startswith(("res2", "bn2", "scale2")) for node in net.layers) - len(drawn.boxes[1].names)
    )
    assert arrows(drawn) == {
        ("d", "residual_basic res2a", "4x3x8x8"),
        ("residual_basic res2a", "5 x residual_basic", "4x8x8x8"),
        ("5 x residual_basic", "(res2f)", "4x8x8x8"),
    }
    assert sum(box.parameters for box in drawn.boxes) == sum(box.parameters for box in pictured(text).boxes)


def test_resnet_152_folded_fits_on_a_page():
    drawn = draw.picture(package.load(EXAMPLES / "resnet152.net"), ["residual_bottleneck"])
    assert len(drawn.boxes) < 20 and "35 x residual_bottleneck" in titles(drawn)
