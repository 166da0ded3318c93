"""What is measured and not learned from: Accuracy, ArgMax."""

from __future__ import annotations

from ..layer import Array, Context, Example, Layer
from ..lazy import jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from .loss import check_labels, look_up


class Accuracy(Layer, type="Accuracy", block="accuracy_param"):
    """Share of positions whose label is among the `top_k` classes of highest score; 0 where there are none.

    A label is right if fewer than top_k other classes score at least as high as it: ties count against it.
    Bottoms: x (n, classes, ...); label, a whole number for each position of x; a weight for each position, if there is
    a third: positions of weight 0 take no part.
    Tops: accuracy (); accuracy of each class (classes), if there is a second.
    Source: BVLC/caffe src/caffe/layers/accuracy_layer.cpp; third bottom, `min_is_better`: happynear/caffe-windows.
    Differs: a score that is NaN makes its position wrong, and so does a label that is no class; Caffe counts the first
    as right and reads foreign memory for the second.
    """

    n_bottoms = (2, 3)
    n_tops = (1, 2)

    top_k: int = param("How many classes of highest score may hold the label.", default=1, at_least=1)
    axis: int = param("Axis of the classes.", default=1)
    ignore_label: int | None = param("Positions with this label take no part.", default=None)
    min_is_better: bool = param("Whether low scores are the good ones, as of distances.", default=False)
    enable_simple_accuracy: bool = param("A faster way of MyCaffe's to the same number.", default=False, inert=True)

    examples = (
        Example(
            'layer { name: "accuracy" type: "Accuracy" bottom: "x" bottom: "label" top: "accuracy"\n'
            "        include { phase: TEST } }",
            {"x": (6, 5), "label": (6,)},
            integers={"label": 5},
            differentiable=False,
        ),
        Example(
            'layer { name: "accuracy" type: "Accuracy" bottom: "x" bottom: "label" top: "accuracy" top: "per_class"\n'
            "        accuracy_param { top_k: 2 ignore_label: 0 } }",
            {"x": (2, 5, 2, 3), "label": (2, 2, 3)},
            integers={"label": 5},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, label: Shape, weight: Shape | None = None) -> list[Shape]:
        axis = axis_of(x, self.axis)
        check_labels(x, label, axis)
        if self.top_k > x[axis]:
            raise ShapeError(
                f"`top_k` is {self.top_k}, but the input {show(x)} has only {x[axis]} classes along axis {axis}; "
                f"give a number up to {x[axis]}.",
                field="top_k",
            )
        if weight is not None and count(weight) != count(label):
            raise ShapeError(
                f"the weights are {show(weight)} and the labels {show(label)}; give one weight for each label.",
                bottom=2,
            )
        return [(), (x[axis],)][: len(self.top)]

    def apply(
        self, w: tuple[Array, ...], x: Array, label: Array, weight: Array | None = None, *, ctx: Context
    ) -> list[Array]:
        axis = self.axis % x.ndim
        x = lax.stop_gradient(-x if self.min_is_better else x)
        seen = look_up(x, label, axis, self.ignore_label)
        score = jnp.sum(jnp.where(seen.hit, x, 0.0), axis, keepdims=True)
        better = jnp.sum(~(x < score), axis, keepdims=True) - 1  # the label's own class is among them
        counted = seen.counted if weight is None else seen.counted & (weight != 0).reshape(seen.counted.shape)
        right = counted & seen.right & (better < self.top_k)
        total = ratio(jnp.sum(right), jnp.sum(counted))
        if len(self.top) < 2:
            return [total]
        others = tuple(i for i in range(x.ndim) if i != axis)
        return [total, ratio(jnp.sum(seen.hit & right, others), jnp.sum(seen.hit & counted, others))]


def ratio(part: Array, whole: Array) -> Array:
    """part / whole as float32, 0 where the whole is 0."""
    return jnp.where(whole == 0, 0.0, part / jnp.maximum(whole, 1)).astype(jnp.float32)


class ArgMax(Layer, type="ArgMax", block="argmax_param"):
    """The places of the `top_k` highest values, highest first; of equal values the later place comes first.

    Bottoms: x (any shape).
    Tops: with `axis`, places along it, or with `out_max_val` values in their stead (as x, top_k at `axis`);
    without `axis`, over all of an item, places (n, 1, top_k), or with `out_max_val` places and values (n, 2, top_k).
    Source: BVLC/caffe src/caffe/layers/argmax_layer.cpp.  Differs: nothing.
    """

    out_max_val: bool = param("Whether values are given too; with `axis` alone in place of places.", default=False)
    top_k: int = param("How many of the highest values are given.", default=1, at_least=1)
    axis: int | None = param("Axis along which to search; none: all values of an item.", default=None)

    examples = (
        Example(
            'layer { name: "best" type: "ArgMax" bottom: "x" top: "best" argmax_param { axis: 1 } }',
            {"x": (2, 5, 2)},
            differentiable=False,
        ),
        Example(
            'layer { name: "best" type: "ArgMax" bottom: "x" top: "best" argmax_param { out_max_val: true top_k: 2 } }',
            {"x": (2, 5)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape) -> Shape:
        axis = 0 if self.axis is None else axis_of(x, self.axis)
        there = count(x[1:]) if self.axis is None else x[axis]
        if self.top_k > there:
            raise ShapeError(
                f"`top_k` is {self.top_k}, but the input {show(x)} has only {there} values to choose from; "
                f"give a number up to {there}.",
                field="top_k",
            )
        if self.axis is not None:
            return (*x[:axis], self.top_k, *x[axis + 1 :])
        shape = (x[0] if x else 1, 2 if self.out_max_val else 1, self.top_k)
        return shape + (1,) * (len(x) - 3)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        x = lax.stop_gradient(x)
        searched = x.reshape(x.shape[0], -1) if self.axis is None else jnp.moveaxis(x, self.axis, -1)
        last = searched.shape[-1] - 1
        values, places = lax.top_k(searched[..., ::-1], self.top_k)  # of equals top_k takes the first, Caffe the last
        places = (last - places).astype(jnp.float32)
        if self.axis is not None:
            return jnp.moveaxis(values if self.out_max_val else places, -1, self.axis)
        pair = [places, values] if self.out_max_val else [places]
        return jnp.stack(pair, 1).reshape(x.shape[0], len(pair), self.top_k, *(1,) * (x.ndim - 3))
