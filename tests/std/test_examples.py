"""The nets that use the template library are exactly the published ones."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest

import netdef
from netdef.graph import Net, Node
from netdef.layers.base import Layer
from netdef.layers.convolution import Engine

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"small": True}
VGG19 = {"convolutions": [2, 2, 4, 4, 4]}
HE_BIAS = {"conv1_bias": True}

# Trained parameters, without the statistics of batch normalization, as papers count them.  Sources: torchvision's
# documentation for the residual nets, the Caffe files of BVLC and of the authors for the others.
PUBLISHED = [
    ("resnet18", "TRAIN", {}, 11_689_512),
    ("resnet50", "TRAIN", {}, 25_557_032),
    ("resnet152", "TRAIN", {}, 60_192_808),
    ("googlenet", "TRAIN", {}, 13_378_280),
    ("googlenet", "TEST", {}, 6_998_552),
    ("squeezenet", "TRAIN", {}, 1_248_424),
    ("squeezenet", "TRAIN", SMALL, 1_235_496),
    ("mobilenet", "TRAIN", {}, 4_231_976),
    ("mobilenet", "TRAIN", {"width": 0.5}, 1_331_592),
    ("vgg16", "TRAIN", {}, 138_357_544),
    ("vgg16", "TRAIN", VGG19, 143_667_240),
]

# All blobs, as Caffe stores them in the authors' weight files.
AUTHORS = [
    ("resnet50", "TEST", HE_BIAS, "KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt"),
    ("resnet152", "TEST", {}, "KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt"),
    ("googlenet", "TEST", {}, "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt"),
    ("squeezenet", "TEST", {}, "forresti+SqueezeNet/SqueezeNet_v1.0/deploy.prototxt"),
    ("squeezenet", "TEST", SMALL, "forresti+SqueezeNet/SqueezeNet_v1.1/deploy.prototxt"),
    ("mobilenet", "TEST", {}, "shicai+MobileNet-Caffe/mobilenet_deploy.prototxt"),
    ("vgg16", "TEST", {}, "intel+caffe/models/default_vgg_16/train_val.prototxt"),
    ("vgg16", "TEST", VGG19, "intel+caffe/models/default_vgg_19/train_val.prototxt"),
]


def load(name: str, phase: str, settings: dict) -> Net:
    return netdef.load(
        EXAMPLES / f"{name}.net", phase=phase, set={"batch": 1} | settings if name[0] == "r" else settings
    )


def trained(net: Net) -> int:
    return sum(prod(w.shape) for node in net.layers for w in node.weights or () if w.kind == "param")


@pytest.mark.parametrize(("name", "phase", "settings", "count"), PUBLISHED)
def test_published_parameter_counts(name: str, phase: str, settings: dict, count: int):
    net = load(name, phase, settings)
    assert trained(net) == count
    assert not net.diagnostics
    statistics = sum(prod(w.shape) for node in net.layers for w in node.weights or () if w.kind == "stat")
    assert sum(prod(s) for shapes in net.params.values() for s in shapes) == count + statistics


@pytest.mark.parametrize(("name", "phase", "settings", "authors"), AUTHORS)
def test_parameters_are_those_of_the_authors_files(name: str, phase: str, settings: dict, authors: str, corpus: Path):
    ours = load(name, phase, settings).params
    text = (corpus / authors).read_text()
    if "train_val" in authors:  # its database does not exist here
        start, end = text.index("layer {"), text.index('name: "conv1_1"')
        data = (
            'layer { name: "d" type: "DummyData" top: "data" dummy_data_param { shape { dim: [2, 3, 224, 224] } } }\n'
        )
        data += 'layer { name: "l" type: "DummyData" top: "label" dummy_data_param { shape { dim: 2 } } }\nlayer {\n'
        text = text[:start] + data + text[end:]
    theirs = netdef.load(text, phase=phase).params
    assert list(ours) == list(theirs)
    assert ours == theirs


@pytest.mark.parametrize("name", sorted({row[0] for row in PUBLISHED}))
def test_examples_are_short_and_read_images(name: str):
    path = EXAMPLES / f"{name}.net"
    lines = path.read_text().splitlines()
    assert 15 <= len(lines) <= 60
    assert max(map(len, lines)) <= 150
    net = netdef.load(path, phase="TEST", set={"train": "a_lmdb", "test": "b_lmdb"})
    assert [node.type for node in net.layers if node.layer.is_input] == ["Data"]
    assert {d.code for d in net.diagnostics} == {"unavailable"}
    assert [node.name for node in net.layers if node.layer.is_metric] == ["accuracy", "accuracy_top5"]


VGG_SSD = "intel+caffe/models/intel_optimized_models/ssd/VGGNet/VOC0712/SSD_300x300/test.prototxt"
DETECTORS = [
    ("mobilenet_ssd", "TRAIN", "chuanqi305+MobileNet-SSD/voc/MobileNetSSD_train.prototxt"),
    ("mobilenet_ssd", "TEST", "chuanqi305+MobileNet-SSD/voc/MobileNetSSD_test.prototxt"),
    ("vgg16_ssd300", "TEST", VGG_SSD),
]
DEFAULTS = {"engine": Engine.DEFAULT, "stride": (), "dilation": (), "pad": ()}  # that the authors write


def fields(node: Node) -> dict:
    """What the layer computes: its fields without those that every layer has; written defaults are left out."""
    written = {"engine": Engine.CAFFE, "stride": (1,), "dilation": (1,), "pad": (0,)}
    every = {name: getattr(node.layer, name) for name in node.layer.params() if name not in Layer.params()}
    return {name: DEFAULTS[name] if value == written.get(name, ...) else value for name, value in every.items()}


@pytest.mark.parametrize(("name", "phase", "authors"), DETECTORS)
def test_detectors_are_the_authors_nets_layer_by_layer(name: str, phase: str, authors: str, corpus: Path):
    ours = netdef.load(EXAMPLES / f"{name}.net", phase=phase, set={"train": "a_lmdb", "test": "b_lmdb"})
    text = (corpus / authors).read_text().replace('name_size_file: "data/VOC0712/test_name_size.txt"', "")
    theirs = netdef.load(text, phase=phase)
    assert len(ours.layers) == len(theirs.layers)
    for one, other in zip(ours.layers[1:], theirs.layers[1:], strict=True):
        assert (one.name, one.type, one.bottoms, one.tops) == (other.name, other.type, other.bottoms, other.tops)
        assert repr(fields(one)) == repr(fields(other)), one.name
        assert [w.shape for w in one.weights or ()] == [w.shape for w in other.weights or ()], one.name
    assert ours.shapes[ours.layers[0].tops[0]][1:] == (3, 300, 300)


@pytest.mark.parametrize(("name", "boxes"), [("mobilenet_ssd", 1917), ("vgg16_ssd300", 8732)])
def test_detectors_are_a_screenful_and_can_be_tried_without_images(name: str, boxes: int):
    lines = (EXAMPLES / f"{name}.net").read_text().splitlines()
    assert 15 <= len(lines) <= 70 and max(map(len, lines)) <= 150
    net = netdef.load(EXAMPLES / f"{name}.net")
    assert net.blobs["mbox_priorbox"].shape == (1, 2, 4 * boxes) and not net.diagnostics


def test_fewer_classes():
    net = load("resnet18", "TEST", {"classes": 10})
    assert net.blobs["fc1000"].shape == (1, 10)
    assert trained(net) == 11_689_512 - 990 * 513
