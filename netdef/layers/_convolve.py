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

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from ..lazy import Array, jax, jnp, lax
from ._depthwise import depthwise, depthwise_to_filters, depthwise_to_image
from ._platform import in_float32, on_cpu
from ._product import rows_product
from ._slide import Slide, padded

MOST_PARTS = 64  # up to this many groups, each is a separate convolution
WASTE, WASTE_OF_WIDE = 2.0, 1.5  # maximum factor by which folding may enlarge a filter; of WIDE channels or more
WIDE = 32
FILLED, FILLED_FROM_FEW, FEW = 40, 96, 4  # most values of the result in one step; if the image has FEW channels


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
        return depthwise(x, w, slide)
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
        return depthwise_to_image(y, w, slide, size)
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
        return depthwise_to_filters(x, y, slide, shape)
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
    return _slid(x, jnp.moveaxis(w, (0, 1), (-1, -2)), slide)


def _to_image_in_order(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """`transposed_reference` of one group: the turned filters slide by 1 over y, with zeros between its pixels."""
    rows = zip(size, y.shape[1:-1], w.shape[2:], slide.strides, slide.pads, slide.dilations, strict=True)
    pads = tuple((d * (k - 1) - low, size + low - s * (n - 1) - 1) for size, n, k, s, (low, _), d in rows)
    turned = jnp.moveaxis(_turned(w), (0, 1), (-1, -2))
    return _slid(y, turned, Slide((1,) * len(size), pads, slide.dilations), slide.strides)


def _to_filters_in_order(x: Array, y: Array, slide: Slide, kernel: Sequence[int]) -> Array:
    """The gradient of the filters of one group as a convolution: channels of x are images, and y contains the filters.

    The batch is what is summed over; strides and dilations change roles."""
    rows = zip(x.shape[1:-1], y.shape[1:-1], kernel, slide.strides, slide.pads, slide.dilations, strict=True)
    pads = tuple((low, d * (k - 1) + s * (n - 1) + 1 - size - low) for size, n, k, s, (low, _), d in rows)
    images, filters = jnp.swapaxes(x, 0, -1), jnp.moveaxis(y, 0, -2)  # (c, size..., n), (steps..., n, o)
    w = _slid(images, filters, Slide(slide.dilations, pads, slide.strides))  # (c, kernel..., o)
    return jnp.moveaxis(w, -1, 0)


def _slid(x: Array, filters: Array, slide: Slide, apart: tuple[int, ...] | None = None) -> Array:
    """XLA's convolution of x (n, size..., c) with filters (kernel..., c / groups, o); `apart`: distance between the
    pixels of x, with zeros between them."""
    axes = "0123456789"[: len(slide.strides)]
    return lax.conv_general_dilated(
        x,
        filters,
        slide.strides,
        slide.pads,
        lhs_dilation=apart,
        rhs_dilation=slide.dilations,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=slide.groups,
    )


def _sampled(x: Array, slide: Slide) -> Array:
    """Returns the pixels (n, steps..., c) at which 1x1 filters are applied."""
    axes = x.ndim - 2
    steps = slide.steps(x.shape[1:-1], (1,) * axes)
    return padded(x, slide)[(slice(None), *slide.windows((0,) * axes, steps))]


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
