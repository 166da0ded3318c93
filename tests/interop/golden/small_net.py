"""small net: a Flax model written by `netdef eject`. It requires only jax, flax and numpy.

    model = load()  # the weights are in small_net.npz, next to this file
    model(data=...)  # returns {name: array}; images are (n, c, h, w)

Input shapes: data (n, 4, 9, 8), for any n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.core import Tracer


class SmallNet(nnx.Module):
    """small net: one line per layer."""

    def __init__(self):
        self.conv_1_3x3 = Convolution(4, 6, kernel_size=(3, 3), strides=(2, 2), padding=(1, 1), use_bias=False)
        self.bn = BatchNorm(6, eps=1e-05, stored="sums")
        self.scale = Scale((6,))
        self.dw = Convolution(6, 6, kernel_size=(3, 3), padding=(1, 1), feature_group_count=6)
        self.ip = InnerProduct(48, 3)

    def __call__(self, data: jax.Array) -> dict[str, jax.Array]:
        """Runs `forward` as one compiled program."""
        return run(*nnx.split(self), data)

    def forward(self, data: jax.Array) -> dict[str, jax.Array]:
        conv = self.conv_1_3x3(data)  # (n, 6, 5, 4)
        conv = self.bn(conv)  # (n, 6, 5, 4)
        conv = self.scale(conv)  # (n, 6, 5, 4)
        conv = jax.nn.relu(conv)  # (n, 6, 5, 4)
        lambda_ = self.dw(conv)  # (n, 6, 5, 4)
        sum = conv + lambda_  # (n, 6, 5, 4)
        norm = lrn(sum, 3, alpha=0.1, beta=0.75)  # (n, 6, 5, 4)
        max = max_pool(norm, (3, 3), strides=(2, 2), steps=(2, 2))  # (n, 6, 2, 2)
        mean = mean_pool(norm, (3, 3), strides=(2, 2), steps=(2, 2))  # (n, 6, 2, 2)
        both = jnp.concatenate([max, mean], axis=1)  # (n, 12, 2, 2)
        ip = self.ip(both)  # (n, 3)
        prob = jax.nn.softmax(ip, axis=1)  # (n, 3)
        return {"prob": prob}


def load(path: str | Path | None = None) -> SmallNet:
    """Returns the model with the weights of an .npz file, by default the one next to this file."""
    model = SmallNet()
    with np.load(path or Path(__file__).with_suffix(".npz")) as arrays:
        for key in arrays.files:
            module, field = key.split("/")
            getattr(getattr(model, module), field)[...] = jnp.asarray(arrays[key])
    return model


Array = jax.Array


def forward(graph: Any, state: Any, *inputs: Array) -> dict[str, Array]:
    return nnx.merge(graph, state).forward(*inputs)


@cache
def options_for_cpus() -> dict[str, str]:
    """Returns the options of programs for a CPU; none on other devices.

    Without them XLA passes convolutions, products and sums to YNNPACK, whose convolutions take 1.2 to 4 times as long
    as XLA's own."""
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a version of XLA without this option
        return {}
    return options


@cache
def program() -> Any:
    return jax.jit(forward, static_argnums=0, compiler_options=options_for_cpus() or None)


def run(graph: Any, state: Any, *inputs: Array) -> dict[str, Array]:
    """Runs `forward` of a model, given as the result of nnx.split: as one compiled program, unless it is called within
    one."""
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((state, inputs)))
    return (forward if traced else program())(graph, state, *inputs)


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


def slide(
    kernel_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int | tuple[int, int]],
    kernel_dilation: Sequence[int],
    groups: int,
) -> Slide:
    """The geometry of a convolution; strides and dilation are 1 by default, padding is 0."""
    axes = len(kernel_size)
    pads = tuple((p, p) if isinstance(p, int) else p for p in padding or (0,) * axes)
    return Slide(tuple(strides) or (1,) * axes, pads, tuple(kernel_dilation) or (1,) * axes, groups)


def with_channels_last(x: Array) -> Array:
    """(n, c, spatial...) to (n, spatial..., c)."""
    return jnp.moveaxis(x, 1, -1)


def with_channels_first(x: Array) -> Array:
    """(n, spatial..., c) to (n, c, spatial...)."""
    return jnp.moveaxis(x, -1, 1)


def on_cpu(special: Callable[..., Any], plain: Callable[..., Any], *arrays: Any) -> Any:
    """Returns special(*arrays) in a program for a CPU, and plain(*arrays) in one for any other platform."""
    return lax.platform_dependent(*arrays, cpu=special, default=plain)


def _depthwise(filters: tuple[int, ...], slide: Slide) -> bool:
    return slide.groups > 1 and filters[1] == 1


MOST_PARTS = 64


