"""Convolutions with one channel per group in the forms for CPUs: filters w (g m, 1, kernel...), m results per channel.

A sum over the filter's elements, each times the shifted image; or, if the filters and strides are large, over blocks of
the image of the size of the strides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from ..lazy import Array, jax, jnp, lax
from ._channels import last_axis_sum
from ._slide import Slide, padded

MOST_ELEMENTS = 64  # of a filter, which are added one by one


def depthwise(x: Array, w: Array, slide: Slide) -> Array:
    """Returns the convolution (n, steps..., g m) of x (n, spatial..., g)."""
    if _many_elements(w.shape, slide):
        return _by_blocks(x, w, slide)
    return once(lambda x, filters: _by_elements(x, filters, slide), x, _by_channel(w, slide))


def depthwise_to_image(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """Returns the transpose of `depthwise` without dilation, applied to y: an image (n, size..., g)."""
    filters = _in_blocks(_by_channel(w, slide), slide)
    return once(lambda y, filters: _to_image_by_elements(y, filters, slide, size), y, filters)


def depthwise_to_filters(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    """Returns the gradient of the filters, (g m, 1, kernel...)."""
    if _many_elements(shape, slide):
        return _to_filters_by_blocks(x, y, slide, shape)
    return once(lambda x, y: _to_filters_by_elements(x, y, slide, shape), x, y)


def once(function: Callable[..., Array], *arrays: Array) -> Array:
    """Returns function(*arrays), computed once: the condition, which the compiler does not know to be true, prevents it
    from computing the arrays or the result again in every loop that reads them."""
    made = jax.eval_shape(function, *arrays)
    always = lax.optimization_barrier(jnp.bool_(True))
    return lax.cond(always, function, lambda *_: jnp.zeros(made.shape, made.dtype), *arrays)


def _many_elements(filters: tuple[int, ...], slide: Slide) -> bool:
    """Returns whether it is faster on blocks of the size of its strides."""
    return math.prod(filters[2:]) > MOST_ELEMENTS and min(slide.strides) > 1 and set(slide.dilations) == {1}


def _offsets(kernel: Sequence[int]) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, kernel)))


def _by_channel(w: Array, slide: Slide) -> Array:
    """Returns the filters as (kernel..., c, m).

    They are an argument of `once`, which keeps them in memory in this order: neighboring channels are then in one
    vector, and the loop takes a third of the time."""
    return jnp.moveaxis(w.reshape(slide.groups, -1, *w.shape[2:]), (0, 1), (-2, -1))


def _by_elements(x: Array, filters: Array, slide: Slide) -> Array:
    """A sum over the filter's elements, each times the shifted image, which XLA fuses into one loop."""
    kernel = filters.shape[:-2]
    steps, image = slide.steps(x.shape[1:-1], kernel), padded(x, slide)[..., None]
    total: Any = 0
    for offsets in _offsets(kernel):
        shifted = image[(slice(None), *slide.windows(offsets, steps))]  # (n, steps..., c, 1)
        total = total + shifted * filters[offsets]  # (n, steps..., c, m)
    return total.reshape(*total.shape[:-2], -1)


