"""Contrastive, triplet and center loss."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from one_layer import fault, loss_and_gradients, model, outputs

rng = np.random.RandomState(1)
A, B, C = rng.randn(3, 4, 3).astype(np.float32)

CONTRASTIVE = 'layer { name: "l" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "like" top: "loss" }'


def test_equal_features_of_unlike_items_have_a_finite_gradient():
    loss, gradients = loss_and_gradients(CONTRASTIVE, a=A, b=A, like=np.zeros(4, np.int32))
    assert loss == pytest.approx(0.5)
    assert not gradients["a"].any()


def test_gradient_of_the_distance_is_caffes():
    near = A + np.float32(0.001)
    _, gradients = loss_and_gradients(CONTRASTIVE, a=near, b=A, like=np.zeros(4, np.int32))
    d = np.linalg.norm(near - A, axis=1, keepdims=True)
    np.testing.assert_allclose(gradients["a"], -(1 - d) / (d + 1e-4) * (near - A) / 4, rtol=1e-4)


def test_triplet_loss():
    layer = (
        'layer { name: "l" type: "TripletLoss" bottom: "a" bottom: "p" bottom: "n" top: "loss"\n'
        "        triplet_loss_param { margin: 1 } }"
    )
    short = 1 + ((A - B) ** 2).sum(1) - ((A - C) ** 2).sum(1)
    active = (short > 0)[:, None]
    loss, gradients = loss_and_gradients(layer, a=A, p=B, n=C)
    assert 0 < active.sum() < 4
    assert loss == pytest.approx(np.maximum(short, 0).sum() / 8, rel=1e-5)
    np.testing.assert_allclose(gradients["a"], active * (C - B) / 4, atol=1e-6)
    np.testing.assert_allclose(gradients["p"], active * (B - A) / 4, atol=1e-6)
    np.testing.assert_allclose(gradients["n"], active * (A - C) / 4, atol=1e-6)


def center(fields: str = "", weight: float = 0.5) -> str:
    return (
        f'layer {{ name: "l" type: "CenterLoss" bottom: "x" bottom: "label" top: "loss" loss_weight: {weight}\n'
        f'        center_loss_param {{ num_output: 5 center_filler {{ type: "gaussian" }} {fields} }} }}'
    )


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_l1_center_loss_and_its_rule(weight):
    label = np.array([1, 3, 1, 1])
    net = model(center('distance_type: "L1"', weight), x=A, label=label)
    centers = net.get_weights()["l"][0]
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    objective = lambda params, x: nnx.merge(graph, params, rest).loss(x=x, label=label)
    loss, (on_centers, on_x) = jax.value_and_grad(objective, (0, 1))(params, A)
    step = np.sign(A - centers[label])
    assert loss == pytest.approx(weight * np.abs(A - centers[label]).sum() / 4, rel=1e-5)
    np.testing.assert_allclose(on_x, weight * step / 4, rtol=1e-5)
    want = np.zeros_like(centers)
    want[1] = -0.75 * step[[0, 2, 3]].sum(0)  # three items: 3 / 4 of their sum, for any loss weight
    want[3] = -0.5 * step[1]
    np.testing.assert_allclose(net.get_weights(on_centers)["l"][0], want, rtol=1e-5)


def test_centers_do_not_change_where_their_loss_is_not_in_the_objective():
    label = np.array([1, 3, 1, 1])
    net = model(
        center(weight=0.0) + 'layer { name: "e" type: "EuclideanLoss" bottom: "x" bottom: "x" }', x=A, label=label
    )
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    gradient = jax.grad(lambda params: nnx.merge(graph, params, rest).loss(x=A, label=label))(params)
    assert not net.get_weights(gradient)["l"][0].any()


def test_a_label_out_of_range_is_nan():
    assert np.isnan(outputs(center(), x=A, label=np.array([0, 1, 2, 5]))["loss"])


def test_errors():
    assert fault(CONTRASTIVE, a=(4, 3), b=(4, 2), like=(4,))[0] == '"b"'
    assert "4x3 and 4x2" in fault(CONTRASTIVE, a=(4, 3), b=(4, 2), like=(4,))[1]
    assert "4x3x2x2" in fault(CONTRASTIVE, a=(4, 3, 2, 2), b=(4, 3, 2, 2), like=(4,))[1]
    assert fault(CONTRASTIVE, a=(4, 3), b=(4, 3), like=(4, 2))[0] == '"like"'
    where, message = fault(center('distance_type: "L3"'), x=(4, 3), label=(4,))
    assert where == '"L3"'
    assert '"L1" or "L2"' in message
    where, message = fault(center("axis: 2"), x=(4, 3, 2), label=(4,))
    assert where == "2"
    assert "12 rows of features" in message
