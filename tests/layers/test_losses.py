"""Losses of classes and values: what the recordings of Caffe do not cover, fork fields, labels gone wrong, messages."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, loss_and_gradients, outputs, text

import netdef

rng = np.random.RandomState(0)
X = rng.randn(4, 5).astype(np.float32)
LABEL = np.array([0, 3, 3, 1])
P = np.exp(X) / np.exp(X).sum(1, keepdims=True)
TARGET = np.eye(5, dtype=np.float32)[LABEL]


def softmax_loss(fields: str = "", more: str = "", tops: str = 'top: "loss"') -> str:
    return f'layer {{ name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" {more} {tops} {fields} }}'


def test_softmax_loss_is_mean_of_minus_log_p():
    loss, gradients = loss_and_gradients(softmax_loss(), x=X, label=LABEL)
    assert loss == pytest.approx(-np.log((P * TARGET).sum(1)).mean(), rel=1e-5)
    np.testing.assert_allclose(gradients["x"], (P - TARGET) / 4, atol=1e-6)


@pytest.mark.parametrize(
    "fields", ["loss_param { label_smoothing: 0.2 }", "softmax_param { label_smooth_factor: 0.2 }"]
)
def test_label_smoothing_spreads_over_the_other_classes(fields):
    smooth = np.where(TARGET == 1, 0.8, 0.2 / 4)
    loss, gradients = loss_and_gradients(softmax_loss(fields), x=X, label=LABEL)
    assert loss == pytest.approx(-(smooth * np.log(P)).sum(1).mean(), rel=1e-5)
    np.testing.assert_allclose(gradients["x"], (P - smooth) / 4, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        "softmax_param { class_weight: [1, 2, 3, 4, 5] }",
        "loss_param { weight_by_label_freqs: true class_weighting: [1, 2, 3, 4, 5] }",
    ],
)
def test_class_weights(fields):
    weight = np.array([1, 4, 4, 2.0])
    loss, gradients = loss_and_gradients(softmax_loss(fields), x=X, label=LABEL)
    assert loss == pytest.approx((-weight * np.log((P * TARGET).sum(1))).sum() / 4, rel=1e-5)
    np.testing.assert_allclose(gradients["x"], weight[:, None] * (P - TARGET) / 4, atol=1e-6)


def test_weights_of_items_and_what_valid_divides_by():
    weight = np.array([0, 1, 2, 0.5], np.float32)
    loss, gradients = loss_and_gradients(softmax_loss(more='bottom: "weight"'), x=X, label=LABEL, weight=weight)
    assert loss == pytest.approx((-weight * np.log((P * TARGET).sum(1))).sum() / 3.5, rel=1e-5)
    np.testing.assert_allclose(gradients["x"], weight[:, None] * (P - TARGET) / 3.5, atol=1e-6)


def test_prefixed_normalizer():
    loss, _ = loss_and_gradients(
        softmax_loss("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 8 }"), x=X, label=LABEL
    )
    assert loss == pytest.approx(-np.log((P * TARGET).sum(1)).sum() / 8, rel=1e-5)


def test_a_batch_of_ignored_labels_costs_nothing():
    loss, gradients = loss_and_gradients(softmax_loss("loss_param { ignore_label: 3 }"), x=X, label=np.full(4, 3))
    assert loss == 0
    assert not gradients["x"].any()


@pytest.mark.parametrize("label", [5, -1])
@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "MultinomialLogisticLoss", "HingeLoss", "FocalLoss"])
def test_a_label_that_is_no_class_shows(kind, label):
    layer = f'layer {{ name: "l" type: "{kind}" bottom: "x" bottom: "label" top: "loss" }}'
    assert np.isnan(outputs(layer, x=P, label=np.array([0, 1, label, 2]))["loss"])


def test_hopeless_scores_cost_at_most_the_logarithm_of_the_smallest_float_and_are_still_learned_from():
    x = np.array([[0, 200.0]], np.float32)
    loss, gradients = loss_and_gradients(softmax_loss(), x=x, label=np.array([0]))
    assert loss == pytest.approx(87.3365, abs=1e-3)
    np.testing.assert_allclose(gradients["x"], [[-1, 1]])


def test_second_top_is_the_softmax_and_float_labels_are_cut():
    made = outputs(softmax_loss(tops='top: "loss" top: "prob"'), x=X, label=LABEL + np.float32(0.9))
    np.testing.assert_allclose(made["prob"], P, rtol=1e-5)
    assert made["loss"] == pytest.approx(-np.log((P * TARGET).sum(1)).mean(), rel=1e-5)


def test_a_loss_without_a_top_counts():
    loss, _ = loss_and_gradients(softmax_loss(tops="loss_weight: 2"), x=X, label=LABEL)
    assert loss == pytest.approx(-2 * np.log((P * TARGET).sum(1)).mean(), rel=1e-5)


def test_infogain_gradient_is_caffes():
    matrix = rng.rand(5, 5).astype(np.float32)
    layer = 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "label" bottom: "H" top: "loss" }'
    loss, gradients = loss_and_gradients(layer, x=X, label=LABEL, H=matrix)
    rows = matrix[LABEL]
    assert loss == pytest.approx(-(rows * np.log(P)).sum() / 4, rel=1e-5)
    np.testing.assert_allclose(gradients["x"], (P * rows.sum(1, keepdims=True) - rows) / 4, atol=1e-6)
    assert not gradients["H"].any()


def test_infogain_matrix_in_a_file_is_named():
    layer = (
        'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "label" top: "loss"\n'
        '        infogain_loss_param { source: "h.binaryproto" } }'
    )
    net = netdef.load(text(layer, {"x": (4, 5), "label": (4,)}))
    assert [d.code for d in net.diagnostics] == ["unavailable"]
    assert "h.binaryproto" in net.diagnostics[0].message
    with pytest.raises(netdef.NetdefError, match="h.binaryproto"):
        netdef.compile(net)


@pytest.mark.parametrize(("kind", "sign"), [("ORIGIN", -1), ("LINEAR", -1), ("ONEADDP", 1)])
def test_focal_loss(kind, sign):
    layer = (
        'layer { name: "l" type: "FocalLoss" bottom: "x" bottom: "label" top: "loss"\n'
        f"        focal_loss_param {{ type: {kind} gamma: 3 }} }}"
    )
    p = (P * TARGET).sum(1, keepdims=True)
    power = (1 + sign * p) ** 3
    slope = sign * 3 * (1 + sign * p) ** 2 * np.log(p) * p + power  # of the fork's backward pass
    loss, gradients = loss_and_gradients(layer, x=X, label=LABEL)
    assert loss == pytest.approx((-power * np.log(p)).mean(), rel=1e-5)
    np.testing.assert_allclose(gradients["x"], slope * (P - TARGET) / 4, atol=1e-6)


def test_smooth_l1_with_weights_and_sigma():
    a, b, u, v = (rng.randn(3, 4).astype(np.float32) * 2 for _ in range(4))
    layer = (
        'layer { name: "l" type: "SmoothL1Loss" bottom: "a" bottom: "b" bottom: "u" bottom: "v" top: "loss"\n'
        "        smooth_l1_loss_param { sigma: 2 } }"
    )
    d = u * (a - b)
    small = np.abs(d) < 0.25
    loss, gradients = loss_and_gradients(layer, a=a, b=b, u=u, v=v)
    assert small.any()
    assert not small.all()
    assert loss == pytest.approx((v * np.where(small, 2 * d * d, np.abs(d) - 0.125)).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(gradients["a"], v * u * np.where(small, 4 * d, np.sign(d)) / 3, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients["b"], -gradients["a"])


def test_l1_loss():
    a, b = rng.randn(2, 3, 4).astype(np.float32)
    b[0, 0] = a[0, 0]
    layer = 'layer { name: "l" type: "L1Loss" bottom: "a" bottom: "b" top: "loss" }'
    loss, gradients = loss_and_gradients(layer, a=a, b=b)
    assert loss == pytest.approx(np.abs(a - b).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(gradients["a"], np.sign(a - b) / 3, rtol=1e-6)


LOSS = 'layer {{ name: "l" type: "{}" bottom: "a" bottom: "b" top: "loss" {} }}'


@pytest.mark.parametrize(
    ("kind", "fields", "a", "b", "place", "words"),
    [
        ("SoftmaxWithLoss", "", (4, 5), (3,), '"b"', "4x5 and 3"),
        ("SoftmaxWithLoss", "", (4, 5, 2, 2), (4,), '"b"', "4 labels (4)"),
        ("SoftmaxWithLoss", "softmax_param { axis: 2 }", (4, 5), (4,), "2", "only 2 axes"),
        ("SoftmaxWithLoss", "softmax_param { class_weight: [1, 2] }", (4, 5), (4,), "1", "5 classes"),
        ("SoftmaxWithLoss", "", (4, 5), (), '"b"', "4x5 and scalar"),
        ("EuclideanLoss", "", (4, 5), (4, 6), '"b"', "20 and 24 values"),
        ("EuclideanLoss", "", (4, 5), (2, 10), '"b"', "4x5 and 2x10"),
        ("SmoothL1Loss", "", (4, 5), (4, 1), '"b"', "20 and 4 values"),
        ("SigmoidCrossEntropyLoss", "", (4, 5), (4,), '"b"', "20 and 4 values"),
        ("HingeLoss", "", (4, 5), (4, 2), '"b"', "4x2"),
        ("MultinomialLogisticLoss", "", (4, 5), (2,), '"b"', "4x5 and 2"),
        ("InfogainLoss", "", (4, 5), (4,), '"l"', "third bottom"),
        ("FocalLoss", "focal_loss_param { gamma: -1 }", (4, 5), (4,), "-1", "at least 0"),
    ],
)
def test_what_does_not_fit_is_told_with_both_numbers(kind, fields, a, b, place, words):
    where, message = fault(LOSS.format(kind, fields), a=a, b=b)
    assert where == place
    assert words in message


def test_infogain_matrix_of_another_size():
    layer = 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "label" bottom: "H" top: "loss" }'
    where, message = fault(layer, x=(4, 5), label=(4,), H=(4, 4))
    assert where == '"H"'
    assert "16 values" in message
    assert "5 x 5" in message


def test_losses_of_hard_examples_show_each_position():
    label = np.array([0, 3, -1, 1])
    layer = (
        'layer { name: "l" type: "SoftmaxWithLossOHEM" bottom: "x" bottom: "label"\n'
        '        top: "loss" top: "prob" top: "each" loss_param { ignore_label: -1 } }'
    )
    made = outputs(layer, x=X, label=label)
    each = np.where(label < 0, 0, -np.log(P[np.arange(4), label]))
    np.testing.assert_allclose(made["each"], each, rtol=1e-5)
    assert made["loss"] == pytest.approx(each.sum() / 3, rel=1e-5)
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
