"""Scale, Bias, Axpy, ChannelScale: a blob times or plus a smaller one, which is learned or is another bottom."""

from __future__ import annotations

from ..fillers import Constant, Filler
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from .base import Context, Example, Layer, Weight


class _Broadcast(Layer):
    """What Scale and Bias share: axes `axis` to `axis + num_axes` of x are those of the smaller blob."""

    family = "normalization"
    n_bottoms = (1, 2)

    axis: int = param("First axis of x that the smaller blob has; negative ones count from the back.", default=1)
    num_axes: int = param(
        "Number of axes of the learned blob; -1: all from `axis` on, 0: one number.", default=1, at_least=-1
    )

    def infer(self, x: Shape, other: Shape | None = None) -> Shape:
        if other is None:
            self.part(x)
            return x
        axis = 0 if not other else axis_of(x, self.axis)
        if other != x[axis : axis + len(other)]:
            there = show(x[axis : axis + len(other)]) if axis < len(x) else "nothing"
            raise ShapeError(
                f"the second input is {show(other)}, but from axis {axis} on the first, {show(x)}, has {there}; "
                "change `axis` or the second input.",
                bottom=1,
            )
        return x

    def part(self, x: Shape) -> Shape:
        """Shape of the learned blob."""
        axis = axis_of(x, self.axis)
        if self.num_axes == -1:
            return x[axis:]
        if axis + self.num_axes > len(x):
            raise ShapeError(
                f"`num_axes` {self.num_axes} from axis {axis} on is more than the input {show(x)} has; "
                f"give {len(x) - axis} or less, or -1 for all that follow.",
                field="num_axes",
            )
        return x[axis : axis + self.num_axes]

    def spread(self, small: Array, x: Array) -> Array:
        """`small` with axes of length 1 behind it, so that it broadcasts along x."""
        axis = axis_of(x.shape, self.axis) if small.ndim else x.ndim
        return small.reshape(*small.shape, *(1,) * (x.ndim - axis - small.ndim))


class Bias(_Broadcast, type="Bias", block="bias_param"):
    """y = x + b, b being broadcast along the axes of x that it does not have.

    Bottoms: x, and b unless it is learned.  Tops: y, as x.  Weights: b (axes `axis` to `axis + num_axes` of x).
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
        return x + self.spread((other or w)[0], x)


class Scale(_Broadcast, type="Scale", block="scale_param"):
    """y = s x, or s x + b with `bias_term`, s and b being broadcast along the axes of x that they do not have.

    Bottoms: x, and s unless it is learned.  Tops: y, as x.
    Weights: s (axes `axis` to `axis + num_axes` of x) unless it is a bottom; b (as s) with `bias_term`.
    Source: BVLC/caffe src/caffe/layers/scale_layer.cpp; `min_value` and `max_value` are happynear's.
    Differs: happynear writes the limited scale back into the weight; here it is limited where it is used, and it has no
    gradient beyond a limit.
    """

    filler: Filler = param("Filler of s.", default=Constant(value=1.0))
    bias_term: bool = param("Whether b is added.", default=False)
    bias_filler: Filler = param("Filler of b.", default=Constant())
    min_value: float | None = param("Least value of s.", default=None)
    max_value: float | None = param("Greatest value of s.", default=None)

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
        y = x * self.spread(scale, x)
        return y + self.spread(w[-1], x) if self.bias_term else y


class Axpy(Layer, type="Axpy"):
    """y = a x + z, with one factor a for each channel of each item: a scaled branch and its sum with another.

    Bottoms: a (n, c) or (n, c, 1, 1), x (n, c, ...), z as x.  Tops: y, as x.
    Source: Hu et al. 2018 (squeeze and excitation), src/caffe/layers/axpy_layer.cpp of their fork.  Differs: nothing.
    """

    family = "normalization"
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
                f"the factors are {show(a)}; for the second input, {show(x)}, they must be {show(x[:2])} or "
                f"{show((*x[:2], 1, 1))}.",
                bottom=0,
            )
        if x != z:
            raise ShapeError(f"the second input is {show(x)} and the third {show(z)}; they must agree.", bottom=2)
        return x

    def apply(self, w: tuple[Array, ...], a: Array, x: Array, z: Array, *, ctx: Context) -> Array:
        return a.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) * x + z


class ChannelScale(Layer, type="ChannelScale", block="channel_scale_param"):
    """y = s x, s being a number for each position; with `global_scale` the running mean of s for all: NormFace's way
    back from unit vectors to vectors of one length.

    Bottoms: x (n, c, ...); s (n, 1, ...).  Tops: y, as x; the running mean (1), if there is a second.
    Weights: with `global_scale` the running mean (1), which the layer keeps: 0.99 of it + 0.01 of the batch's mean.
    With `global_scale` the gradient of x is as without it.
    Source: happynear/caffe-windows src/caffe/layers/channel_scale_layer.cpp and .cu.
    Differs: `global_scale` is that of the fork's GPU code, whose CPU code never measures.
    """

    family = "normalization"
    n_bottoms = 2
    n_tops = (1, 2)

    do_forward: bool = param("Whether y is scaled; else y is x.", default=True)
    do_backward_feature: bool = param("Whether the gradient of x is scaled.", default=True)
    do_backward_scale: bool = param("Whether s gets a gradient.", default=True)
    global_scale: bool = param("Whether the running mean of s scales all positions.", default=False)
    max_global_scale: float = param("Largest running mean.", default=1000.0)
    min_global_scale: float = param("Smallest running mean.", default=0.0)
    init_global_scale: float = param("Read by the fork, and of no effect there.", default=1.0, inert=True)

    examples = (
        Example(
            'layer { name: "longer" type: "ChannelScale" bottom: "x" bottom: "norm" top: "longer" }',
            {"x": (2, 3, 4, 4), "norm": (2, 1, 4, 4)},
        ),
    )

    def infer(self, x: Shape, s: Shape) -> list[Shape]:
        if len(x) < 2 or s[:1] != x[:1] or count(s) != x[0] * count(x[2:]):
            raise ShapeError(
                f"the input is {show(x)} and its scale {show(s)}; one for each position is wanted.", bottom=1
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
        """The running mean (1) with this batch."""
        if not ctx.train:
            return before
        batch = jnp.mean(jnp.abs(s))
        now = jnp.where(before < 0, batch, 0.99 * before + 0.01 * batch)  # below 0: nothing measured yet
        now = jnp.clip(now, self.min_global_scale, self.max_global_scale)
        ctx.update(0, now)
        return now
