"""Metrics: precision and recall, errors, similarities, ArgMax.  Accuracies are in `accuracy`.

They have no gradient.  Each is computed for one batch; a test reports the mean over its batches.
"""

from __future__ import annotations

import enum

from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._loss import check_labels, check_same_count, look_up, ratio
from .base import Context, Example, Layer


class ArgMax(Layer, type="ArgMax", block="argmax_param"):
    """Indices of the `top_k` highest values, highest first; in case of ties, the last index comes first.

    Bottoms: x (any shape).
    Tops: with `axis`, indices along it or, with `out_max_val`, values instead (same shape as x, but top_k at `axis`);
    without `axis`, over all values of an item, indices (n, 1, top_k) or, with `out_max_val`, indices and values
    (n, 2, top_k).
    Source: BVLC/caffe src/caffe/layers/argmax_layer.cpp.  Differs: nothing.
    """

    float32 = "bfloat16 has no odd index above 256"

    out_max_val: bool = param(
        "Whether to output values in addition to indices; with `axis`, values instead of indices.", default=False
    )
    top_k: int = param("Number of highest values.", default=1, at_least=1)
    axis: int | None = param("Axis to search; if not given, all values of an item.", default=None)

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
        values, places = lax.top_k(searched[..., ::-1], self.top_k)  # reversed, because top_k prefers the first of ties
        places = (last - places).astype(jnp.float32)
        if self.axis is not None:
            return jnp.moveaxis(values if self.out_max_val else places, -1, self.axis)
        pair = [places, values] if self.out_max_val else [places]
        return jnp.stack(pair, 1).reshape(x.shape[0], len(pair), self.top_k, *(1,) * (x.ndim - 3))


class Average(enum.Enum):
    """How the values of several classes are averaged."""

    MACRO = 0
    MICRO = 1


class _Confusion(Layer):
    """Counts of correct and wrong predictions: the class with the highest score, or a binary one by a threshold."""

    is_metric = True
    n_bottoms = 2
    n_tops = (1, 2)

    axis: int = param("Axis of the classes; the class with the highest score is the prediction.", default=1)
    threshold: float = param("With one binary label per value: values above it are positive.", default=0.5)
    average: Average = param(
        "MACRO: mean over the classes that occur; MICRO: computed from the counts of all classes.",
        default=Average.MACRO,
    )
    ignore_label: int | None = param("Positions with this label are ignored.", default=None)

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
        """Returns for each class (classes) how often it is predicted correctly, is predicted, and is the label."""
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
        """Returns the metric for these counts, 0 where it is undefined."""
        raise NotImplementedError


def _example(name: str, kind: str) -> tuple[Example, ...]:
    """Returns an example of this type with four classes and a second top."""
    text = f'layer {{ name: "{name}" type: "{kind}" bottom: "x" bottom: "label" top: "{name}" top: "per_class" }}'
    return (Example(text, {"x": (6, 4), "label": (6,)}, integers={"label": 4}, differentiable=False),)


class Precision(_Confusion, type="Precision", block="precision_param"):
    """Fraction of the positions predicted as a class whose label is that class.

    Bottoms: x (n, classes, ...); label, one integer per position of x, or 0 or 1 per value of x.
    Tops: the mean over classes (); optional value of each class (classes), or (1) with binary labels.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = _example("precision", "Precision")

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        return ratio(right, chosen)


class Recall(_Confusion, type="Recall", block="recall_param"):
    """Fraction of the positions labeled as a class that are predicted as that class.

    Bottoms: x (n, classes, ...); label, one integer per position of x, or 0 or 1 per value of x.
    Tops: the mean over classes (); optional value of each class (classes), or (1) with binary labels.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = _example("recall", "Recall")

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        return ratio(right, actual)


class F1(_Confusion, type="F1", block="f1_param"):
    """2 precision recall / (precision + recall): the harmonic mean of precision and recall.

    Bottoms: x (n, classes, ...); label, one integer per position of x, or 0 or 1 per value of x.
    Tops: the mean over classes (); optional value of each class (classes), or (1) with binary labels.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    examples = _example("f1", "F1")

    def score(self, right: Array, chosen: Array, actual: Array) -> Array:
        return ratio(2 * right, chosen + actual)


class _Error(Layer):
    """A mean over all values of two blobs of the same size."""

    is_metric = True
    n_bottoms = 2

    def infer(self, a: Shape, b: Shape) -> Shape:
        check_same_count(a, b)
        return ()


class MeanAbsoluteError(_Error, type="MeanAbsoluteError"):
    """Mean of |a - b| over all values.

    Bottoms: a (n, ...); b (n, ...), the same number of values.  Tops: error ().
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

    Bottoms: a (n, ...); b (n, ...), the same number of values.  Tops: error ().
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
    """Mean over the items of the cosine of the angle between a and b; 0 for an item that is all 0.

    Bottoms: a (n, ...); b (n, ...), the same number of values.  Tops: similarity ().
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
    """Returns the cosine of the angle between the items of a and b, (n); 0 where one of them is all 0."""
    a, b = a.reshape(a.shape[0], -1), b.reshape(a.shape[0], -1)
    lengths = jnp.sqrt(jnp.sum(a * a, 1) * jnp.sum(b * b, 1))
    return jnp.sum(a * b, 1) / jnp.where(lengths == 0, 1.0, lengths)
