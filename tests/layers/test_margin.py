"""Margin layers of face recognition compared with loops written from the forks' formulas."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from one_layer import fault, model, outputs

from netdef.layers.margin import psi

rng = np.random.RandomState(2)
X = rng.randn(24, 4).astype(np.float32)
LABEL = rng.randint(0, 6, 24)
G = rng.randn(24, 6).astype(np.float32)
TYPES = ["SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"]


def margin(kind: str, block: str, angle: str, fields: str = "", tops: str = 'top: "y" top: "lambda"') -> str:
    return (
        f'layer {{ name: "l" type: "{kind}" bottom: "x" bottom: "label" {tops}\n'
        f'        {block} {{ num_output: 6 type: {angle} weight_filler {{ type: "gaussian" }} {fields} }} }}'
    )


def a_softmax(angle: str, fields: str = "") -> str:
    return margin("MarginInnerProduct", "margin_inner_product_param", angle, fields)


def l_softmax(angle: str, fields: str = "") -> str:
    return margin("LargeMarginInnerProduct", "largemargin_inner_product_param", angle, fields)


def plain_psi(theta: float, m: int) -> float:
    k = min(int(m * theta / math.pi), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_psi_is_the_definition_of_the_papers(m):
    thetas = np.linspace(0.01, 3.13, 50)
    got = psi(jnp.cos(thetas), m)
    np.testing.assert_allclose(got, [plain_psi(t, m) for t in thetas], atol=2e-5)
    assert (np.diff(got) < 0).all()


def gradients(layer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (W, gradient of W, gradient of x) of sum(G y)."""
    net = model(layer, x=X, label=LABEL)
    w = net.get_weights()["l"][0]
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    objective = lambda params, x: jnp.vdot(nnx.merge(graph, params, rest)(x=x, label=LABEL)["y"], G)
    on_w, on_x = jax.grad(objective, (0, 1))(params, X)
    return w, net.get_weights(on_w)["l"][0], np.asarray(on_x)


