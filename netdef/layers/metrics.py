"""What is measured and not learned from: precision and recall, errors, similarities, ArgMax.  Accuracies: `accuracy`.

No gradient comes through any of them.  All are of one batch; a test shows their mean over its batches.
"""

from __future__ import annotations

import enum

from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._loss import check_labels, check_same_count, look_up, ratio
from .base import Context, Example, Layer


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


class Average(enum.Enum):
    """How the numbers of several classes become one."""

    MACRO = 0
    MICRO = 1


class _Confusion(Layer):
    """Counts of right and wrong decisions: a class by the highest score, or yes and no by a threshold."""

    is_metric = True
    n_bottoms = 2
    n_tops = (1, 2)

    axis: int = param("Axis of the classes; the highest score decides.", default=1)
    threshold: float = param("Where there is one label for each value: values above it count as yes.", default=0.5)
    average: Average = param("MACRO: the mean over classes that occur; MICRO: counts of all.", default=Average.MACRO)
    ignore_label: int | None = param("Positions with this label take no part.", default=None)

    def infer(self, x: Shape, label: Shape) -> list[Shape]:
        if count(x) == count(label):
            check_same_count(x, label)
            return self.tops((), (1,))
        axis = axis_of(x, self.axis)
        check_labels(x, label, axis)
        return self.tops((), (x[axis],))

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> list[Array]:
        right, chosen, actual = self._counts(lax.stop_gradient(x), label)
        each = self.score(right, chosen, actual)
        occurs = chosen + actual > 0
        mean = ratio(jnp.sum(jnp.where(occurs, each, 0.0)), jnp.sum(occurs))
        total = self.score(jnp.sum(right), jnp.sum(chosen), jnp.sum(actual))
        return self.tops(mean if self.average is Average.MACRO else total, each)

    def _counts(self, x: Array, label: Array) -> tuple[Array, Array, Array]:
        """Of each class (classes): how often it was chosen rightly, chosen, and the label."""
        if x.size == label.size:
            label = label.astype(jnp.int32).reshape(-1, 1)
            counted = jnp.ones(label.shape, bool) if self.ignore_label is None else label != self.ignore_label
            chosen, actual = counted & (x.reshape(-1, 1) > self.threshold), counted & (label != 0)
        else:
            axis = self.axis % x.ndim
            seen = look_up(x, label, axis, self.ignore_label)
            best = look_up(x, jnp.argmax(x, axis), axis, None)
            last = lambda mask: jnp.moveaxis(mask & seen.counted, axis, -1).reshape(-1, x.shape[axis])
            chosen, actual = last(best.hit), last(seen.hit)
        return jnp.sum(chosen & actual, 0), jnp.sum(chosen, 0), jnp.sum(actual, 0)

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        """The measure from counts, 0 where there is nothing to measure."""
        raise NotImplementedError


def _example(name: str, kind: str) -> tuple[Example, ...]:
    """A layer of this type over four classes, with its second top."""
    text = f'layer {{ name: "{name}" type: "{kind}" bottom: "x" bottom: "label" top: "{name}" top: "per_class" }}'
    return (Example(text, {"x": (6, 4), "label": (6,)}, integers={"label": 4}, differentiable=False),)


class Precision(_Confusion, type="Precision", block="precision_param"):
    """Share of right ones among the positions that were given a class.

    Bottoms: x (n, classes, ...); label, one for each position; or a label of 0 or 1 for each value of x.
    Tops: the mean over classes (); that of each class (classes), or (1), if there is a second.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = _example("precision", "Precision")

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        return ratio(right, chosen)


class Recall(_Confusion, type="Recall", block="recall_param"):
    """Share of the positions of a class that were given it.

    Bottoms: x (n, classes, ...); label, one for each position; or a label of 0 or 1 for each value of x.
    Tops: the mean over classes (); that of each class (classes), or (1), if there is a second.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = _example("recall", "Recall")

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        return ratio(right, actual)


class F1(_Confusion, type="F1", block="f1_param"):
    """2 precision recall / (precision + recall): one number for both.

    Bottoms: x (n, classes, ...); label, one for each position; or a label of 0 or 1 for each value of x.
    Tops: the mean over classes (); that of each class (classes), or (1), if there is a second.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = _example("f1", "F1")

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        return ratio(2 * right, chosen + actual)


class _Error(Layer):
    """A mean over all values of two blobs of one count."""

    is_metric = True
    n_bottoms = 2

    def infer(self, a: Shape, b: Shape) -> Shape:
        check_same_count(a, b)
        return ()


class MeanAbsoluteError(_Error, type="MeanAbsoluteError"):
    """Mean of |a - b| over all values.

    Bottoms: a (n, ...); b (n, ...), as many values.  Tops: error ().
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = (
        Example(
            'layer { name: "mae" type: "MeanAbsoluteError" bottom: "x" bottom: "target" top: "mae" }',
            {"x": (3, 4), "target": (3, 4)},
            differentiable=False,
        ),
    )

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *, ctx: Context) -> Array:
        return lax.stop_gradient(jnp.mean(jnp.abs(a - b.reshape(a.shape))))


class MeanSquaredError(_Error, type="MeanSquaredError"):
    """Mean of (a - b)^2 over all values.

    Bottoms: a (n, ...); b (n, ...), as many values.  Tops: error ().
    Source: netdef's own.  Differs: Caffe has no such layer; EuclideanLoss divides by 2 n.
    """

    examples = (
        Example(
            'layer { name: "mse" type: "MeanSquaredError" bottom: "x" bottom: "target" top: "mse" }',
            {"x": (3, 4), "target": (3, 4)},
            differentiable=False,
        ),
    )

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *, ctx: Context) -> Array:
        return lax.stop_gradient(jnp.mean((a - b.reshape(a.shape)) ** 2))


class CosineSimilarity(_Error, type="CosineSimilarity"):
    """Mean over the items of cos of the angle between a and b; 0 for an item without length.

    Bottoms: a (n, ...); b (n, ...), as many values.  Tops: similarity ().
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = (
        Example(
            'layer { name: "cos" type: "CosineSimilarity" bottom: "a" bottom: "b" top: "cos" }',
            {"a": (3, 4), "b": (3, 4)},
            differentiable=False,
        ),
    )

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *, ctx: Context) -> Array:
        return lax.stop_gradient(jnp.mean(cosines(a, b)))


def cosines(a: Array, b: Array) -> Array:
    """cos of the angle between the items of a and b, (n); 0 where one has no length."""
    a, b = a.reshape(a.shape[0], -1), b.reshape(a.shape[0], -1)
    lengths = jnp.sqrt(jnp.sum(a * a, 1) * jnp.sum(b * b, 1))
    return jnp.sum(a * b, 1) / jnp.where(lengths == 0, 1.0, lengths)
