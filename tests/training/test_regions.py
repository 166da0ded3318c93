"""A small Faster R-CNN, written with the Python layers of py-faster-rcnn, is trained and finds objects."""

from __future__ import annotations

from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
import rcnn
from flax import nnx

import netdef

SMALL = """
layer {{ name: "data" type: "HDF5Data" top: "data" top: "im_info" top: "gt_boxes"
  hdf5_data_param {{ source: "list.txt" batch_size: 1 }} }}
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
solver {{ base_lr: 0.01 momentum: 0.9 lr_policy: "step" stepsize: 300 gamma: 0.2 max_iter: 400 display: 20 random_seed: 3
         average_loss: 20 clip_gradients: 10 }}
""".format(fill='weight_filler { type: "msra" }')


def canvas(random: np.random.Generator) -> dict[str, np.ndarray]:
    """An image of a bright square (1) and a striped one (2) on noise, with their boxes; the third row is padding."""
    data = random.normal(size=(3, 64, 64), scale=0.1).astype(np.float32)
    truth = np.zeros((3, 5), np.float32)
    for i, half in enumerate((0, 32)):
        side = random.integers(14, 26)
        x, y = random.integers(0, 64 - side), half + random.integers(0, 32 - side)
        data[:, y : y + side, x : x + side] += 1 if i == 0 else np.where(np.arange(side) % 4 < 2, 2.0, -2.0)
        truth[i] = x, y, x + side - 1, y + side - 1, i + 1
    return {"data": data, "im_info": np.array([64, 64, 1], np.float32), "gt_boxes": truth}


def test_a_small_net_learns_to_propose_and_classify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images = [canvas(random) for _ in range(40)]
    with h5py.File("canvases.h5", "w") as file:
        for name in images[0]:
            file[name] = np.stack([one[name] for one in images])
    Path("list.txt").write_text("canvases.h5\n")
    Path("small.net").write_text(SMALL)
    result = netdef.train("small.net")
    losses = [row["loss"] for row in result.history if row["phase"] == "train"]
    assert losses[-1] < 0.5 * losses[0], losses
    deployed = netdef.compile(netdef.deploy("small.net", outputs=["cls_score", "rpn_rois"]), weights=result.snapshot)
    found = right = 0
    for _ in range(20):
        one = canvas(random)
        made = deployed.blobs(data=one["data"][None], im_info=one["im_info"][None])
        boxes = np.asarray(made["rpn_rois"])[:, 1:]
        for truth in one["gt_boxes"][:2]:
            overlaps = rcnn.overlaps(boxes, [truth])[:, 0]
            found += overlaps.max() >= 0.5
            right += int(np.argmax(made["cls_score"][overlaps.argmax()])) == truth[4]
    assert found >= 36 and right >= 26, (found, right)


RFCN = SMALL[: SMALL.index('layer { name: "pool"')].replace(
    "'num_classes': 3, 'batch_size': 16", "'num_classes': 2, 'batch_size': -1"
)
RFCN += """
layer { name: "maps" type: "Convolution" bottom: "conv3" top: "maps" convolution_param { num_output: 27 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "sides" type: "Convolution" bottom: "conv3" top: "sides" convolution_param { num_output: 72 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "pooled" type: "PSROIPooling" bottom: "maps" bottom: "rois" top: "pooled"
  psroi_pooling_param { spatial_scale: 0.125 output_dim: 3 group_size: 3 } }
layer { name: "pooled_sides" type: "PSROIPooling" bottom: "sides" bottom: "rois" top: "pooled_sides"
  psroi_pooling_param { spatial_scale: 0.125 output_dim: 8 group_size: 3 } }
layer { name: "cls_score" type: "Pooling" bottom: "pooled" top: "cls_score"
  pooling_param { pool: AVE kernel_size: 3 stride: 3 } }
layer { name: "bbox_pred" type: "Pooling" bottom: "pooled_sides" top: "bbox_pred"
  pooling_param { pool: AVE kernel_size: 3 stride: 3 } }
layer { name: "each_cls" type: "SoftmaxWithLossOHEM" bottom: "cls_score" bottom: "labels" top: "temp" top: "temp_prob"
  top: "each_cls" loss_weight: 0 loss_weight: 0 loss_weight: 0 propagate_down: false propagate_down: false }
layer { name: "each_bbox" type: "SmoothL1LossOHEM" bottom: "bbox_pred" bottom: "bbox_targets" bottom: "bbox_in"
  top: "temp_bbox" top: "each_bbox" loss_weight: 0 loss_weight: 0 propagate_down: false propagate_down: false
  propagate_down: false }
layer { name: "each" type: "Eltwise" bottom: "each_cls" bottom: "each_bbox" top: "each"
  propagate_down: false propagate_down: false }
layer { name: "hard" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "each" bottom: "labels" bottom: "bbox_in"
  top: "hard_labels" top: "hard_in" box_annotator_ohem_param { roi_per_img: 10 ignore_label: -1 } }
layer { name: "silence" type: "Silence" bottom: "bbox_out" bottom: "temp" bottom: "temp_prob" bottom: "temp_bbox" }
layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "hard_labels" top: "loss_cls"
  loss_param { ignore_label: -1 } }
layer { name: "loss_bbox" type: "SmoothL1LossOHEM" bottom: "bbox_pred" bottom: "bbox_targets" bottom: "hard_in"
  top: "loss_bbox" loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 10 } }
"""


def test_r_fcn_is_trained_on_hard_examples():
    text = RFCN.replace('type: "HDF5Data"', 'type: "Input"').replace(
        'hdf5_data_param { source: "list.txt" batch_size: 1 }',
        "input_param { shape { dim: [1, 3, 64, 64] } shape { dim: [1, 3] } shape { dim: [3, 5] } }",
    )
    model = netdef.compile(text, phase="TRAIN")
    one = canvas(np.random.default_rng(0))
    inputs = one | {"data": one["data"][None], "im_info": one["im_info"][None]}
    made = {name: np.asarray(value) for name, value in model.blobs(**inputs).items()}
    assert made["rois"].shape == (27, 5, 1, 1)
    assert (made["hard_labels"] >= 0).sum() == 10
    assert set(np.flatnonzero(made["hard_labels"].reshape(-1) >= 0)) == set(np.argsort(-made["each"].reshape(-1))[:10])
    assert {0, 1, 2} == {*made["labels"].reshape(-1)} and made["bbox_in"].reshape(27, 2, 4)[:, 0].sum() == 0
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    gradient = jax.grad(lambda params: nnx.merge(graph, params, rest, copy=True).loss(**inputs))(params)
    gradients = nnx.merge(graph, params, rest).get_weights(gradient)
    assert all(np.isfinite(array).all() and array.any() for arrays in gradients.values() for array in arrays)
