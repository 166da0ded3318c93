"""The Python layers of py-faster-rcnn, read as layers of netdef: which ones, their fields, and what remains Python."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
import rcnn

import netdef
from netdef.language.source import Source

PYTHON = """  python_param { module: '%s' layer: '%s' param_str: "%s" } }
"""
INPUTS = """
layer { name: "score" type: "Input" top: "score" input_param { shape { dim: 1 dim: 18 dim: 4 dim: 5 } } }
layer { name: "pred" type: "Input" top: "pred" input_param { shape { dim: 1 dim: 36 dim: 4 dim: 5 } } }
layer { name: "info" type: "Input" top: "info" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "gt_boxes" type: "Input" top: "gt_boxes" input_param { shape { dim: 2 dim: 5 } } }
"""
PROPOSAL = (
    'layer { name: "proposal" type: "Python" bottom: "score" bottom: "pred" bottom: "info" top: "rois"\n' + PYTHON
)
ANCHORS = (
    """layer { name: 'rpn-data' type: 'Python' bottom: 'score' bottom: 'gt_boxes' bottom: 'info' top: 'labels'
  top: 'targets' top: 'inside' top: 'outside'
"""
    + PYTHON % ("rpn.anchor_target_layer", "AnchorTargetLayer", "'feat_stride': 16")
)
REGIONS = (
    """layer { name: 'roi-data' type: 'Python' bottom: 'rois' bottom: 'gt_boxes' top: 'drawn' top: 'label'
  top: 'target' top: 'in' top: 'out'
"""
    + PYTHON % ("rpn.proposal_target_layer", "ProposalTargetLayer", "'num_classes': 21")
)
READER = "layer { name: 'input-data' type: 'Python' top: 'data' top: 'im_info' top: 'gt_boxes'\n" + PYTHON % (
    "roi_data_layer.layer",
    "RoIDataLayer",
    "'num_classes': 21",
)


def proposal(param_str: str) -> str:
    return INPUTS + PROPOSAL % ("rpn.proposal_layer", "ProposalLayer", param_str)


@pytest.mark.parametrize(
    ("param_str", "stride", "scales"),
    [
        ("'feat_stride': 16", 16, (8, 16, 32)),
        ("{'feat_stride': 8, 'scales': [2, 4.5, 8]}", 8, (2, 4.5, 8)),
        (r"'feat_stride': 16 \n'scales': !!python/tuple [4, 8, 32]", 16, (4, 8, 32)),
        (r"feat_stride: 4\n\"scales\": [1, 2, 3]\npost_nms_topn: 7", 4, (1, 2, 3)),
    ],
)
def test_the_fields_in_param_str_are_those_of_the_type(param_str: str, stride: int, scales: tuple[float, ...]):
    net = netdef.load(proposal(param_str), phase="TEST")
    layer = net.layers[-1].layer
    assert (layer.type, getattr(layer, "feat_stride", 0), getattr(layer, "scale", ())) == (
        "ProposalLayer",
        stride,
        scales,
    )
    assert net.blobs["rois"].shape == (7 if "topn" in param_str else 180, 5)
    (note,) = net.diagnostics
    assert (note.code, note.severity) == ("own-layer", "note")
    assert note.span is not None and note.span.text == "'rpn.proposal_layer'"
    assert "`proposal` has the Python module `rpn.proposal_layer`" in note.detail and "ProposalLayer" in note.detail


def test_targets_have_the_shapes_of_the_python_layers():
    net = netdef.load(proposal("'feat_stride': 16") + ANCHORS + REGIONS)
    shapes = {name: blob.shape for name, blob in net.blobs.items()}
    assert shapes["labels"] == (1, 1, 36, 5)
    assert shapes["targets"] == shapes["inside"] == shapes["outside"] == (1, 36, 4, 5)
    assert (shapes["drawn"], shapes["label"]) == ((128, 5, 1, 1), (128, 1, 1, 1))
    assert shapes["target"] == shapes["in"] == shapes["out"] == (128, 84, 1, 1)
    assert [d.code for d in net.diagnostics] == ["own-layer"] * 3
    random = np.random.default_rng(0)
    inputs = {name: random.random(shapes[name]).astype(np.float32) for name in net.inputs}
    assert netdef.compile(net).blobs(**inputs)["target"].shape == (128, 84, 1, 1)


def test_images_and_boxes_are_inputs():
    net = netdef.load(READER)
    assert net.inputs == ("data", "im_info", "gt_boxes")
    assert net.blobs["data"].shape == (1, 3, 600, 1000)
    assert "come from the program that trains the net" in net.diagnostics[0].detail
    other = netdef.load(READER.replace("top: 'im_info'", "top: 'rois'"))  # Fast R-CNN, which has other tops
    assert (other.layers[0].layer.type, other.diagnostics[0].code) == ("Python", "not-run")


@pytest.mark.parametrize(
    "param_str", ["'feat_stride': 16, 'other': 3", "'feat_stride': 'x'", "- 8", "'feat_stride': ${1}", "a { b: 1 }"]
)
def test_other_fields_are_those_of_another_layer(param_str: str):
    net = netdef.load(proposal(param_str.replace("$", "$$")))
    assert (net.layers[-1].layer.type, net.diagnostics[0].code) == ("Python", "not-run")


def test_other_modules_are_not_replaced():
    text = INPUTS + PROPOSAL % ("rpn.proposal_layer", "MyLayer", "'feat_stride': 16")
    assert netdef.load(text).layers[-1].layer.type == "Python"


OWN = """
import jax.numpy as jnp

def ProposalLayer(score, pred, info):
    return jnp.zeros((3, 5))
"""


def test_a_module_in_the_folder_of_the_net_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn" / "proposal_layer.py").write_text(OWN)
    file = tmp_path / "test.prototxt"
    file.write_text(proposal("'feat_stride': 16"))
    assert netdef.load(file).layers[-1].layer.type == "Python"
    assert netdef.load(file, trust_python=True).blobs["rois"].shape == (3, 5)
    text = file.read_text()
    assert netdef.load(text).layers[-1].layer.type == "ProposalLayer"
    assert netdef.load(Source("page", text, file)).layers[-1].layer.type == "Python"
    monkeypatch.chdir(tmp_path)
    assert netdef.load(text).layers[-1].layer.type == "Python"


def test_errors_are_at_the_place_of_the_setting():
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(proposal("'feat_stride': 0"))
    found = next(d for d in caught.value.diagnostics if d.severity == "error")
    assert "`feat_stride` is 0; it must be at least 1" in found.detail
    assert found.span is not None and "'feat_stride': 0" in found.span.text
    with pytest.raises(netdef.CompileError, match="3 anchors with 6 scores"):
        netdef.load(proposal("'scales': [8]"))


SMALL = """
layer {{ name: "data" type: "Input" top: "data" top: "im_info" top: "gt_boxes"
  input_param {{ shape {{ dim: 1 dim: 3 dim: 64 dim: 64 }} shape {{ dim: 1 dim: 3 }} shape {{ dim: 3 dim: 5 }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 12 kernel_size: 5 stride: 2 pad: 2 {fill} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param {{ num_output: 24 kernel_size: 5 stride: 2 pad: 2 {fill} }} }}
layer {{ name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }}
layer {{ name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3"
  convolution_param {{ num_output: 32 kernel_size: 5 stride: 2 pad: 2 {fill} }} }}
layer {{ name: "relu3" type: "ReLU" bottom: "conv3" top: "conv3" }}
layer {{ name: "rpn_cls_score" type: "Convolution" bottom: "conv3" top: "rpn_cls_score"
  convolution_param {{ num_output: 4 kernel_size: 1 {fill} }} }}
layer {{ name: "rpn_bbox_pred" type: "Convolution" bottom: "conv3" top: "rpn_bbox_pred"
  convolution_param {{ num_output: 8 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
layer {{ name: "two" type: "Reshape" bottom: "rpn_cls_score" top: "two"
  reshape_param {{ shape {{ dim: 0 dim: 2 dim: -1 dim: 0 }} }} }}
layer {{ name: "rpn-data" type: "Python" bottom: "rpn_cls_score" bottom: "gt_boxes" bottom: "im_info" bottom: "data"
  top: "rpn_labels" top: "rpn_targets" top: "rpn_in" top: "rpn_out" python_param {{ module: "rpn.anchor_target_layer"
    layer: "AnchorTargetLayer" param_str: "'feat_stride': 8, 'scales': [1, 2], 'ratios': [1], 'batch_size': 32" }} }}
layer {{ name: "rpn_loss_cls" type: "SoftmaxWithLoss" bottom: "two" bottom: "rpn_labels" top: "rpn_loss_cls"
  loss_param {{ ignore_label: -1 normalize: true }} }}
layer {{ name: "rpn_loss_bbox" type: "SmoothL1Loss" bottom: "rpn_bbox_pred" bottom: "rpn_targets" bottom: "rpn_in"
  bottom: "rpn_out" top: "rpn_loss_bbox" smooth_l1_loss_param {{ sigma: 3 }} }}
layer {{ name: "rpn_cls_prob" type: "Softmax" bottom: "two" top: "rpn_cls_prob" }}
layer {{ name: "four" type: "Reshape" bottom: "rpn_cls_prob" top: "four"
  reshape_param {{ shape {{ dim: 0 dim: 4 dim: -1 dim: 0 }} }} }}
layer {{ name: "proposal" type: "Python" bottom: "four" bottom: "rpn_bbox_pred" bottom: "im_info" top: "rpn_rois"
  python_param {{ module: "rpn.proposal_layer" layer: "ProposalLayer"
    param_str: "'feat_stride': 8, 'scales': [1, 2], 'ratios': [1], 'min_size': 4, 'post_nms_topn': 24" }} }}
layer {{ name: "roi-data" type: "Python" bottom: "rpn_rois" bottom: "gt_boxes" top: "rois" top: "labels"
  top: "bbox_targets" top: "bbox_in" top: "bbox_out" python_param {{ module: "rpn.proposal_target_layer"
    layer: "ProposalTargetLayer" param_str: "'num_classes': 3, 'batch_size': 16" }} }}
layer {{ name: "pool" type: "ROIPooling" bottom: "conv3" bottom: "rois" top: "pool"
  roi_pooling_param {{ pooled_w: 3 pooled_h: 3 spatial_scale: 0.125 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param {{ num_output: 32 {fill} }} }}
layer {{ name: "relu4" type: "ReLU" bottom: "fc" top: "fc" }}
layer {{ name: "cls_score" type: "InnerProduct" bottom: "fc" top: "cls_score"
  inner_product_param {{ num_output: 3 {fill} }} }}
layer {{ name: "bbox_pred" type: "InnerProduct" bottom: "fc" top: "bbox_pred"
  inner_product_param {{ num_output: 12 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
layer {{ name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels" top: "loss_cls" }}
layer {{ name: "loss_bbox" type: "SmoothL1Loss" bottom: "bbox_pred" bottom: "bbox_targets" bottom: "bbox_in"
  bottom: "bbox_out" top: "loss_bbox" }}
""".format(fill='weight_filler { type: "msra" }')


def canvas(random: np.random.Generator) -> dict[str, np.ndarray]:
    """An image of a bright square (1) and a striped one (2) on noise, with their boxes; the third row is padding."""
    data = random.normal(size=(1, 3, 64, 64), scale=0.1).astype(np.float32)
    truth = np.zeros((3, 5), np.float32)
    for i, half in enumerate((0, 32)):
        side = random.integers(14, 26)
        x, y = random.integers(0, 64 - side), half + random.integers(0, 32 - side)
        data[0, :, y : y + side, x : x + side] += 1 if i == 0 else np.where(np.arange(side) % 4 < 2, 2.0, -2.0)
        truth[i] = x, y, x + side - 1, y + side - 1, i + 1
    return {"data": data, "im_info": np.array([[64, 64, 1]], np.float32), "gt_boxes": truth}


def test_a_small_net_learns_to_propose_and_classify():
    """The net of a training file of py-faster-rcnn is trained, and its inference net finds the squares."""
    from flax import nnx

    random = np.random.default_rng(0)
    model = netdef.compile(SMALL, phase="TRAIN")
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def step(params, momentum, rest, key, canvas):
        def loss(params):
            merged = nnx.merge(graph, params, rest, copy=True)
            merged.rngs.default.key[...] = key
            return merged.loss(**canvas)

        value, gradient = jax.value_and_grad(loss)(params)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, gradient)
        return jax.tree.map(lambda p, m: p - 0.01 * m, params, momentum), momentum, value

    momentum, losses = jax.tree.map(lambda p: 0 * p, params), []
    for key in jax.random.split(jax.random.key(1), 150):
        params, momentum, value = step(params, momentum, rest, key, canvas(random))
        losses.append(float(value))
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5]), losses[::10]
    deployed = netdef.compile(netdef.deploy(SMALL, outputs=["cls_score", "rpn_rois"]))
    deployed.set_weights({name: w for name, w in nnx.merge(graph, params, rest).get_weights().items()})
    found = right = 0
    for _ in range(20):
        one = canvas(random)
        made = deployed.blobs(data=one["data"], im_info=one["im_info"])
        boxes = np.asarray(made["rpn_rois"])[:, 1:]
        for truth in one["gt_boxes"][:2]:
            best = max(range(len(boxes)), key=lambda i, truth=truth: rcnn.common(boxes[i], truth))
            found += rcnn.common(boxes[best], truth) >= 0.5
            right += int(np.argmax(made["cls_score"][best])) == truth[4]
    assert found >= 34 and right >= 32, (found, right)
