"""Scales and biases: Scale, Bias, Axpy, ChannelScale, which multiply or add a smaller blob, learned or a bottom."""

from __future__ import annotations

from ..fillers import Constant, Filler
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._channels import broadcast_channels
from .base import Context, Example, Layer, Weight


class _Broadcast(Layer):
    """The base of Scale and Bias: the smaller blob has the axes `axis` to `axis + num_axes` of x."""

    family = "normalization"
    float32_tops = False
    n_bottoms = (1, 2)

    axis: int = param("First axis of x that the smaller blob has; negative values count from the end.", default=1)
    num_axes: int = param(
        "Number of axes of the learned blob; -1: all from `axis` on, 0: a scalar.", default=1, at_least=-1
    )

    def infer(self, x: Shape, other: Shape | None = None) -> Shape:
        if other is None:
            self.part(x)
            return x
        axis = 0 if not other else axis_of(x, self.axis)
        if other != x[axis : axis + len(other)]:
            there = show(x[axis : axis + len(other)]) if axis < len(x) else "no axes"
            raise ShapeError(
                f"bottom 1 is {show(other)}, but from axis {axis} on bottom 0, {show(x)}, has {there}; "
                "change `axis` or bottom 1.",
                bottom=1,
            )
        return x

    def part(self, x: Shape) -> Shape:
        """Returns the shape of the learned blob."""
        axis = axis_of(x, self.axis)
        if self.num_axes == -1:
            return x[axis:]
        if axis + self.num_axes > len(x):
            raise ShapeError(
                f"`num_axes` is {self.num_axes}, but the input {show(x)} has only {len(x) - axis} axes from `axis` "
                f"{axis} on; give {len(x) - axis} or less, or -1 for all.",
                field="num_axes",
            )
        return x[axis : axis + self.num_axes]

    def channels_last(self, *bottoms: Shape) -> bool:
        return len(bottoms) == 1 and axis_of(bottoms[0], self.axis) == 1 and self.num_axes == 1

    def spread(self, small: Array, x: Array, ctx: Context) -> Array:
        """Returns `small` with the shape of x, or with a shape that broadcasts to it."""
        if ctx.channels_last:
            return broadcast_channels(small, x, -1)
        axis = axis_of(x.shape, self.axis) if small.ndim else x.ndim
        return small.reshape(*small.shape, *(1,) * (x.ndim - axis - small.ndim))

    def needs_float32(self) -> str | None:
        return "the gradient of a factor is a sum over positions" if len(self.bottom) > 1 else None


class Bias(_Broadcast, type="Bias", block="bias_param"):
    """y = x + b, where b is broadcast along the axes of x that it does not have.

    Bottoms: x; optional b.  Tops: y, same shape as x.
    Weights: b (axes `axis` to `axis + num_axes` of x), unless it is a bottom.
    Source: BVLC/caffe src/caffe/layers/bias_layer.cpp.  Differs: nothing.
    """

    filler: Filler = param("Filler of b.", default=Constant())

    examples = (
        Example(
            'layer { name: "b" type: "Bias" bottom: "x" top: "y" bias_param { filler { value: 1 } } }',
            {"x": (2, 3, 4, 4)},
        ),
    )

    def weights(self, x: Shape, other: Shape | None = None) -> list[Weight]:
        return [] if other is not None else [Weight(self.part(x), self.filler)]

    def apply(self, w: tuple[Array, ...], x: Array, *other: Array, ctx: Context) -> Array:
        return x + self.spread((other or w)[0], x, ctx)


class Scale(_Broadcast, type="Scale", block="scale_param"):
    """y = s x, or s x + b with `bias_term`, where s and b are broadcast along the axes of x that they do not have.

    Bottoms: x; optional s.  Tops: y, same shape as x.
    Weights: s (axes `axis` to `axis + num_axes` of x), unless it is a bottom; with `bias_term`, b, same shape as s.
    Source: BVLC/caffe src/caffe/layers/scale_layer.cpp; `min_value` and `max_value`: happynear/caffe-windows.
    Differs: happynear's fork writes the clipped scale back to the weight; here the weight is unchanged, the clipped
    value is used, and the gradient beyond a limit is 0.
    """

    filler: Filler = param("Filler of s.", default=Constant(value=1.0))
    bias_term: bool = param("Whether to add a bias b.", default=False)
    bias_filler: Filler = param("Filler of b.", default=Constant())
    min_value: float | None = param("Lower limit of s.", default=None)
    max_value: float | None = param("Upper limit of s.", default=None)

    examples = (
        Example(
            'layer { name: "s" type: "Scale" bottom: "x" top: "y" scale_param { bias_term: true } }',
            {"x": (2, 3, 4, 4)},
        ),
        Example(
            'layer { name: "y" type: "Scale" bottom: "x" bottom: "s" top: "y" scale_param { axis: 0 } }',
            {"x": (2, 3, 4, 4), "s": (2, 3)},
        ),
    )

    def weights(self, x: Shape, other: Shape | None = None) -> list[Weight]:
        shape = self.part(x) if other is None else other
        scale = [Weight(shape, self.filler)] if other is None else []
        return [*scale, *([Weight(shape, self.bias_filler)] if self.bias_term else [])]

    def apply(self, w: tuple[Array, ...], x: Array, *other: Array, ctx: Context) -> Array:
        scale = (other or w)[0]
        if self.min_value is not None or self.max_value is not None:
            scale = jnp.clip(scale, self.min_value, self.max_value)
        y = x * self.spread(scale, x, ctx)
        return y + self.spread(w[-1], x, ctx) if self.bias_term else y


