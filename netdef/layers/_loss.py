"""Code shared by losses and metrics: `loss_param`, normalization of sums, labels and their checks."""

from __future__ import annotations

import enum
from functools import cache
from typing import Any, NamedTuple

from ..lazy import Array, jax, jnp, lax
from ..schema import Block, param
from ..shape import Shape, ShapeError, axis_of, count, show
from .base import LAYERS, Layer


class Normalization(enum.Enum):
    """The divisor of a summed loss."""

    FULL = 0
    VALID = 1
    BATCH_SIZE = 2
    NONE = 3
    PRE_FIXED = 4


class LossParam(Block):
    """`loss_param { }`: which label is ignored, and how the sum is normalized.

    Source: LossParameter of BVLC/caffe; `label_smoothing` of NVIDIA/caffe, PRE_FIXED of intel/caffe, class weights of
    alexgkendall/caffe-segnet.
    Differs: enum value 3 is NONE, as in BVLC/caffe; in intel/caffe PRE_FIXED is 3 and NONE is 4.
    """

    ignore_label: int | None = param("Positions with this label are ignored.", default=None)
    normalization: Normalization | None = param(
        "Divide by all positions (FULL), by those not ignored (VALID), by the batch size, by 1 (NONE), or by "
        "`pre_fixed_normalizer` (PRE_FIXED).",
        default=None,
    )
    normalize: bool | None = param("Old form of `normalization`: true is VALID, false is BATCH_SIZE.", default=None)
    pre_fixed_normalizer: float = param("Divisor for PRE_FIXED.", default=1.0, above=0)
    label_smoothing: float = param(
        "Fraction of the target that is distributed over the other classes.", default=0.0, at_least=0, at_most=1
    )
    weight_by_label_freqs: bool = param("Whether `class_weighting` is used.", default=False)
    class_weighting: tuple[float, ...] = param("Weight of each class in the sum.", default=())

    def mode(self, default: Normalization = Normalization.VALID) -> Normalization:
        """Returns the effective normalization: `normalization`, else the old `normalize`, else `default`."""
        if self.normalization is not None:
            return self.normalization
        if self.normalize is not None:
            return Normalization.VALID if self.normalize else Normalization.BATCH_SIZE
        return default

    def divisor(self, valid: Array, outer: int, inner: int, default: Normalization = Normalization.VALID) -> Array:
        """Returns the divisor of the sum over `outer` x `inner` positions, `valid` of them not ignored.

        It is at least 1, so the loss of a batch without labels is 0 and not NaN.
        """
        by = {
            Normalization.FULL: outer * inner,
            Normalization.VALID: valid,
            Normalization.BATCH_SIZE: outer,
            Normalization.NONE: 1,
            Normalization.PRE_FIXED: self.pre_fixed_normalizer,
        }
        return jnp.maximum(1.0, by[self.mode(default)])

    def counted(self, label: Array, default: Normalization = Normalization.VALID) -> list[Array]:
        """Returns the number of labels that are not ignored, if the sum is divided by it (see `Layer.counted`)."""
        if self.ignore_label is None or self.mode(default) is not Normalization.VALID:
            return []
        return [valid_positions(jnp.sum(label.astype(jnp.int32) != self.ignore_label))]


def valid_positions(counted: Array) -> Array:
    """Returns the weight in a test of a batch with this number of positions: the divisor of its sum, or 0."""
    return jnp.where(counted > 0, jnp.maximum(counted, 1), 0).astype(jnp.float32)


class Loss(Layer):
    """A layer whose first top, (), is part of the objective."""

    n_bottoms = 2
    n_tops = (0, 1)
    is_loss = True

    def deployed(self) -> Layer | None:
        """Returns the layer that converts the scores to probabilities, or None, which passes the first bottom on."""
        cls = LAYERS.get(self.prediction) if self.prediction else None
        axis = getattr(getattr(self, "softmax_param", self), "axis", None)
        return cls and (cls() if axis is None else cls(axis=axis))  # pyright: ignore[reportCallIssue]

    @property
    def ignored_label(self) -> int | None:
        return getattr(self, "loss_param", LossParam()).ignore_label


