"""Channels of images (n, c, spatial...), and of images with the channels last, (n, spatial..., c).

The language describes images as (n, c, spatial...).  Stretches of a net run with the channels last (see
`passes.channels_last`), because convolutions are fastest on them; a layer is told by `Context.channels_last`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..lazy import Array, jax, jnp
from ._platform import on_cpu

MOST_TERMS = 32  # that XLA sums in one loop


def with_channels_last(x: Array) -> Array:
    """(n, c, spatial...) to (n, spatial..., c)."""
    return jnp.moveaxis(x, 1, -1)


def with_channels_first(x: Array) -> Array:
    """(n, spatial..., c) to (n, c, spatial...)."""
    return jnp.moveaxis(x, -1, 1)


def channel_axis(channels_last: bool) -> int:
    """Returns the axis of the channels."""
    return -1 if channels_last else 1


def along(v: Array, x: Array, axis: int = 1) -> Array:
    """Returns v (c) with the shape that broadcasts to x, whose channels are on `axis` (1 or -1)."""
    return v if axis == -1 else v.reshape(-1, *(1,) * (x.ndim - 2))


def broadcast_channels(v: Array, x: Array, axis: int = 1) -> Array:
    """`along`, broadcast to the shape of x; its gradient is a `channel_sum`."""
    return _broadcast()(v, tuple(x.shape), axis)


def channel_sum(x: Array, axis: int = 1) -> Array:
    """Returns the sums (c) over all axes but `axis` (1 or -1).

    On a CPU, channels first: along contiguous memory, then over the batch.  Channels last: over the batch, then by a
    product with ones; XLA's reduction of leading axes takes up to 10 times as long there."""
    axes = (0, *range(2, x.ndim)) if axis == 1 else tuple(range(x.ndim - 1))
    return on_cpu(_sum_rows_first if axis == 1 else last_axis_sum, lambda x: jnp.sum(x, axes), x)


def _sum_rows_first(x: Array) -> Array:
    return jnp.sum(x.reshape(*x.shape[:2], -1), axis=2).sum(axis=0)


def last_axis_sum(x: Array) -> Array:
    """Returns the sums over all axes but the last one, on a CPU: over the batch, then by a product with ones.

    XLA divides a sum of more than 32 terms into several loops, for which it writes the terms to memory first.  So a
    larger batch is summed in parts, and the product adds the parts, too."""
    n = x.shape[0]  # in an exported program, it may be a symbol
    parts = next((k for k in range(MOST_TERMS, 1, -1) if n % k == 0), n) if isinstance(n, int) else n
    rows = jnp.sum(x.reshape(parts, n // parts, *x.shape[1:]), axis=0).reshape(-1, x.shape[-1])
    return (jnp.ones((1, len(rows)), x.dtype) @ rows)[0]


@cache
def _broadcast() -> Callable[[Array, tuple[int, ...], int], Array]:
    def plain(v: Array, shape: tuple[int, ...], axis: int) -> Array:
        return jnp.broadcast_to(along(v, jax.ShapeDtypeStruct(shape, v.dtype), axis), shape)

    made = jax.custom_vjp(plain, nondiff_argnums=(1, 2))
    made.defvjp(
        lambda v, shape, axis: (plain(v, shape, axis), None), lambda shape, axis, _, dy: (channel_sum(dy, axis),)
    )
    return made
