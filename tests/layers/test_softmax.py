"""SoftmaxWithLoss beyond recorded cases: fields of forks, weights, ignored and wrong labels, very low scores."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import loss_and_gradients, outputs

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
def test_a_label_out_of_range_is_nan(kind, label):
    layer = f'layer {{ name: "l" type: "{kind}" bottom: "x" bottom: "label" top: "loss" }}'
    assert np.isnan(outputs(layer, x=P, label=np.array([0, 1, label, 2]))["loss"])


def test_the_loss_of_very_low_scores_is_limited_but_has_a_gradient():
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
