"""Element-wise arithmetic: AbsVal, Power, Exp, Log, Clip, Threshold.

Tops have the shape of the bottoms, and every layer can work in place.  Activations are in `activation`.
"""

from __future__ import annotations

import math

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError
from .base import Context, Example, Layer


class Elementwise(Layer):
    """y = f(x), element by element."""

    family = "activation"

    def infer(self, x: Shape) -> Shape:
        return x

    def channels_last(self, *bottoms: Shape) -> bool:
        return True


def example(type: str, block: str = "", differentiable: bool = True) -> tuple[Example, ...]:
    """Returns the one example of a layer with one bottom."""
    text = f'layer {{ name: "y" type: "{type}" bottom: "x" top: "y"{" " + block if block else ""} }}'
    return (Example(text, {"x": (2, 3, 4, 5)}, differentiable=differentiable),)


class AbsVal(Elementwise, type="AbsVal"):
    """y = |x|; the derivative at 0 is 0.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/absval_layer.cpp.  Differs: can work in place, unlike in Caffe.
    """

    examples = example("AbsVal")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.abs(x)


class Power(Elementwise, type="Power", block="power_param"):
    """y = (shift + scale x) ^ power.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/power_layer.cpp.
    Differs: where shift + scale x is 0 the derivative is exact; Caffe divides 0 by 0.
    """

    power: float = param("Exponent.", default=1.0)
    scale: float = param("Factor of x.", default=1.0)
    shift: float = param("Added to scale x.", default=0.0)

    examples = example("Power", "power_param { power: 2 scale: 0.5 shift: 0.1 }")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        if self.power * self.scale == 0:  # y does not depend on x, even where x is infinite
            return jnp.full_like(x, 1.0 if self.power == 0 else self._constant())
        base = self.shift + self.scale * x
        return base if self.power == 1 else base**self.power

    def _constant(self) -> float:
        """Returns shift ^ power as the C library defines it, also for negative numbers and 0."""
        return float(jnp.power(jnp.float32(self.shift), jnp.float32(self.power)))


class _Based(Elementwise):
    """The base of Exp and Log: their base, and the affine function of x."""

    base: float = param("Base, above 0; -1 means e.", default=-1.0)
    scale: float = param("Factor of x.", default=1.0)
    shift: float = param("Added to scale x.", default=0.0)

    def infer(self, x: Shape) -> Shape:
        if self.base != -1 and not 0 < self.base < math.inf:
            raise ShapeError(
                f"`base` is {self.base:g}; it must be above 0, or -1 (the default) for e.",
                field="base",
            )
        return x

    @property
    def log_base(self) -> float:
        return 1.0 if self.base == -1 else math.log(self.base)


class Exp(_Based, type="Exp", block="exp_param"):
    """y = base ^ (shift + scale x).

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/exp_layer.cpp.  Differs: nothing.
    """

    examples = example("Exp", "exp_param { base: 2 scale: 0.5 }")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        outer = math.exp(self.shift * self.log_base)
        return outer * jnp.exp(self.log_base * self.scale * x)


class Log(_Based, type="Log", block="log_param"):
    """y = log of (shift + scale x) to the base `base`.

    Bottoms: x (any shape); y is -inf or nan where shift + scale x is not above 0.  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/log_layer.cpp.  Differs: nothing.
    """

    examples = example("Log", "log_param { base: 10 scale: 0.1 shift: 5 }")

    def infer(self, x: Shape) -> Shape:
        if self.base == 1:
            raise ShapeError(
                "`base` is 1, for which logarithms are not defined; use another value above 0.", field="base"
            )
        return super().infer(x)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.log(self.shift + self.scale * x) / self.log_base


class Clip(Elementwise, type="Clip", block="clip_param"):
    """y = min(max(x, `min`), `max`); the derivative is 1 from `min` to `max` inclusive, else 0.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/clip_layer.cpp.  Differs: `min` above `max` is an error.
    """

    min: float = param("Lower limit.")
    max: float = param("Upper limit.")

    examples = example("Clip", "clip_param { min: -3 max: 3 }")

    def infer(self, x: Shape) -> Shape:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ShapeError(f"`min` is {self.min:g}, above `max`, which is {self.max:g}; swap them.", field="min")
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        # Not jnp.clip, because its derivative at a limit is 1/2.
        return jnp.where(x < self.min, self.min, jnp.where(x > self.max, self.max, x))


class Threshold(Elementwise, type="Threshold", block="threshold_param"):
    """y = 1 where x > threshold, else 0.  The gradient is 0.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/threshold_layer.cpp.  Differs: has a gradient (0), where Caffe aborts.
    """

    threshold: float = param("y is 1 where x is above this.", default=0.0)

    examples = example("Threshold", "threshold_param { threshold: 0.2 }", differentiable=False)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return (x > self.threshold).astype(x.dtype)
