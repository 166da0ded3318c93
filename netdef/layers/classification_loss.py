"""Classification losses other than softmax cross-entropy: sigmoid cross-entropy, hinge, information gain, focal."""

from __future__ import annotations

import enum
import math

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Dim, Shape, ShapeError, Unavailable, axis_of, count, show
from ._loss import Loss, LossParam, Normalization, check_labels, check_one_label, check_same_count, floored, look_up
from .base import Context, Example
from .softmax import SMALLEST_LOG, SoftmaxAxis

LOG_THRESHOLD = 1e-20  # kLOG_THRESHOLD of Caffe: probabilities are clipped to it


class SigmoidCrossEntropyLoss(Loss, type="SigmoidCrossEntropyLoss"):
    """-sum of t log s(x) + (1 - t) log(1 - s(x)), with the sigmoid s: the cross-entropy of independent binary targets.

    Bottoms: x (n, ...); t, the same number of values, from 0 to 1.  Tops: loss ().
    By default the sum is divided by n; with FULL and VALID in `loss_param`, by the number of values.
    Source: BVLC/caffe src/caffe/layers/sigmoid_cross_entropy_loss_layer.cpp.  Differs: nothing.
    """

    loss_param: LossParam = param(
        "Which target is ignored, and how the sum is normalized.", default=LossParam(), beside=True
    )

    prediction = "Sigmoid"

    examples = (
        Example(
            'layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "target" top: "loss" }',
            {"x": (3, 4), "target": (3, 4)},
            integers={"target": 2},
        ),
    )

    def infer(self, x: Shape, target: Shape) -> Shape:
        check_same_count(x, target)
        return ()

    def apply(self, w: tuple[Array, ...], x: Array, target: Array, *, ctx: Context) -> Array:
        target = lax.stop_gradient(target).reshape(x.shape)
        ignore = self.loss_param.ignore_label
        counted = jnp.ones(x.shape, bool) if ignore is None else target.astype(jnp.int32) != ignore
        each = jax.nn.softplus(x) - x * target
        divisor = self.loss_param.divisor(
            jnp.sum(counted), x.shape[0], math.prod(x.shape[1:]), Normalization.BATCH_SIZE
        )
        return jnp.sum(jnp.where(counted, each, 0.0)) / divisor

    def counted(self, x: Array, target: Array) -> list[Array]:
        return self.loss_param.counted(target, Normalization.BATCH_SIZE)


class MultinomialLogisticLoss(Loss, type="MultinomialLogisticLoss"):
    """-sum of log p[label] / n, where p are probabilities.

    Bottoms: p (n, classes...), flattened; label (n).  Tops: loss ().
    Probabilities are clipped to at least 1e-20.  SoftmaxWithLoss is numerically more stable.
    Source: BVLC/caffe src/caffe/layers/multinomial_logistic_loss_layer.cpp.
    Differs: a label out of range makes the loss NaN, where Caffe reads out of bounds.
    """

    examples = (
        Example(
            'layer { name: "loss" type: "MultinomialLogisticLoss" bottom: "p" bottom: "label" top: "loss" }',
            {"p": (3, 4), "label": (3,)},
            integers={"label": 4},
            differentiable=False,  # random inputs are not probabilities
        ),
    )

    def infer(self, p: Shape, label: Shape) -> Shape:
        check_one_label(p, label)
        return ()

    def label_classes(self, scores: Shape) -> Dim:
        return count(scores[1:])

    def apply(self, w: tuple[Array, ...], p: Array, label: Array, *, ctx: Context) -> Array:
        p = p.reshape(p.shape[0], -1)
        seen = look_up(p, label, 1, None)
        own = jnp.sum(jnp.where(seen.hit, p, 0.0), 1, keepdims=True)
        return -jnp.sum(jnp.where(seen.right, jnp.log(floored(own, LOG_THRESHOLD)), jnp.nan)) / p.shape[0]


