"""Maxima and sums of windows, with custom gradients.

Pooling over several axes reduces one axis after the other, the last one first: each output uses k + k values instead of
k * k, and the first of the rows' first maxima is the first maximum of the window.  On a CPU, XLA's own gradients
(select_and_scatter, the transpose of strided slices) take 3 to 11 times as long.  On a GPU, XLA has no operation for
the gradient of a maximum: it stores the four coordinates of each one and scatters, which doubles the bytes that are
moved and the memory.  A TPU has it, and there XLA's own operations move half as many bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

from ..lazy import Array, jax, jnp, lax, np
from ._platform import on_cpu, on_cpu_and_gpu

UNROLLED = 32  # larger windows are left to XLA, because unrolled code over all their elements is slow to compile


@dataclass(frozen=True)
class Windows:
    """`steps` windows of `size` elements along `axis`, `stride` apart; the first starts `before` elements before the
    data, and each overlaps the data."""

    axis: int
    size: int
    stride: int
    before: int
    steps: int

    def whole(self, x: Array) -> bool:
        """Returns whether there is only one window and it covers all of the data."""
        return self.steps == 1 and self.before == 0 and self.size >= x.shape[self.axis]

    def after(self, x: Array) -> int:
        """Returns how far the last window extends beyond the data."""
        return max(0, self.stride * (self.steps - 1) + self.size - x.shape[self.axis] - self.before)


def window_max(x: Array, windows: Sequence[Windows]) -> Array:
    """Returns the largest element of each window; the gradient goes to the first one in case of ties."""
    own = lambda x: reduce(_max_along, windows, x)
    return on_cpu_and_gpu(own, lambda x: _plain(x, windows, -jnp.inf, lax.max), x)


def window_sum(x: Array, windows: Sequence[Windows]) -> Array:
    """Returns the sum of each window, computed in float32; elements outside the data are 0."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return on_cpu(lambda x: reduce(_sum_along, windows, x), lambda x: _plain_sum(x, windows), wide).astype(x.dtype)


def _max_along(x: Array, windows: Windows) -> Array:
    if windows.size > UNROLLED and not windows.whole(x):
        return _plain(x, [windows], -jnp.inf, lax.max)
    return _max_with_gradient()(x, windows)


def _sum_along(x: Array, windows: Windows) -> Array:
    if windows.size > UNROLLED and not windows.whole(x):
        return _plain(x, [windows], 0.0, lax.add)
    return _sum_with_gradient()(x, windows)


def window_argmax(x: Array, windows: Windows) -> tuple[Array, Array]:
    """Returns (largest element of each window, its offset from the start of the window), the first in case of ties."""
    if windows.whole(x):
        axis = windows.axis
        return jnp.max(x, axis, keepdims=True), jnp.argmax(x, axis, keepdims=True).astype(jnp.int32)
    best, *others = window_elements(x, windows, -jnp.inf)
    offset = jnp.zeros(best.shape, jnp.int8 if windows.size <= 127 else jnp.int32)
    for i, other in enumerate(others, 1):
        larger = other > best
        best = jnp.where(larger, other, best)
        offset = jnp.where(larger, jnp.asarray(i, offset.dtype), offset)
    return best, offset


def window_elements(x: Array, windows: Windows, outside: Any) -> list[Array]:
    """Returns the first element of every window, the second of every window, and so on; `outside` fills in for
    elements outside the data."""
    axis, last = windows.axis, windows.stride * (windows.steps - 1)
    padded = _pad(x, axis, windows.before, windows.after(x), outside)
    return [lax.slice_in_dim(padded, i, i + last + 1, windows.stride, axis) for i in range(windows.size)]


def _plain(x: Array, windows: Sequence[Windows], start: float, reducer: Callable[[Array, Array], Array]) -> Array:
    """The same reduction with XLA's own operation and gradient."""
    sizes, strides, pads = [1] * x.ndim, [1] * x.ndim, [(0, 0)] * x.ndim
    for v in windows:
        sizes[v.axis], strides[v.axis], pads[v.axis] = v.size, v.stride, (v.before, v.after(x))
    return lax.reduce_window(x, np.asarray(start, x.dtype), reducer, sizes, strides, pads)


def _plain_sum(x: Array, windows: Sequence[Windows]) -> Array:
    if all(v.whole(x) for v in windows):
        return jnp.sum(x, [v.axis for v in windows], keepdims=True)
    return _plain(x, windows, 0.0, lax.add)


def _give_back(dy: Array, windows: Windows, length: int, chosen: Array | None = None) -> Array:
    """Returns the gradient of an axis of `length` elements: each window passes dy to all its elements, or to the
    `chosen` one.

    With a stride s, element r of step m belongs to the windows m, m - 1, ..., as their elements r, r + s, ...  There
    are as many terms as overlapping windows, and no element is written twice."""
    axis = windows.axis
    stride = windows.size if windows.steps == 1 else windows.stride
    overlap = -(-windows.size // stride)
    total = jnp.zeros((), dy.dtype)
    for a in range(overlap):

        def moved(x: Array, outside: int, a: int = a) -> Array:
            return jnp.expand_dims(
                _pad(x, axis, a, overlap - 1 - a, outside), axis + 1
            )  # (..., steps + overlap - 1, 1, ...)

        element = a * stride + lax.broadcasted_iota(jnp.int32, (stride, *(1,) * (dy.ndim - axis - 1)), 0)
        gets = element < windows.size if chosen is None else moved(chosen, -1).astype(jnp.int32) == element
        total = total + jnp.where(
            gets, moved(dy, 0), jnp.zeros((), dy.dtype)
        )  # (..., steps + overlap - 1, stride, ...)
    flat = total.reshape(*dy.shape[:axis], -1, *dy.shape[axis + 1 :])
    flat = _pad(flat, axis, 0, max(0, windows.before + length - flat.shape[axis]), 0)
    return lax.slice_in_dim(flat, windows.before, windows.before + length, 1, axis)


def _pad(x: Array, axis: int, before: int, after: int, value: Any) -> Array:
    if before == after == 0:
        return x
    edges = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return lax.pad(x, jnp.asarray(value, x.dtype), edges)


@cache
def _max_with_gradient() -> Callable[[Array, Windows], Array]:
    def forward(x: Array, windows: Windows) -> tuple[Array, tuple[Array, int]]:
        y, offset = window_argmax(x, windows)
        return y, (offset, x.shape[windows.axis])

    def backward(windows: Windows, kept: tuple[Array, int], dy: Array) -> tuple[Array]:
        offset, length = kept
        return (_give_back(dy, windows, length, offset),)

    largest = jax.custom_vjp(lambda x, windows: window_argmax(x, windows)[0], nondiff_argnums=(1,))
    largest.defvjp(forward, backward)
    return largest


@cache
def _sum_with_gradient() -> Callable[[Array, Windows], Array]:
    def plain(x: Array, windows: Windows) -> Array:
        if windows.whole(x):
            return jnp.sum(x, windows.axis, keepdims=True)
        return reduce(jnp.add, window_elements(x, windows, 0))

    def backward(windows: Windows, length: int, dy: Array) -> tuple[Array]:
        return (_give_back(dy, windows, length),)

    summed = jax.custom_vjp(plain, nondiff_argnums=(1,))
    summed.defvjp(lambda x, windows: (plain(x, windows), x.shape[windows.axis]), backward)
    return summed
