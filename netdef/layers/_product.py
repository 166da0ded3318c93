"""The matrix product of rows with the rows of a weight matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from ..lazy import Array, jax, jnp, lax
from ._platform import on_cpu


def rows_product(x: Array, w: Array) -> Array:
    """Returns y (n..., outputs) = x (n..., k) times w (outputs, k) transposed."""
    dtype, rows = jnp.result_type(x, w), x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return _product()(rows.astype(dtype), w.astype(dtype)).reshape(*x.shape[:-1], w.shape[0])


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
    keep XLA from merging the transposition with the product.  In an exported program n may be a symbol, whose size is
    unknown."""
    n, outputs = x.shape[0], w.shape[0]
    if isinstance(n, int) and 2 * n <= outputs:
        return lax.optimization_barrier(lax.dot_general(w, x, (((1,), (1,)), ((), ())))).T
    return x @ lax.optimization_barrier(w.T)
