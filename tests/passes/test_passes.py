"""The middle of the compiler: selection of layers, connection of blobs, propagation of gradients, and old files."""

from __future__ import annotations

import pytest

import netdef
from netdef.graph import Owner

INPUT = 'layer {{ name: "{0}" type: "Input" top: "{0}" input_param {{ shape {{ {1} }} }} }}\n'


def given(**shapes: tuple[int, ...]) -> str:
    """Input layers of these shapes."""
    return "".join(INPUT.format(name, " ".join(f"dim: {d}" for d in shape)) for name, shape in shapes.items())


def faults(text: str, **options) -> list[tuple[str, int]]:
    """(code, line) of every error."""
    with pytest.raises(netdef.CompileError) as failure:
        netdef.load(text, **options)
    return [(d.code, d.line) for d in failure.value.diagnostics if d.severity == "error"]


def relu(name: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" {more} }}\n'


RULES = given(x=(2, 3)) + "".join(
    [
        relu("train", "x", "train", "include { phase: TRAIN }"),
        relu("test", "x", "test", "exclude { phase: TRAIN }"),
        relu("low", "x", "low", "include { max_level: 0 }"),
        relu("high", "x", "high", "include { min_level: 1 }"),
        relu("deploy", "x", "deploy", 'include { stage: "deploy" not_stage: "tiny" }'),
        relu("either", "x", "either", 'include { stage: "a" } include { stage: "b" }'),
    ]
)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"phase": "TRAIN"}, ["train", "low"]),
        ({"phase": "test"}, ["test", "low"]),
        ({"level": 2}, ["train", "high"]),
        ({"stages": ["deploy"]}, ["train", "low", "deploy"]),
        ({"stages": ["deploy", "tiny"]}, ["train", "low"]),
        ({"stages": ["b"]}, ["train", "low", "either"]),
    ],
)
def test_rules_select_layers(options: dict, names: list[str]) -> None:
    assert [node.name for node in netdef.load(RULES, **options).layers][1:] == names


def test_rules_of_both_kinds_are_rejected() -> None:
    text = given(x=(1,)) + relu("r", "x", "r", "include { phase: TRAIN } exclude { phase: TEST }")
    assert faults(text) == [("include-and-exclude", 2)]


def test_a_blob_written_in_place_has_versions() -> None:
    net = netdef.load(given(x=(2, 3)) + relu("a", "x", "x") + relu("b", "x", "x") + relu("c", "x", "y"))
    assert [str(v) for node in net.layers for v in node.tops] == ["x", "x'", "x''", "y"]
    assert [str(v) for node in net.layers for v in node.bottoms] == ["x", "x'", "x''"]
    assert net.outputs == ("y",)
    assert list(net.blobs) == ["x", "y"]


def test_copies_of_a_blob_are_named_as_in_caffe() -> None:
    net = netdef.load(given(x=(2, 3)) + relu("a", "x", "a") + relu("b", "x", "b"))
    assert net.copies == {"x_x_0_split_0": "x", "x_x_0_split_1": "x"}
    assert net.outputs == ("a", "b")


def test_one_run_shows_all_errors() -> None:
    text = given(x=(2, 3)) + relu("a", "nothing", "a") + relu("b", "x", "x2") + relu("c", "x", "x2") + "nmae: 3\n"
    assert sorted(faults(text)) == [("double-top", 4), ("unknown-bottom", 2), ("unknown-field", 5)]


SHARED = """
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 3 } }
layer { name: "c" type: "InnerProduct" bottom: "a" top: "c" param { name: "w" } param { lr_mult: 0 }
        inner_product_param { num_output: 3 } }
"""


def test_shared_parameters_have_one_owner() -> None:
    net = netdef.load(given(x=(2, 3)) + SHARED)
    assert net.layers[1].owners == (Owner("a", 0), Owner("a", 1))
    assert net.layers[2].owners == (Owner("a", 0), Owner("c", 1))
    assert net.params == {"a": [(3, 3), (3,)], "c": [(3, 3), (3,)]}


def ip(name: str, bottom: str, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {more} '
        "inner_product_param { num_output: 3 } }\n"
    )


LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "t" top: "loss" }\n'


def trained(net: netdef.graph.Net) -> dict[str, tuple[bool, ...]]:
    return {node.name: node.trained for node in net.layers if node.trained}


def reached(net: netdef.graph.Net) -> dict[str, tuple[bool, ...]]:
    return {node.name: node.reached for node in net.layers if node.bottoms}


def test_gradients_stop_at_frozen_layers_and_inputs() -> None:
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    net = netdef.load(given(x=(2, 3), t=(2, 3)) + ip("a", "x", frozen) + ip("b", "a") + ip("c", "b") + LOSS % "c")
    assert trained(net) == {"a": (False, False), "b": (True, True), "c": (True, True)}
    assert reached(net) == {"a": (False,), "b": (False,), "c": (True,), "loss": (True, False)}


