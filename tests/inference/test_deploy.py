"""The inference net of a training net: its layers, and that it computes the same values as the training net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_detector

import netdef

EXAMPLES = Path(__file__).parents[2] / "examples"
TRUTH = 'layer { name: "truth" type: "Input" top: "truth" input_param { shape { dim: [1, 1, 2, 8] } } }'
DATA = """
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: [4, 6] } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { type: "constant" } } }
"""
IP = """
layer { name: "%(top)s" type: "InnerProduct" bottom: "%(bottom)s" top: "%(top)s"
        param { lr_mult: 1 } param { lr_mult: 2 } inner_product_param { num_output: %(out)d
        weight_filler { type: "msra" } bias_filler { type: "uniform" } } }
"""


def ip(bottom: str, top: str, out: int) -> str:
    return IP % {"bottom": bottom, "top": top, "out": out}


def loss(kind: str, *bottoms: str, more: str = "") -> str:
    taken = " ".join(f'bottom: "{b}"' for b in bottoms)
    return f'layer {{ name: "loss{bottoms[0]}" type: "{kind}" {taken} top: "loss{bottoms[0]}" {more} }}\n'


def types(net: netdef.deploy.Net) -> list[str]:
    return [node.type for node in net.layers]


def both(text: str, inputs: dict, wanted: dict[str, str], **options) -> None:
    """The deployed net has the outputs `wanted`: output -> the equal blob of the training net in phase TEST."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
    trained = netdef.compile(text, phase="TEST", seed=3)
    net = netdef.deploy(text, **options)
    assert not net.diagnostics
    deployed = netdef.compile(net, weights={k: v for k, v in trained.get_weights().items() if k in net.params})
    fed = {
        name: arrays.get(name, np.zeros([d or 1 for d in _shape(trained, name)], np.float32))
        for name in trained.net.inputs
    }
    before = trained.blobs(**fed)
    after = deployed(**{name: arrays[name] for name in net.inputs})
    assert set(after) == set(wanted)
    for name, blob in wanted.items():
        np.testing.assert_allclose(after[name], before[blob], rtol=1e-6, atol=1e-7)


def _shape(model: netdef.Model, name: str) -> tuple:
    return model.net.blobs[name].shape or ()


INPUTS = 'layer { name: "d" type: "Input" top: "x" top: "y" input_param { shape { dim: [4, 6] } shape { dim: 4 } } }\n'


def test_a_classifier():
    text = INPUTS + ip("x", "a", 5) + 'layer { name: "drop" type: "Dropout" bottom: "a" top: "a" }\n' + ip("a", "b", 3)
    text += 'layer { name: "p" type: "Softmax" bottom: "b" top: "p" include { stage: "reference" } }\n'
    text += loss("SoftmaxWithLoss", "b", "y") + loss("Accuracy", "b", "y", more="include { phase: TEST }").replace(
        "loss", "acc"
    )
    net = netdef.deploy(text)
    assert types(net) == ["Input", "InnerProduct", "InnerProduct", "Softmax"]
    assert (net.inputs, net.outputs) == (("x",), ("prob",))
    assert "filler" not in net.text and "param {" not in net.text.replace("_param {", "")
    both(text.replace('include { stage: "reference" }', ""), {"x": (4, 6)}, {"p": "p"})


def test_the_prediction_is_the_softmax_of_the_scores():
    text = INPUTS + ip("x", "b", 3) + loss("SoftmaxWithLoss", "b", "y")
    net = netdef.deploy(text)
    trained, deployed = netdef.compile(text, phase="TEST"), netdef.compile(net)
    deployed.set_weights(trained.get_weights())
    x = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    scores = np.asarray(trained.blobs(x=x, y=np.zeros(4, np.float32))["b"], np.float64)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(deployed(x=x)["prob"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "label", "made"),
    [("SigmoidCrossEntropyLoss", (4, 3), "Sigmoid"), ("EuclideanLoss", (4, 3), None), ("HingeLoss", (4,), None)]
    + [("FocalLoss", (4,), "Softmax"), ("SmoothL1Loss", (4, 3), None)],
)
def test_losses_become_predictions(kind: str, label: tuple, made: str | None):
    text = (
        INPUTS.replace("shape { dim: 4 }", f"shape {{ dim: {list(label)} }}") + ip("x", "b", 3) + loss(kind, "b", "y")
    )
    net = netdef.deploy(text)
    assert types(net) == ["Input", "InnerProduct", *([made] if made else [])]
    assert net.outputs == (("prob",) if made else ("b",))
    reference = f'layer {{ name: "p" type: "{made}" bottom: "b" top: "prob" }}' if made else ""
    both(text + reference, {"x": (4, 6)}, {"prob": "prob"} if made else {"b": "b"})


