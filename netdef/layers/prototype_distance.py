"""Distances to class prototypes (NormFace): InnerDistance, losses of distances, LabelSpecificRescale."""

from __future__ import annotations

from typing import Any

from ..fillers import Constant, Filler
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._classes import ClassWeights
from ._loss import Loss, check_one_label, check_same_count, learned, look_up
from ._product import rows_product
from .base import Context, Example, Weight
from .inner_product import NORM_EPS
from .margin import LabelSpecific, count_iteration


class InnerDistance(ClassWeights, type="InnerDistance", block="inner_distance_param"):
    """y[j] = |x - w[j]|^2, or with "L1" |x - w[j]|: the distance of x from one vector per class.

    Bottoms: x (n..., k...); optional W (classes, k...); with `update_center_only`, label (n) as the last one.
    Tops: y (n..., num_output).  Weights: W (num_output, product of k...), unless it is a bottom.
    Source: happynear/caffe-windows src/caffe/layers/inner_distance_layer.cpp after Wang et al. 2017 (NormFace).
    Differs: L2 is computed as |x|^2 - 2 x w + |w|^2, with different rounding; with `normalize` the fork overwrites W
    with its normalized rows, here W is unchanged; `transpose`, which the fork ignores, is an error.
    """

    float32 = "a distance is a small difference of large sums"
    n_bottoms = (1, 3)

    num_output: int | None = param("Number of classes; default: that of W, if W is a bottom.", default=None, at_least=1)
    weight_filler: Filler = param("Filler of W.", default=Constant())
    axis: int = param("First axis to flatten.", default=1)
    distance_type: str = param('"L2" (squared) or "L1".', default="L2")
    normalize: bool = param("Whether each row of W is divided by its L2 norm, unless W is a bottom.", default=False)
    update_center_only: bool = param(
        "Whether W gets a gradient only from the distance to the true class.", default=False
    )
    transpose: bool = param("Not supported; must be false.", default=False)
    bias_term: bool = param("Unused; the layer has no bias.", default=True, inert=True)
    bias_filler: Filler = param("Unused; the layer has no bias.", default=Constant(), inert=True)

    examples = (
        Example(
            'layer { name: "far" type: "InnerDistance" bottom: "x" top: "far"\n'
            '        inner_distance_param { num_output: 5 normalize: true weight_filler { type: "msra" } } }',
            {"x": (4, 3)},
        ),
        Example(
            'layer { name: "far" type: "InnerDistance" bottom: "x" bottom: "people" bottom: "label" top: "far"\n'
            '        inner_distance_param { distance_type: "L1" update_center_only: true } }',
            {"x": (4, 3), "people": (5, 3), "label": (4,)},
            integers={"label": 5},
            differentiable=False,  # the other classes get no gradient
        ),
    )

    def _vectors(self, bottoms: tuple[Any, ...]) -> Any:
        """Returns W if it is a bottom, else None."""
        return bottoms[1] if len(bottoms) > 1 + self.update_center_only else None

    def infer(self, *bottoms: Shape) -> Shape:
        x, given = bottoms[0], self._vectors(bottoms)
        axis = axis_of(x, self.axis)
        if self.distance_type not in ("L1", "L2"):
            raise ShapeError(
                f'`distance_type` is "{self.distance_type}"; it must be "L1" or "L2".', field="distance_type"
            )
        if self.transpose:
            raise ShapeError("`transpose` is not supported for distances; remove it.", field="transpose")
        if self.update_center_only:
            if len(bottoms) < 2:
                raise ShapeError(
                    "`update_center_only` requires the labels as the last bottom, but there is only one bottom.",
                    field="update_center_only",
                )
            check_one_label(x, bottoms[-1], len(bottoms) - 1)
        if given is None and self.num_output is None:
            raise ShapeError("`num_output` is missing; it is required unless the vectors W are a bottom.")
        if given == ():
            raise ShapeError("the vectors W are a number; they must be a matrix, one vector in each row.", bottom=1)
        if given is not None and count(given[1:]) != count(x[axis:]):
            raise ShapeError(
                f"the vectors W {show(given)} have {count(given[1:])} values each, but those of the input {show(x)} "
                f"have {count(x[axis:])}; they must be equal.",
                bottom=1,
            )
        return (*x[:axis], self.num_output if given is None else given[0])

    def weights(self, *bottoms: Shape) -> list[Weight]:
        if self._vectors(bottoms) is not None:
            return []
        x = bottoms[0]
        return [self.rows((self.num_output, count(x[axis_of(x, self.axis) :])), self.weight_filler)]

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        x, rows = bottoms[0], self._vectors(bottoms)
        axis = axis_of(x.shape, self.axis)
        if rows is None:
            rows = w[0]
            if self.normalize:
                rows = rows * lax.rsqrt(jnp.sum(rows * rows, 1, keepdims=True) + NORM_EPS)
        flat, rows = x.reshape(*x.shape[:axis], -1), rows.reshape(rows.shape[0], -1)
        if not self.update_center_only:
            return self._distances(flat, rows)
        y = self._distances(flat, lax.stop_gradient(rows))
        own = bottoms[-1].reshape(-1).astype(jnp.int32)
        away = lax.stop_gradient(flat) - rows[own]  # (n, k)
        mine = jnp.sum(away * away if self.distance_type == "L2" else magnitude(away), -1, keepdims=True)
        return y + jnp.where(look_up(y, own, 1, None).hit, mine - lax.stop_gradient(mine), 0.0)

    def _distances(self, x: Array, rows: Array) -> Array:
        """Returns the distances (n..., classes) of x (n..., k) from rows (classes, k)."""
        if self.distance_type == "L1":
            flat = x.reshape(-1, x.shape[-1])
            each = lax.map(lambda row: jnp.sum(magnitude(row - rows), 1), flat)  # one by one, to limit the memory
            return each.reshape(*x.shape[:-1], -1)
        square = jnp.sum(x * x, -1, keepdims=True) - 2 * rows_product(x, rows) + jnp.sum(rows * rows, 1)
        return jnp.maximum(square, 0.0)

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return count(tops[0]) * count(bottoms[0][axis_of(bottoms[0], self.axis) :])