class Norm(enum.Enum):
    """The power of the hinge."""

    L1 = 1
    L2 = 2


class HingeLoss(Loss, type="HingeLoss", block="hinge_loss_param"):
    """sum over classes of max(0, 1 - y x)^p / n, with y = 1 for the label and -1 for all other classes: one-vs-all.

    Bottoms: x (n, classes...), flattened; label (n).  Tops: loss ().
    Source: BVLC/caffe src/caffe/layers/hinge_loss_layer.cpp.
    Differs: a label out of range makes the loss NaN, where Caffe writes out of bounds.
    """

    norm: Norm = param("L1 sums the hinges (p = 1), L2 their squares (p = 2).", default=Norm.L1)

    examples = (
        Example(
            'layer { name: "loss" type: "HingeLoss" bottom: "x" bottom: "label" top: "loss"\n'
            "        hinge_loss_param { norm: L2 } }",
            {"x": (3, 4), "label": (3,)},
            integers={"label": 4},
        ),
    )

    def infer(self, x: Shape, label: Shape) -> Shape:
        check_one_label(x, label)
        return ()

    def label_classes(self, scores: Shape) -> Dim:
        return count(scores[1:])

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        x = x.reshape(x.shape[0], -1)
        seen = look_up(x, label, 1, None)
        short = 1 + jnp.where(seen.hit, -x, x)
        hinge = jnp.where(short > 0, short, 0.0)
        each = hinge if self.norm is Norm.L1 else hinge * hinge
        return jnp.sum(jnp.where(seen.right, each, jnp.nan)) / x.shape[0]


class InfogainLoss(Loss, type="InfogainLoss", block="infogain_loss_param"):
    """-sum over classes k of H[label, k] log softmax(x)[k]: a cross-entropy with a weight for each pair of classes.

    Bottoms: x (n, classes, ...); label, one integer per position of x; H, classes x classes values.
    Tops: loss (); optional softmax(x), same shape as x.
    Source: BVLC/caffe src/caffe/layers/infogain_loss_layer.cpp.
    Differs: H must be a bottom, because `source` cannot be read yet; a label out of range makes the loss NaN.
    """

    prediction = "Softmax"
    judges_scores = True
    n_bottoms = (2, 3)
    n_tops = (0, 2)

    source: str | None = param("File (binaryproto) with H, if H is not a bottom; cannot be read yet.", default=None)
    axis: int = param("Axis of the classes.", default=1)
    loss_param: LossParam = param(
        "Which label is ignored, and how the sum is normalized.", default=LossParam(), beside=True
    )

    examples = (
        Example(
            'layer { name: "loss" type: "InfogainLoss" bottom: "x" bottom: "label" bottom: "H" top: "loss" }',
            {"x": (3, 4), "label": (3,), "H": (1, 1, 4, 4)},
            integers={"label": 4, "H": 3},
        ),
    )

    def infer(self, x: Shape, label: Shape, h: Shape | None = None) -> list[Shape]:
        axis = axis_of(x, self.axis)
        check_labels(x, label, axis)
        if self.loss_param.normalize is not None:
            raise ShapeError("InfogainLoss has no `normalize`; use `normalization` instead.", field="loss_param")
        if h is None and self.source is None:
            raise ShapeError("the matrix H is missing; give it as bottom 2.")
        if h is None:
            raise Unavailable(
                f"the matrix H is in {self.source}, and `source` is not supported yet; give H as bottom 2"
            )
        if count(h) != x[axis] * x[axis]:
            raise ShapeError(
                f"bottom 2, the matrix H, is {show(h)}, {count(h)} values; for {x[axis]} classes it must have "
                f"{x[axis]} x {x[axis]} values.",
                bottom=2,
            )
        return self.tops((), x)

    def label_classes(self, scores: Shape) -> Dim:
        return scores[self.axis]

    def counted(self, x: Array, label: Array, h: Array) -> list[Array]:
        return self.loss_param.counted(label)

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, h: Array, *, ctx: Context) -> list[Array]:
        axis, classes = self.axis % x.ndim, x.shape[self.axis]
        seen = look_up(x, label, axis, self.loss_param.ignore_label)
        log_p = floored(jax.nn.log_softmax(x, axis), math.log(LOG_THRESHOLD))
        rows = lax.stop_gradient(h).reshape(classes, classes)[jnp.clip(seen.label, 0, classes - 1)]
        rows = jnp.moveaxis(rows.squeeze(axis), -1, axis)  # (outer..., classes, inner...): the row of each label
        each = -jnp.sum(rows * log_p, axis, keepdims=True)
        each = jnp.where(seen.counted, jnp.where(seen.right, each, jnp.nan), 0.0)
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        loss = jnp.sum(each) / self.loss_param.divisor(jnp.sum(seen.counted), outer, inner)
        return self.tops(loss, lax.stop_gradient(jax.nn.softmax(x, axis)))