def _to_filters_by_elements(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    """The products of the shifted images and y, summed over the batch and then, by a product with ones, over pixels."""
    kernel, c = shape[2:], x.shape[-1]
    steps, image = slide.steps(x.shape[1:-1], kernel), padded(x, slide)[..., None]
    results = y.reshape(*y.shape[:-1], c, -1)  # (n, steps..., c, m)
    rows = []
    for offsets in _offsets(kernel):
        shifted = image[(slice(None), *slide.windows(offsets, steps))]
        products = shifted * results  # (n, steps..., c, m)
        rows.append(last_axis_sum(products.reshape(*products.shape[:-2], -1)))
    return jnp.stack(rows, -1).reshape(shape)


def _in_blocks(filters: Array, slide: Slide) -> Array:
    """Returns filters (kernel..., c, m) in blocks of the size of the strides: (turns..., strides..., c, m), with zeros
    after the last elements."""
    sides = list(zip(filters.shape, slide.strides, strict=False))
    filters = jnp.pad(filters, [*((0, -k % s) for k, s in sides), (0, 0), (0, 0)])
    axes = len(sides)
    filters = filters.reshape(*(part for k, s in sides for part in (-(-k // s), s)), *filters.shape[axes:])
    order = (*range(0, 2 * axes, 2), *range(1, 2 * axes, 2), 2 * axes, 2 * axes + 1)
    return filters.transpose(order)


def _to_image_by_elements(y: Array, filters: Array, slide: Slide, size: Sequence[int]) -> Array:
    """The transpose of `_by_elements`.  With a stride s, pixel r of block b gets y[b - q] filters[q, r] for every q, so
    that nothing is multiplied by the zeros between the pixels."""
    strides, channels, axes = slide.strides, slide.groups, len(size)
    turns = filters.shape[:axes]
    blocks = [-(-(n + low) // s) for n, (low, _), s in zip(size, slide.pads, strides, strict=True)]
    before = [(t - 1, max(0, b - n)) for t, b, n in zip(turns, blocks, y.shape[1:-1], strict=True)]
    results = jnp.pad(y, [(0, 0), *before, (0, 0)]).reshape(
        y.shape[0], *(n + sum(b) for n, b in zip(y.shape[1:-1], before, strict=True)), channels, -1
    )
    total: Any = 0
    for q in _offsets(turns):
        place = tuple(slice(t - 1 - i, t - 1 - i + b) for i, t, b in zip(q, turns, blocks, strict=True))
        moved = results[(slice(None), *place)]  # (n, blocks..., c, m)
        moved = jnp.expand_dims(moved, tuple(range(2, 2 + 2 * axes, 2)))  # (n, block, 1, block, 1, ..., c, m)
        part = filters[q].reshape(*(length for s in strides for length in (1, s)), *filters.shape[-2:])
        total = total + jnp.sum(moved * part, -1)
    whole = total.reshape(y.shape[0], *(b * s for b, s in zip(blocks, strides, strict=True)), channels)
    return whole[(slice(None), *(slice(low, low + n) for n, (low, _) in zip(size, slide.pads, strict=True)))]


# One channel per group and large filters, as those that enlarge an image 8 or 32 times: an image in blocks of the size
# of the strides, of which each window covers few.


def _image_in_blocks(x: Array, slide: Slide, steps: Sequence[int], turns: Sequence[int]) -> Array:
    """Returns the padded image as (n, block, stride, block, stride, ..., c), for windows of `turns` blocks."""
    blocks = [n + t - 1 for n, t in zip(steps, turns, strict=True)]
    rows = list(zip(x.shape[1:-1], blocks, slide.strides, slide.pads, strict=True))
    edges = [(low, b * s - low - n, 0) for n, b, s, (low, _) in rows]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return x.reshape(x.shape[0], *(length for _, b, s, _ in rows for length in (b, s)), x.shape[-1])


def _by_blocks(x: Array, w: Array, slide: Slide) -> Array:
    """Each block times every block of the filters, summed over the block; then the sums of each window are added.

    The sum over a block's last axis comes last, because this axis and the channels are neighbors in memory: vectors
    are full, however few channels there are."""
    strides, axes = slide.strides, len(slide.strides)
    steps = slide.steps(x.shape[1:-1], w.shape[2:])
    filters = _in_blocks(_by_channel(w, slide), slide)  # (turns..., strides..., c, m)
    turns, (c, m) = filters.shape[:axes], filters.shape[-2:]
    filters = jnp.moveaxis(filters.reshape(math.prod(turns), *strides[:-1], strides[-1] * c, m), 0, -3)
    image = _image_in_blocks(x, slide, steps, turns)
    image = image.reshape(*image.shape[:-2], strides[-1] * c)

    def sums(image: Array, filters: Array) -> Array:
        filters = filters.reshape(*(length for s in strides[:-1] for length in (1, s)), 1, *filters.shape[-3:])
        products = image[..., None, :, None] * filters  # (n, block, stride, ..., block, turns, stride * c, m)
        parts = jnp.sum(products, tuple(range(2, 2 * axes, 2)))  # (n, blocks..., turns, stride * c, m)
        total: Any = 0
        for i, q in enumerate(_offsets(turns)):
            total = total + parts[(slice(None), *(slice(a, a + n) for a, n in zip(q, steps, strict=True)), i)]
        return total.reshape(*total.shape[:-2], strides[-1], c, m).sum(-3).reshape(*total.shape[:-2], c * m)

    return once(sums, image, filters)


def _to_filters_by_blocks(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    """A product of matrices per channel: y moved by every number of blocks, times the blocks of the image."""
    strides, axes, c = slide.strides, len(slide.strides), x.shape[-1]
    turns = [-(-k // s) for k, s in zip(shape[2:], strides, strict=True)]
    image = _image_in_blocks(x, slide, y.shape[1:-1], turns)
    blocks, inner = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    image = image.transpose(2 * axes + 1, 0, *blocks, *inner).reshape(c, -1, math.prod(strides))

    results = jnp.moveaxis(y.reshape(*y.shape[:-1], c, -1), (-2, -1), (0, 1))  # (c, m, n, steps...)
    results = jnp.pad(results, [(0, 0)] * 3 + [(t - 1, t - 1) for t in turns])
    rows = list(zip(turns, y.shape[1:-1], strict=True))
    moved = [
        results[(..., *(slice(t - 1 - i, 2 * (t - 1) - i + n) for i, (t, n) in zip(q, rows, strict=True)))]
        for q in _offsets(turns)
    ]
    m = results.shape[1]
    w = jnp.stack(moved, 2).reshape(c, m * len(moved), -1) @ image  # (c, m * turns, strides)
    w = w.reshape(c * m, *turns, *strides)
    order = (0, *(axis for i in range(axes) for axis in (1 + i, 1 + axes + i)))
    w = w.transpose(order).reshape(c * m, 1, *(t * s for t, s in zip(turns, strides, strict=True)))
    return w[(slice(None), slice(None), *map(slice, shape[2:]))]
