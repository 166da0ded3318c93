"""Classes by distance, as NormFace learns faces: distances to a vector for each class, losses of them, own factors."""

from __future__ import annotations

from typing import Any

from ..fillers import Constant, Filler
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._loss import Loss, check_one_label, check_same_count, look_up
from .base import Context, Example, Layer, Weight
from .inner_product import NORM_EPS
from .margin import LabelSpecific, count_iteration


class InnerDistance(Layer, type="InnerDistance", block="inner_distance_param"):
    """y[j] = |x - w[j]|^2, or with "L1" |x - w[j]|: the distance of x from a vector for each class.

    Bottoms: x (n..., k...); W as a blob (classes, k...), if there is a second; with `update_center_only`
    label (n) last.
    Tops: y (n..., num_output).  Weights: W (num_output, count of k...), where it is no bottom.
    Source: happynear/caffe-windows src/caffe/layers/inner_distance_layer.cpp after Wang et al. 2017 (NormFace).
    Differs: L2 is computed as |x|^2 - 2 x w + |w|^2, which rounds differently; with `normalize` the fork overwrites W
    by its normalised rows, and here W stays as it is; `transpose`, of which the fork makes nothing, is an error.
    """

    n_bottoms = (1, 3)

    num_output: int | None = param("Number of classes; of W where it is a bottom.", default=None, at_least=1)
    weight_filler: Filler = param("Filler of W.", default=Constant())
    axis: int = param("First axis that is flattened.", default=1)
    distance_type: str = param('"L2", squared, or "L1".', default="L2")
    normalize: bool = param("Whether each row of W is divided by its L2 norm; not where W is a bottom.", default=False)
    update_center_only: bool = param("Whether W learns from the distance to the own class alone.", default=False)
    transpose: bool = param("Not done.", default=False)
    bias_term: bool = param("There is no bias.", default=True, inert=True)
    bias_filler: Filler = param("There is no bias.", default=Constant(), inert=True)

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
        """W where it is a bottom, else None."""
        return bottoms[1] if len(bottoms) > 1 + self.update_center_only else None

    def infer(self, *bottoms: Shape) -> Shape:
        x, given = bottoms[0], self._vectors(bottoms)
        axis = axis_of(x, self.axis)
        if self.distance_type not in ("L1", "L2"):
            raise ShapeError(f'`distance_type` is "{self.distance_type}"; it is "L1" or "L2".', field="distance_type")
        if self.transpose:
            raise ShapeError("`transpose` has no meaning for distances; leave it out.", field="transpose")
        if self.update_center_only:
            if len(bottoms) < 2:
                raise ShapeError("`update_center_only` needs the labels as last bottom.", field="update_center_only")
            check_one_label(x, bottoms[-1], len(bottoms) - 1)
        if given is None and self.num_output is None:
            raise ShapeError("`num_output` must be given where the vectors of the classes are no bottom.")
        if given is not None and count(given[1:]) != count(x[axis:]):
            raise ShapeError(
                f"the vectors {show(given)} have {count(given[1:])} numbers each, "
                f"those of {show(x)} {count(x[axis:])}; they must have as many.",
                bottom=1,
            )
        return (*x[:axis], self.num_output if given is None else given[0])

    def weights(self, *bottoms: Shape) -> list[Weight]:
        if self._vectors(bottoms) is not None:
            return []
        x = bottoms[0]
        return [Weight((self.num_output, count(x[axis_of(x, self.axis) :])), self.weight_filler)]

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
        """Of x (n..., k) from rows (classes, k): (n..., classes)."""
        if self.distance_type == "L1":
            flat = x.reshape(-1, x.shape[-1])
            each = lax.map(lambda row: jnp.sum(magnitude(row - rows), 1), flat)  # one by one: all at once are large
            return each.reshape(*x.shape[:-1], -1)
        square = jnp.sum(x * x, -1, keepdims=True) - 2 * x @ rows.T + jnp.sum(rows * rows, 1)
        return jnp.maximum(square, 0.0)

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return count(tops[0]) * count(bottoms[0][axis_of(bottoms[0], self.axis) :])


def magnitude(x: Array) -> Array:
    """|x|, whose gradient is 0 at 0."""
    return x * lax.stop_gradient(jnp.sign(x))


def learned(value: Array, gradient: Array, x: Array) -> Array:
    """`value`, whose gradient on x is `gradient`."""
    stop = lax.stop_gradient
    return stop(value) + jnp.sum(stop(gradient) * (x - stop(x)))


class _DistanceLoss(Loss):
    """What the losses of distances (n, classes) share."""

    n_bottoms = (2, 3)
    n_tops = (0, 2)

    positive_weight: float = param("Weight of the distance to the own class.", default=1.0)
    negative_weight: float = param("Weight of the distances to other classes.", default=1.0)
    positive_first: bool = param(
        "Whether an item further than `positive_upper_bound` from its class learns nothing of the others.",
        default=False,
    )
    positive_upper_bound: float = param("Where an item is too far for `positive_first`.", default=1.0)

    def _means(self, own: Array, others: Array) -> list[Array]:
        """Mean distance to the own class, and to each other."""
        n, classes = others.shape
        return [jnp.sum(own) / n, jnp.sum(others) / n / (classes - 1)]