def test_probabilities_that_a_loss_uses_are_the_output():
    text = (
        INPUTS
        + ip("x", "b", 3)
        + 'layer { name: "s" type: "Softmax" bottom: "b" top: "p" softmax_param { axis: -1 } }\n'
    )
    both(text + loss("MultinomialLogisticLoss", "p", "y"), {"x": (4, 6)}, {"p": "p"})


def test_a_label_first_is_still_a_label():
    text = (
        INPUTS.replace("shape { dim: 4 }", "shape { dim: [4, 3] }") + ip("x", "b", 3) + loss("EuclideanLoss", "y", "b")
    )
    net = netdef.deploy(text)
    assert (net.inputs, net.outputs) == (("x",), ("b",))


def test_the_axis_of_classes_and_the_name_of_the_second_top_stay():
    text = INPUTS.replace("[4, 6]", "[2, 3, 4]").replace("dim: 4", "dim: [2, 3]")
    text += 'layer { name: "p" type: "Power" bottom: "x" top: "s" power_param { scale: 2 } }\n'
    text += 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "s" bottom: "y" top: "l" top: "each"\n'
    text += "  softmax_param { axis: 2 } }\n"
    net = netdef.deploy(text)
    assert net.outputs == ("each",)
    both(text, {"x": (2, 3, 4)}, {"each": "each"})


def test_several_tasks_and_an_auxiliary_loss():
    data = INPUTS.replace('top: "y"', 'top: "y" top: "z"').replace(
        "shape { dim: 4 }", "shape { dim: 4 } shape { dim: 4 }"
    )
    text = data + ip("x", "a", 5) + ip("a", "age", 3) + ip("a", "sex", 2) + ip("a", "early", 3)
    text += loss("SoftmaxWithLoss", "age", "y") + loss("SoftmaxWithLoss", "sex", "z", more="loss_weight: 0.1")
    text += loss("SoftmaxWithLoss", "early", "y", more="loss_weight: 0.3")
    net = netdef.deploy(text)
    assert net.outputs == ("age_prob", "sex_prob")
    assert list(net.params) == ["a", "age", "sex"]
    assert netdef.deploy(text, outputs=["early", "a"]).outputs == ("early",)
    assert list(netdef.deploy(text, outputs=["a"]).params) == ["a"]


@pytest.mark.parametrize(
    "head", ["face_additive_margin", "face_angular_margin", "face_sampled_margin", "face_softmax", "face_center_loss"]
)
def test_faces_are_classified_without_labels(head: str):
    text = f'import "std/face.net"\n{INPUTS}{ip("x", "f", 4)}{head} {{ bottom: "f" people: 5 label: "y" }}\n'
    scores = "person" if "person" in netdef.load(text).blobs else "scores"
    text += f'layer {{ name: "r" type: "Softmax" bottom: "{scores}" top: "prob" }}\n'
    both(text, {"x": (4, 6)}, {"prob": "prob"})
    assert netdef.deploy(text).inputs == ("x",)


def test_an_angular_product_becomes_a_plain_one():
    text = INPUTS + 'layer { name: "m" type: "MarginInnerProduct" bottom: "x" bottom: "y" top: "s" top: "lambda"\n'
    text += (
        '  margin_inner_product_param { num_output: 3 type: QUADRUPLE base: 1e9 weight_filler { type: "xavier" } } }\n'
    )
    text += loss("SoftmaxWithLoss", "s", "y") + 'layer { name: "q" type: "Silence" bottom: "lambda" }\n'
    net = netdef.deploy(text)
    assert types(net) == ["Input", "InnerProduct", "Softmax"] and net.params == {"m": [(3, 6)]}
    assert net.layers[1].layer.normalize


