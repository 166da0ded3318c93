"""Softmax, and the cross-entropy loss of a softmax."""

from __future__ import annotations

import math
from typing import Any

from ..lazy import Array, jax, jnp, lax
from ..schema import Block, param
from ..shape import Dim, Shape, ShapeError, axis_of, count, show
from ._engine import Engine, engine
from ._loss import Loss, LossParam, Normalization, check_labels, floored, look_up, valid_positions
from .base import Context, Example, Layer

SMALLEST_LOG = math.log(2.0**-126)  # log of FLT_MIN: probabilities are clipped to it, so a loss is at most 87.3


class SoftmaxAxis(Block):
    """`softmax_param { }`, also beside a layer's own block."""

    axis: int = param("Axis of the classes; all other axes are positions.", default=1)
    engine: Engine = engine()


class Softmax(SoftmaxAxis, Layer, type="Softmax", block="softmax_param"):
    """y = exp(x) / sum of exp(x) along an axis: converts scores to probabilities.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/softmax_layer.cpp.  Differs: nothing.
    """

    family = "activation"
    float32 = "bfloat16 has no probability between 0.996 and 1"

    examples = (
        Example('layer { name: "prob" type: "Softmax" bottom: "x" top: "prob" }', {"x": (2, 5)}),
        Example(
            'layer { name: "prob" type: "Softmax" bottom: "x" top: "prob" softmax_param { axis: -1 } }',
            {"x": (2, 3, 2, 4)},
        ),
    )

    def squashes(self) -> bool:
        return True

    def infer(self, x: Shape) -> Shape:
        axis_of(x, self.axis)
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.softmax(x, axis=self.axis)


class SoftmaxWithLoss(SoftmaxAxis, Loss, type="SoftmaxWithLoss", block="softmax_param"):
    """Mean over positions of -log softmax(x)[label]: the softmax cross-entropy.

    Bottoms: x (n, classes, ...); label, one integer per position of x; optional weight, one value per position.
    Tops: loss (); optional softmax(x), same shape as x, and optional loss of each position, same shape as label, which
    have no gradient (as in Caffe).
    With a weight per position, VALID divides by the sum of the weights.  With `label_smoothing` s the target is 1 - s
    for the label and s / (classes - 1) for each other class.
    Source: BVLC/caffe src/caffe/layers/softmax_loss_layer.cpp; weights and smoothing: happynear/caffe-windows and
    NVIDIA/caffe; `class_weighting`: alexgkendall/caffe-segnet; the third top: daijifeng001/caffe-rfcn.
    Differs: a label out of range makes the loss NaN (without a gradient), where Caffe reads out of bounds; the value of
    the loss includes the smoothing, which NVIDIA/caffe applies only to the gradient.
    """

    prediction = "Softmax"
    judges_scores = True
    n_bottoms = (2, 3)
    n_tops = (0, 3)

    class_weight: tuple[float, ...] = param("Weight of each class in the sum.", default=())
    label_smooth_factor: float = param("Same as `label_smoothing`.", default=0.0, at_least=0, at_most=1)
    loss_param: LossParam = param(
        "Which label is ignored, and how the sum is normalized.", default=LossParam(), beside=True
    )

    examples = (
        Example(
            'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" }',
            {"x": (4, 5), "label": (4,)},
            integers={"label": 5},
        ),
        Example(
            'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss"\n'
            "        loss_param { ignore_label: 0 label_smoothing: 0.1 } }",
            {"x": (2, 5, 2, 3), "label": (2, 1, 2, 3)},
            integers={"label": 5},
        ),
    )

    @property
    def class_weights(self) -> tuple[float, ...]:
        """The weight of each class, from either of the two fields; empty if all weights are 1."""
        return self.class_weight or (self.loss_param.class_weighting if self.loss_param.weight_by_label_freqs else ())

    def infer(self, x: Shape, label: Shape, weight: Shape | None = None) -> list[Shape]:
        axis = axis_of(x, self.axis)
        check_labels(x, label, axis)
        if weight is not None and count(weight) != count(label):
            raise ShapeError(
                f"bottom 2, the weights, is {show(weight)}, but bottom 1, the labels, is {show(label)}; "
                "give one weight for each label.",
                bottom=2,
            )
        given = len(self.class_weights)
        if given and given != x[axis]:
            raise ShapeError(
                f"there are {given} class weights, but the scores {show(x)} have {x[axis]} classes along axis "
                f"{axis}; give one weight for each class.",
                field="class_weight" if self.class_weight else "loss_param",
            )
        return self.tops((), x, label)

    def label_classes(self, scores: Shape) -> Dim:
        return scores[self.axis]

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, weight: Any = None, *, ctx: Context) -> list[Array]:
        each, valid = self.each(x, label, weight)
        axis = self.axis % x.ndim
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        loss = jnp.sum(each) / self.loss_param.divisor(valid, outer, inner)
        own = lax.stop_gradient((jax.nn.softmax(x, axis), each))
        return self.tops(loss, own[0], own[1].reshape(label.shape))

    def counted(self, x: Array, label: Array, weight: Any = None) -> list[Array]:
        if weight is None or self.loss_param.mode() is not Normalization.VALID:
            return self.loss_param.counted(label)
        return [valid_positions(self.each(x, label, weight)[1])]

    def each(self, x: Array, label: Array, weight: Any = None) -> tuple[Array, Array]:
        """Returns (the loss of each position, shaped as x with 1 at the axis; the weighted number of positions)."""
        axis, rule = self.axis % x.ndim, self.loss_param
        seen = look_up(x, label, axis, rule.ignore_label)
        log_p = floored(jax.nn.log_softmax(x, axis), SMALLEST_LOG)
        smooth = rule.label_smoothing or self.label_smooth_factor
        each = -jnp.sum(jnp.where(seen.hit, log_p, 0.0), axis, keepdims=True)
        if smooth:
            rest = -jnp.sum(log_p, axis, keepdims=True) - each
            each = (1 - smooth) * each + smooth / max(x.shape[axis] - 1, 1) * rest
        weights = jnp.where(seen.counted, 1.0, 0.0)
        if weight is not None:
            weights = weights * lax.stop_gradient(weight).reshape(weights.shape)
        valid = jnp.sum(weights)
        if self.class_weights:
            weights = weights * jnp.asarray(self.class_weights, x.dtype)[jnp.clip(seen.label, 0, x.shape[axis] - 1)]
        return jnp.where(seen.counted, jnp.where(seen.right, each, jnp.nan) * weights, 0.0), valid
