"""LRN beyond its recorded cases: all exponents compared with Caffe's formula, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.lrn import LRN, NormRegion
from netdef.shape import ShapeError


@pytest.mark.parametrize("beta", [0.75, 0.5, 0.6, 1.0])
@pytest.mark.parametrize("region", NormRegion)
def test_the_formula_and_its_derivative(beta, region):
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5))
    across = region is NormRegion.ACROSS_CHANNELS
    layer = LRN(local_size=3, alpha=0.5, beta=beta, k=2.0, norm_region=region)
    k = 2.0 if across else 1.0  # as in Caffe

    def formula(x):
        squares = np.pad(x**2, 1)
        total = np.zeros_like(x)
        for i, j in [(i, 1) for i in range(3)] if across else [(i, j) for i in range(3) for j in range(3)]:
            if across:
                total += squares[1:-1, i : i + 4, 1:-1, 1:-1] / 3
            else:
                total += squares[1:-1, 1:-1, i : i + 3, j : j + 5] / 9
        return x * (k + 0.5 * total) ** -beta

    y, back = jax.vjp(jax.jit(lambda x: layer.apply((), x, ctx=PLAIN)), jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(y, formula(x), rtol=1e-5, atol=1e-6)
    dy = np.random.default_rng(1).normal(size=x.shape)
    way = np.random.default_rng(2).normal(size=x.shape)
    measured = np.vdot(dy, formula(x + 1e-5 * way) - formula(x - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose(np.vdot(back(jnp.asarray(dy, jnp.float32))[0], way), measured, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "shape", "field", "words"),
    [
        (dict(local_size=4), (2, 3, 4, 4), "local_size", "`local_size` is 4; it must be odd: 3 or 5"),
        (dict(), (2,), None, "input 2 has 1 axes, but ACROSS_CHANNELS requires at least 2"),
        (dict(norm_region=NormRegion.WITHIN_CHANNEL), (2, 3), None, "WITHIN_CHANNEL requires at least 3"),
    ],
)
def test_errors(fields, shape, field, words):
    with pytest.raises(ShapeError, match=words) as caught:
        LRN(**fields).infer(shape)
    assert caught.value.field == field
