"""Accuracies: how much of a batch is classified correctly, by item, by value, by pixel, by pair.

No gradient comes through any of them; a test shows their mean over its batches.
"""

from __future__ import annotations

from ..fillers import Constant
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._loss import check_labels, check_one_label, check_same_count, look_up, ratio
from .base import Context, Example, Layer, Weight
from .metrics import cosines


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

    is_metric = True
    judges_scores = True
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
        return self.tops((), (x[axis],))

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


class BinaryAccuracy(Layer, type="BinaryAccuracy", block="binary_accuracy_param"):
    """Share of values on the right side of a threshold: x > threshold where the label is 1, not so where it is 0.

    Bottoms: x (n, ...), probabilities, or scores with a threshold of 0; label, as many values.  Tops: accuracy ().
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    is_metric = True
    n_bottoms = 2

    threshold: float = param("Values above it count as yes.", default=0.5)
    ignore_label: int | None = param("Values with this label take no part.", default=None)

    examples = (
        Example(
            'layer { name: "accuracy" type: "BinaryAccuracy" bottom: "p" bottom: "label" top: "accuracy" }',
            {"p": (6, 3), "label": (6, 3)},
            integers={"label": 2},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, label: Shape) -> Shape:
        check_same_count(x, label)
        return ()

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        label = label.astype(jnp.int32).reshape(x.shape)
        counted = jnp.ones(x.shape, bool) if self.ignore_label is None else label != self.ignore_label
        right = counted & ((x > self.threshold) == (label != 0))
        return ratio(jnp.sum(right), jnp.sum(counted))


class SegAccuracy(Layer, type="SegAccuracy", block="seg_accuracy_param"):
    """Three measures of the class of highest score at each pixel: the share that is right, the mean over classes of the
    share of their pixels that is right, and the mean over classes of intersection over union.

    Bottoms: x (n, classes, h, w); label (n, 1, h, w).  Tops: the three (1, 1, 1, 3).
    A class that nobody names and that is nowhere counts as 1 in the last, and not at all in the second.
    Source: DeepLab's src/caffe/layers/seg_accuracy_layer.cpp and util/confusion_matrix.cpp; Chen et al. 2015.
    Differs: of equal scores the first counts, as in Accuracy; a label that is no class makes NaN, where Caffe ends.
    """

    is_metric = True
    n_bottoms = 2

    ignore_label: tuple[int, ...] = param("Pixels with one of these labels take no part.", default=())
    reset: bool = param("Whether each batch is measured alone; else all since the start together.", default=True)

    examples = (
        Example(
            'layer { name: "accuracy" type: "SegAccuracy" bottom: "x" bottom: "label" top: "accuracy"\n'
            "        seg_accuracy_param { ignore_label: 255 } }",
            {"x": (2, 3, 4, 4), "label": (2, 1, 4, 4)},
            integers={"label": 3},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, label: Shape) -> Shape:
        if len(x) != 4 or x[:1] + x[2:] != label[:1] + label[-2:] or count(label) != x[0] * x[2] * x[3]:
            raise ShapeError(
                f"the scores are {show(x)} and the labels {show(label)}; n x classes x h x w and n x 1 x h x w are "
                "wanted, of equal n, h and w.",
                bottom=1,
            )
        return (1, 1, 1, 3)

    def weights(self, x: Shape, label: Shape) -> list[Weight]:
        return [] if self.reset else [Weight((x[1], x[1]), Constant(), kind="carry")]

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        classes = x.shape[1]
        label, told = label.astype(jnp.int32).reshape(-1), jnp.argmax(lax.stop_gradient(x), 1).reshape(-1)
        seen = jnp.ones(label.shape, bool)
        for ignored in self.ignore_label:
            seen &= label != ignored
        wrong = jnp.any(seen & ((label < 0) | (label >= classes)))
        # confusion[i, j]: pixels of class i that are told to be j
        confusion = (
            jnp.zeros((classes, classes)).at[jnp.clip(label, 0, classes - 1), told].add(seen.astype(jnp.float32))
        )
        if not self.reset:
            confusion = confusion + w[0]
            ctx.update(0, confusion)
        right, actual, chosen = jnp.diagonal(confusion), jnp.sum(confusion, 1), jnp.sum(confusion, 0)
        accuracy = ratio(jnp.sum(right), jnp.sum(actual))
        recall = ratio(jnp.sum(ratio(right, actual)), jnp.sum(actual > 0))
        overlap = jnp.mean(ratio(right, actual + chosen - right, nothing=1.0))
        measures = jnp.stack([accuracy, recall, overlap]).reshape(1, 1, 1, 3)
        return jnp.where(wrong, jnp.nan, measures)


class PairVerificationAccuracy(Layer, type="PairVerificationAccuracy", block="pair_verification_accuracy_param"):
    """Share of pairs rightly called alike or not: alike where the cosine of their features reaches a threshold.

    Bottoms: features a (n, ...) and b, as many values; like (n), not 0 where the pair is of one class.
    Tops: accuracy (); the threshold (), if there is a second.  Where none is given it is the best one for the batch.
    Source: netdef's own, after the protocol of Labeled Faces in the Wild.  Differs: Caffe has no such layer.
    """

    is_metric = True
    n_bottoms = 3
    n_tops = (1, 2)

    threshold: float | None = param("Cosine from which on a pair counts as alike; none: the best one.", default=None)

    examples = (
        Example(
            'layer { name: "pairs" type: "PairVerificationAccuracy"\n'
            '        bottom: "a" bottom: "b" bottom: "like" top: "pairs" }',
            {"a": (6, 4), "b": (6, 4), "like": (6,)},
            integers={"like": 2},
            differentiable=False,
        ),
    )

    def infer(self, a: Shape, b: Shape, like: Shape) -> list[Shape]:
        check_same_count(a, b)
        check_one_label(a, like, 2)
        return self.tops((), ())

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, like: Array, *, ctx: Context) -> list[Array]:
        cos = lax.stop_gradient(cosines(a, b))
        like = like.reshape(-1).astype(jnp.int32) != 0
        tried = jnp.asarray([self.threshold]) if self.threshold is not None else jnp.append(cos, jnp.inf)
        shares = jnp.mean((cos >= tried[:, None]) == like, 1)  # (thresholds); inf calls no pair alike
        best = jnp.argmax(shares)
        return self.tops(shares[best], tried[best].astype(cos.dtype))
