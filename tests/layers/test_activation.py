"""Activations beyond their recorded cases: derivatives at kinks, large values, layers that Caffe does not have."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN, Alone
from one_layer import fault

from netdef.layers.activation import ELU, GELU, SELU, HardSigmoid, HardSwish, Insanity, Mish, ReLU, ReLU6, SiLU, Swish
from netdef.layers.activation import PReLU as PReLULayer
from netdef.shape import ShapeError


def slope(layer, at, w=()):
    return jax.grad(lambda x: jnp.sum(layer.apply(w, x, ctx=PLAIN)))(jnp.asarray(at, jnp.float32)).tolist()


@pytest.mark.parametrize(
    ("layer", "at", "slopes"),
    [
        (ReLU(), [-1.0, 0.0, 2.0], [0.0, 0.0, 1.0]),
        (ReLU(negative_slope=0.25), [-1.0, 0.0, 2.0], [0.25, 0.25, 1.0]),
        (ReLU6(), [-1.0, 0.0, 2.0, 6.0, 7.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
        (ReLU(relu6=True), [-1.0, 0.0, 2.0, 6.0, 7.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
        (ReLU(maximum=2.0, negative_slope=0.5), [-1.0, 1.0, 2.0, 3.0], [0.5, 1.0, 0.0, 0.0]),
        (ReLU(minimum=-1.0, negative_slope=0.5), [-4.0, -1.0, 1.0], [0.0, 0.5, 1.0]),
        (HardSigmoid(), [-3.0, 0.0, 3.0], [0.0, pytest.approx(0.2), 0.0]),
        (ELU(alpha=0.5), [0.0, 1.0, 100.0], [0.5, 1.0, 1.0]),
    ],
)
def test_derivatives_at_kinks_are_those_of_caffe(layer, at, slopes):
    assert slope(layer, at) == slopes


def test_a_relu_propagates_nan():
    y = ReLU().apply((), jnp.array([jnp.nan, -1.0]), ctx=PLAIN)
    assert np.isnan(y[0]) and y[1] == 0


def test_relu6_and_gelu_and_silu():
    x = jnp.array([-3.0, -1.0, 0.5, 6.5])
    assert ReLU6().apply((), x, ctx=PLAIN).tolist() == [0.0, 0.0, 0.5, 6.0]
    gelu = [-0.0040497, -0.1586553, 0.3457312, 6.5]  # x P(X <= x), from a table of the normal distribution
    np.testing.assert_allclose(GELU().apply((), x, ctx=PLAIN), gelu, atol=1e-6)
    near = GELU(approximate=True).apply((), x, ctx=PLAIN)
    np.testing.assert_allclose(near, gelu, atol=1e-3)
    assert not np.allclose(near, gelu, atol=1e-6)
    np.testing.assert_allclose(SiLU().apply((), x, ctx=PLAIN), Swish(beta=1.0).apply((), x, ctx=PLAIN), rtol=1e-6)


def test_prelu_slopes_are_of_channels_or_of_all():
    x = jnp.full((2, 3, 2), -1.0)
    assert [w.shape for w in PReLULayer().weights((2, 3, 2))] == [(3,)]
    assert [w.shape for w in PReLULayer(channel_shared=True).weights((2, 3, 2))] == [()]
    y = PReLULayer().apply((jnp.array([1.0, 2.0, 3.0]),), x, ctx=PLAIN)
    assert y[1, :, 1].tolist() == [-1.0, -2.0, -3.0]
    with pytest.raises(ShapeError, match="the input 7 has no channel axis; .* 2 axes") as caught:
        PReLULayer().infer((7,))
    assert caught.value.bottom == 0


def test_selu_keeps_mean_0_and_variance_1():
    x = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    y = np.asarray(SELU().apply((), jnp.asarray(x), ctx=PLAIN))
    assert abs(y.mean()) < 0.01 and abs(y.var() - 1) < 0.02
    assert slope(SELU(), [0.0, 1.0, 100.0]) == pytest.approx([1.0507 * 1.67326, 1.0507, 1.0507], rel=1e-4)


def test_a_relu_with_limits():
    x = jnp.array([-4.0, -1.0, 0.5, 3.0, 9.0])
    assert ReLU(relu6=True).apply((), x, ctx=PLAIN).tolist() == [0, 0, 0.5, 3, 6]
    assert ReLU(relu6=True, maximum=2.0, minimum=1.0).apply((), x, ctx=PLAIN).tolist() == [1, 1, 1, 2, 2]
    assert ReLU(negative_slope=0.5, minimum=-1.0).apply((), x, ctx=PLAIN).tolist() == [-1, -0.5, 0.5, 3, 9]
    assert ReLU(relu6=True).slope_from(jnp.array([0.0, 3.0, 6.0])).tolist() == [0, 1, 0]


def test_activations_of_mobile_nets():
    x = np.array([-30.0, -3.0, -1.0, 0.0, 0.5, 3.0, 30.0])
    mish = np.float64(x) * np.tanh(np.log1p(np.exp(x)))
    np.testing.assert_allclose(Mish().apply((), jnp.asarray(x, jnp.float32), ctx=PLAIN), mish, atol=1e-6)
    swish = x * np.clip(x + 3, 0, 6) / 6
    np.testing.assert_allclose(HardSwish().apply((), jnp.asarray(x, jnp.float32), ctx=PLAIN), swish, atol=1e-6)
    sigmoid = np.clip(0.3 * x + 0.4, 0, 1)
    layer = HardSigmoid(alpha=0.3, beta=0.4)
    np.testing.assert_allclose(layer.apply((), jnp.asarray(x, jnp.float32), ctx=PLAIN), sigmoid, atol=1e-6)


def test_insanity_divides_negative_values_by_a_random_number_and_in_phase_test_by_their_mean():
    x, layer = jnp.full((2, 3, 40, 40), -12.0).at[0, 0, 0, 0].set(2.0), Insanity(lb=3.0, ub=8.0)
    drawn = np.asarray(layer.apply((), x, ctx=Alone(True)))
    assert drawn[0, 0, 0, 0] == 2 and drawn.flat[1:].min() >= -4 and drawn.flat[1:].max() <= -1.5
    np.testing.assert_allclose(np.mean(-12 / drawn.flat[1:]), 5.5, atol=0.1)
    tested = np.asarray(layer.apply((), x, ctx=PLAIN))
    np.testing.assert_allclose(tested.flat[1:], -12 / (5 / np.log(8 / 3)), rtol=1e-6)
    text = 'layer {{ name: "y" type: "Insanity" bottom: "x" top: "y" insanity_param {{ {} }} }}'
    assert "`lb` is 9 and `ub` is 8" in fault(text.format("lb: 9 ub: 8"), x=(2, 3))[1]
    assert "must not contain 0" in fault(text.format("lb: -1"), x=(2, 3))[1]