def magnitude(x: Array) -> Array:
    """Returns |x|, with gradient 0 at 0."""
    return x * lax.stop_gradient(jnp.sign(x))


class _DistanceLoss(Loss):
    """The base of the losses of distances (n, classes)."""

    n_bottoms = (2, 3)
    n_tops = (0, 2)

    positive_weight: float = param("Weight of the distance to the true class.", default=1.0)
    negative_weight: float = param("Weight of the distances to other classes.", default=1.0)
    positive_first: bool = param(
        "Whether the other classes are ignored for items further than `positive_upper_bound` from their class.",
        default=False,
    )
    positive_upper_bound: float = param("Distance for `positive_first`.", default=1.0)

    def _means(self, own: Array, others: Array) -> list[Array]:
        """Returns the mean distance to the true class and to the other classes."""
        n, classes = others.shape
        return [jnp.sum(own) / n, jnp.sum(others) / n / (classes - 1)]


class GeneralContrastiveLoss(_DistanceLoss, type="GeneralContrastiveLoss", block="general_contrastive_loss_param"):
    """sum (max(0, d[label] - positive_margin) + sum over other j of max(0, negative_margin - d[j])) / n, each weighted.

    Bottoms: distances d (n, classes); label (n); optional distances used in place of d, which still gets the gradient.
    Tops: loss (); optional mean distance to the true and to the other classes (2) or, with `add_intra_mae`, followed by
    the running mean of the first (3).
    Source: happynear/caffe-windows src/caffe/layers/general_contrastive_loss_layer.cpp after Wang et al. 2017.
    Differs: with `max_negative_only` the fork compares class 0 with the true class if the label is 0.
    """

    positive_margin: float = param("Distance to the true class up to which the loss is 0.", default=0.0)
    negative_margin: float = param("Distance to another class from which on the loss is 0.", default=1.0)
    normalize_negative: float | None = param(
        "Upper limit per item for the sum of the gradients of other classes; default: none.", default=None, above=0
    )
    positive_outlier_thresh: float = param(
        "Distance from which on the loss of the true class does not increase.", default=4.0
    )
    square: bool = param("Has no effect in the fork either.", default=False, inert=True)
    max_negative_only: bool = param("Whether to use only the nearest other class.", default=False)
    max_positive_only: bool = param("Whether to use only the item nearest to its class.", default=False)
    exp_negative_weight: bool = param("Whether the loss of other classes is exp(-d).", default=False)
    add_intra_mae: bool = param(
        "Whether to add the running mean distance to the true class to `negative_margin`.", default=False
    )
    max_negative_margin: float = param("Upper limit of the running mean.", default=1.2)

    examples = (
        Example(
            'layer { name: "loss" type: "GeneralContrastiveLoss" bottom: "far" bottom: "label" top: "loss"\n'
            '        top: "means" general_contrastive_loss_param { positive_margin: 0 negative_margin: 1 } }',
            {"far": (4, 5), "label": (4,)},
            integers={"label": 5},
            differentiable=False,  # random distances are negative
        ),
    )

    def infer(self, x: Shape, label: Shape, other: Shape | None = None) -> list[Shape]:
        check_one_label(x, label)
        if other is not None:
            check_same_count(x, other, 2)
        return self.tops((), (2 + self.add_intra_mae,))

    def weights(self, *bottoms: Shape) -> list[Weight]:
        return [Weight((), Constant(), kind="carry")] if self.add_intra_mae else []

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *other: Array, ctx: Context) -> list[Array]:
        n = x.shape[0]
        x = x.reshape(n, -1)
        d = lax.stop_gradient(other[0].reshape(x.shape) if other else x)
        hit = look_up(d, label, 1, None).hit
        margin = self.negative_margin + (w[0] if self.add_intra_mae else 0.0)
        own = jnp.clip(jnp.where(hit, d - self.positive_margin, 0.0), 0.0, self.positive_outlier_thresh)
        near = ~hit & (d < margin)
        others = jnp.where(near, margin - d, 0.0)
        cost, slope = self._negatives(d, near, others)
        far = jnp.any(hit & (d > self.positive_upper_bound), 1, keepdims=True) & self.positive_first
        cost, slope = jnp.where(far, 0.0, cost), jnp.where(far, 0.0, slope)
        counts, learns = hit, hit & ((d > self.positive_margin) & (d < self.positive_outlier_thresh) | far)
        if self.max_positive_only:
            nearest = jnp.argmin(jnp.sum(own, 1)) == jnp.arange(n)
            counts, learns = counts & nearest[:, None], learns & (nearest[:, None] | far)
        value = (jnp.sum(jnp.where(counts, own, 0.0)) * abs(self.positive_weight) + jnp.sum(jnp.abs(cost))) / n
        gradient = jnp.where(learns, self.positive_weight, 0.0) + self._tamed(slope)
        means = self._means(own, others)
        if self.add_intra_mae:
            mean = jnp.minimum(0.99 * w[0] + 0.01 * means[0], self.max_negative_margin)
            ctx.update(0, mean)
            means.append(mean)
        return self.tops(learned(value, gradient / n, x), jnp.stack(means))

    def _negatives(self, d: Array, near: Array, others: Array) -> tuple[Array, Array]:
        """Returns the loss of each other class and its derivative."""
        steep = jnp.exp(-d) if self.exp_negative_weight else jnp.ones_like(d)
        cost = jnp.where(near, steep if self.exp_negative_weight else others, 0.0) * self.negative_weight
        slope = jnp.where(near, -steep, 0.0) * self.negative_weight
        if not self.max_negative_only:
            return cost, slope
        most = jnp.argmax(jnp.where(near, cost, -1.0), 1)[:, None] == jnp.arange(d.shape[1])
        return jnp.where(most, cost, 0.0), jnp.where(most, slope, 0.0)

    def _tamed(self, slope: Array) -> Array:
        """Returns the derivatives of other classes, with their sum limited by `normalize_negative`."""
        if self.normalize_negative is None:
            return slope
        total = jnp.abs(jnp.sum(slope)) / self.normalize_negative / slope.shape[0]
        return slope / jnp.where(total > self.positive_weight, total, 1.0)


