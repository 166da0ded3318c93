"""The convolution that layers share: its value, its two gradients and its transpose.

On accelerators, XLA's operations are used.  On a CPU they are slow: XLA's gradient of the filters takes 2 to 4 times as
long as matrix products over the rows of one image at a time, which stay in the cache; 1x1 filters take 2 to 7 times as
long as a matrix product; groups take up to hundreds of times as long as one convolution per group or, for narrow
groups, as a sum over the filter's elements; and a transpose multiplies by the zeros that it inserts between pixels,
which is avoided by folding blocks of pixels into channels.  Tests compare all forms with `reference`, the plain one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ..lazy import Array, jax, jnp, lax
from ._platform import in_float32, on_cpu

NARROW = 4  # groups of at most this many channels are written out as a sum,
TERMS = 100  # if the sum has at most this many terms
MANY_GROUPS = 64  # up to this many groups, each is a separate convolution
WASTE = 1.3  # maximum factor by which folding may enlarge a filter
POSITIONS = 512  # minimum number of output positions for a matrix product to be worthwhile


@dataclass(frozen=True)
class Slide:
    """How filters slide: the stride, the zero padding before and after, and the dilation of each spatial axis, and the
    number of groups."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    groups: int = 1

    def windows(self, offsets: Sequence[int], steps: Sequence[int]) -> tuple[slice, ...]:
        """Returns the slices of a padded image that select the element at `offsets` of every window."""
        rows = zip(offsets, steps, self.strides, self.dilations, strict=True)
        return tuple(slice(o * d, o * d + s * (n - 1) + 1, s) for o, n, s, d in rows)


def convolve(x: Array, w: Array, slide: Slide) -> Array:
    """y[n, o] = sum over c and the window of w[o, c] x[n, c].  x (n, c, spatial...), w (o, c / groups, kernel...)."""
    return _convolution()(x, w, slide)


