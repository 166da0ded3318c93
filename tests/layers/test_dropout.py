"""Dropout: the fraction that is dropped, the scale of the other values, and fields of the forks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import Alone

from netdef.layers.dropout import AlphaDropout, Dropout, mask

X = jnp.ones((100, 7, 30))


def run(train, key=0, **fields):
    return np.asarray(Dropout(**fields).apply((), X, ctx=Alone(train, key)))


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.9])
def test_values_are_dropped_at_the_ratio_and_the_mean_stays(ratio):
    y = run(True, dropout_ratio=ratio)
    deviation = (ratio * (1 - ratio) / y.size) ** 0.5
    assert abs((y == 0).mean() - ratio) < 4 * deviation
    assert set(np.unique(y)) == {0.0, np.float32(1 / (1 - ratio))}
    by_item = (y == 0).mean(axis=(1, 2))
    assert by_item.std() < 4 * (ratio * (1 - ratio) / 210) ** 0.5  # items have different masks
    assert (run(True, key=1, dropout_ratio=ratio) != y).any()


def test_test_phase_changes_nothing():
    assert (run(False) == 1).all()
    assert (run(True, dropout_ratio=0) == 1).all()


def test_fields_of_the_forks():
    assert set(np.unique(run(True, scale_train=False, dropout_ratio=0.25))) == {0.0, 1.0}
    assert (run(False, scale_train=False, dropout_ratio=0.25) == 0.75).all()
    assert set(np.unique(run(True, sqrt_scale=True, dropout_ratio=0.75))) == {0.0, 2.0}
    assert (run(False, sample_weights_test=True) == run(True)).all()


def test_the_gradient_goes_where_values_went():
    f = lambda x: jnp.sum(Dropout().apply((), x, ctx=Alone(True)))
    assert (np.asarray(jax.grad(f)(X)) == run(True)).all()


def test_a_mask_of_any_size_and_of_a_ratio_near_one():
    key = jax.random.key(3)
    assert mask(key, 0.5, ()).shape == () and mask(key, 0.3, (5,)).shape == (5,)
    assert mask(key, 1 - 1e-9, (1000,)).all()
    assert abs(float(mask(key, 1 / 3, (40000,)).mean()) - 1 / 3) < 0.01


def test_a_ratio_of_1_outputs_zeros():
    assert (run(True, dropout_ratio=1) == 0).all() and (run(False, dropout_ratio=1) == 1).all()
    assert not jax.grad(lambda x: Dropout(dropout_ratio=1).apply((), x, ctx=Alone(True)).sum())(X).any()


def test_alpha_dropout_keeps_mean_0_and_variance_1():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(200_000), jnp.float32)
    layer = AlphaDropout(dropout_ratio=0.25)
    y = np.asarray(layer.apply((), x, ctx=Alone(True)))
    assert abs(y.mean()) < 0.01 and abs(y.var() - 1) < 0.02
    assert abs(np.unique(y, return_counts=True)[1].max() / y.size - 0.25) < 0.01  # all dropped values are equal
    assert (layer.apply((), x, ctx=Alone(False)) == x).all()