class GeneralTripletLoss(_DistanceLoss, type="GeneralTripletLoss", block="general_triplet_loss_param"):
    """sum over j other than label of max(0, margin + d[label] - d[j]) negative_weight / n.

    The gradient is not the derivative: the true class gets positive_weight / n if any other class violates the margin,
    or always with `add_center_loss`; each class that violates the margin gets -negative_weight / n.
    Bottoms: distances d (n, classes); label (n); optional factor of the gradient of each item (n).
    Tops: loss (); optional mean distance to the true and to the other classes (2).
    Source: happynear/caffe-windows src/caffe/layers/general_triplet_loss_layer.cpp after Wang et al. 2017.
    Differs: nothing.
    """

    margin: float = param("Minimum difference of the distances to other classes and to the true class.", default=0.2)
    add_center_loss: bool = param("Whether the true class always gets a gradient.", default=True)
    hardest_only: bool = param("Whether to use only the nearest other class.", default=False)

    examples = (
        Example(
            'layer { name: "loss" type: "GeneralTripletLoss" bottom: "far" bottom: "label" top: "loss" top: "means"\n'
            "        general_triplet_loss_param { margin: 0.8 add_center_loss: false } }",
            {"far": (4, 5), "label": (4,)},
            integers={"label": 5},
            differentiable=False,  # a custom gradient
        ),
    )

    def infer(self, x: Shape, label: Shape, factor: Shape | None = None) -> list[Shape]:
        check_one_label(x, label)
        if factor is not None:
            check_one_label(x, factor, 2)
        return self.tops((), (2,))

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *factor: Array, ctx: Context) -> list[Array]:
        n = x.shape[0]
        x = x.reshape(n, -1)
        d = lax.stop_gradient(x)
        hit = look_up(d, label, 1, None).hit
        own = jnp.sum(jnp.where(hit, d, 0.0), 1, keepdims=True)
        short = jnp.where(hit, 0.0, jnp.maximum(0.0, own + self.margin - d))
        if self.hardest_only:
            short = jnp.where(jnp.argmax(short, 1)[:, None] == jnp.arange(d.shape[1]), short, 0.0)
        far = (own > self.positive_upper_bound) & self.positive_first
        short = jnp.where(far, 0.0, short)
        drawn = far | self.add_center_loss | jnp.any(short > 0, 1, keepdims=True)
        slope = jnp.where(hit & drawn, self.positive_weight, 0.0) - jnp.where(short > 0, self.negative_weight, 0.0)
        if factor:
            slope = slope * factor[0].reshape(n, 1)
        value = jnp.sum(short) * abs(self.negative_weight) / n
        means = self._means(own, jnp.where(hit, 0.0, d))
        return self.tops(learned(value, slope / n, x), jnp.stack(means))


