"""Every template of the library: the shape of its output, the number of its parameters, and no diagnostics."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest

import netdef
from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.language.syntax import Template
from netdef.layers.base import LAYERS

LIBRARY = Path(netdef.__file__).parent / "std"
IMAGE = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 16, 8, 8] } } }\n'
VECTOR = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 12] } } }\n'
WORDS = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [7, 3] } } }\n'
LABEL = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: [4] } } }\n'
BOXES = """layer { name: "x" type: "Input" top: "mbox_loc" top: "mbox_conf" top: "mbox_priorbox" input_param {
           shape { dim: [2, 24] } shape { dim: [2, 18] } shape { dim: [1, 2, 24] } } }\n"""
TRUTH = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: [1, 1, 5, 8] } } }\n'
FOUND = 'layer { name: "y" type: "Input" top: "detection_out" input_param { shape { dim: [1, 1, 9, 7] } } }\n'
HEAD = 'ssd_head { name: "x" classes: 3 min_size: 2 image: "x" kernel: 1 }\n'

# template, file, preceding layers, arguments, output blob, its shape, number of parameters (including statistics)
USES = [
    ("conv", "conv", IMAGE, 'name: "y" bottom: "x" out: 32 stride: 2 group: 4', "y", (2, 32, 4, 4), 32 * 4 * 9 + 32),
    (
        "conv_relu",
        "conv",
        IMAGE,
        'name: "y" bottom: "x" out: 32 kernel: 5 bias: 0.2',
        "y",
        (2, 32, 8, 8),
        32 * 16 * 25 + 32,
    ),
    ("batch_norm", "conv", IMAGE, 'name: "bn" bottom: "x" top: "y"', "y", (2, 16, 8, 8), 4 * 16 + 1),
    ("batch_norm", "conv", IMAGE, 'name: "bn" bottom: "x" dialect: "nvidia"', "x", (2, 16, 8, 8), 4 * 16 + 1),
    ("batch_norm", "conv", IMAGE, 'name: "bn" bottom: "x" dialect: "intel"', "x", (2, 16, 8, 8), 4 * 16 + 1),
    ("batch_norm", "conv", IMAGE, 'name: "bn" bottom: "x" dialect: "bn"', "x", (2, 16, 8, 8), 4 * 16),
    ("batch_norm", "conv", IMAGE, 'name: "ln" bottom: "x" dialect: "LayerNorm"', "x", (2, 16, 8, 8), 2 * 8),
    ("conv_bn", "conv", IMAGE, 'name: "y" bottom: "x" out: 8 kernel: 1', "y", (2, 8, 8, 8), 8 * 16 + 33),
    (
        "conv_bn_relu",
        "conv",
        IMAGE,
        'name: "y" bottom: "x" out: 8 dialect: "nvidia"',
        "y",
        (2, 8, 8, 8),
        8 * 16 * 9 + 33,
    ),
    (
        "conv_bn_relu",
        "conv",
        IMAGE,
        'name: "y" bottom: "x" out: 8 pad: 0 dialect: "bn"',
        "y",
        (2, 8, 6, 6),
        8 * 16 * 9 + 32,
    ),
    ("max_pool", "conv", IMAGE, 'name: "y" bottom: "x"', "y", (2, 16, 4, 4), 0),
    ("average_pool", "conv", IMAGE, 'name: "y" bottom: "x" kernel: 3 pad: 1', "y", (2, 16, 8, 8), 0),
    ("global_pool", "conv", IMAGE, 'name: "y" bottom: "x"', "y", (2, 16, 1, 1), 0),
    ("image_data", "data", "", "size: 32 batch: 5 classes: 10 channels: 1", "data", (5, 1, 32, 32), 0),
    ("fc", "classifier", VECTOR, 'name: "y" bottom: "x" out: 5', "y", (4, 5), 65),
    ("fc_relu", "classifier", VECTOR, 'name: "y" bottom: "x" out: 5 dropout: 0.5 bias: 1', "y", (4, 5), 65),
    ("drop", "classifier", VECTOR, 'name: "y" bottom: "x" ratio: 0.2', "x", (4, 12), 0),
    ("softmax_loss", "classifier", VECTOR + LABEL, 'bottom: "x"', "loss", (), 0),
    (
        "mlp",
        "classifier",
        VECTOR,
        'name: "y" bottom: "x" sizes: [30, 20, 10] dropout: 0.5',
        "y",
        (4, 10),
        390 + 620 + 210,
    ),
    ("residual_conv", "resnet", IMAGE, 'id: "1" bottom: "x" out: 8', "res1", (2, 8, 8, 8), 8 * 16 + 33),
    ("residual_sum", "resnet", IMAGE, 'id: "1" shortcut: "x" branch: "x"', "res1", (2, 16, 8, 8), 0),
    ("residual_basic", "resnet", IMAGE, 'id: "2a" bottom: "x" out: 16', "res2a", (2, 16, 8, 8), 2 * (16 * 16 * 9 + 65)),
    (
        "residual_basic",
        "resnet",
        IMAGE,
        'id: "3a" bottom: "x" out: 32 stride: 2',
        "res3a",
        (2, 32, 4, 4),
        32 * 16 * 10 + 32 * 32 * 9 + 3 * 129,
    ),
    (
        "residual_bottleneck",
        "resnet",
        IMAGE,
        'id: "2a" bottom: "x" out: 16',
        "res2a",
        (2, 16, 8, 8),
        2 * 64 + 16 * 9 + 2 * 17 + 65,
    ),
    (
        "residual_stage",
        "resnet",
        IMAGE,
        'stage: 3 blocks: 2 bottom: "x" out: 32 dialect: "nvidia"',
        "res3b",
        (2, 32, 4, 4),
        512 + 128 + 576 + 256 + 129 + 66 + 129 + 256 + 576 + 256 + 66 + 129,
    ),
    (
        "inception",
        "inception",
        IMAGE,
        'name: "i" bottom: "x" sizes: [4, 2, 3, 2, 5, 6]',
        "i/output",
        (2, 18, 8, 8),
        68 + 34 + 57 + 34 + 255 + 102,
    ),
    (
        "auxiliary_classifier",
        "inception",
        IMAGE.replace("2,", "4,") + LABEL,
        'name: "a" bottom: "x" classes: 3',
        "a/loss",
        (),
        16 * 128 + 128 + 128 * 4 * 1024 + 1024 + 3075,
    ),
    ("fire", "squeezenet", IMAGE, 'name: "f" bottom: "x" squeeze: 2', "f/concat", (2, 16, 8, 8), 34 + 24 + 152),
    (
        "bn_relu_conv",
        "densenet",
        IMAGE,
        'name: "y" bottom: "x" out: 4 kernel: 3 stride: 2',
        "y",
        (2, 4, 4, 4),
        65 + 576,
    ),
    (
        "dense_block",
        "densenet",
        IMAGE,
        'stage: 2 bottom: "x" layers: 2 growth: 4',
        "concat_2_2",
        (2, 24, 8, 8),
        65 + 256 + 65 + 576 + 81 + 320 + 65 + 576,
    ),
    ("dense_transition", "densenet", IMAGE, 'stage: 2 bottom: "x" out: 8', "pool2", (2, 8, 4, 4), 65 + 128),
    ("squeeze_excite", "se", IMAGE, 'name: "se" bottom: "x" channels: 16 reduction: 4', "se", (2, 16, 8, 8), 68 + 80),
    ("squeeze_excite", "se", IMAGE, 'name: "se" bottom: "x" channels: 16 add: "x"', "se", (2, 16, 8, 8), 17 + 32),
    (
        "depthwise_separable",
        "mobilenet",
        IMAGE,
        'name: "d" bottom: "x" channels: 16 out: 8',
        "d/sep",
        (2, 8, 8, 8),
        144 + 65 + 128 + 33,
    ),
    (
        "inverted_residual",
        "mobilenet",
        IMAGE,
        'name: "1" bottom: "x" channels: 16 out: 16',
        "block_1",
        (2, 16, 8, 8),
        1536 + 385 + 864 + 385 + 1536 + 65,
    ),
    (
        "lstm_classifier",
        "lstm",
        WORDS,
        'name: "y" bottom: "x" words: 50 classes: 4 embedding: 6 hidden: 5 layers: 2 dropout: 0.5',
        "y",
        (3, 4),
        300 + 240 + 220 + 24,
    ),
    (
        "ssd_head",
        "ssd",
        IMAGE,
        'name: "x" classes: 5 min_size: 2 max_size: 4 ratios: [2, 3] image: "x"',
        "x_mbox_conf_flat",
        (2, 8 * 8 * 6 * 5),
        (6 * 4 + 6 * 5) * (16 * 9 + 1),
    ),
    ("ssd_loss", "ssd", BOXES + TRUTH, "classes: 3", "mbox_loss", (), 0),
    ("ssd_detections", "ssd", BOXES, "classes: 3", "detection_out", (1, 1, 24, 7), 0),
    ("ssd_evaluation", "ssd", FOUND + TRUTH, "classes: 3", "detection_eval", (1, 1, 2 + 9, 5), 0),
    ("ssd", "ssd", IMAGE + TRUTH + HEAD, 'heads: ["x"] classes: 3', "mbox_loss", (), 7 * 17),
    ("ssd", "ssd", IMAGE + TRUTH + HEAD, 'heads: ["x"] classes: 3', "detection_eval", (1, 1, 258, 5), 7 * 17),
    ("ssd_data", "ssd", "", "size: 32 batch: 5", "data", (5, 3, 32, 32), 0),
    ("face_softmax", "face", VECTOR + LABEL, 'bottom: "x" people: 9', "loss", (), 117),
    ("face_center_loss", "face", VECTOR + LABEL, 'bottom: "x" people: 9', "center_loss", (), 117 + 108),
    ("face_cosines", "face", IMAGE, 'bottom: "x" people: 9', "cosines", (2, 9), 9 * 1024),
    ("face_additive_margin", "face", IMAGE.replace("2,", "4,") + LABEL, 'bottom: "x" people: 9', "loss", (), 9 * 1024),
    ("face_sampled_margin", "face", VECTOR + LABEL, 'bottom: "x" people: 99', "cosines", (4, 32), 99 * 12),
    ("face_angular_margin", "face", IMAGE.replace("2,", "4,") + LABEL, 'bottom: "x" people: 9', "loss", (), 9 * 1024),
    ("person_accuracy", "face", VECTOR + LABEL, 'bottom: "x" label: "label"', "accuracy", (), 0),
]


def templates() -> dict[str, set[str]]:
    """Returns the templates of each file."""
    found = {}
    for path in sorted(LIBRARY.glob("*.net")):
        document = parse(Source.read(path), Report())
        assert document is not None
        found[path.stem] = {item.name for item in document.body.fields if isinstance(item, Template)}
    return found


def test_every_template_is_used_here():
    assert {(file, name) for file, names in templates().items() for name in names} == {(u[1], u[0]) for u in USES}


def test_no_template_hides_a_field_of_nets_and_solvers():
    from netdef.passes.decode import NetParameter
    from netdef.solvers.base import Solver

    names = set().union(*templates().values())
    assert not names & ({"layer", "layers", "solver"} | NetParameter.params().keys() | Solver.params().keys())
    assert not names & {name for cls in LAYERS.known().values() for name in (*cls.params(), cls.block)}


@pytest.mark.parametrize(
    ("name", "file", "above", "arguments", "blob", "shape", "count"),
    USES,
    ids=[f"{u[0]}-{i}" for i, u in enumerate(USES)],
)
def test_templates(name: str, file: str, above: str, arguments: str, blob: str, shape: tuple, count: int):
    text = f'import "std/{file}.net"\n{above}{name} {{ {arguments} }}\n'
    phase = "TEST" if blob in ("accuracy", "detection_out", "detection_eval") else "TRAIN"
    net = netdef.load(text, phase=phase)
    assert net.blobs[blob].shape == shape
    assert sum(prod(s) for shapes in net.params.values() for s in shapes) == count
    assert not net.diagnostics


def test_a_misspelled_dialect_is_an_unknown_layer_type():
    with pytest.raises(netdef.CompileError) as error:
        netdef.load(f'import "std/conv.net"\n{IMAGE}batch_norm {{ name: "bn" bottom: "x" dialect: "nvida" }}')
    assert error.value.diagnostics[0].code == "unknown-layer-type"


def test_images_of_a_database():
    text = 'import "std/data.net"\nimage_data { train: "a" test: "b" size: 32 mean: [1, 2] batch: 4 test_batch: 6 }'
    for phase, source, mirror, batch in (("TRAIN", "a", True, 4), ("TEST", "b", False, 6)):
        (node,) = netdef.load(text, phase=phase).layers
        assert (node.layer.source, node.layer.batch_size) == (source, batch)
        assert (node.layer.transform_param.mirror, node.layer.transform_param.mean_value) == (mirror, (1, 2))


def test_images_with_boxes_of_a_database():
    text = 'import "std/ssd.net"\nssd_data { train: "a" test: "b" size: 64 batch: 4 test_batch: 6 label_map: "c" }'
    for phase, source, samplers, batch in (("TRAIN", "a", 7, 4), ("TEST", "b", 0, 6)):
        (node,) = netdef.load(text, phase=phase).layers
        assert (node.layer.source, node.layer.batch_size, len(node.layer.samplers)) == (source, batch, samplers)
        assert (node.layer.transform_param.mirror, node.layer.random_in_tests != ()) == (phase == "TRAIN",) * 2
        assert node.layer.annotated_data_param.label_map_file == "c"


DENSENET_121 = """
import "std/conv.net"
import "std/densenet.net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 224, 224] } } }
conv_bn_relu { name: "conv1" bottom: "data" out: 64 kernel: 7 stride: 2 bn: "conv1_bn" scale: "conv1_scale" }
max_pool { name: "pool1" bottom: "conv1" pad: 1 }
dense_block { stage: 2 bottom: "pool1" layers: 6 }
dense_transition { stage: 2 bottom: "concat_2_6" out: 128 }
dense_block { stage: 3 bottom: "pool2" layers: 12 }
dense_transition { stage: 3 bottom: "concat_3_12" out: 256 }
dense_block { stage: 4 bottom: "pool3" layers: 24 }
dense_transition { stage: 4 bottom: "concat_4_24" out: 512 }
dense_block { stage: 5 bottom: "pool4" layers: 16 }
batch_norm { name: "conv5_blk/bn" bottom: "concat_5_16" top: "conv5_blk/bn" scale: "conv5_blk/scale" }
layer { name: "relu5" type: "ReLU" bottom: "conv5_blk/bn" top: "conv5_blk/bn" }
global_pool { name: "pool5" bottom: "conv5_blk/bn" }
conv { name: "fc6" bottom: "pool5" out: 1000 kernel: 1 }
"""


def mobilenet_v2() -> str:
    lines = ['conv_bn_relu { name: "conv1" bottom: "data" out: 32 stride: 2 }']
    lines += ['depthwise_separable { name: "b1" bottom: "conv1" channels: 32 out: 16 }']
    below, channels = "b1/sep", 16
    for s, (out, blocks, stride) in enumerate(
        [(24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    ):
        for i in range(blocks):
            arguments = f'name: "{s}_{i}" bottom: "{below}" channels: {channels} out: {out}'
            lines.append(f"inverted_residual {{ {arguments} stride: {stride if i == 0 else 1} }}")
            below, channels = f"block_{s}_{i}" if i else f"conv{s}_{i}/linear", out
    lines += [f'conv_bn_relu {{ name: "last" bottom: "{below}" out: 1280 kernel: 1 }}']
    lines += ['global_pool { name: "pool" bottom: "last" }', 'conv { name: "fc" bottom: "pool" out: 1000 kernel: 1 }']
    head = 'import "std/conv.net"\nimport "std/mobilenet.net"\n' + IMAGE.replace("[2, 16, 8, 8]", "[1, 3, 224, 224]")
    return head.replace('"x"', '"data"') + "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "count"), [(DENSENET_121, 7_978_856), (mobilenet_v2(), 3_504_872)], ids=["dense", "mobile"]
)
def test_nets_of_other_templates_have_the_published_parameter_counts(text: str, count: int):
    net = netdef.load(text)
    assert sum(prod(w.shape) for node in net.layers for w in node.weights or () if w.kind == "param") == count