@pytest.mark.parametrize("angle", TYPES)
def test_gradients_of_margin_inner_product_are_the_forks(angle):
    m, lam = TYPES.index(angle) + 1, 3.0
    w, on_w, on_x = gradients(a_softmax(angle, "base: 3"))
    rows = w / np.linalg.norm(w, axis=1, keepdims=True)
    want = G @ rows
    for i, label in enumerate(LABEL):
        x, row, g = X[i].astype(float), rows[label].astype(float), float(G[i, label])
        long = np.linalg.norm(x)
        cos = x @ row / long
        e = 1e-6
        slope = (plain_psi(math.acos(cos + e), m) - plain_psi(math.acos(cos - e), m)) / (2 * e)
        on_row, on_own = slope, (plain_psi(math.acos(cos), m) - cos * slope) / long
        both = math.hypot(on_row, on_own)
        want[i] += g / (1 + lam) * (on_row / both * row + on_own / both * x - row)
    np.testing.assert_allclose(on_x, want, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(on_w, G.T @ X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("angle", TYPES)
def test_large_margin_inner_product(angle):
    m, lam = TYPES.index(angle) + 1, 0.5
    layer = l_softmax(angle, "base: 0.5")
    net = model(layer, x=X, label=LABEL)
    w = net.get_weights()["l"][0]
    y = X @ w.T
    for i, label in enumerate(LABEL):
        long = np.linalg.norm(X[i]) * np.linalg.norm(w[label])
        y[i, label] = (long * plain_psi(math.acos(y[i, label] / long), m) + lam * y[i, label]) / (1 + lam)
    np.testing.assert_allclose(net(x=X, label=LABEL)["y"], y, rtol=1e-3, atol=1e-4)


def test_large_margin_with_weights_from_a_blob():
    layer = (
        'layer { name: "l" type: "LargeMarginInnerProduct" bottom: "x" bottom: "label" bottom: "w" top: "y"\n'
        "        largemargin_inner_product_param { type: SINGLE } }"
    )
    w = rng.randn(6, 4).astype(np.float32)
    np.testing.assert_allclose(outputs(layer, x=X, label=LABEL, w=w)["y"], X @ w.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [a_softmax, l_softmax])
def test_lambda_falls_with_each_pass_of_training_and_is_carried_on(layer):
    fields = "base: 10 gamma: 0.5 power: 2 iteration: 4 lambda_min: 0.6"
    net = model(layer("DOUBLE", fields), x=X, label=LABEL)
    shown = [float(net(x=X, label=LABEL)["lambda"][0]) for _ in range(4)]
    np.testing.assert_allclose(shown, [10 / 3.5**2, 10 / 4**2, 0.6, 0.6], rtol=1e-5)
    still = model(layer("DOUBLE", fields), "TEST", x=X, label=LABEL)
    assert [float(still(x=X, label=LABEL)["lambda"][0]) for _ in range(2)] == pytest.approx([10 / 3.5**2] * 2)
    assert set(net.get_weights()["l"][0].shape) == {6, 4}
    assert len(net.get_weights()["l"]) == 1  # the iteration count is not one of Caffe's blobs


def test_zero_features_and_zero_weights_are_finite():
    layer = a_softmax("QUADRUPLE").replace("gaussian", "constant")
    net = model(layer, x=X * 0, label=LABEL)
    assert np.isfinite(net(x=X * 0, label=LABEL)["y"]).all()


ADD = (
    'layer {{ name: "l" type: "LabelSpecificAdd" bottom: "x" bottom: "label" top: "y" top: "bias"\n'
    "        label_specific_add_param {{ {} }} }}"
)


def test_the_additive_margin_increases_with_bias_base():
    layer = ADD.format("bias_base: -0.1 bias_gamma: -0.5 bias_power: 1 bias_min: -0.8 bias_max: 0")
    net = model(layer, x=X, label=LABEL)
    shown = [float(net(x=X, label=LABEL)["bias"][0]) for _ in range(3)]
    np.testing.assert_allclose(shown, [-0.1, -0.6, -0.8], rtol=1e-5)


def test_no_additive_margin_in_phase_test():
    made = outputs(ADD.format("bias: -0.35 transform_test: true"), "TEST", x=X, label=LABEL)
    np.testing.assert_array_equal(made["y"], X)


def test_arc_face_turns_the_angle_of_the_own_class():
    cos = np.cos(np.array([[0.3, 1.0], [2.0, 0.2], [3.0, 1.0]], np.float32))
    layer = (
        'layer { name: "l" type: "ArcFace" bottom: "x" bottom: "label" top: "y"\n'
        "        arc_face_param { margin: 0.5 scale: 10 } }"
    )
    label = np.array([0, 0, 0])
    want = 10 * cos
    want[:, 0] = 10 * np.array([math.cos(0.8), math.cos(2.5), math.cos(3.0) - 0.5 * math.sin(0.5)])
    np.testing.assert_allclose(outputs(layer, x=cos, label=label)["y"], want, rtol=1e-4)
    np.testing.assert_allclose(outputs(layer, "TEST", x=cos, label=label)["y"], 10 * cos, rtol=1e-6)


def test_arc_face_has_a_finite_gradient_at_its_goal():
    layer = 'layer { name: "l" type: "ArcFace" bottom: "x" bottom: "label" top: "y" loss_weight: 1 }'
    net = model(layer, x=np.ones((1, 2), np.float32), label=np.array([0]))
    graph, state = nnx.split(net)
    gradient = jax.grad(lambda x: nnx.merge(graph, state).loss(x=x, label=np.array([0])))(np.ones((1, 2), np.float32))
    assert np.isfinite(gradient).all()


def test_errors():
    where, message = fault(a_softmax("DOUBLE"), x=(4, 3), label=(4, 2))
    assert where == '"label"'
    assert "4x2" in message
    where, message = fault(a_softmax("DOUBLE").replace("num_output: 6", ""), x=(4, 3), label=(4,))
    assert "`num_output`" in message
    where, message = fault(a_softmax("DUBLE"), x=(4, 3), label=(4,))
    assert where == "DUBLE"
    assert "Did you mean DOUBLE" in message
    where, message = fault(a_softmax("DOUBLE").replace("type: DOUBLE", "tpye: DOUBLE"), x=(4, 3), label=(4,))
    assert where == "tpye"
    assert "Did you mean `type`" in message
