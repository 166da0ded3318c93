"""The matrix product of rows with the rows of a weight matrix: y = x W^T."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from ..lazy import Array, jax, jnp, lax
from ._platform import on_cpu


def rows_product(x: Array, w: Array) -> Array:
    """Returns y (n..., outputs) = x (n..., k) times w (outputs, k) transposed.

    On a CPU, XLA's product takes up to 30 times as long if x has few rows, because it arranges w anew for each of them;
    W x^T does not."""
    rows, outputs = math.prod(x.shape[:-1]), len(w)
    if 2 * rows > outputs:
        return x @ w.T
    dtype = jnp.result_type(x, w)
    y = _few_rows()(x.reshape(rows, -1).astype(dtype), w.astype(dtype))
    return y.reshape(*x.shape[:-1], outputs)


@cache
def _few_rows() -> Callable[[Array, Array], Array]:
    def value(x: Array, w: Array) -> Array:
        return on_cpu(turned, lambda x, w: x @ w.T, x, w)

    def backward(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
        x, w = kept
        return dy @ w, dy.T @ x

    made = jax.custom_vjp(value)
    made.defvjp(lambda x, w: (value(x, w), (x, w)), backward)
    return made


def turned(x: Array, w: Array) -> Array:
    """x (n, k) times w (outputs, k) transposed, as the transpose of w x^T.  The barrier keeps XLA from writing it as
    x w^T again."""
    y = lax.dot_general(w, x, (((1,), (1,)), ((), ())))
    return jnp.transpose(lax.optimization_barrier(y))
