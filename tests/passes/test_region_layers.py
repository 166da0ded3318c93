"""The Python layers of py-faster-rcnn, read as layers of netdef: which ones, their fields, and what remains Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
    assert [d.code for d in net.diagnostics if d.severity == "note"] == ["own-layer"] * 3
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
