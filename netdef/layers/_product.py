"""The matrix product of rows with the rows of a weight matrix, and the order of arrays in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from ..lazy import Array, jax, jnp, lax
from ._platform import on_cpu


def rows_product(x: Array, w: Array) -> Array:
    """Returns y (n..., outputs) = x (n..., k) times w (outputs, k) transposed."""
    dtype, rows = jnp.result_type(x, w), x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return _product()(rows.astype(dtype), w.astype(dtype)).reshape(*x.shape[:-1], len(w))


@cache
def _product() -> Callable[[Array, Array], Array]:
    def value(x: Array, w: Array) -> Array:
        return on_cpu(product_on_cpu, lambda x, w: x @ w.T, x, w)

    def backward(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
        x, w = kept
        return dy @ w, dy.T @ x

    made = jax.custom_vjp(value)
    made.defvjp(lambda x, w: (value(x, w), (x, w)), backward)
    return made


def product_on_cpu(x: Array, w: Array) -> Array:
    """x (n, k) times w (outputs, k) transposed.

    XLA's product with a transposed matrix takes up to 30 times as long as one with the matrix itself, especially if x
    has few rows.  So w x^T is computed and transposed, or if x has many rows, w is transposed before.  The barriers
    keep XLA from merging the transposition with the product."""
    if 2 * len(x) <= len(w):
        return lax.optimization_barrier(lax.dot_general(w, x, (((1,), (1,)), ((), ())))).T
    return x @ lax.optimization_barrier(row_major(w.T))


def row_major(x: Array) -> Array:
    """Returns x with its last axis contiguous in memory, as programs accept and return arrays.

    Without it XLA may keep another order through all loops that follow, for example from the gradient of filters up to
    the solver's update.  Loops over arrays in two orders take several times as long as one transposition."""
    from jax.experimental.layout import Layout, with_layout_constraint

    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))