def test_no_gradient_without_a_loss() -> None:
    text = given(x=(2, 3), t=(2, 3)) + ip("a", "x") + ip("side", "a") + LOSS % "a"
    assert trained(netdef.load(text)) == {"a": (True, True), "side": (False, False)}
    assert trained(netdef.load(given(x=(2, 3)) + ip("a", "x"))) == {"a": (False, False)}
    assert trained(netdef.load(given(x=(2, 3)) + ip("a", "x"), phase="TEST")) == {"a": (True, True)}


def test_force_backward_reaches_everything() -> None:
    net = netdef.load("force_backward: true\n" + given(x=(2, 3)) + ip("a", "x"))
    assert trained(net) == {"a": (True, True)} and reached(net) == {"a": (True,)}


def test_propagate_down_false_stops_a_gradient() -> None:
    text = given(x=(2, 3), t=(2, 3)) + ip("a", "x") + ip("b", "a", "propagate_down: false") + LOSS % "b"
    assert reached(netdef.load(text))["b"] == (False,)


def test_v1_is_upgraded() -> None:
    old = """
    input: "x" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 4
    layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" param: "w" param: "b" blobs_lr: 1 blobs_lr: 2
             weight_decay: 1 weight_decay: 0 convolution_param { num_output: 5 kernel_size: 3 } }
    layers { name: "r" type: 18 bottom: "c" top: "c" }
    """
    net = netdef.load(old)
    assert [(node.name, node.type) for node in net.layers] == [("input", "Input"), ("c", "Convolution"), ("r", "ReLU")]
    specs = net.layers[1].layer.param
    assert [(s.name, s.lr_mult, s.decay_mult) for s in specs] == [("w", 1, 1), ("b", 2, 0)]
    assert net.blobs["c"].shape == (2, 5, 2, 2)


def test_v0_is_upgraded_and_its_padding_is_folded() -> None:
    old = """
    input: "x" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 4
    layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "x" top: "padded" }
    layers { layer { name: "c" type: "conv" num_output: 5 kernelsize: 3 biasterm: false blobs_lr: 3 }
             bottom: "padded" top: "c" }
    layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "c" top: "p" }
    """
    net = netdef.load(old)
    assert [node.type for node in net.layers] == ["Input", "Convolution", "Pooling"]
    assert net.blobs["c"].shape == (2, 5, 4, 4) and net.params == {"c": [(5, 3, 3, 3)]}
    assert net.layers[1].layer.param[0].lr_mult == 3


def test_a_current_type_in_an_old_block_is_explained() -> None:
    text = 'layers { name: "r" type: "ReLU" bottom: "x" top: "x" }'
    with pytest.raises(netdef.CompileError, match="write `layer` instead of `layers`"):
        netdef.load(text)


def test_what_cannot_be_known_stays_unknown(tmp_path) -> None:
    net = netdef.load(
        'layer { name: "d" type: "Data" top: "x" top: "label" '
        'data_param { source: "nowhere" batch_size: 4 backend: LMDB } }' + ip("a", "x") + relu("r", "a", "a")
    )
    assert str(net.blobs["x"].shape) == "(4, ?, ?, ?)" and str(net.blobs["a"].shape) == "(4, 3)"
    assert [d.code for d in net.diagnostics] == ["unavailable"]
    with pytest.raises(netdef.NetdefError, match="nowhere"):
        netdef.compile(net)


def test_an_unknown_type_is_an_error_only_in_its_own_net():
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
              layer { name: "y" type: "TanH" bottom: "x" top: "y" }
              layer { name: "m" type: "MemoryLoss" bottom: "y" top: "m" include { phase: TRAIN } }"""
    net = netdef.load(text, phase="TEST")
    assert net.outputs == ("y",)
    assert [(d.severity, d.code) for d in net.diagnostics] == [("warning", "unknown-type-elsewhere")]
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(text, phase="TRAIN")
    assert [d.code for d in caught.value.diagnostics] == ["unknown-layer-type"]


def test_an_axis_that_scores_do_not_have_is_no_fault_of_the_checks_if_the_labels_are_unknown():
    """Nothing is known of the shapes of a Python layer, so the loss says nothing about its bottoms."""
    unknown = 'layer { name: "p" type: "Python" top: "labels" python_param { module: "m" layer: "L" } }'
    scores = 'layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
    loss = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "labels" softmax_param { axis: 4 } }'
    assert netdef.load(f"{unknown} {scores} {loss}").layers[-1].name == "l"
