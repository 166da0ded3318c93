"""The modules and functions of ejected models. They use only JAX and Flax, and their source is copied unchanged.

Each computes the same as the layer of its name in phase TEST, with the same operations, so that results are equal bit
for bit. The functions of `layers._convolve`, `_depthwise` and `_reduce_windows` that they call are copied too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.core import Tracer

from ...forward import options_for_cpus, trimmed
from ...layers._channels import with_channels_first, with_channels_last
from ...layers._convolve import reference, to_image_on_cpu, transposed_reference, value_on_cpu
from ...layers._detecting import Detecting, detections
from ...layers._platform import on_cpu
from ...layers._product import rows_product
from ...layers._reduce_windows import UNROLLED, Windows, _plain, _plain_sum, window_argmax, window_elements
from ...layers._slide import Slide
from ...layers.inner_product import NORM_EPS
from ...layers.prior_box import prior_boxes
from ...layers.resampling import unpool

Array = jax.Array
LAYERS = (Detecting, detections, prior_boxes, unpool)  # functions of layers that are copied as they are


def run(graph: Any, state: Any, *inputs: Array) -> dict[str, Array]:
    """Runs `forward` of a model, given as the result of nnx.split: as one compiled program, unless it is called within
    one."""
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((state, inputs)))
    return (forward if traced else program())(graph, state, *inputs)


@cache
def program() -> Any:
    return jax.jit(forward, static_argnums=0, compiler_options=options_for_cpus() or None)


def forward(graph: Any, state: Any, *inputs: Array) -> dict[str, Array]:
    return nnx.merge(graph, state).forward(*inputs)


def without_empty_rows(blobs: dict[str, Array], padded: Sequence[str]) -> dict[str, Array]:
    """The blobs without the rows of -1 that follow the detections in a compiled program."""
    return {name: trimmed(array) if name in padded else array for name, array in blobs.items()}


def convolve(x: Array, w: Array, slide: Slide) -> Array:
    """y[n, o] = sum over c and the window of w[o, c] x[n, c], by XLA's convolution or the fastest form for a CPU."""
    choose = lambda form: lambda x, w: form(x, w, slide)
    x = with_channels_last(x)
    return with_channels_first(on_cpu(choose(value_on_cpu), choose(reference), x, w))


def spread(y: Array, w: Array, slide: Slide, size: Sequence[int]) -> Array:
    """The transpose of `convolve`, from y (n, o, ...) to an image (n, c, size...)."""
    choose = lambda form: lambda y, w: form(y, w, slide, size)
    y = with_channels_last(y)
    return with_channels_first(on_cpu(choose(to_image_on_cpu), choose(transposed_reference), y, w))


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