def test_shared_parameters_stay_shared():
    text = INPUTS + ip("x", "a", 6).replace("lr_mult: 1 }", 'name: "w" lr_mult: 1 }')
    text += ip("a", "b", 6).replace("lr_mult: 1 }", 'name: "w" lr_mult: 1 }') + loss("HingeLoss", "b", "y")
    net = netdef.deploy(text)
    assert [owner.layer for node in net.layers[1:] for owner in node.owners] == ["a", "a", "a", "b"]
    assert "lr_mult" not in net.text
    both(text, {"x": (4, 6)}, {"b": "b"})


def test_dropout_out_of_place_is_short_circuited_and_kept_where_that_would_change_values():
    drop = 'layer { name: "drop" type: "Dropout" bottom: "a" top: "d" dropout_param { dropout_ratio: 0.3 } }\n'
    relu = 'layer { name: "relu" type: "ReLU" bottom: "%s" top: "%s" }\n'
    end = ip("d", "b", 3) + loss("HingeLoss", "b", "y")
    plain = INPUTS + ip("x", "a", 6) + drop + relu % ("d", "d") + end
    assert types(netdef.deploy(plain)) == ["Input", "InnerProduct", "ReLU", "InnerProduct"]
    both(plain, {"x": (4, 6)}, {"b": "b"})
    later = INPUTS + ip("x", "a", 6) + drop + relu % ("a", "a") + end + ip("a", "c", 2)
    assert "Dropout" in types(netdef.deploy(later))
    both(later, {"x": (4, 6)}, {"b": "b", "c": "c"})


def test_dialects_of_batch_normalization_are_kept():
    for fields in ("scale_filler { value: 2 }", "filler { value: 2 }", "scale_bias: true", "eps: 0.1"):
        norm = f'layer {{ name: "n" type: "BatchNorm" bottom: "a" top: "a" batch_norm_param {{ {fields} }} }}\n'
        text = INPUTS + ip("x", "a", 6) + norm + loss("HingeLoss", "a", "y")
        assert netdef.deploy(text).layers[2].layer.storage() == netdef.load(text).layers[2].layer.storage()
        both(text, {"x": (4, 6)}, {"a": "a"})


def test_data_layers_become_inputs():
    text = DATA + ip("x", "b", 3) + loss("SoftmaxWithLoss", "b", "y")
    net = netdef.deploy(text)
    assert (net.inputs, net.blobs["x"].shape) == (("x",), (1, 6))
    assert netdef.deploy(text, 16).blobs["x"].shape == (16, 6)
    assert netdef.deploy(text, shapes={"x": (3, 6)}).blobs["x"].shape == (3, 6)
    net = netdef.deploy(EXAMPLES / "digits.net")
    assert (net.inputs, net.blobs["data"].shape, net.solver) == (("data",), (1, 1, 8, 8), None)


def test_constants_stay_where_something_else_is_fed():
    text = INPUTS + DATA.replace("gaussian", "constant").replace('"x" top: "y"', '"c" top: "e"')
    text += 'layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "c" top: "s" }\n' + loss("HingeLoss", "s", "y")
    assert types(netdef.deploy(text)) == ["Input", "DummyData", "Eltwise"]


def test_layers_of_the_stage_deploy():
    text = DATA.replace(" dummy", ' exclude { stage: "deploy" } dummy')
    text += (
        'layer { name: "i" type: "Input" top: "x" input_param { shape { dim: [2, 6] } } include { stage: "deploy" } }\n'
    )
    text += ip("x", "b", 3) + loss("SoftmaxWithLoss", "b", "y", more='exclude { stage: "deploy" }')
    text += 'layer { name: "s" type: "Softmax" bottom: "b" top: "softmax" include { stage: "deploy" } }\n'
    net = netdef.deploy(text)
    assert (net.blobs["x"].shape, net.outputs) == ((2, 6), ("softmax",))


def test_a_net_for_training_only():
    text = (
        DATA.replace(" dummy", " include { phase: TRAIN } dummy") + ip("x", "b", 3) + loss("SoftmaxWithLoss", "b", "y")
    )
    assert netdef.deploy(text).outputs == ("prob",)


