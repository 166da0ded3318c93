"""Metric losses, of distances between features: contrastive, triplet, center."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._loss import Loss, check_batch, check_one_label, check_rows
from .base import Context, Example, Weight

DISTANCE_EPS = 1e-4  # Caffe adds it to the distance that a gradient is divided by


class ContrastiveLoss(Loss, type="ContrastiveLoss", block="contrastive_loss_param"):
    """sum over pairs / (2 n) of d^2 if both are of one class, else max(0, margin - d)^2, where d = |a - b|.

    With `legacy_version`, max(0, margin - d^2) in place of max(0, margin - d)^2.
    Bottoms: a (n, c) and b (n, c), each with optional trailing axes of 1; like (n), not 0 if both are of one class.
    Tops: loss ().
    As in Caffe, the gradient of d is divided by d + 0.0001, which keeps it finite for equal features.
    Source: BVLC/caffe src/caffe/layers/contrastive_loss_layer.cpp after Hadsell et al. 2006.  Differs: nothing.
    """

    n_bottoms = 3

    margin: float = param("Minimum distance of two classes; beyond it the loss is 0.", default=1.0)
    legacy_version: bool = param("Whether to use margin - d^2 in place of (margin - d)^2.", default=False)

    examples = (
        Example(
            'layer { name: "loss" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "like" top: "loss"\n'
            "        contrastive_loss_param { margin: 4 legacy_version: true } }",
            {"a": (3, 4), "b": (3, 4), "like": (3,)},
            integers={"like": 2},
        ),
    )

    def infer(self, a: Shape, b: Shape, like: Shape) -> Shape:
        check_features(a, b)
        check_one_label(a, like, 2)
        return ()

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, like: Array, *, ctx: Context) -> Array:
        n = a.shape[0]
        difference = a.reshape(n, -1) - b.reshape(n, -1)
        square = jnp.sum(difference * difference, 1)  # (n)
        short = self.margin - (square if self.legacy_version else distance(difference))
        cost = short if self.legacy_version else short * short
        unlike = jnp.where(short > 0, cost, 0.0)
        return jnp.sum(jnp.where(like.reshape(n).astype(jnp.int32) != 0, square, unlike)) / (2 * n)


def distance(difference: Array) -> Array:
    """Returns the length of each row, with the gradient row / (length + 0.0001)."""
    return _distance()(difference)


@cache
def _distance() -> Any:
    length = lambda x: jnp.sqrt(jnp.sum(x * x, 1))
    with_rule = jax.custom_jvp(length)

    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        d = length(primals[0])
        return d, jnp.sum(primals[0] * tangents[0], 1) / (d + DISTANCE_EPS)

    with_rule.defjvp(rule)
    return with_rule


class TripletLoss(Loss, type="TripletLoss", block="triplet_loss_param"):
    """sum of max(0, margin + |a - p|^2 - |a - n|^2) / (2 n): positives closer to anchors than negatives by a margin.

    Bottoms: anchors a, positives p, negatives n, each (n, c) with optional trailing axes of 1; an optional fourth
    (labels) is ignored.  Tops: loss ().
    Source: happynear/caffe-windows src/caffe/layers/triplet_loss_layer.cpp after Schroff et al. 2015.
    Differs: nothing.
    """

    n_bottoms = (3, 4)

    margin: float = param("Minimum difference of the squared distances.", default=1.0)

    examples = (
        Example(
            'layer { name: "loss" type: "TripletLoss" bottom: "anchor" bottom: "like" bottom: "unlike" top: "loss"\n'
            "        triplet_loss_param { margin: 8 } }",
            {"anchor": (3, 4), "like": (3, 4), "unlike": (3, 4)},
        ),
    )

    def infer(self, a: Shape, p: Shape, n: Shape, label: Shape | None = None) -> Shape:
        check_features(a, p)
        check_features(a, n, 2)
        return ()

    def apply(self, w: tuple[Array, ...], a: Array, p: Array, n: Array, *rest: Array, ctx: Context) -> Array:
        flat = (a.shape[0], -1)
        near, far = (a - p).reshape(flat), (a - n).reshape(flat)
        short = self.margin + jnp.sum(near * near, 1) - jnp.sum(far * far, 1)
        return jnp.sum(jnp.where(short > 0, short, 0.0)) / (2 * a.shape[0])


def check_features(a: Shape, b: Shape, bottom: int = 1) -> None:
    """Raises ShapeError unless each is one row of features per item, of the same length."""
    check_batch(a, b, bottom)
    if len(a) < 2 or count(a[2:]) != 1 or a[1:2] != b[1:2] or count(a) != count(b):
        raise ShapeError(
            f"the features are {show(a)} and {show(b)}; both must be n x c, with the same n and c.", bottom=bottom
        )


class CenterLoss(Loss, type="CenterLoss", block="center_loss_param"):
    """sum of |x - c[label]|^2 / (2 n), or with "L1" of |x - c[label]| / n: pulls features to the center of their class.

    Bottoms: x (n, k...); label (n).  Tops: loss ().  Weights: centers c (num_output, product of k...).
    The gradient of a center is not the derivative of the loss but a custom update rule: m / (m + 1) times the sum of
    (c - x) over the m items of the class, independent of the loss weight.
    Source: happynear/caffe-windows src/caffe/layers/center_loss_layer.cpp after Wen et al. 2016, whose rule (also in
    ydwen/caffe-face) does not have the factor m.
    Differs: the default loss weight is 1, in the fork (by mistake) 0; a label out of range makes the loss NaN.
    """

    num_output: int = param("Number of classes.", at_least=1)
    center_filler: Filler = param("Filler of the centers.", default=Constant())
    axis: int = param("First axis of x to flatten.", default=1)
    distance_type: str = param('Distance of a feature from its center: "L1" or "L2".', default="L2")

    examples = (
        Example(
            'layer { name: "loss" type: "CenterLoss" bottom: "x" bottom: "label" top: "loss" loss_weight: 0.01\n'
            '        center_loss_param { num_output: 5 center_filler { type: "xavier" } } }',
            {"x": (6, 4), "label": (6,)},
            integers={"label": 5},
            differentiable=False,  # the centers have a custom rule
        ),
    )

    def infer(self, x: Shape, label: Shape) -> Shape:
        check_rows(x, label, self.axis)
        if self.distance_type not in ("L1", "L2"):
            raise ShapeError(
                f'`distance_type` is "{self.distance_type}"; it must be "L1" or "L2".', field="distance_type"
            )
        return ()

    def weights(self, x: Shape, label: Shape) -> list[Weight]:
        return [Weight((self.num_output, count(x[axis_of(x, self.axis) :])), self.center_filler)]

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        label = label.reshape(-1).astype(jnp.int32)
        right = (label >= 0) & (label < self.num_output)
        loss = center_loss(x.reshape(x.shape[0], -1), w[0], label, self.distance_type == "L2")
        return jnp.where(jnp.all(right), loss, jnp.nan)


def center_loss(x: Array, centers: Array, label: Array, squared: bool) -> Array:
    """Returns the loss of features x (n, k) and centers (classes, k), with CenterLoss's gradient; labels are int32."""
    return _center_loss()(x, centers, label, squared)


@cache
def _center_loss() -> Any:
    def forward(x: Array, centers: Array, label: Array, squared: bool) -> tuple[Array, Any]:
        away = x - centers[label]  # (n, k)
        cost = away * away / 2 if squared else jnp.abs(away)
        step = away if squared else jnp.sign(away)
        return jnp.sum(cost) / x.shape[0], (step, centers, label)

    def backward(squared: bool, kept: Any, g: Array) -> tuple[Array, Array, None]:
        step, centers, label = kept
        pull = jnp.zeros_like(centers).at[label].add(-step)
        items = jnp.zeros(len(centers), step.dtype).at[label].add(1)
        rule = pull * (items / (items + 1))[:, None]
        return g * step / len(step), jnp.where(g == 0, 0.0, rule), None  # no update outside the objective

    loss = jax.custom_vjp(lambda *args: forward(*args)[0], nondiff_argnums=(3,))
    loss.defvjp(forward, backward)
    return loss