class FocalType(enum.Enum):
    """The factor in front of the logarithm."""

    ORIGIN = 0
    LINEAR = 1
    ONEADDP = 2


class FocalLoss(Loss, type="FocalLoss", block="focal_loss_param"):
    """-(alpha - p)^gamma log p, with p = softmax(x)[label]: gives less weight to well-classified positions.

    With ONEADDP, -(alpha + p)^gamma log p.
    Bottoms: x (n, classes, ...); label, one integer per position of x.
    Tops: loss (); optional softmax(x), same shape as x.
    Source: happynear/caffe-windows src/caffe/layers/focal_loss_layer.cpp after Lin et al. 2017, where alpha is 1.
    Differs: the gradient is exact for any alpha, in the fork only for 1; LINEAR is the same as ORIGIN, as in the fork.
    """

    prediction = "Softmax"
    judges_scores = True
    n_tops = (0, 2)

    type_: FocalType = param("The factor: alpha - p, or alpha + p for ONEADDP.", default=FocalType.ORIGIN)
    gamma: float = param("Exponent of the factor.", default=2.0, at_least=0)
    alpha: float = param("alpha in the factor.", default=1.0, above=0)
    beta: float = param("Not used by the fork's formula.", default=1.0, inert=True)
    loss_param: LossParam = param(
        "Which label is ignored, and how the sum is normalized.", default=LossParam(), beside=True
    )
    softmax_param: SoftmaxAxis = param("Axis of the softmax.", default=SoftmaxAxis(), beside=True)

    examples = (
        Example(
            'layer { name: "loss" type: "FocalLoss" bottom: "x" bottom: "label" top: "loss" }',
            {"x": (3, 4), "label": (3,)},
            integers={"label": 4},
        ),
    )

    def infer(self, x: Shape, label: Shape) -> list[Shape]:
        check_labels(x, label, axis_of(x, self.softmax_param.axis))
        return self.tops((), x)

    def label_classes(self, scores: Shape) -> Dim:
        return scores[self.softmax_param.axis]

    def counted(self, x: Array, label: Array) -> list[Array]:
        return self.loss_param.counted(label)

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> list[Array]:
        axis = self.softmax_param.axis % x.ndim
        seen = look_up(x, label, axis, self.loss_param.ignore_label)
        log_p = jnp.sum(jnp.where(seen.hit, jax.nn.log_softmax(x, axis), 0.0), axis, keepdims=True)
        p = jnp.exp(log_p)
        factor = self.alpha + p if self.type_ is FocalType.ONEADDP else self.alpha - p
        each = -(factor**self.gamma) * floored(log_p, SMALLEST_LOG)
        each = jnp.where(seen.counted, jnp.where(seen.right, each, jnp.nan), 0.0)
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        loss = jnp.sum(each) / self.loss_param.divisor(jnp.sum(seen.counted), outer, inner)
        return self.tops(loss, lax.stop_gradient(jax.nn.softmax(x, axis)))