def test_a_deployed_net_stays_as_it_is():
    once = netdef.deploy(INPUTS + ip("x", "b", 3) + loss("SoftmaxWithLoss", "b", "y")).text
    assert netdef.deploy(once).text == once


def test_what_cannot_be_deployed():
    with pytest.raises(netdef.NetdefError, match="the shape of `x` is .*--shape x=1,3,224,224"):
        netdef.deploy(
            'layer { name: "d" type: "Data" top: "x" top: "y" data_param { source: "none" batch_size: 2 } }\n'
            + ip("x", "b", 3) + loss("HingeLoss", "b", "y")
        )  # fmt: skip
    with pytest.raises(netdef.NetdefError, match="there is no blob `c`"):
        netdef.deploy(DATA + ip("x", "b", 3), outputs=["c"])
    with pytest.raises(netdef.NetdefError, match="has no output"):
        netdef.deploy('name: "n"')
    with pytest.raises(netdef.CompileError):
        netdef.deploy('layer { name: "r" type: "ReLU" bottom: "x" top: "y" }')


@pytest.mark.parametrize(
    ("folder", "train", "deploy"),
    [
        ("BVLC+caffe/models/bvlc_reference_caffenet", "train_val", "deploy"),
        ("BVLC+caffe/models/bvlc_alexnet", "train_val", "deploy"),
        ("BVLC+caffe/models/bvlc_googlenet", "train_val", "deploy"),
        ("BVLC+caffe/examples/cifar10", "cifar10_quick_train_test", "cifar10_quick"),
        ("BVLC+caffe/examples/cifar10", "cifar10_full_train_test", "cifar10_full"),
        ("forresti+SqueezeNet/SqueezeNet_v1.0", "train_val", "deploy"),
    ],
)
def test_authors_deploy_files(folder: str, train: str, deploy: str, corpus: Path):
    theirs = netdef.load(corpus / folder / f"{deploy}.prototxt", phase="TEST")
    ours = netdef.deploy(corpus / folder / f"{train}.prototxt", shapes={"data": theirs.blobs["data"].shape})
    assert ours.params == theirs.params
    assert ours.inputs == theirs.inputs == ("data",)
    assert [ours.blobs[o].shape for o in ours.outputs] == [theirs.blobs[o].shape for o in theirs.outputs]
    kinds = lambda net: sorted(node.type for node in net.layers if node.type != "Dropout")
    assert kinds(ours) == kinds(theirs)


def test_a_detector_from_its_training_file():
    """MultiBoxLoss becomes what a net for use has: softmax and DetectionOutput."""
    only_train = small_detector.INPUT + TRUTH + small_detector.HEADS + small_detector.LOSS
    net = netdef.deploy(only_train, fillers=True)
    assert net.inputs == ("data",) and net.outputs == ("detection_out",)
    assert [node.type for node in net.layers][-4:] == ["Reshape", "Softmax", "Flatten", "DetectionOutput"]
    found = net.layers[-1].layer
    assert (found.num_classes, found.code_type.name, found.keep_top_k) == (3, "CENTER_SIZE", 200)
    assert (found.nms_param.nms_threshold, found.nms_param.top_k) == (0.45, 400)
    image = small_detector.image((1, 2, 250))[None, None].astype(np.float32)
    rows = np.asarray(netdef.compile(net)(data=image)["detection_out"])[0, 0]
    np.testing.assert_allclose(rows, [[0, 1, 1, 2 / 3, 1 / 3, 1, 2 / 3]], atol=1e-4)
    logistic = netdef.deploy(only_train.replace("num_classes: 3", "num_classes: 3 conf_loss_type: LOGISTIC"))
    assert [node.type for node in logistic.layers][-3] == "Sigmoid"


def test_a_detector_keeps_the_detections_of_its_test_net():
    both = (
        small_detector.INPUT
        + TRUTH
        + small_detector.HEADS
        + small_detector.LOSS.replace("include { phase: TRAIN }", "")
    )
    net = netdef.deploy(both + small_detector.FOUND % "" + small_detector.EVALUATE)
    assert net.outputs == ("found",) and net.inputs == ("data",)
    assert [node.type for node in net.layers].count("DetectionOutput") == 1
    assert net.layers[-1].layer.keep_top_k == 10
