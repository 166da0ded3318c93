"""Pooling layers, which reduce each window of an image to one value: Pooling, SPP, GlobalPooling."""

from __future__ import annotations

import enum
import math
from dataclasses import replace
from functools import reduce
from typing import Any

from ..lazy import Array, jax, jnp, np
from ..schema import param
from ..shape import UNKNOWN, Dim, Shape, ShapeError, axis_of, count, known, show
from ._engine import Engine, engine
from ._reduce_windows import Windows, window_argmax, window_elements, window_max, window_sum
from ._window import SIDES, Pads, axis_names, padding, per_axis, side_field, window_words
from .base import Context, Example, Layer


class PoolMethod(enum.Enum):
    """How a window is reduced."""

    MAX = 0
    AVE = 1
    STOCHASTIC = 2
    AVE_EXC_PAD = 3
    AVE_TF = 3  # the older name of AVE_EXC_PAD

    @property
    def is_mean(self) -> bool:
        return self in (PoolMethod.AVE, PoolMethod.AVE_EXC_PAD)


class RoundMode(enum.Enum):
    """How the number of windows is rounded."""

    CEIL = 0
    FLOOR = 1


class Pooling(Layer, type="Pooling", block="pooling_param"):
    """y = the maximum, the mean or a random element of each window.

    Bottoms: x (n, c, spatial...).
    Tops: y (n, c, ceil((size + 2 pad - kernel) / stride) + 1 ...), without a last window that starts in the padding;
    with MAX, optionally the position of each maximum, row * width + column, same shape as y.
    AVE divides by the area of the window inside the padded image; AVE_EXC_PAD, also named AVE_TF, by its area inside
    the image, as in TensorFlow.  STOCHASTIC expects x >= 0: it samples an element
    with probability proportional to its value and, in phase TEST, outputs sum x^2 / sum x (Zeiler and Fergus 2013).
    The gradient of MAX goes to the first maximum in case of ties.
    Source: BVLC/caffe src/caffe/layers/pooling_layer.cpp, pooling_layer.cu; `ceil_mode`: the fork of the DenseNet nets;
    AVE_EXC_PAD and the padding of each side: synopsys-caffe.
    Differs: any number of spatial axes; a window entirely outside the image is 0 (Caffe: -FLT_MAX or NaN).
    """

    family = "pooling"
    n_tops = (1, 2)

    pool: PoolMethod = param("How a window is reduced.", default=PoolMethod.MAX)
    kernel_size: tuple[int, ...] = param(
        "Size of the window: one value, or one per spatial axis.", default=(), at_least=1
    )
    kernel_h: int | None = param("Height of the window.", default=None, at_least=1)
    kernel_w: int | None = param("Width of the window.", default=None, at_least=1)
    stride: tuple[int, ...] = param(
        "Step of the window: one value, or one per spatial axis; 1 if not given.", default=(), at_least=1
    )
    stride_h: int | None = param("Vertical step.", default=None, at_least=1)
    stride_w: int | None = param("Horizontal step.", default=None, at_least=1)
    pad: tuple[int, ...] = param(
        "Padding at each end: one value, or one per spatial axis; 0 if not given.", default=(), at_least=0
    )
    pad_h: int | None = param("Padding above and below.", default=None, at_least=0)
    pad_w: int | None = param("Padding left and right.", default=None, at_least=0)
    pad_t: int | None = side_field("Padding above")
    pad_b: int | None = side_field("Padding below")
    pad_l: int | None = side_field("Padding on the left")
    pad_r: int | None = side_field("Padding on the right")
    global_pooling: bool = param("Whether the window is the whole image.", default=False)
    round_mode: RoundMode = param(
        "How the number of windows is rounded; CEIL includes a last partial window.", default=RoundMode.CEIL
    )
    ceil_mode: bool | None = param("The name of `round_mode` in a fork: true is CEIL, false FLOOR.", default=None)
    engine: Engine = engine()

    examples = (
        Example(
            'layer { name: "pool" type: "Pooling" bottom: "x" top: "pool"\n'
            "        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }",
            {"x": (2, 3, 7, 6)},
            differentiable=False,
        ),
        Example(
            'layer { name: "pool" type: "Pooling" bottom: "x" top: "pool"\n'
            "        pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 round_mode: FLOOR } }",
            {"x": (2, 3, 7, 6)},
        ),
        Example(
            'layer { name: "pool" type: "Pooling" bottom: "x" top: "pool"\n'
            "        pooling_param { pool: AVE global_pooling: true } }",
            {"x": (2, 3, 5, 4)},
        ),
    )

    def details(self) -> list[str]:
        return [*(["global"] if self.global_pooling else []), self.pool.name.lower(), *window_words(self)]

    def needs_float32(self) -> str | None:
        return "bfloat16 has no odd position above 256" if len(self.top) > 1 else None

    def infer(self, x: Shape) -> list[Shape]:
        if len(x) < 3:
            raise ShapeError(
                f"the input {show(x)} has {len(x)} axes; pooling requires batch, channels and a spatial axis or more.",
                bottom=0,
            )
        masked = len(self.top) > 1
        if masked and self.pool is not PoolMethod.MAX:
            raise ShapeError(
                f"{len(self.top)} tops are given, but `pool` is {self.pool.name}; only MAX has a second top.",
                field="top",
            )
        kernel, stride, pad = self._kernel(x), self._strides(x), self.pads(x)
        self._check(kernel, stride, pad)
        spatial = zip(x[2:], kernel, stride, pad, axis_names(len(x) - 2), strict=True)
        padded = any(map(any, pad))
        shape = (*x[:2], *(self._steps(*axis, padded=padded) for axis in spatial))
        return [shape] * (2 if masked else 1)

    def _kernel(self, x: Shape) -> Shape:
        if not self.global_pooling:
            return per_axis(self, "kernel_size", "kernel", len(x) - 2)
        given = next((f for f in ("kernel_size", "kernel_h", "kernel_w") if getattr(self, f)), None)
        if given:
            raise ShapeError(
                f"`{given}` is given, but with `global_pooling` the window is the whole image; remove one of them.",
                field=given,
            )
        return x[2:]

    def _strides(self, x: Shape) -> tuple[int, ...]:
        return per_axis(self, "stride", "stride", len(x) - 2, 1)

    def pads(self, x: Shape) -> Pads:
        return padding(self, len(x) - 2)

    def _check(self, kernel: Shape, stride: tuple[int, ...], pads: Pads) -> None:
        most = max(map(max, pads))
        name = next((name for name in SIDES if getattr(self, name)), "pad")
        if self.global_pooling and (most or any(s != 1 for s in stride)):
            field = name if most else "stride"
            raise ShapeError(f"`global_pooling` requires pad 0 and stride 1; remove `{field}`.", field=field)
        if most and self.pool is PoolMethod.STOCHASTIC:
            raise ShapeError(f"`{name}` is {most}, but STOCHASTIC pooling has no padding; use MAX or AVE.", field=name)
        for k, pad in zip(kernel, pads, strict=True):
            if max(pad) >= k and max(pad) > 0:
                raise ShapeError(
                    f"`{name}` is {max(pad)}, but the window is only {k}; it must be less than the window, at most "
                    f"{k - 1}.",
                    field=name,
                )
        if (
            self.given("round_mode")
            and self.ceil_mode is not None
            and self._ceil != (self.round_mode is RoundMode.CEIL)
        ):
            raise ShapeError(
                f"`ceil_mode: {str(self.ceil_mode).lower()}` contradicts `round_mode: {self.round_mode.name}`; "
                "remove one of them.",
                field="ceil_mode",
            )

    @property
    def _ceil(self) -> bool:
        return self.round_mode is RoundMode.CEIL if self.ceil_mode is None else self.ceil_mode

    def _steps(self, size: Dim, kernel: Dim, stride: int, pad: tuple[int, int], axis: str, *, padded: bool) -> Dim:
        """Returns the number of windows along an axis."""
        room = size + sum(pad) - kernel
        steps = (-(-room // stride) if self._ceil else room // stride) + 1
        if padded and (steps - 1) * stride >= size + pad[0]:
            steps = steps - 1  # it would start in the padding
        if steps < 1:
            raise ShapeError(
                f"the {axis} of the window is {kernel}, but the {axis} of the input is only {size}"
                f"{f' ({size + sum(pad)} with padding)' if any(pad) else ''}; use a smaller window.",
                field="kernel_size",
            )
        return steps

    def windows(self, x: Shape) -> list[Windows]:
        """Returns the windows that overlap the image, last axis first."""
        rows = zip(x[2:], self._kernel(x), self._strides(x), self.pads(x), self.infer(x)[0][2:], strict=True)
        found = [
            Windows(2 + i, kernel, stride, pad, min(steps, (size + pad - 1) // stride + 1))
            for i, (size, kernel, stride, (pad, _), steps) in enumerate(rows)
        ]
        return found[::-1]

    def channels_last(self, *bottoms: Shape) -> bool:
        return self.pool is not PoolMethod.STOCHASTIC and len(self.top) < 2

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> list[Array]:
        shape = (x.shape[0], x.shape[-1], *x.shape[1:-1]) if ctx.channels_last else x.shape
        tops = self.infer(shape)
        windows = self.windows(shape)
        areas: Any = self._areas(shape, windows) if self.pool.is_mean else 1
        if ctx.channels_last:
            windows = [replace(v, axis=v.axis - 1) for v in windows]
            tops = [(top[0], *top[2:], top[1]) for top in tops]
            areas = areas[..., None] if np.ndim(areas) else areas
        if self.pool.is_mean:
            made = [window_sum(x, windows) / areas]
        elif self.pool is PoolMethod.STOCHASTIC:
            made = [_sample(x, windows, ctx.rng()) if ctx.train else _expect(x, windows)]
        else:
            made = [window_max(x, windows)]
            if len(tops) > 1:
                made.append(_where(x, windows))
        # With a stride larger than the window, windows can lie entirely outside the image; they are 0.
        return [jnp.pad(y, [(0, t - s) for s, t in zip(y.shape, tops[0], strict=True)]) for y in made]

    def _areas(self, x: Shape, windows: list[Windows]) -> Any:
        """Returns the divisor of each sum, broadcast over the image: a scalar if it is the same everywhere."""
        padded, pads = self.pool is PoolMethod.AVE, self.pads(x)
        area = np.ones((1,) * (len(x) - 2), np.float32)
        for v in windows:
            starts = np.arange(v.steps) * v.stride - v.before
            ends = np.minimum(starts + v.size, x[v.axis] + (pads[v.axis - 2][1] if padded else 0))
            lengths = ends - (starts if padded else np.maximum(starts, 0))
            area = area * lengths.reshape(-1, *(1,) * (len(x) - v.axis - 1)).astype(np.float32)
        return area if np.ptp(area) else area.flat[0]


def _where(x: Array, windows: list[Windows]) -> Array:
    """Returns the position of each first maximum in its image, in row-major order, as floats (n, c, steps...)."""
    image = x.shape[2:]
    place = jnp.broadcast_to(jnp.arange(math.prod(image)).reshape(image), x.shape)
    for v in windows:
        x, offset = window_argmax(x, v)
        places = window_elements(place, v, 0)
        place = reduce(jnp.add, [jnp.where(offset == i, p, 0) for i, p in enumerate(places)])
    return place.astype(x.dtype)


def _sample(x: Array, windows: list[Windows], key: Array) -> Array:
    """Samples an element of each window with probability proportional to its value."""
    elements = [x]
    for v in windows:
        elements = [e for part in elements for e in window_elements(part, v, 0)]
    stacked = jnp.stack(elements)  # (elements, n, c, steps...)
    reached = jnp.cumsum(stacked, 0)
    draw = jax.random.uniform(key, reached.shape[1:], x.dtype) * reached[-1]
    chosen = jnp.argmax(reached >= draw, 0, keepdims=True)  # the first element whose cumulative sum reaches the draw
    return jnp.take_along_axis(stacked, chosen, 0)[0]


def _expect(x: Array, windows: list[Windows]) -> Array:
    """Returns the expectation of `_sample`: sum x^2 / sum x, or 0 if all of x is 0."""
    total = window_sum(x, windows)
    some = total > 0
    return jnp.where(some, window_sum(x * x, windows) / jnp.where(some, total, 1), 0)


class SPP(Layer, type="SPP", block="spp_param"):
    """Spatial pyramid pooling: level i pools the image into 2^i x 2^i bins, and the bins of all levels are
    concatenated.  The length of the output does not depend on the size of the image.

    Bottoms: x (n, c, h, w).  Tops: y (n, c (1 + 4 + 16 + ...)), or (n, c, 1, 1) with one level.
    Source: BVLC/caffe src/caffe/layers/spp_layer.cpp; He et al. 2014.  Differs: nothing.
    """

    family = "pooling"

    pyramid_height: int = param("Number of levels.", at_least=1)
    pool: PoolMethod = param("How a bin is reduced.", default=PoolMethod.MAX)
    engine: Engine = engine()

    examples = (
        Example(
            'layer { name: "spp" type: "SPP" bottom: "x" top: "spp" spp_param { pyramid_height: 2 pool: AVE } }',
            {"x": (2, 3, 6, 5)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        if len(x) != 4:
            raise ShapeError(
                f"the input {show(x)} has {len(x)} axes; SPP requires 4: batch, channels, height, width.", bottom=0
            )
        if not known(x[2:]):
            return (x[0], UNKNOWN) if self.pyramid_height > 1 else (*x[:2], 1, 1)
        pooled = [self._level(i, x).infer(x)[0] for i in range(self.pyramid_height)]
        return pooled[0] if len(pooled) == 1 else (x[0], sum(count(p[1:]) for p in pooled))

    def _level(self, level: int, x: Shape) -> Pooling:
        """Returns the pooling into 2^level bins per side: windows as large as their stride, with padding as needed."""
        bins = 2**level
        sides = tuple(-(-size // bins) for size in x[2:])
        pads = tuple((side * bins - size + 1) // 2 for side, size in zip(sides, x[2:], strict=True))
        for side, pad, size in zip(sides, pads, x[2:], strict=True):
            if pad >= side:
                raise ShapeError(
                    f"`pyramid_height` is {self.pyramid_height}, but {size} pixels cannot be divided into {bins} bins; "
                    f"use fewer levels or larger images.",
                    field="pyramid_height",
                )
        return Pooling(pool=self.pool, kernel_size=sides, stride=sides, pad=pads)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        pooled = [self._level(i, x.shape).apply((), x, ctx=ctx)[0] for i in range(self.pyramid_height)]
        if len(pooled) == 1:
            return pooled[0]
        return jnp.concatenate([p.reshape(p.shape[0], -1) for p in pooled], axis=1)


class GlobalPooling(Layer, type="GlobalPooling", block="global_pooling_param"):
    """y = the mean or the maximum of each channel, over all axes from `axis` on, which are removed.

    Bottoms: x (n, c, any...).  Tops: y (n, c).
    Source: netdef's own, after Lin et al. 2013.
    Differs: in Caffe this is Pooling with `global_pooling`, which keeps axes of length 1.
    """

    family = "pooling"

    pool: PoolMethod = param("The mean (AVE) or the maximum (MAX).", default=PoolMethod.AVE)
    axis: int = param("First axis to pool.", default=2)

    examples = (
        Example('layer { name: "pool" type: "GlobalPooling" bottom: "x" top: "pool" }', {"x": (2, 3, 5, 4)}),
        Example(
            'layer { name: "pool" type: "GlobalPooling" bottom: "x" top: "pool" global_pooling_param { pool: MAX } }',
            {"x": (2, 3, 6)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape) -> Shape:
        if self.pool is PoolMethod.STOCHASTIC:
            raise ShapeError("`pool` is STOCHASTIC; GlobalPooling accepts only AVE and MAX.", field="pool")
        return x[: axis_of(x, self.axis)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        kept = self.infer(x.shape)
        flat = x.reshape(*kept, -1)
        if self.pool.is_mean:
            return jnp.mean(flat, -1)
        return window_max(flat, [Windows(len(kept), flat.shape[-1], 1, 0, 1)])[..., 0]
