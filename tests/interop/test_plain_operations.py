"""Evaluation of a jaxpr as plain operations: the same results, with fewer operations and the channels first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from netdef.interop.plain_operations import evaluated

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(2, 5, 4, 3)).astype(np.float32)
W = DRAW.normal(size=(6, 3, 3, 3)).astype(np.float32)
B = DRAW.normal(size=6).astype(np.float32)
LAST = ("NHWC", "OIHW", "NHWC")


def convolved(x: Any, w: Any = W) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAST)


def chosen(x: Any) -> Any:
    return lax.platform_dependent(x, cpu=lambda x: jnp.sin(x) * 0, default=lambda x: x * 2)


def plain(function: Any) -> Any:
    def run(*arrays: Any) -> Any:
        traced = jax.make_jaxpr(function)(*arrays)
        return evaluated(traced.jaxpr, traced.consts, arrays)

    return run


FUNCTIONS = {
    "bias": lambda x: jnp.maximum(convolved(x) + B, 0),
    "first": lambda x: jnp.moveaxis(jnp.tanh(convolved(jnp.moveaxis(x, 3, 3)) - B), -1, 1) * B.reshape(1, 6, 1, 1),
    "residual": lambda x: convolved(x) + jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 3))),
    "orders": lambda x: jnp.transpose(x, (0, 2, 1, 3)) + jnp.transpose(x, (0, 2, 1, 3)) / jnp.swapaxes(x + 9, 1, 2),
    "mixed": lambda x: x[:, :4, :4] - jnp.swapaxes(x[:, :4, :4], 1, 2),
    "scalars": lambda x: 2 - jnp.transpose(x) * 3,
    "scalar variable": lambda x: jnp.sum(x) * jnp.ones((2, 3)) + B[:3],
    "constants": lambda x: x * jnp.sqrt(jnp.asarray(B[:3]) ** 2 + 1),
    "integers": lambda x: x.astype(jnp.int32) // 2 + jnp.arange(3),
    "reduced": lambda x: jnp.sum(jnp.swapaxes(x, 1, 3), axis=(2, 3)) / 20,
    "jitted": lambda x: jax.jit(lambda y: jnp.swapaxes(y, 1, 3) + 1)(x),
    "concatenated": lambda x: jnp.concatenate([jnp.swapaxes(x, 1, 3), jnp.zeros((2, 3, 4, 5))], 1),
    "only constants": lambda x: (x, jnp.broadcast_to(jnp.asarray(B), (4, 6)).T),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_results(name: str):
    function = FUNCTIONS[name]
    wanted = jax.tree.leaves(function(X))
    got = jax.tree.leaves(jax.jit(plain(function))(X))
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_default_branch_of_platforms():
    np.testing.assert_allclose(jax.jit(plain(chosen))(X)[0], 2 * X, rtol=1e-6)


def test_transpositions_between_convolutions_cancel():
    def net(x: Any) -> Any:
        for w in (W, W[:, :, :1, :1].repeat(2, axis=1)):
            last = jnp.moveaxis(x, 1, -1)
            y = lax.conv_general_dilated(last, jnp.asarray(w), (1, 1), "VALID", dimension_numbers=LAST) + B
            x = jnp.maximum(jnp.moveaxis(y, -1, 1), 0)
        return x

    x = np.moveaxis(X, -1, 1)
    np.testing.assert_allclose(jax.jit(plain(net))(x)[0], net(x), rtol=1e-5, atol=1e-5)
    traced = jax.make_jaxpr(plain(net))(x)
    found = Counter(equation.primitive.name for equation in traced.eqns)
    assert found["conv_general_dilated"] == 2 and not found["transpose"], found
    for equation in traced.eqns:
        if equation.primitive.name == "conv_general_dilated":
            assert equation.params["dimension_numbers"].lhs_spec == (0, 1, 2, 3)