class LabelSpecificRescale(LabelSpecific, type="LabelSpecificRescale", block="label_specific_rescale_param"):
    """y = positive_weight x at the true class, negative_weight x elsewhere.

    At the true class, `bias_fix` computes positive_weight (x - 1) + 1, and `power_on_positive` |x|^positive_weight with
    the sign of x.  With `positive_weight_base`, positive_weight is positive_weight_base (1 + gamma iteration)^-power in
    training, clipped to positive_weight_min and positive_weight_max.  In phase TEST y = x, unless `rescale_test`.
    Bottoms: x (n, classes...); label (n).  Tops: y, same shape as x; optional positive_weight (1).
    Source: happynear/caffe-windows src/caffe/layers/label_specific_rescale_layer.cpp.
    Differs: snapshots include the iteration count.
    """

    positive_weight: float = param("Factor of the true class.", default=1.0)
    negative_weight: float = param("Factor of the other classes.", default=1.0)
    positive_lower_bound: float = param("Has no effect in the fork either.", default=0.0, inert=True)
    negative_upper_bound: float = param("Has no effect in the fork either.", default=0.0, inert=True)
    rescale_test: bool = param("Whether to rescale also in phase TEST.", default=False)
    for_ip: bool = param("Whether to rescale the true class only where x > 0.", default=False)
    positive_weight_base: float | None = param(
        "Initial factor of the true class; makes the factor change during training.", default=None
    )
    gamma: float = param("gamma in the formula of positive_weight.", default=0.0)
    power: float = param("power in the formula of positive_weight.", default=1.0)
    positive_weight_min: float | None = param("Minimum of the factor, with `positive_weight_base`.", default=None)
    positive_weight_max: float | None = param("Maximum of the factor, with `positive_weight_base`.", default=None)
    bias_fix: bool = param("Whether to add 1 - positive_weight to the true class.", default=False)
    power_on_positive: bool = param("Whether positive_weight is an exponent in place of a factor.", default=False)

    examples = (
        Example(
            'layer { name: "easier" type: "LabelSpecificRescale" bottom: "x" bottom: "label" top: "easier"\n'
            "        label_specific_rescale_param { positive_weight: 0.5 } }",
            {"x": (4, 5), "label": (4,)},
            integers={"label": 5},
        ),
    )

    @property
    def changes(self) -> bool:
        return self.positive_weight_base is not None

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> list[Array]:
        factor = self._factor(w, ctx, x)
        if not (ctx.train or self.rescale_test):
            return self.tops(x, factor.reshape(1))
        flat = x.reshape(x.shape[0], -1)
        hit = look_up(flat, label, 1, None).hit
        if self.power_on_positive:
            own = jnp.sign(flat) * jnp.abs(flat) ** factor
        else:
            own = flat * factor + ((1 - factor) if self.bias_fix else 0.0)
        own = jnp.where(flat > 0, own, flat) if self.for_ip else own
        return self.tops(jnp.where(hit, own, flat * self.negative_weight).reshape(x.shape), factor.reshape(1))

    def _factor(self, w: tuple[Array, ...], ctx: Context, x: Array) -> Array:
        if self.positive_weight_base is None or not ctx.train:
            return jnp.asarray(self.positive_weight, x.dtype)
        now = count_iteration(w, ctx) + 1
        factor = self.positive_weight_base * (1 + self.gamma * now) ** -self.power
        return jnp.clip(factor, self.positive_weight_min, self.positive_weight_max)