def spread(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """Returns the transpose of `convolve`, applied to y (n, o, ...): an image (n, c, size...)."""
    return _transpose()(y, w, slide, tuple(size))


def reference(x: Array, w: Array, slide: Slide) -> Array:
    """`convolve` with XLA's own operation."""
    return lax.conv_general_dilated(
        x, w, slide.strides, slide.pads, rhs_dilation=slide.dilations, feature_group_count=slide.groups
    )


@cache
def _convolution() -> Callable[..., Array]:
    made = jax.custom_vjp(_value, nondiff_argnums=(2,))

    def backward(slide: Slide, kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
        x, w = kept
        return _to_image(dy, w, slide, x.shape[2:]), _to_filters(x, dy, slide, w.shape)

    made.defvjp(lambda x, w, slide: (_value(x, w, slide), (x, w)), backward)
    return made


@cache
def _transpose() -> Callable[..., Array]:
    made = jax.custom_vjp(_to_image, nondiff_argnums=(2, 3))

    def backward(slide: Slide, size: tuple[int, ...], kept: tuple[Array, Array], dx: Array) -> tuple[Array, Array]:
        y, w = kept
        return _value(dx, w, slide), _to_filters(dx, y, slide, w.shape)

    made.defvjp(lambda y, w, slide, size: (_to_image(y, w, slide, size), (y, w)), backward)
    return made


# The three products of an image, filters and a result, each in XLA's form or in the form for CPUs.


def _value(x: Array, w: Array, slide: Slide) -> Array:
    choose = lambda form: lambda x, w: form(x, w, slide)
    return on_cpu(in_float32(choose(_on_cpu)), choose(reference), x, w)


def _to_image(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    def choose(form: Callable[[Array, Array, Slide], Array]) -> Callable[[Array, Array], Array]:
        def transposed(y: Array, w: Array) -> Array:
            image = jax.ShapeDtypeStruct((y.shape[0], w.shape[1] * slide.groups, *size), y.dtype)
            return jax.linear_transpose(lambda x: form(x, w, slide), image)(y)[0]

        return transposed

    return on_cpu(in_float32(choose(_on_cpu)), choose(reference), y, w)


def _to_filters(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    filters = jax.ShapeDtypeStruct(shape, x.dtype)
    plain = lambda x, y: jax.linear_transpose(lambda w: reference(x, w, slide), filters)(y)[0]
    return on_cpu(in_float32(lambda x, y: _to_filters_on_cpu(x, y, slide, shape)), plain, x, y)


def _to_filters_on_cpu(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    filters = jax.ShapeDtypeStruct(shape, x.dtype)
    if _folds(shape, slide):
        fold = lambda w: _fold_filters(w, slide)
        image, once = _fold_image(x, shape, slide, y.shape[2:])
        folded = _to_filters_on_cpu(image, y, once, jax.eval_shape(fold, filters).shape)
        return jax.linear_transpose(fold, filters)(folded)[0]
    if _in_parts(shape, slide):
        parts = zip(jnp.split(x, slide.groups, 1), jnp.split(y, slide.groups, 1), strict=True)
        one = (shape[0] // slide.groups, *shape[1:])
        return jnp.concatenate([_filters_by_rows(*part, replace(slide, groups=1), one) for part in parts])
    if slide.groups == 1 and not _pointwise(shape):
        return _filters_by_rows(x, y, slide, shape)
    return jax.linear_transpose(lambda w: _on_cpu(x, w, slide), filters)(y)[0]


def _on_cpu(x: Array, w: Array, slide: Slide) -> Array:
    """`convolve` in the form that is fastest on a CPU."""
    if _pointwise(w.shape):
        return _by_product(x, w, slide)
    if _folds(w.shape, slide):
        image, once = _fold_image(x, w.shape, slide, _steps(x.shape[2:], w.shape[2:], slide))
        return _on_cpu(image, _fold_filters(w, slide), once)
    if _written_out(w.shape, slide):
        return _by_elements(x, w, slide)
    if _in_parts(w.shape, slide):
        parts = zip(jnp.split(x, slide.groups, 1), jnp.split(w, slide.groups), strict=True)
        return jnp.concatenate([reference(*part, replace(slide, groups=1)) for part in parts], 1)
    return reference(x, w, slide)


def _pointwise(filters: tuple[int, ...]) -> bool:
    return math.prod(filters[2:]) == 1


def _folds(filters: tuple[int, ...], slide: Slide) -> bool:
    """Returns whether a strided convolution is faster on blocks of pixels."""
    sides = [-(-k // s) * s for k, s in zip(filters[2:], slide.strides, strict=True)]
    strided = max(slide.strides, default=1) > 1 and set(slide.dilations) == {1} and not _pointwise(filters)
    return strided and math.prod(sides) <= WASTE * math.prod(filters[2:])


def _written_out(filters: tuple[int, ...], slide: Slide) -> bool:
    return slide.groups > 1 and filters[1] <= NARROW and math.prod(filters[1:]) <= TERMS


def _in_parts(filters: tuple[int, ...], slide: Slide) -> bool:
    some = 1 < slide.groups <= MANY_GROUPS
    return some and not _pointwise(filters) and not _written_out(filters, slide)


def _by_product(x: Array, w: Array, slide: Slide) -> Array:
    """1x1 filters: one matrix product per group."""
    n, groups, steps = x.shape[0], slide.groups, _steps(x.shape[2:], w.shape[2:], slide)
    x = jnp.pad(x, [(0, 0), (0, 0), *slide.pads])[(..., *slide.windows((0,) * len(steps), steps))]
    x = x.reshape(n, groups, w.shape[1], math.prod(steps))
    y = jnp.einsum("ngcp,goc->ngop", x, w.reshape(groups, -1, w.shape[1]))
    return y.reshape(n, w.shape[0], *steps)


def _fold_image(x: Array, filters: tuple[int, ...], slide: Slide, steps: Sequence[int]) -> tuple[Array, Slide]:
    """Folds blocks of pixels into channels: (n, c * strides..., blocks...), and how folded filters slide over them."""
    blocks = [n - 1 - (-k // s) for n, k, s in zip(steps, filters[2:], slide.strides, strict=True)]
    rows = zip(blocks, slide.strides, slide.pads, x.shape[2:], strict=True)
    edges = [(low, b * s - low - size, 0) for b, s, (low, _), size in rows]  # pixels outside all windows are cut off
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (0, 0, 0), *edges])
    axes = len(blocks)
    return _fold(x, slide), Slide((1,) * axes, ((0, 0),) * axes, (1,) * axes, slide.groups)


def _fold_filters(w: Array, slide: Slide) -> Array:
    """Folds filters like images: (o, c / groups * strides..., blocks...)."""
    edges = [(0, -k % s) for k, s in zip(w.shape[2:], slide.strides, strict=True)]
    return _fold(jnp.pad(w, [(0, 0), (0, 0), *edges]), slide)


def _fold(x: Array, slide: Slide) -> Array:
    sides = list(zip(x.shape[2:], slide.strides, strict=True))
    x = x.reshape(*x.shape[:2], *(part for size, s in sides for part in (size // s, s)))
    inner, outer = range(3, x.ndim, 2), range(2, x.ndim, 2)
    x = x.transpose(0, 1, *inner, *outer)
    return x.reshape(x.shape[0], -1, *x.shape[2 + len(sides) :])


def _by_elements(x: Array, w: Array, slide: Slide) -> Array:
    """A sum over the filter's elements, each times the shifted image: XLA fuses it into one loop on a CPU."""
    n, groups, per_group, kernel = x.shape[0], slide.groups, w.shape[1], w.shape[2:]
    padded = jnp.pad(x, [(0, 0), (0, 0), *slide.pads])
    padded = padded.reshape(n, groups, 1, per_group, *padded.shape[2:])
    filters = w.reshape(groups, -1, *w.shape[1:])
    steps = _steps(x.shape[2:], kernel, slide)
    total: Any = 0
    for channel, *offsets in itertools.product(range(per_group), *map(range, kernel)):
        element = filters[(slice(None), slice(None), channel, *offsets)]  # (g, o / g)
        met = padded[(slice(None), slice(None), slice(None), channel, *slide.windows(offsets, steps))]
        total = total + met * element.reshape(groups, -1, *(1,) * len(kernel))  # (n, g, o / g, steps...)
    return total.reshape(n, w.shape[0], *steps)


def _steps(size: Sequence[int], kernel: Sequence[int], slide: Slide) -> tuple[int, ...]:
    """Returns the spatial size of the result."""
    rows = zip(size, kernel, slide.strides, slide.pads, slide.dilations, strict=True)
    return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in rows)


def _filters_by_rows(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    """Returns the gradient of the filters (of `shape`, without groups) for the gradient y of the result.

    The windows along the width form a matrix, and each product of it with y is one row of the filters.  So the image is
    copied only once per column of the filter, not once per element."""
    n, (o, c, *kernel), steps = x.shape[0], shape, y.shape[2:]
    enough = (m for m in range(1, n + 1) if n % m == 0 and (m * math.prod(steps) >= POSITIONS or m == n))
    at_once = next(enough, 1)  # images
    turns = n // at_once
    padded = jnp.pad(jnp.moveaxis(x, 1, -1), [(0, 0), *slide.pads, (0, 0)])
    images = padded.reshape(turns, at_once, *padded.shape[1:])
    results = jnp.moveaxis(y, 1, -1).reshape(turns, at_once * math.prod(steps), o)

    def add(total: Array, some: tuple[Array, Array]) -> tuple[Array, None]:
        image, result = some  # (m, size..., c), (m * steps, o)
        every = (slice(None),) * (len(kernel) - 1)
        across = [
            image[(slice(None), *every, slide.windows((0,) * len(every) + (j,), steps)[-1])] for j in range(kernel[-1])
        ]
        rows = jnp.concatenate(across, -1)  # (m, size..., steps[-1], kernel[-1] * c)
        products = [
            rows[(slice(None), *slide.windows((*offsets, 0), steps)[:-1])].reshape(-1, kernel[-1] * c).T @ result
            for offsets in itertools.product(*map(range, kernel[:-1]))
        ]
        return total + jnp.stack(products), None

    start = jnp.zeros((math.prod(kernel[:-1]), kernel[-1] * c, o), x.dtype)
    total, _ = lax.scan(add, start, (images, results))
    return jnp.moveaxis(total.reshape(*kernel, c, o), (-1, -2), (0, 1))
