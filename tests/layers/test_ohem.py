"""Online hard example mining: the loss of each position, and the regions with the highest loss of each image."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import outputs

rng = np.random.RandomState(0)
X = rng.randn(4, 5).astype(np.float32)
P = np.exp(X) / np.exp(X).sum(1, keepdims=True)


@pytest.mark.parametrize("kind", ["SoftmaxWithLossOHEM", "SoftmaxWithLoss"])
def test_losses_of_hard_examples_show_each_position(kind):
    label = np.array([0, 3, -1, 1])
    layer = (
        f'layer {{ name: "l" type: "{kind}" bottom: "x" bottom: "label"\n'
        '        top: "loss" top: "prob" top: "each" loss_param { ignore_label: -1 } }'
    )
    made = outputs(layer, x=X, label=label)
    each = np.where(label < 0, 0, -np.log(P[np.arange(4), label]))
    np.testing.assert_allclose(made["each"], each, rtol=1e-5)
    np.testing.assert_allclose(made["prob"], P, rtol=1e-5)
    assert made["loss"] == pytest.approx(each.sum() / 3, rel=1e-5)


def test_distances_of_hard_examples_show_each_position():
    a, b = rng.randn(2, 3, 4, 1, 2).astype(np.float32)
    layer = 'layer { name: "l" type: "SmoothL1LossOHEM" bottom: "a" bottom: "b" top: "loss" top: "each" }'
    made = outputs(layer, a=a, b=b)
    d = np.abs(a - b)
    each = np.where(d < 1, d * d / 2, d - 0.5).sum(1, keepdims=True)
    np.testing.assert_allclose(made["each"], each, rtol=1e-5)
    assert made["loss"] == pytest.approx(each.mean(), rel=1e-5)


def test_the_worst_regions_of_each_image_are_kept():
    layer = (
        'layer { name: "l" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "loss" bottom: "label" bottom: "weight"\n'
        '        top: "hard" top: "weights" box_annotator_ohem_param { roi_per_img: 2 } }'
    )
    rois = np.zeros((5, 5), np.float32)
    rois[:, 0] = [0, 0, 0, 1, 1]
    loss = np.array([1, 3, 3, 0, 2], np.float32)
    made = outputs(layer, rois=rois, loss=loss, label=np.arange(5.0) + 1, weight=np.ones((5, 8), np.float32))
    assert made["hard"].reshape(-1).tolist() == [-1, 2, 3, 4, 5]
    assert made["weights"].sum((1, 2, 3)).tolist() == [0, 8, 8, 8, 8]