def _in_parts(slide: Slide) -> bool:
    return 1 < slide.groups <= MOST_PARTS


def _pointwise(filters: tuple[int, ...], slide: Slide) -> bool:
    return slide.groups == 1 and math.prod(filters[2:]) == 1


FILLED_FROM_FEW = 96


FILLED = 40


FEW = 4


def _pixels(filters: tuple[int, ...], slide: Slide, size: Sequence[int]) -> int:
    """Returns how many neighboring pixels of the result one step computes."""
    if slide.groups > 1 or slide.dilations[-1] > 1:
        return 1
    most = slide.steps(size, filters[2:])[-1] // 2
    filled = FILLED_FROM_FEW if filters[1] <= FEW else FILLED
    return next((n for n in (8, 4, 2) if n <= most and n * filters[0] <= filled), 1)


MOST_ELEMENTS = 64


def _many_elements(filters: tuple[int, ...], slide: Slide) -> bool:
    """Returns whether it is faster on blocks of the size of its strides."""
    return math.prod(filters[2:]) > MOST_ELEMENTS and min(slide.strides) > 1 and set(slide.dilations) == {1}


def once(function: Callable[..., Array], *arrays: Array) -> Array:
    """Returns function(*arrays), computed once: the condition, which the compiler does not know to be true, prevents it
    from computing the arrays or the result again in every loop that reads them."""
    made = jax.eval_shape(function, *arrays)
    always = lax.optimization_barrier(jnp.bool_(True))
    return lax.cond(always, function, lambda *_: jnp.zeros(made.shape, made.dtype), *arrays)


