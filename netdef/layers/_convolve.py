"""The convolution that layers share: its value, its two gradients and its transpose.  Images have the channels last.

On accelerators, XLA's operations are used.  On a CPU they are the fastest in most cases (with the compiler options of
`jit`), but not in these: 1x1 filters, which are a matrix product; groups, whose gradient takes up to hundreds of times
as long as that of one convolution per group; one channel per group (depthwise), which is a sum over the filter's
elements, or over blocks of them if they are many; few channels of the result, of which one step computes those of a row
of pixels; and the gradient of the image of a strided convolution, which multiplies by the zeros inserted between pixels
and is a convolution of blocks of pixels instead, unless blocks waste more.  The others have the axes in the order that
XLA has fast loops for (see `_in_order`).  Tests compare all forms with `reference`, the plain one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ..lazy import Array, jax, jnp, lax
from ._channels import last_axis_sum
from ._platform import in_float32, on_cpu
from ._product import rows_product

MOST_PARTS = 64  # up to this many groups, each is a separate convolution
MOST_ELEMENTS = 64  # of a filter of one channel, which are added one by one
WASTE, WASTE_OF_WIDE = 2.0, 1.5  # maximum factor by which folding may enlarge a filter; of WIDE channels or more
WIDE = 32
FILLED, FILLED_FROM_FEW, FEW = 40, 96, 4  # most values of the result in one step; if the image has FEW channels


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

    def steps(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Returns the spatial size of the result."""
        rows = zip(size, kernel, self.strides, self.pads, self.dilations, strict=True)
        return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in rows)


def convolve(x: Array, w: Array, slide: Slide) -> Array:
    """y[n, o] = sum over c and the window of w[o, c] x[n, c].  x (n, spatial..., c), w (o, c / groups, kernel...)."""
    return _convolution()(x, w, slide)