class Deconvolution(nnx.Module):
    """The transpose of a convolution, from images (n, in, ...) to images (n, out, size...)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Sequence[int],
        size: Sequence[int],
        strides: Sequence[int] = (),
        padding: Sequence[int | tuple[int, int]] = (),
        kernel_dilation: Sequence[int] = (),
        feature_group_count: int = 1,
        use_bias: bool = True,
    ):
        self.weight = nnx.Param(jnp.zeros((in_features, out_features // feature_group_count, *kernel_size)))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.slide = slide(kernel_size, strides, padding, kernel_dilation, feature_group_count)
        self.size = tuple(size)

    def __call__(self, x: Array) -> Array:
        y = spread(x, self.weight[...], self.slide, self.size)
        return y if self.bias is None else y + self.bias[...].reshape(-1, *(1,) * (x.ndim - 2))


class InnerProduct(nnx.Module):
    """y = W x + b over all axes of x from `axis` on; W is (out, in)."""

    def __init__(self, in_features: int, out_features: int, use_bias: bool = True, axis: int = 1):
        self.weight = nnx.Param(jnp.zeros((out_features, in_features)))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.axis = axis

    def __call__(self, x: Array) -> Array:
        y = rows_product(x.reshape(*x.shape[: self.axis], -1), self.weight[...])
        return y if self.bias is None else y + self.bias[...]


class UnitProduct(nnx.Module):
    """y = W x, with each row of W (out, in) normalized to length 1."""

    def __init__(self, in_features: int, out_features: int, use_bias: bool = True, axis: int = 1):
        self.weight = nnx.Param(jnp.zeros((out_features, in_features)))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.axis = axis

    def __call__(self, x: Array) -> Array:
        rows = self.weight[...]
        rows = rows * lax.rsqrt(jnp.sum(rows * rows, 1, keepdims=True) + NORM_EPS)
        y = rows_product(x.reshape(*x.shape[: self.axis], -1), rows)
        return y if self.bias is None else y + self.bias[...]


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


class Bias(nnx.Module):
    """y = x + b, where the first axis of b is axis `axis` of x, and missing axes are broadcast."""

    def __init__(self, shape: Sequence[int], axis: int = 1):
        self.bias = nnx.Param(jnp.zeros(shape))
        self.axis = axis

    def __call__(self, x: Array) -> Array:
        b = self.bias[...]
        return x + b.reshape(*b.shape, *(1,) * (x.ndim - self.axis - b.ndim))


class PReLU(nnx.Module):
    """y = x where x > 0, and a x elsewhere, with one slope a per channel or for all channels."""

    def __init__(self, shape: Sequence[int]):
        self.slope = nnx.Param(jnp.full(shape, 0.25))

    def __call__(self, x: Array) -> Array:
        return jnp.where(x > 0, x, self.slope[...].reshape(-1, *(1,) * (x.ndim - 2)) * x)


class Embed(nnx.Module):
    """y = row x of W, plus b."""

    def __init__(self, num_embeddings: int, features: int, use_bias: bool = True):
        self.weight = nnx.Param(jnp.zeros((num_embeddings, features)))
        self.bias = nnx.Param(jnp.zeros(features)) if use_bias else None

    def __call__(self, x: Array) -> Array:
        rows = x.astype(jnp.int32)
        rows = jnp.where(rows < 0, self.weight.shape[0], rows)  # out of range, not counted from the end
        y = jnp.take(self.weight[...], rows, axis=0, mode="fill", fill_value=jnp.nan)
        return y if self.bias is None else y + self.bias[...]


def largest(x: Array, windows: Sequence[Windows]) -> Array:
    """The largest element of each window."""
    return on_cpu(lambda x: reduce(largest_along, windows, x), lambda x: _plain(x, windows, -jnp.inf, lax.max), x)


def largest_along(x: Array, windows: Windows) -> Array:
    """The largest element of each window along one axis."""
    if windows.size > UNROLLED and not windows.whole(x):
        return _plain(x, [windows], -jnp.inf, lax.max)
    return window_argmax(x, windows)[0]


def total(x: Array, windows: Sequence[Windows]) -> Array:
    """The sum of each window; elements outside the data are 0."""
    return on_cpu(lambda x: reduce(total_along, windows, x), lambda x: _plain_sum(x, windows), x)


def total_along(x: Array, windows: Windows) -> Array:
    """The sum of each window along one axis."""
    if windows.size > UNROLLED and not windows.whole(x):
        return _plain(x, [windows], 0.0, lax.add)
    if windows.whole(x):
        return jnp.sum(x, windows.axis, keepdims=True)
    return reduce(jnp.add, window_elements(x, windows, 0))


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


def lrn(x: Array, size: int, alpha: float, beta: float, k: float = 1.0, axes: Sequence[int] = (1,)) -> Array:
    """x / (k + alpha times the mean of the squares of `size` neighbors along each axis) ^ beta."""
    windows = [Windows(axis, size, 1, size // 2, x.shape[axis]) for axis in axes]
    base = k + (alpha / size ** len(axes)) * total(x * x, windows)
    if beta == 0.75:
        root = lax.rsqrt(base)
        return x * (root * jnp.sqrt(root))
    return x * (lax.rsqrt(base) if beta == 0.5 else base**-beta)


def standardize(x: Array, axis: int, eps: float, divide: bool = True) -> Array:
    """x minus its mean over all axes from `axis` on, divided by its standard deviation over these axes."""
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    centered = rows - rows.mean(axis=-1, keepdims=True)
    if divide:
        centered = centered / (jnp.sqrt((centered * centered).mean(axis=-1, keepdims=True)) + eps)
    return centered.reshape(x.shape)


def unit_length(x: Array) -> Array:
    """x divided by its length along the channels."""
    return x / jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True) + 1e-6)


class ScaledUnit(nnx.Module):
    """x divided by its length along the channels (or along all axes but the first), times a learned scale."""

    def __init__(self, shape: Sequence[int], eps: float, across_spatial: bool):
        self.scale = nnx.Param(jnp.ones(shape))
        self.eps, self.across_spatial = eps, across_spatial

    def __call__(self, x: Array) -> Array:
        axes = tuple(range(1, x.ndim)) if self.across_spatial else 1
        inverse = lax.rsqrt(jnp.sum(x * x, axis=axes, keepdims=True) + self.eps)
        return x * inverse * self.scale[...].reshape(-1, *(1,) * (x.ndim - 2))


def largest_of(first: Array, second: Array, *others: Array) -> Array:
    """The elementwise maximum of several arrays."""
    return reduce(lambda y, x: jnp.where(x > y, x, y), others, jnp.where(first > second, first, second))
