"""Pooling of regions beyond the recorded cases: ties, empty bins, means of position-sensitive bins, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.roi_pooling import PSROIPooling, ROIPooling
from netdef.shape import UNKNOWN, ShapeError


def test_the_gradient_goes_to_the_first_maximum_of_each_bin():
    x = jnp.zeros((1, 1, 4, 4))
    rois = jnp.array([[0.0, 0, 0, 3, 3], [0, 1, 1, 3, 3]])
    layer = ROIPooling(pooled_h=2, pooled_w=1)

    @jax.jit
    def both(x, rois):
        y, back = jax.vjp(lambda x, rois: layer.apply((), x, rois, ctx=PLAIN), x, rois)
        return y, back(jnp.ones_like(y))

    y, (dx, d_rois) = both(x, rois)
    assert y.shape == layer.infer(x.shape, rois.shape) == (2, 1, 2, 1)
    # The bins of the second region share its middle row: rows 1 to 2, and 2 to 3.
    assert dx[0, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert not d_rois.any()


def test_a_region_outside_the_image_is_zero():
    x = jnp.full((1, 2, 4, 4), -1.0)
    rois = jnp.array([[0.0, 6, 6, 9, 9], [0.0, 2, 2, 5, 5]])
    y = jax.jit(lambda x: ROIPooling(pooled_h=2, pooled_w=2).apply((), x, rois, ctx=PLAIN))(x)
    assert y[0].tolist() == [[[0, 0], [0, 0]]] * 2
    assert y[1, 0].tolist() == [[-1, 0], [0, 0]]


def test_position_sensitive_bins_are_means_of_channels_of_their_own():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3 * 2 * 2, 8, 9)).astype(np.float32)
    rois = np.array([[1, 0, 2, 13, 11], [0, 4, 4, 5, 5], [1, 30, 30, 40, 40], [0, -6, 0, 40, 17]], np.float32)
    dy = random.normal(size=(4, 3, 2, 2)).astype(np.float32)
    layer = PSROIPooling(spatial_scale=0.5, output_dim=3, group_size=2)
    wanted, dx = np.zeros((4, 3, 2, 2)), np.zeros(x.shape)
    for r, (n, left, top, right, bottom) in enumerate(rois):
        height, width = (bottom + 1 - top) / 2, (right + 1 - left) / 2
        for o, i, j in np.ndindex(3, 2, 2):
            rows = [
                int(np.clip(v, 0, 8))
                for v in (np.floor(top / 2 + i * height / 2), np.ceil(top / 2 + (i + 1) * height / 2))
            ]
            columns = [
                int(np.clip(v, 0, 9))
                for v in (np.floor(left / 2 + j * width / 2), np.ceil(left / 2 + (j + 1) * width / 2))
            ]
            bin_ = (int(n), (o * 2 + i) * 2 + j, slice(*rows), slice(*columns))
            if x[bin_].size:
                wanted[r, o, i, j] = x[bin_].mean()
                dx[bin_] += dy[r, o, i, j] / x[bin_].size

    @jax.jit
    def both(x):
        y, back = jax.vjp(lambda x: layer.apply((), x, jnp.asarray(rois), ctx=PLAIN), x)
        return y, back(jnp.asarray(dy))[0]

    y, got = both(x)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    np.testing.assert_allclose(got, dx, atol=1e-5)


def test_errors_and_unknown_dimensions():
    layer = ROIPooling(pooled_h=7, pooled_w=6)
    assert repr(layer.infer((UNKNOWN, 8, UNKNOWN, 9), (UNKNOWN, 5))) == "(?, 8, 7, 6)"
    assert layer.infer((1, 8, 9, 9), (300, 5, 1, 1)) == (300, 8, 7, 6)
    for shapes, words, bottom in (
        (((1, 8, 9), (3, 5)), "bottom 0 1x8x9 has 3 axes; it must have 4", 0),
        (((1, 8, 9, 9), (3, 4)), "bottom 1 is 3x4; it must have 5 values", 1),
    ):
        with pytest.raises(ShapeError, match=words) as caught:
            layer.infer(*shapes)
        assert caught.value.bottom == bottom
    with pytest.raises(ShapeError, match="x has 8 channels, but 3 outputs in 2 x 2 bins require 12"):
        PSROIPooling(output_dim=3, group_size=2).infer((1, 8, 9, 9), (3, 5))
