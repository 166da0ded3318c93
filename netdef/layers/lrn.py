"""Local response normalization: LRN."""

from __future__ import annotations

import enum
from typing import Any

from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, show
from ._engine import Engine, engine
from ._reduce_windows import Windows, window_sum
from .base import Context, Example, Layer


class NormRegion(enum.Enum):
    """The neighbors over which squares are summed."""

    ACROSS_CHANNELS = 0
    WITHIN_CHANNEL = 1


class LRN(Layer, type="LRN", block="lrn_param"):
    """y = x (k + alpha / n S)^-beta, where S is the sum of x^2 over the n = `local_size` channels around x.

    With WITHIN_CHANNEL, y = x (1 + alpha / n^2 S)^-beta, where S is the sum over the n x n pixels around x in its
    channel.
    Bottoms: x (n, c, h, w).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/lrn_layer.cpp; Krizhevsky et al. 2012.
    Differs: any number of spatial axes.  As in Caffe, WITHIN_CHANNEL ignores `k`.
    """

    family = "normalization"
    float32, float32_tops = "its sum of squares counts little beside `k`", False

    local_size: int = param("n: number of channels, or side of the square; odd.", default=5, at_least=1)
    alpha: float = param("Weight of the sum of squares.", default=1.0)
    beta: float = param("Exponent.", default=0.75)
    norm_region: NormRegion = param("The neighbors over which squares are summed.", default=NormRegion.ACROSS_CHANNELS)
    k: float = param("Added to the sum (ACROSS_CHANNELS).", default=1.0)
    engine: Engine = engine()

    examples = (
        Example(
            'layer { name: "norm" type: "LRN" bottom: "x" top: "norm" lrn_param { local_size: 3 alpha: 0.1 } }',
            {"x": (2, 6, 3, 4)},
        ),
        Example(
            'layer { name: "norm" type: "LRN" bottom: "x" top: "norm"\n'
            "        lrn_param { local_size: 3 alpha: 0.1 norm_region: WITHIN_CHANNEL } }",
            {"x": (2, 3, 5, 4)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        if self.local_size % 2 == 0:
            raise ShapeError(
                f"`local_size` is {self.local_size}; it must be odd: {self.local_size - 1} or {self.local_size + 1}.",
                field="local_size",
            )
        first = self._first_axis()
        if len(x) <= first:
            raise ShapeError(
                f"the input {show(x)} has {len(x)} axes, but {self.norm_region.name} requires at least {first + 1}.",
                bottom=0,
            )
        return x

    def _first_axis(self) -> int:
        return 1 if self.norm_region is NormRegion.ACROSS_CHANNELS else 2

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        n, first = self.local_size, self._first_axis()
        axes = [1] if first == 1 else range(2, x.ndim)
        windows = [Windows(axis, n, 1, n // 2, x.shape[axis]) for axis in axes]
        squares = window_sum(x * x, windows)
        base = (self.k if first == 1 else 1.0) + (self.alpha / n ** len(windows)) * squares
        return x * _power(base, -self.beta)

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return 0


def _power(base: Array, exponent: float) -> Array:
    """Returns base ** exponent, with roots for common exponents: several times faster than a power."""
    if exponent == -0.75:
        root = lax.rsqrt(base)
        return root * jnp.sqrt(root)
    return lax.rsqrt(base) if exponent == -0.5 else base**exponent