def _in_blocks(filters: Array, slide: Slide) -> Array:
    """Returns filters (kernel..., c, m) in blocks of the size of the strides: (turns..., strides..., c, m), with zeros
    after the last elements."""
    sides = list(zip(filters.shape, slide.strides, strict=False))
    filters = jnp.pad(filters, [*((0, -k % s) for k, s in sides), (0, 0), (0, 0)])
    axes = len(sides)
    filters = filters.reshape(*(part for k, s in sides for part in (-(-k // s), s)), *filters.shape[axes:])
    order = (*range(0, 2 * axes, 2), *range(1, 2 * axes, 2), 2 * axes, 2 * axes + 1)
    return filters.transpose(order)


def _image_in_blocks(x: Array, slide: Slide, steps: Sequence[int], turns: Sequence[int]) -> Array:
    """Returns the padded image as (n, block, stride, block, stride, ..., c), for windows of `turns` blocks."""
    blocks = [n + t - 1 for n, t in zip(steps, turns, strict=True)]
    rows = list(zip(x.shape[1:-1], blocks, slide.strides, slide.pads, strict=True))
    edges = [(low, b * s - low - n, 0) for n, b, s, (low, _) in rows]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return x.reshape(x.shape[0], *(length for _, b, s, _ in rows for length in (b, s)), x.shape[-1])


def _by_channel(w: Array, slide: Slide) -> Array:
    """Returns the filters as (kernel..., c, m).

    They are an argument of `once`, which keeps them in memory in this order: neighboring channels are then in one
    vector, and the loop takes a third of the time."""
    return jnp.moveaxis(w.reshape(slide.groups, -1, *w.shape[2:]), (0, 1), (-2, -1))


def _offsets(kernel: Sequence[int]) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, kernel)))


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


def padded(x: Array, slide: Slide) -> Array:
    """Returns the image with its zero padding."""
    return jnp.pad(x, [(0, 0), *slide.pads, (0, 0)])


def _by_elements(x: Array, filters: Array, slide: Slide) -> Array:
    """A sum over the filter's elements, each times the shifted image, which XLA fuses into one loop."""
    kernel = filters.shape[:-2]
    steps, image = slide.steps(x.shape[1:-1], kernel), padded(x, slide)[..., None]
    total: Any = 0
    for offsets in _offsets(kernel):
        shifted = image[(slice(None), *slide.windows(offsets, steps))]  # (n, steps..., c, 1)
        total = total + shifted * filters[offsets]  # (n, steps..., c, m)
    return total.reshape(*total.shape[:-2], -1)


def depthwise(x: Array, w: Array, slide: Slide) -> Array:
    """Returns the convolution (n, steps..., g m) of x (n, spatial..., g)."""
    if _many_elements(w.shape, slide):
        return _by_blocks(x, w, slide)
    return once(lambda x, filters: _by_elements(x, filters, slide), x, _by_channel(w, slide))


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


def rows_product(x: Array, w: Array) -> Array:
    """Returns y (n..., outputs) = x (n..., k) times w (outputs, k) transposed."""
    dtype, rows = jnp.result_type(x, w), x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return _product()(rows.astype(dtype), w.astype(dtype)).reshape(*x.shape[:-1], w.shape[0])


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


def _in_order(x: Array, w: Array, slide: Slide) -> Array:
    """`reference`, with the axes in the order that is fast everywhere."""
    return _slid(x, jnp.moveaxis(w, (0, 1), (-1, -2)), slide)


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


def _sampled(x: Array, slide: Slide) -> Array:
    """Returns the pixels (n, steps..., c) at which 1x1 filters are applied."""
    axes = x.ndim - 2
    steps = slide.steps(x.shape[1:-1], (1,) * axes)
    return padded(x, slide)[(slice(None), *slide.windows((0,) * axes, steps))]


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


def convolve(x: Array, w: Array, slide: Slide) -> Array:
    """y[n, o] = sum over c and the window of w[o, c] x[n, c], by XLA's convolution or the fastest form for a CPU."""
    choose = lambda form: lambda x, w: form(x, w, slide)
    x = with_channels_last(x)
    return with_channels_first(on_cpu(choose(value_on_cpu), choose(reference), x, w))


class Convolution(nnx.Module):
    """A convolution of images (n, in, ...) with filters (out, in / groups, kernel...).

    `padding` is the number of zeros at both ends of each axis, or a pair of numbers (before, after)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Sequence[int],
        strides: Sequence[int] = (),
        padding: Sequence[int | tuple[int, int]] = (),
        kernel_dilation: Sequence[int] = (),
        feature_group_count: int = 1,
        use_bias: bool = True,
    ):
        self.weight = nnx.Param(jnp.zeros((out_features, in_features // feature_group_count, *kernel_size)))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.slide = slide(kernel_size, strides, padding, kernel_dilation, feature_group_count)

    def __call__(self, x: Array) -> Array:
        y = convolve(x, self.weight[...], self.slide)
        return y if self.bias is None else y + self.bias[...].reshape(-1, *(1,) * (x.ndim - 2))


class BatchNorm(nnx.Module):
    """y = scale (x - mean) / sqrt(var + eps) + shift for each channel, with stored statistics.

    `stored`: "averages" if mean and var are stored; "sums" if both are stored multiplied by `factor`; "inverse" if the
    field `var` is 1 / sqrt(var + eps)."""

    def __init__(self, channels: int, eps: float, stored: str = "averages", use_scale: bool = False):
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.factor = nnx.BatchStat(jnp.ones(1)) if stored == "sums" else None
        self.scale = nnx.Param(jnp.ones(channels)) if use_scale else None
        self.shift = nnx.Param(jnp.zeros(channels)) if use_scale else None
        self.eps, self.stored = eps, stored

    def __call__(self, x: Array) -> Array:
        along = lambda v: v.reshape(-1, *(1,) * (x.ndim - 2))
        mean, var = self.mean[...], self.var[...]
        if self.factor is not None:
            factor = self.factor[...]
            weight = jnp.where(factor == 0, 0.0, 1.0 / jnp.where(factor == 0, 1.0, factor))
            mean, var = mean * weight, var * weight
        inverse = var if self.stored == "inverse" else lax.rsqrt(var + self.eps)
        scale = jnp.ones(x.shape[1]) if self.scale is None else self.scale[...]
        shift = jnp.zeros(x.shape[1]) if self.shift is None else self.shift[...]
        return (x - along(mean)) * along(scale * inverse) + along(shift)


class Scale(nnx.Module):
    """y = s x + b, where the first axis of s and b is axis `axis` of x, and missing axes are broadcast."""

    def __init__(self, shape: Sequence[int], axis: int = 1, use_bias: bool = True):
        self.scale = nnx.Param(jnp.ones(shape))
        self.bias = nnx.Param(jnp.zeros(shape)) if use_bias else None
        self.axis = axis

    def __call__(self, x: Array) -> Array:
        spread_out = lambda v: v.reshape(*v.shape, *(1,) * (x.ndim - self.axis - v.ndim))
        y = x * spread_out(self.scale[...])
        return y if self.bias is None else y + spread_out(self.bias[...])


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


UNROLLED = 32


def _plain(x: Array, windows: Sequence[Windows], start: float, reducer: Callable[[Array, Array], Array]) -> Array:
    """The same reduction with XLA's own operation and gradient."""
    sizes, strides, pads = [1] * x.ndim, [1] * x.ndim, [(0, 0)] * x.ndim
    for v in windows:
        sizes[v.axis], strides[v.axis], pads[v.axis] = v.size, v.stride, (v.before, v.after(x))
    return lax.reduce_window(x, np.asarray(start, x.dtype), reducer, sizes, strides, pads)


def _pad(x: Array, axis: int, before: int, after: int, value: Any) -> Array:
    if before == after == 0:
        return x
    edges = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return lax.pad(x, jnp.asarray(value, x.dtype), edges)


def window_elements(x: Array, windows: Windows, outside: Any) -> list[Array]:
    """Returns the first element of every window, the second of every window, and so on; `outside` fills in for
    elements outside the data."""
    axis, last = windows.axis, windows.stride * (windows.steps - 1)
    padded = _pad(x, axis, windows.before, windows.after(x), outside)
    return [lax.slice_in_dim(padded, i, i + last + 1, windows.stride, axis) for i in range(windows.size)]


def total_along(x: Array, windows: Windows) -> Array:
    """The sum of each window along one axis."""
    if windows.size > UNROLLED and not windows.whole(x):
        return _plain(x, [windows], 0.0, lax.add)
    if windows.whole(x):
        return jnp.sum(x, windows.axis, keepdims=True)
    return reduce(jnp.add, window_elements(x, windows, 0))


def _plain_sum(x: Array, windows: Sequence[Windows]) -> Array:
    if all(v.whole(x) for v in windows):
        return jnp.sum(x, [v.axis for v in windows], keepdims=True)
    return _plain(x, windows, 0.0, lax.add)


def total(x: Array, windows: Sequence[Windows]) -> Array:
    """The sum of each window; elements outside the data are 0."""
    return on_cpu(lambda x: reduce(total_along, windows, x), lambda x: _plain_sum(x, windows), x)


def lrn(x: Array, size: int, alpha: float, beta: float, k: float = 1.0, axes: Sequence[int] = (1,)) -> Array:
    """x / (k + alpha times the mean of the squares of `size` neighbors along each axis) ^ beta."""
    windows = [Windows(axis, size, 1, size // 2, x.shape[axis]) for axis in axes]
    base = k + (alpha / size ** len(axes)) * total(x * x, windows)
    if beta == 0.75:
        root = lax.rsqrt(base)
        return x * (root * jnp.sqrt(root))
    return x * (lax.rsqrt(base) if beta == 0.5 else base**-beta)


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


def largest_along(x: Array, windows: Windows) -> Array:
    """The largest element of each window along one axis."""
    if windows.size > UNROLLED and not windows.whole(x):
        return _plain(x, [windows], -jnp.inf, lax.max)
    return window_argmax(x, windows)[0]


def largest(x: Array, windows: Sequence[Windows]) -> Array:
    """The largest element of each window."""
    return on_cpu(lambda x: reduce(largest_along, windows, x), lambda x: _plain(x, windows, -jnp.inf, lax.max), x)


def windows_of(
    kernel: Sequence[int], strides: Sequence[int], padding: Sequence[int], steps: Sequence[int]
) -> list[Windows]:
    """The windows along each spatial axis, the last axis first."""
    axes = len(kernel)
    rows = zip(kernel, strides or (1,) * axes, padding or (0,) * axes, steps, strict=True)
    return [Windows(axis, *row) for axis, row in enumerate(rows, 2)][::-1]


def max_pool(
    x: Array, kernel: Sequence[int], strides: Sequence[int] = (), padding: Sequence[int] = (), *, steps: Sequence[int]
) -> Array:
    """The largest value of each window. `steps` is the number of windows along each axis; the last window may extend
    beyond the image."""
    return largest(x, windows_of(kernel, strides, padding, steps))


def mean_pool(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    padding: Sequence[int] = (),
    *,
    steps: Sequence[int],
    after: Sequence[int] = (),
    padded: bool = True,
) -> Array:
    """The sum of each window divided by its area within the image, or within the padded image; `after` is the padding
    after it, if different from that before it."""
    windows = windows_of(kernel, strides, padding, steps)
    area: Any = np.ones((1,) * (x.ndim - 2), np.float32)
    for v in windows:
        starts = np.arange(v.steps) * v.stride - v.before
        beyond = after[v.axis - 2] if after else v.before
        ends = np.minimum(starts + v.size, x.shape[v.axis] + (beyond if padded else 0))
        lengths = ends - (starts if padded else np.maximum(starts, 0))
        area = area * lengths.reshape(-1, *(1,) * (x.ndim - v.axis - 1)).astype(np.float32)
    return total(x, windows) / (area if np.ptp(area) else area.flat[0])


class InnerProduct(nnx.Module):
    """y = W x + b over all axes of x from `axis` on; W is (out, in)."""

    def __init__(self, in_features: int, out_features: int, use_bias: bool = True, axis: int = 1):
        self.weight = nnx.Param(jnp.zeros((out_features, in_features)))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.axis = axis

    def __call__(self, x: Array) -> Array:
        y = rows_product(x.reshape(*x.shape[: self.axis], -1), self.weight[...])
        return y if self.bias is None else y + self.bias[...]
