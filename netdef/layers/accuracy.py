"""Accuracies: the fraction of a batch that is classified correctly, by item, by value, by pixel or by pair.

They have no gradient.  A test reports their mean over its batches.
"""

from __future__ import annotations

from ..fillers import Constant
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._loss import Labeled, check_labels, check_one_label, check_same_count, look_up, ratio
from .base import Context, Example, Layer, Weight
from .metrics import cosines


class Accuracy(Layer, type="Accuracy", block="accuracy_param"):
    """Fraction of positions whose label is among the `top_k` classes with the highest scores; 0 if there are none.

    A position is correct if fewer than top_k other classes score at least as high as the label: ties count as errors.
    Bottoms: x (n, classes, ...); label, one integer per position of x; optional weight, one value per position:
    positions with weight 0 are ignored.
    Tops: accuracy (); optional accuracy of each class (classes).
    Source: BVLC/caffe src/caffe/layers/accuracy_layer.cpp; third bottom, `min_is_better`: happynear/caffe-windows.
    Differs: a position whose score is NaN or whose label is out of range counts as wrong; Caffe counts the first as
    correct and reads out of bounds for the second.
    """

    is_metric = True
    judges_scores = True
    n_bottoms = (2, 3)
    n_tops = (1, 2)

    top_k: int = param(
        "A position is correct if its label is among this many classes with the highest scores.", default=1, at_least=1
    )
    axis: int = param("Axis of the classes.", default=1)
    ignore_label: int | None = param("Positions with this label are ignored.", default=None)
    min_is_better: bool = param("Whether lower scores are better, as for distances.", default=False)
    enable_simple_accuracy: bool = param(
        "Selects a faster computation of the same value in MyCaffe.", default=False, inert=True
    )

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
                f"bottom 2, the weights, is {show(weight)}, but bottom 1, the labels, is {show(label)}; "
                "give one weight for each label.",
                bottom=2,
            )
        return self.tops((), (x[axis],))

    def apply(
        self, w: tuple[Array, ...], x: Array, label: Array, weight: Array | None = None, *, ctx: Context
    ) -> list[Array]:
        axis = self.axis % x.ndim
        x = lax.stop_gradient(-x if self.min_is_better else x)
        seen, counted = self._seen(x, label, weight)
        score = jnp.sum(jnp.where(seen.hit, x, 0.0), axis, keepdims=True)
        better = jnp.sum(~(x < score), axis, keepdims=True) - 1  # the label's class itself is among them
        right = counted & seen.right & (better < self.top_k)
        total = ratio(jnp.sum(right), jnp.sum(counted))
        if len(self.top) < 2:
            return [total]
        others = tuple(i for i in range(x.ndim) if i != axis)
        return [total, ratio(jnp.sum(seen.hit & right, others), jnp.sum(seen.hit & counted, others))]

    def _seen(self, x: Array, label: Array, weight: Array | None) -> tuple[Labeled, Array]:
        """Returns the labels compared with the classes, and the positions that count."""
        seen = look_up(x, label, self.axis % x.ndim, self.ignore_label)
        if weight is None:
            return seen, seen.counted
        return seen, seen.counted & (weight != 0).reshape(seen.counted.shape)

    def counted(self, x: Array, label: Array, weight: Array | None = None) -> list[Array]:
        if len(self.top) < 2 and self.ignore_label is None and weight is None:
            return []
        seen, counted = self._seen(x, label, weight)
        others = tuple(i for i in range(x.ndim) if i != self.axis % x.ndim)
        return self.tops(jnp.sum(counted), jnp.sum(seen.hit & counted, others))


class BinaryAccuracy(Layer, type="BinaryAccuracy", block="binary_accuracy_param"):
    """Fraction of values that are classified correctly by a threshold: x > threshold if and only if the label is not 0.

    Bottoms: x (n, ...), probabilities, or scores if the threshold is 0; label, the same number of values.
    Tops: accuracy ().
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    is_metric = True
    n_bottoms = 2

    threshold: float = param("Values above it are positive.", default=0.5)
    ignore_label: int | None = param("Values with this label are ignored.", default=None)

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

    def counted(self, x: Array, label: Array) -> list[Array]:
        return [] if self.ignore_label is None else [jnp.sum(label.astype(jnp.int32) != self.ignore_label)]


class SegAccuracy(Layer, type="SegAccuracy", block="seg_accuracy_param"):
    """Pixel accuracy, mean accuracy over classes (recall), and mean intersection over union of a segmentation.

    Bottoms: x (n, classes, h, w); label (n, 1, h, w).  Tops: the three measures (1, 1, 1, 3).
    A class that occurs neither in the labels nor in the predictions has an intersection over union of 1; the mean
    accuracy is over the classes that occur in the labels.
    Source: DeepLab's src/caffe/layers/seg_accuracy_layer.cpp and util/confusion_matrix.cpp; Chen et al. 2015.
    Differs: the first class wins in case of ties; a label out of range makes the measures NaN, where Caffe aborts.
    """

    is_metric = True
    n_bottoms = 2

    ignore_label: tuple[int, ...] = param("Pixels with one of these labels are ignored.", default=())
    reset: bool = param("Whether to measure each batch separately; if false, all batches so far.", default=True)

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
                f"the scores are {show(x)} and the labels {show(label)}; they must be n x classes x h x w and "
                "n x 1 x h x w, with the same n, h and w.",
                bottom=1,
            )
        return (1, 1, 1, 3)

    def weights(self, x: Shape, label: Shape) -> list[Weight]:
        return [] if self.reset else [Weight((x[1], x[1]), Constant(), kind="carry")]

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        classes = x.shape[1]
        label, best = label.astype(jnp.int32).reshape(-1), jnp.argmax(lax.stop_gradient(x), 1).reshape(-1)
        seen = jnp.ones(label.shape, bool)
        for ignored in self.ignore_label:
            seen &= label != ignored
        wrong = jnp.any(seen & ((label < 0) | (label >= classes)))
        # confusion[i, j]: pixels of class i that are classified as j
        confusion = (
            jnp.zeros((classes, classes)).at[jnp.clip(label, 0, classes - 1), best].add(seen.astype(jnp.float32))
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
    """Fraction of pairs that are classified correctly: as the same class if the cosine of their features >= threshold.

    Bottoms: features a (n, ...); features b, the same number of values; like (n), not 0 if both are of the same class.
    Tops: accuracy (); optional threshold ().  Without `threshold`, the best one for the batch is used.
    Source: netdef's own, after the protocol of Labeled Faces in the Wild.  Differs: Caffe has no such layer.
    """

    is_metric = True
    n_bottoms = 3
    n_tops = (1, 2)

    threshold: float | None = param(
        "Minimum cosine of a pair of the same class; if not given, the best one for the batch.", default=None
    )

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
        shares = jnp.mean((cos >= tried[:, None]) == like, 1)  # (thresholds); with inf, no pair is of the same class
        best = jnp.argmax(shares)
        return self.tops(shares[best], tried[best].astype(cos.dtype))