class GeneralContrastiveLoss(_DistanceLoss, type="GeneralContrastiveLoss", block="general_contrastive_loss_param"):
    """sum (max(0, d[label] - positive_margin) + sum over other j of max(0, negative_margin - d[j])) / n, each weighted.

    Bottoms: distances d (n, classes); label (n); a third is read in place of d, which still gets the gradient.
    Tops: loss (); mean distance to the own and to other classes (2), if there is a second, and with `add_intra_mae` (3)
    the running mean of the first.
    Source: happynear/caffe-windows src/caffe/layers/general_contrastive_loss_layer.cpp after Wang et al. 2017.
    Differs: with `max_negative_only` the fork compares the first class with the own one where that is class 0.
    """

    positive_margin: float = param("Distance to the own class that costs nothing.", default=0.0)
    negative_margin: float = param("Distance from which on other classes cost nothing.", default=1.0)
    normalize_negative: float | None = param(
        "Largest sum of the gradients on other classes, for each item; none: any.", default=None, above=0
    )
    positive_outlier_thresh: float = param("From here on the own class costs no more.", default=4.0)
    square: bool = param("Read by the fork, and of no effect there.", default=False, inert=True)
    max_negative_only: bool = param("Whether only the nearest other class counts.", default=False)
    max_positive_only: bool = param("Whether only the item nearest to its class counts.", default=False)
    exp_negative_weight: bool = param("Whether other classes cost exp(-d).", default=False)
    add_intra_mae: bool = param(
        "Whether the running mean of own distances is added to `negative_margin`.", default=False
    )
    max_negative_margin: float = param("Largest running mean.", default=1.2)

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
        """Cost of each other class, and its slope."""
        steep = jnp.exp(-d) if self.exp_negative_weight else jnp.ones_like(d)
        cost = jnp.where(near, steep if self.exp_negative_weight else others, 0.0) * self.negative_weight
        slope = jnp.where(near, -steep, 0.0) * self.negative_weight
        if not self.max_negative_only:
            return cost, slope
        most = jnp.argmax(jnp.where(near, cost, -1.0), 1)[:, None] == jnp.arange(d.shape[1])
        return jnp.where(most, cost, 0.0), jnp.where(most, slope, 0.0)

    def _tamed(self, slope: Array) -> Array:
        """Slopes of other classes, their sum limited by `normalize_negative`."""
        if self.normalize_negative is None:
            return slope
        total = jnp.abs(jnp.sum(slope)) / self.normalize_negative / slope.shape[0]
        return slope / jnp.where(total > self.positive_weight, total, 1.0)


class GeneralTripletLoss(_DistanceLoss, type="GeneralTripletLoss", block="general_triplet_loss_param"):
    """sum over j other than label of max(0, margin + d[label] - d[j]) negative_weight / n.

    The gradient is not the derivative: the own class gets positive_weight / n once, if any other is too near or with
    `add_center_loss` always, and each other that is too near -negative_weight / n.
    Bottoms: distances d (n, classes); label (n); a factor for the gradient of each item (n), if there is a third.
    Tops: loss (); mean distance to the own and to other classes (2), if there is a second.
    Source: happynear/caffe-windows src/caffe/layers/general_triplet_loss_layer.cpp after Wang et al. 2017.
    Differs: nothing.
    """

    margin: float = param("By how much the others should be further than the own class.", default=0.2)
    add_center_loss: bool = param("Whether the own class is drawn nearer in any case.", default=True)
    hardest_only: bool = param("Whether only the nearest other class counts.", default=False)

    examples = (
        Example(
            'layer { name: "loss" type: "GeneralTripletLoss" bottom: "far" bottom: "label" top: "loss" top: "means"\n'
            "        general_triplet_loss_param { margin: 0.8 add_center_loss: false } }",
            {"far": (4, 5), "label": (4,)},
            integers={"label": 5},
            differentiable=False,  # a gradient of its own
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
    """x times positive_weight at the own class, times negative_weight elsewhere.

    With `bias_fix` the own class gets positive_weight (x - 1) + 1, with `power_on_positive` |x|^positive_weight with
    the sign of x.
    Bottoms: x (n, classes...); label (n).  Tops: y, as x; positive_weight (1), if there is a second.
    With `positive_weight_base` positive_weight is positive_weight_base (1 + gamma iteration)^-power while training,
    kept from positive_weight_min to positive_weight_max.  In phase TEST y is x, unless `rescale_test`.
    Source: happynear/caffe-windows src/caffe/layers/label_specific_rescale_layer.cpp.
    Differs: a snapshot keeps the count of iterations.
    """

    positive_weight: float = param("Factor of the own class.", default=1.0)
    negative_weight: float = param("Factor of the other classes.", default=1.0)
    positive_lower_bound: float = param("Read by the fork, and of no effect there.", default=0.0, inert=True)
    negative_upper_bound: float = param("Read by the fork, and of no effect there.", default=0.0, inert=True)
    rescale_test: bool = param("Whether phase TEST is rescaled too.", default=False)
    for_ip: bool = param("Whether the own class is rescaled only where it is above 0.", default=False)
    positive_weight_base: float | None = param("Factor at first, where it changes while training.", default=None)
    gamma: float = param("How fast the factor changes.", default=0.0)
    power: float = param("With which power the factor falls.", default=1.0)
    positive_weight_min: float | None = param("The changing factor is at least this.", default=None)
    positive_weight_max: float | None = param("The changing factor is at most this.", default=None)
    bias_fix: bool = param("Whether 1 - positive_weight is added to the own class.", default=False)
    power_on_positive: bool = param("Whether positive_weight is a power in place of a factor.", default=False)

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