def spread(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """Returns the transpose of `convolve`, applied to y (n, ..., o): an image (n, size..., c)."""
    return _transpose()(y, w, slide, tuple(size))


def reference(x: Array, w: Array, slide: Slide) -> Array:
    """`convolve` with XLA's own operation."""
    axes = "0123456789"[: len(slide.strides)]
    names = (f"N{axes}C", f"OI{axes}", f"N{axes}C")
    return lax.conv_general_dilated(
        x,
        w,
        slide.strides,
        slide.pads,
        rhs_dilation=slide.dilations,
        dimension_numbers=names,
        feature_group_count=slide.groups,
    )


@cache
def _convolution() -> Callable[..., Array]:
    made = jax.custom_vjp(_value, nondiff_argnums=(2,))

    def backward(slide: Slide, kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
        x, w = kept
        return _to_image(dy, w, slide, x.shape[1:-1]), _to_filters(x, dy, slide, w.shape)

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
    return on_cpu(in_float32(choose(value_on_cpu)), choose(reference), x, w)


def _to_image(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    choose = lambda form: lambda y, w: form(y, w, slide, size)
    return on_cpu(in_float32(choose(to_image_on_cpu)), choose(transposed_reference), y, w)


def _to_filters(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    filters = jax.ShapeDtypeStruct(shape, x.dtype)
    plain = lambda x, y: jax.linear_transpose(lambda w: reference(x, w, slide), filters)(y)[0]
    own = lambda x, y: row_major(to_filters_on_cpu(x, y, slide, shape))
    return on_cpu(in_float32(own), plain, x, y)


def transposed_reference(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """`spread` with XLA's own operation."""
    image = jax.ShapeDtypeStruct((y.shape[0], *size, w.shape[1] * slide.groups), y.dtype)
    return jax.linear_transpose(lambda x: reference(x, w, slide), image)(y)[0]


def value_on_cpu(x: Array, w: Array, slide: Slide) -> Array:
    """`convolve` in the form that is fastest on a CPU."""
    if _depthwise(w.shape, slide):
        if _many_elements(w.shape, slide):
            return _by_blocks(x, w, slide)
        return once(lambda x, filters: _by_elements(x, filters, slide), x, _by_channel(w, slide))
    if _in_parts(slide):
        parts = zip(jnp.split(x, slide.groups, -1), jnp.split(w, slide.groups), strict=True)
        return jnp.concatenate([value_on_cpu(*part, replace(slide, groups=1)) for part in parts], -1)
    if _pointwise(w.shape, slide):
        return rows_product(_sampled(x, slide), w.reshape(w.shape[:2]))
    pixels = _pixels(w.shape, slide, x.shape[1:-1])
    return _in_order(x, w, slide) if pixels == 1 else _by_rows(x, w, slide, pixels)


def to_image_on_cpu(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """`spread` in the form that is fastest on a CPU."""
    if _depthwise(w.shape, slide) and set(slide.dilations) == {1}:
        filters = _in_blocks(_by_channel(w, slide), slide)
        return once(lambda y, filters: _to_image_by_elements(y, filters, slide, size), y, filters)
    if _in_parts(slide):
        parts = zip(jnp.split(y, slide.groups, -1), jnp.split(w, slide.groups), strict=True)
        return jnp.concatenate([to_image_on_cpu(*part, replace(slide, groups=1), size) for part in parts], -1)
    if _folds(w.shape, slide):
        return _to_image_by_blocks(y, w, slide, size)
    image = jax.ShapeDtypeStruct((y.shape[0], *size, w.shape[1] * slide.groups), y.dtype)
    if _pointwise(w.shape, slide):
        return jax.linear_transpose(lambda x: _sampled(x, slide), image)(y @ w.reshape(w.shape[:2]))[0]
    if slide.groups == 1 and set(slide.strides) == {1}:
        return value_on_cpu(y, _turned(w), _turned_slide(slide, w.shape[2:]))
    if slide.groups == 1:
        return _to_image_in_order(y, w, slide, size)
    return transposed_reference(y, w, slide, size)


def to_filters_on_cpu(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    if _depthwise(shape, slide):
        if _many_elements(shape, slide):
            return _to_filters_by_blocks(x, y, slide, shape)
        return once(lambda x, y: _to_filters_by_elements(x, y, slide, shape), x, y)
    if _in_parts(slide):
        parts = zip(jnp.split(x, slide.groups, -1), jnp.split(y, slide.groups, -1), strict=True)
        one = (shape[0] // slide.groups, *shape[1:])
        return jnp.concatenate([to_filters_on_cpu(*part, replace(slide, groups=1), one) for part in parts])
    if _pointwise(shape, slide):
        return _narrow_first(y.reshape(-1, shape[0]), _sampled(x, slide).reshape(-1, shape[1])).reshape(shape)
    if slide.groups == 1:
        return _to_filters_in_order(x, y, slide, shape[2:])
    filters = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda w: reference(x, w, slide), filters)(y)[0]


def row_major(x: Array) -> Array:
    """Returns x with its last axis contiguous in memory, as programs accept and return arrays.

    Without it XLA may keep another order through all loops that follow, for example from the gradient of filters up to
    the solver's update.  Loops over arrays in two orders take several times as long as one transposition."""
    from jax.experimental.layout import Layout, with_layout_constraint

    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


def _depthwise(filters: tuple[int, ...], slide: Slide) -> bool:
    return slide.groups > 1 and filters[1] == 1


def _many_elements(filters: tuple[int, ...], slide: Slide) -> bool:
    """Returns whether a depthwise convolution is faster on blocks of the size of its strides."""
    return math.prod(filters[2:]) > MOST_ELEMENTS and min(slide.strides) > 1 and set(slide.dilations) == {1}


def _in_parts(slide: Slide) -> bool:
    return 1 < slide.groups <= MOST_PARTS


def _pointwise(filters: tuple[int, ...], slide: Slide) -> bool:
    return slide.groups == 1 and math.prod(filters[2:]) == 1


def _folds(filters: tuple[int, ...], slide: Slide) -> bool:
    """Returns whether the transpose of a strided convolution is faster on blocks of pixels."""
    strided = max(slide.strides, default=1) > 1 and set(slide.dilations) == {1} and slide.groups == 1
    growth = math.prod(-(-k // s) * s / k for k, s in zip(filters[2:], slide.strides, strict=True))
    return strided and growth <= (WASTE if filters[1] < WIDE else WASTE_OF_WIDE) and not _pointwise(filters, slide)


def _pixels(filters: tuple[int, ...], slide: Slide, size: Sequence[int]) -> int:
    """Returns how many neighboring pixels of the result one step computes."""
    if slide.groups > 1 or slide.dilations[-1] > 1:
        return 1
    most = slide.steps(size, filters[2:])[-1] // 2
    filled = FILLED_FROM_FEW if filters[1] <= FEW else FILLED
    return next((n for n in (8, 4, 2) if n <= most and n * filters[0] <= filled), 1)


# XLA for CPUs has fast convolutions if the axes of the filters are (kernel..., c, o).  It changes the order itself, but
# not in loops, such as those over the batches of an iteration, where a step took 30 times as long.


def _in_order(x: Array, w: Array, slide: Slide) -> Array:
    """`reference`, with the axes in the order that is fast everywhere."""
    axes = "0123456789"[: len(slide.strides)]
    names = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    return lax.conv_general_dilated(
        x,
        jnp.moveaxis(w, (0, 1), (-1, -2)),
        slide.strides,
        slide.pads,
        rhs_dilation=slide.dilations,
        dimension_numbers=names,
        feature_group_count=slide.groups,
    )


def _to_image_in_order(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """`transposed_reference` of one group: the turned filters slide by 1 over y, with zeros between its pixels."""
    axes = "0123456789"[: len(size)]
    rows = zip(size, y.shape[1:-1], w.shape[2:], slide.strides, slide.pads, slide.dilations, strict=True)
    pads = [(d * (k - 1) - low, size + low - s * (n - 1) - 1) for size, n, k, s, (low, _), d in rows]
    return lax.conv_general_dilated(
        y,
        jnp.moveaxis(_turned(w), (0, 1), (-1, -2)),
        (1,) * len(size),
        pads,
        lhs_dilation=slide.strides,
        rhs_dilation=slide.dilations,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def _to_filters_in_order(x: Array, y: Array, slide: Slide, kernel: Sequence[int]) -> Array:
    """The gradient of the filters of one group as a convolution: channels of x are images, and y contains the filters.

    The batch is what is summed over; strides and dilations change roles."""
    axes = "0123456789"[: len(kernel)]
    rows = zip(x.shape[1:-1], y.shape[1:-1], kernel, slide.strides, slide.pads, slide.dilations, strict=True)
    pads = [(low, d * (k - 1) + s * (n - 1) + 1 - size - low) for size, n, k, s, (low, _), d in rows]
    w = lax.conv_general_dilated(
        jnp.swapaxes(x, 0, -1),  # (c, size..., n)
        jnp.moveaxis(y, 0, -2),  # (steps..., n, o)
        slide.dilations,
        pads,
        rhs_dilation=slide.strides,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )  # (c, kernel..., o)
    return jnp.moveaxis(w, -1, 0)


def _padded(x: Array, slide: Slide) -> Array:
    return jnp.pad(x, [(0, 0), *slide.pads, (0, 0)])


def _sampled(x: Array, slide: Slide) -> Array:
    """Returns the pixels (n, steps..., c) at which 1x1 filters are applied."""
    axes = x.ndim - 2
    steps = slide.steps(x.shape[1:-1], (1,) * axes)
    return _padded(x, slide)[(slice(None), *slide.windows((0,) * axes, steps))]


def _narrow_first(y: Array, x: Array) -> Array:
    """Returns y^T x, (o, c), of pixels y (m, o) and x (m, c).

    XLA's product of many pixels takes up to twice as long if the wider array is the first one.  The barrier keeps XLA
    from merging the product and the transposition."""
    return y.T @ x if y.shape[1] <= x.shape[1] else lax.optimization_barrier(x.T @ y).T


def _by_rows(x: Array, w: Array, slide: Slide, pixels: int) -> Array:
    """Each step computes a row of pixels of the result, (n, ..., width / pixels, pixels * o), because one vector
    contains neighboring channels and would be half empty if these are few.  The filters are shifted to each pixel."""
    steps, stride, kernel = slide.steps(x.shape[1:-1], w.shape[2:])[-1], slide.strides[-1], w.shape[-1]
    shifted = [jnp.pad(w, [(0, 0)] * (w.ndim - 1) + [(i * stride, (pixels - 1 - i) * stride)]) for i in range(pixels)]
    filters = jnp.stack(shifted).reshape(-1, *shifted[0].shape[1:])
    turns, low = -(-steps // pixels), slide.pads[-1][0]
    high = (turns * pixels - 1) * stride + kernel - x.shape[-2] - low
    high = high if high <= -stride * pixels else max(0, high)  # it crops pixels only if they were another step
    rows = replace(slide, strides=(*slide.strides[:-1], stride * pixels), pads=(*slide.pads[:-1], (low, high)))
    y = _in_order(x, filters, rows)
    return y.reshape(*y.shape[:-2], turns * pixels, w.shape[0])[..., :steps, :]


def _turned(w: Array) -> Array:
    """Returns the filters that transpose a convolution with stride 1."""
    return jnp.flip(w.swapaxes(0, 1), range(2, w.ndim))


def _turned_slide(slide: Slide, kernel: Sequence[int]) -> Slide:
    """Returns how these filters slide."""
    rows = zip(slide.pads, kernel, slide.dilations, strict=True)
    return replace(slide, pads=tuple((d * (k - 1) - low, d * (k - 1) - high) for (low, high), k, d in rows))


# One channel per group: w (g m, 1, kernel...), for m results per channel.


def once(function: Callable[..., Array], *arrays: Array) -> Array:
    """Returns function(*arrays), computed once: the condition, which the compiler does not know to be true, prevents it
    from computing the arrays or the result again in every loop that reads them."""
    made = jax.eval_shape(function, *arrays)
    always = lax.optimization_barrier(jnp.bool_(True))
    return lax.cond(always, function, lambda *_: jnp.zeros(made.shape, made.dtype), *arrays)


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
    steps, image = slide.steps(x.shape[1:-1], kernel), _padded(x, slide)[..., None]
    total: Any = 0
    for offsets in _offsets(kernel):
        shifted = image[(slice(None), *slide.windows(offsets, steps))]  # (n, steps..., c, 1)
        total = total + shifted * filters[offsets]  # (n, steps..., c, m)
    return total.reshape(*total.shape[:-2], -1)


def _to_filters_by_elements(x: Array, y: Array, slide: Slide, shape: tuple[int, ...]) -> Array:
    """The products of the shifted images and y, summed over the batch and then, by a product with ones, over pixels."""
    kernel, c = shape[2:], x.shape[-1]
    steps, image = slide.steps(x.shape[1:-1], kernel), _padded(x, slide)[..., None]
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


# The transpose of a strided convolution, on blocks of pixels.


def _to_image_by_blocks(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """Blocks of pixels are channels: (n, blocks..., strides... * c), so that the stride is 1."""
    kernel, axes = w.shape[2:], len(size)
    blocks = [n - 1 - (-k // s) for n, k, s in zip(y.shape[1:-1], kernel, slide.strides, strict=True)]
    dense = Slide((1,) * axes, ((0, 0),) * axes, (1,) * axes)
    folded = to_image_on_cpu(y, _fold_filters(w, slide), dense, blocks)  # (n, blocks..., c * strides...)
    x = folded.reshape(*folded.shape[:-1], w.shape[1], *slide.strides)
    order = [0, *(axis for i in range(axes) for axis in (1 + i, 2 + axes + i)), 1 + axes]
    x = x.transpose(order).reshape(y.shape[0], *(b * s for b, s in zip(blocks, slide.strides, strict=True)), w.shape[1])
    edges = [
        (-low, n + low - b * s, 0) for n, (low, _), b, s in zip(size, slide.pads, blocks, slide.strides, strict=True)
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _fold_filters(w: Array, slide: Slide) -> Array:
    """Folds blocks of elements into channels: (o, c * strides..., blocks...)."""
    edges = [(0, -k % s) for k, s in zip(w.shape[2:], slide.strides, strict=True)]
    w = jnp.pad(w, [(0, 0), (0, 0), *edges])
    sides = list(zip(w.shape[2:], slide.strides, strict=True))
    w = w.reshape(*w.shape[:2], *(part for size, s in sides for part in (size // s, s)))
    inner, outer = range(3, w.ndim, 2), range(2, w.ndim, 2)
    w = w.transpose(0, 1, *inner, *outer)
    return w.reshape(w.shape[0], -1, *w.shape[2 + len(sides) :])