class Axpy(Layer, type="Axpy"):
    """y = a x + z, with one factor a for each channel of each item.

    Bottoms: a (n, c) or (n, c, 1, 1); x (n, c, ...); z, same shape as x.  Tops: y, same shape as x.
    Source: Hu et al. 2018 (squeeze and excitation), src/caffe/layers/axpy_layer.cpp in their fork.  Differs: nothing.
    """

    family = "normalization"
    float32, float32_tops = "the gradient of a factor is a sum over positions", False
    n_bottoms = 3

    examples = (
        Example(
            'layer { name: "y" type: "Axpy" bottom: "a" bottom: "x" bottom: "z" top: "y" }',
            {"a": (2, 3, 1, 1), "x": (2, 3, 4, 5), "z": (2, 3, 4, 5)},
        ),
    )

    def infer(self, a: Shape, x: Shape, z: Shape) -> Shape:
        if len(x) < 2 or len(a) < 2 or a[:2] != x[:2] or any(d != 1 for d in a[2:]):
            raise ShapeError(
                f"bottom 0, the factors, is {show(a)}; for bottom 1, {show(x)}, it must be {show(x[:2])} or "
                f"{show((*x[:2], 1, 1))}.",
                bottom=0,
            )
        if x != z:
            raise ShapeError(
                f"bottom 1 is {show(x)} and bottom 2 is {show(z)}; they must have the same shape.", bottom=2
            )
        return x

    def apply(self, w: tuple[Array, ...], a: Array, x: Array, z: Array, *, ctx: Context) -> Array:
        return a.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) * x + z


class ChannelScale(Layer, type="ChannelScale", block="channel_scale_param"):
    """y = s x, with one scale s per position; with `global_scale`, the running mean of s at all positions.

    NormFace uses it to restore the length of normalized features.
    Bottoms: x (n, c, ...); s (n, 1, ...).  Tops: y, same shape as x; optional running mean (1).
    Weights: with `global_scale`, the running mean (1), updated in training: 0.99 of it + 0.01 of the batch's mean.
    `global_scale` does not change the gradient of x.
    Source: happynear/caffe-windows src/caffe/layers/channel_scale_layer.cpp and .cu.
    Differs: `global_scale` follows the fork's GPU code; its CPU code never updates the mean.
    """

    family = "normalization"
    float32, float32_tops = "it updates a running mean", False
    n_bottoms = 2
    n_tops = (1, 2)

    do_forward: bool = param("Whether to scale the output; if false, y = x.", default=True)
    do_backward_feature: bool = param("Whether to scale the gradient of x.", default=True)
    do_backward_scale: bool = param("Whether s gets a gradient.", default=True)
    global_scale: bool = param("Whether to scale all positions by the running mean of s.", default=False)
    max_global_scale: float = param("Upper limit of the running mean.", default=1000.0)
    min_global_scale: float = param("Lower limit of the running mean.", default=0.0)
    init_global_scale: float = param("Has no effect in the fork either.", default=1.0, inert=True)

    examples = (
        Example(
            'layer { name: "longer" type: "ChannelScale" bottom: "x" bottom: "norm" top: "longer" }',
            {"x": (2, 3, 4, 4), "norm": (2, 1, 4, 4)},
        ),
    )

    def infer(self, x: Shape, s: Shape) -> list[Shape]:
        if len(x) < 2 or s[:1] != x[:1] or count(s) != x[0] * count(x[2:]):
            raise ShapeError(
                f"bottom 1, the scale, is {show(s)}; it must be {show((*x[:1], 1, *x[2:]))}, with one value for each "
                f"position of bottom 0, {show(x)}.",
                bottom=1,
            )
        return self.tops(x, (1,))

    def weights(self, x: Shape, s: Shape) -> list[Weight]:
        return [Weight((1,), Constant(value=-1.0), kind="stat", lr_mult=0, decay_mult=0)] if self.global_scale else []

    def apply(self, w: tuple[Array, ...], x: Array, s: Array, *, ctx: Context) -> list[Array]:
        stop = lax.stop_gradient
        s = s.reshape(x.shape[0], 1, *x.shape[2:])
        factor, mean = s, jnp.zeros(1, x.dtype)
        if self.global_scale:
            factor = mean = self._mean(w[0], stop(s), ctx)
        value = x * factor if self.do_forward else x
        slope = s if self.do_backward_feature else jnp.ones_like(s)
        y = stop(value) + stop(slope) * (x - stop(x))
        if self.do_backward_scale:
            y = y + stop(x) * (s - stop(s))
        return self.tops(y, mean)

    def _mean(self, before: Array, s: Array, ctx: Context) -> Array:
        """Returns the running mean (1), updated with this batch."""
        if not ctx.train:
            return before
        batch = jnp.mean(jnp.abs(s))
        now = jnp.where(before < 0, batch, 0.99 * before + 0.01 * batch)  # below 0: no batch yet
        now = jnp.clip(now, self.min_global_scale, self.max_global_scale)
        ctx.update(0, now)
        return now
