"""Normalization of single items beyond recorded cases: flat inputs, eps, a second top, LayerNorm, GroupNorm, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.fillers import Constant
from netdef.layers.normalization import MVN, GroupNorm, LayerNorm, Normalize, NormBlock
from netdef.shape import ShapeError

X = jax.random.normal(jax.random.key(0), (2, 6, 4, 3)) * 2 + 1
DY = jax.random.normal(jax.random.key(1), X.shape)


def standard(rows, eps=1e-5):
    rows = np.asarray(rows, np.float64)
    return (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + eps)


def test_mvn_of_equal_values_is_0_with_a_finite_gradient():
    f = lambda x: MVN(eps=1e-3).apply((), x, ctx=PLAIN)
    x = jnp.full((1, 1, 2, 2), 3.0)
    assert (f(x) == 0).all()
    dx = jax.jit(jax.grad(lambda x: f(x)[0, 0, 0, 0]))(x)
    np.testing.assert_allclose(dx[0, 0], [[750, -250], [-250, -250]], rtol=1e-5)  # (dy - mean of dy) / eps


def test_mvn_and_happynears_normalize_make_four_axes_as_caffe_does():
    assert MVN().infer((2, 3)) == (2, 3, 1, 1)
    assert MVN().apply((), jnp.ones((2, 3)), ctx=PLAIN).shape == (2, 3, 1, 1)
    assert Normalize(top=("y",)).infer((2, 3)) == [(2, 3, 1, 1)]
    assert MVN().infer((2, 3, 4, 5, 6)) == (2, 3, 4, 5, 6)


def test_the_norm_is_a_second_top_whose_gradient_goes_on_only_if_asked():
    for kind, norm in (("L2", 5.0), ("L1", 7.0)):
        layers = [Normalize(top=("y", "norm"), normalize_type=kind, bp_norm=asked) for asked in (False, True)]
        x = jnp.array([[3.0, -4.0]])
        assert layers[0].infer((1, 2, 5, 5)) == [(1, 2, 5, 5), (1, 1, 5, 5)]
        np.testing.assert_allclose(layers[0].apply((), x, ctx=PLAIN)[1], [[[[norm]]]], rtol=1e-6)
        slopes = [jax.jit(jax.grad(lambda x, of=layer: of.apply((), x, ctx=PLAIN)[1].sum()))(x) for layer in layers]
        assert (slopes[0] == 0).all()
        np.testing.assert_allclose(slopes[1][0], [0.6, -0.8] if kind == "L2" else [1, -1], rtol=1e-5)


def test_ssd_has_a_scale_for_each_channel_or_for_all():
    each = Normalize(top=("y",), norm_param=NormBlock(across_spatial=False, channel_shared=False))
    assert [w.shape for w in each.weights((2, 6, 4, 3))] == [(6,)]
    shared = Normalize(top=("y",), norm_param=NormBlock(scale_filler=Constant(value=20)))
    assert [(w.shape, w.filler.value) for w in shared.weights((2, 6, 4, 3))] == [((), 20)]
    w = (jnp.arange(1.0, 7.0),)
    (y,) = jax.jit(lambda x: each.apply(w, x, ctx=PLAIN))(X)
    plain = lambda x, s: x / jnp.sqrt((x**2).sum(1, keepdims=True) + 1e-10) * s[:, None, None]
    np.testing.assert_allclose(y, plain(X, w[0]), rtol=1e-5)
    # The fork's own gradient is wrong here, so there is no recorded case.
    own = jax.jit(jax.grad(lambda x: jnp.vdot(each.apply(w, x, ctx=PLAIN)[0], DY)))(X)
    np.testing.assert_allclose(own, jax.jit(jax.grad(lambda x: jnp.vdot(plain(x, w[0]), DY)))(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_layer_norm(axis):
    layer = LayerNorm(axis=axis)
    shape = X.shape[axis:]
    assert [w.shape for w in layer.weights(X.shape)] == [shape, shape]
    want = standard(X.reshape(*X.shape[:axis], -1)).reshape(X.shape)
    w = (jnp.full(shape, 2.0), jnp.arange(float(np.prod(shape))).reshape(shape))
    np.testing.assert_allclose(layer.apply(w, X, ctx=PLAIN), want * w[0] + w[1], atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups):
    layer = GroupNorm(num_groups=groups)
    assert [w.shape for w in layer.weights(X.shape)] == [(6,), (6,)]
    want = standard(X.reshape(2, groups, -1)).reshape(X.shape)
    scale, shift = jnp.arange(6.0), -jnp.arange(6.0)
    wide = [np.asarray(v)[:, None, None] for v in (scale, shift)]
    np.testing.assert_allclose(layer.apply((scale, shift), X, ctx=PLAIN), want * wide[0] + wide[1], atol=1e-4)


def test_scale_and_shift_can_be_left_out():
    w = (jnp.arange(6.0),)
    bare = GroupNorm(num_groups=2, scale_term=False, bias_term=False)
    assert bare.weights(X.shape) == []
    y = np.asarray(bare.apply((), X, ctx=PLAIN))
    np.testing.assert_allclose(GroupNorm(num_groups=2, bias_term=False).apply(w, X, ctx=PLAIN), y * w[0][:, None, None])
    shifted = GroupNorm(num_groups=2, scale_term=False).apply(w, X, ctx=PLAIN)
    np.testing.assert_allclose(shifted, y + w[0][:, None, None], atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "x", "field", "words"),
    [
        (GroupNorm(num_groups=4), (2, 6, 4), "num_groups", ["6 channels", "4"]),
        (GroupNorm(), (2,), None, ["channels are axis 1", "2"]),
        (LayerNorm(axis=0), (2, 6), "axis", ["`axis` is 0", "2x6"]),
        (LayerNorm(axis=-2), (2, 6), "axis", ["`axis` is -2", "2x6"]),
        (LayerNorm(axis=2), (2, 6), "axis", ["`axis` is 2", "2 axes"]),
        (Normalize(normalize_type="L3", top=("y",)), (2, 6), "normalize_type", ['"L3"', '"L2"']),
        (Normalize(norm_param=NormBlock(), top=("y", "n")), (2, 6), "top", ["2 tops", "only one"]),
        (Normalize(top=("y",)), (2,), None, ["axis 1"]),
    ],
)
def test_what_does_not_fit(layer, x, field, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(x)
    assert caught.value.field == field
    assert [w for w in words if w not in caught.value.detail] == []
