"""Scale, Bias and Axpy beyond their recorded cases: scalars, limits, shapes that do not fit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN
from one_layer import fault, loss_and_gradients, model

import netdef
from netdef.layers.scale import Axpy, Bias, Scale
from netdef.shape import UNKNOWN, ShapeError

X = jnp.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, (3,)),
        ({"axis": 0}, (2,)),
        ({"axis": -1}, (4,)),
        ({"num_axes": -1}, (3, 4)),
        ({"num_axes": 0}, ()),
        ({"axis": 0, "num_axes": 3}, (2, 3, 4)),
    ],
)
def test_shape_of_what_is_learned(fields, shape):
    layer = Scale(bias_term=True, **fields)
    assert [w.shape for w in layer.weights((2, 3, 4))] == [shape, shape]
    scale = jnp.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)
    axis = fields.get("axis", 1) % 3
    wide = scale.reshape(*(1,) * axis, *shape, *(1,) * (3 - axis - len(shape))) if shape else scale
    np.testing.assert_allclose(layer.apply((scale, -scale), X, ctx=PLAIN), X * wide - wide)
    np.testing.assert_allclose(Bias(**fields).apply((scale,), X, ctx=PLAIN), X + wide)


def test_a_number_as_second_bottom_fits_any_axis():
    assert Scale(axis=7).infer((2, 3, 4), ()) == (2, 3, 4)
    np.testing.assert_allclose(Scale(axis=7).apply((), X, jnp.float32(2), ctx=PLAIN), 2 * X)
    assert [w.shape for w in Scale(bias_term=True).weights((2, 3, 4), (3,))] == [(3,)]
    assert Bias().weights((2, 3, 4), (3,)) == []


def test_limits_of_a_scale():
    layer = Scale(num_axes=0, min_value=0.5, max_value=2)
    values = [float(layer.apply((jnp.float32(s),), jnp.ones((1, 1)), ctx=PLAIN)[0, 0]) for s in (0.1, 1.0, 3.0)]
    assert values == [0.5, 1.0, 2.0]
    slope = jax.grad(lambda s: layer.apply((s,), jnp.ones((1, 1)), ctx=PLAIN)[0, 0])
    assert (float(slope(0.1)), float(slope(1.0))) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("layer", "bottoms", "field", "bottom", "words"),
    [
        (Scale(axis=3), [(2, 3, 4)], "axis", None, ["`axis` is 3", "2x3x4"]),
        (
            Scale(axis=2, num_axes=2),
            [(2, 3, 4)],
            "num_axes",
            None,
            ["`num_axes` is 2", "2x3x4 has only 1", "1 or less"],
        ),
        (Bias(), [(2, 3, 4), (4,)], None, 1, ["bottom 1 is 4", "2x3x4", "has 3"]),
        (Bias(axis=2), [(2, 3, 4), (4, 5)], None, 1, ["4x5", "has 4"]),
        (Axpy(), [(2, 4), (2, 3, 4), (2, 3, 4)], None, 0, ["2x4", "2x3x4", "2x3"]),
        (Axpy(), [(2, 3, 4, 1), (2, 3, 4, 5), (2, 3, 4, 5)], None, 0, ["2x3x4x1", "2x3x1x1"]),
        (Axpy(), [(2, 3), (2, 3, 4), (2, 3, 5)], None, 2, ["2x3x4", "2x3x5"]),
    ],
)
def test_shapes_that_do_not_fit(layer, bottoms, field, bottom, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(*bottoms)
    assert (caught.value.field, caught.value.bottom) == (field, bottom)
    assert [w for w in words if w not in caught.value.detail] == []


def test_unknown_dimensions_are_no_error():
    assert Axpy().infer((UNKNOWN, 3), (UNKNOWN, 3, 4), (5, 3, 4)) == (UNKNOWN, 3, 4)
    assert Scale().infer((2, UNKNOWN, 4), (9,)) == (2, UNKNOWN, 4)


def test_axpy_accepts_factors_without_spatial_axes():
    a, z = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.ones_like(X)
    np.testing.assert_allclose(Axpy().apply((), a, X, z, ctx=PLAIN), a[:, :, None] * X + 1, rtol=1e-5, atol=1e-6)


def channel_scale(fields: str, **inputs: np.ndarray) -> netdef.Model:
    return model(
        'layer { name: "s" type: "ChannelScale" bottom: "x" bottom: "norm" top: "s" top: "mean"\n'
        f"        channel_scale_param {{ {fields} }} }}",
        **inputs,
    )


def test_channel_scale_follows_the_mean_of_the_norms():
    x, norm = np.ones((2, 3, 1, 1), np.float32), np.asarray([4.0, 8.0], np.float32).reshape(2, 1, 1, 1)
    made = channel_scale("global_scale: true", x=x, norm=norm)
    np.testing.assert_allclose(made(x=x, norm=norm)["s"], np.full(x.shape, 6.0), rtol=1e-6)
    np.testing.assert_allclose(made(x=x, norm=norm + 10)["mean"], [0.99 * 6 + 0.01 * 16], rtol=1e-6)
    assert made.get_weights()["s"][0] == pytest.approx(6.1)
    limited = channel_scale("global_scale: true max_global_scale: 5", x=x, norm=norm)
    np.testing.assert_allclose(limited(x=x, norm=norm)["mean"], [5])


@pytest.mark.parametrize(
    ("fields", "of_x", "of_norm"),
    [
        ("", 4, 3),
        ("do_backward_feature: false", 1, 3),
        ("do_backward_scale: false", 4, 0),
        ("global_scale: true", 4, 3),
    ],
)
def test_gradients_of_channel_scale(fields, of_x, of_norm):
    x, norm = np.ones((2, 3, 1, 1), np.float32), np.full((2, 1, 1, 1), 4, np.float32)
    text = (
        'layer { name: "s" type: "ChannelScale" bottom: "x" bottom: "norm" top: "s" loss_weight: 1\n'
        f"        channel_scale_param {{ {fields} }} }}"
    )
    _, slopes = loss_and_gradients(text, x=x, norm=norm)
    np.testing.assert_allclose(slopes["x"], np.full(x.shape, of_x))
    np.testing.assert_allclose(slopes["norm"], np.full(norm.shape, of_norm))


def test_channel_scale_requires_one_value_for_each_position():
    layer = 'layer { name: "s" type: "ChannelScale" bottom: "x" bottom: "norm" top: "s" }'
    assert "the scale, is 2x3x4x4; it must be 2x1x4x4" in fault(layer, x=(2, 3, 4, 4), norm=(2, 3, 4, 4))[1]