class Labeled(NamedTuple):
    """Labels compared with the classes along an axis of scores; arrays have the scores' shape with 1 at that axis."""

    label: Array  # int32
    hit: Array  # bool, same shape as the scores: this class is the label
    counted: Array  # bool: not ignored
    right: Array  # bool: the label is in range


def look_up(scores: Array, label: Array, axis: int, ignore: int | None) -> Labeled:
    """Compares labels, truncated to integers, with the classes of scores (outer..., classes, inner...)."""
    at = (*scores.shape[:axis], 1, *scores.shape[axis + 1 :])
    label = label.astype(jnp.int32).reshape(at)
    classes = jnp.arange(scores.shape[axis], dtype=jnp.int32).reshape(-1, *[1] * (scores.ndim - axis - 1))
    counted = jnp.ones(at, bool) if ignore is None else label != ignore
    return Labeled(label, classes == label, counted, (label >= 0) & (label < scores.shape[axis]))


def floored(x: Array, floor: float) -> Array:
    """Returns max(x, floor) with the gradient of x: Caffe clips probabilities in the loss, but not in its gradient."""
    return _floored()(x, floor)


@cache
def _floored() -> Any:
    floor = jax.custom_jvp(jnp.maximum, nondiff_argnums=(1,))
    floor.defjvp(lambda at, primals, tangents: (jnp.maximum(primals[0], at), tangents[0]))
    return floor


def check_batch(x: Shape, other: Shape, bottom: int = 1) -> None:
    """Raises ShapeError unless both have the same batch size."""
    if not x or not other or x[0] != other[0]:
        raise ShapeError(
            f"the inputs are {show(x)} and {show(other)}; their first axes, the batch, must be equal.", bottom=bottom
        )


def check_labels(x: Shape, label: Shape, axis: int) -> None:
    """Raises ShapeError unless there is one label for each position of `x`, which has the classes along `axis`."""
    check_batch(x, label) if axis else None
    positions = count(x[:axis]) * count(x[axis + 1 :])
    if count(label) != positions:
        raise ShapeError(
            f"there are {count(label)} labels ({show(label)}), but the scores {show(x)}, with {x[axis]} classes along "
            f"axis {axis}, have {positions} positions; give one label for each position.",
            bottom=1,
        )


def check_one_label(x: Shape, label: Shape, bottom: int = 1) -> None:
    """Raises ShapeError unless there is one label for each item of the batch."""
    check_batch(x, label, bottom)
    if count(label) != label[0]:
        raise ShapeError(f"the labels are {show(label)}; give one label for each of the {x[0]} items.", bottom=bottom)


def check_rows(x: Shape, label: Shape, given: int) -> int:
    """Returns the axis `given` of x, where its features begin.  Raises ShapeError unless there is one row of features
    and one label for each item of the batch."""
    axis = axis_of(x, given)
    check_one_label(x, label)
    if count(x[:axis]) != x[0]:
        raise ShapeError(
            f"`axis` is {given}, which divides the input {show(x)} into {count(x[:axis])} rows of features; "
            f"there must be one row for each of its {x[0]} items: use 1.",
            field="axis",
        )
    return axis


def check_same_count(x: Shape, other: Shape, bottom: int = 1) -> None:
    """Raises ShapeError unless both have the same number of values and the same batch size."""
    check_batch(x, other, bottom)
    if count(x) != count(other):
        raise ShapeError(
            f"the inputs are {show(x)} and {show(other)}, {count(x)} and {count(other)} values; "
            "they must have the same number of values.",
            bottom=bottom,
        )


def learned(value: Array, gradient: Array, x: Array) -> Array:
    """Returns `value`, with `gradient` as its gradient with respect to x."""
    stop = lax.stop_gradient
    return stop(value) + jnp.sum(stop(gradient) * (x - stop(x)))


def ratio(part: Array, whole: Array, nothing: float = 0.0) -> Array:
    """Returns part / whole as float32, or `nothing` where the whole is 0."""
    return jnp.where(whole == 0, nothing, part / jnp.maximum(whole, 1)).astype(jnp.float32)
