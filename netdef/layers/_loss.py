"""What losses and metrics share: `loss_param`, the number that a sum is divided by, labels and their checks."""

from __future__ import annotations

import enum
from functools import cache
from typing import Any, NamedTuple

from ..lazy import Array, jax, jnp
from ..schema import Block, param
from ..shape import Shape, ShapeError, axis_of, count, show
from .base import LAYERS, Layer


class Normalization(enum.Enum):
    """What a summed loss is divided by."""

    FULL = 0
    VALID = 1
    BATCH_SIZE = 2
    NONE = 3
    PRE_FIXED = 4


class LossParam(Block):
    """`loss_param { }`: which labels count, and what the sum is divided by.

    Source: LossParameter of BVLC/caffe; `label_smoothing` of NVIDIA/caffe, PRE_FIXED of intel/caffe, class weights of
    alexgkendall/caffe-segnet.  Differs: by number 3 is NONE, as in Caffe; intel/caffe numbers PRE_FIXED 3 and NONE 4.
    """

    ignore_label: int | None = param("Positions with this label take no part.", default=None)
    normalization: Normalization | None = param(
        "Divide by all positions, by those not ignored, by the batch size, or not at all.", default=None
    )
    normalize: bool | None = param("Old form: true is VALID, false is BATCH_SIZE.", default=None)
    pre_fixed_normalizer: float = param("What PRE_FIXED divides by.", default=1.0, above=0)
    label_smoothing: float = param(
        "Share of the target that is spread over the other classes.", default=0.0, at_least=0, at_most=1
    )
    weight_by_label_freqs: bool = param("Whether `class_weighting` is used.", default=False)
    class_weighting: tuple[float, ...] = param("Weight of each class in the sum.", default=())

    def mode(self, default: Normalization = Normalization.VALID) -> Normalization:
        """The normalization that holds: as given, else as the old `normalize` says, else `default`."""
        if self.normalization is not None:
            return self.normalization
        if self.normalize is not None:
            return Normalization.VALID if self.normalize else Normalization.BATCH_SIZE
        return default

    def divisor(self, valid: Array, outer: int, inner: int, default: Normalization = Normalization.VALID) -> Array:
        """What the sum over `outer` x `inner` positions is divided by, `valid` of them not ignored.

        At least 1, so that a batch without labels gives 0 and not NaN.
        """
        by = {
            Normalization.FULL: outer * inner,
            Normalization.VALID: valid,
            Normalization.BATCH_SIZE: outer,
            Normalization.NONE: 1,
            Normalization.PRE_FIXED: self.pre_fixed_normalizer,
        }
        return jnp.maximum(1.0, by[self.mode(default)])


class Loss(Layer):
    """A layer whose first top, (), is part of the objective."""

    n_bottoms = 2
    n_tops = (0, 1)
    is_loss = True

    def deployed(self) -> Layer | None:
        """The layer that makes probabilities of the scores, or the first bottom as it is."""
        cls = LAYERS.get(self.prediction) if self.prediction else None
        axis = getattr(getattr(self, "softmax_param", self), "axis", None)
        return cls and (cls() if axis is None else cls(axis=axis))  # pyright: ignore[reportCallIssue]

    @property
    def ignored_label(self) -> int | None:
        return getattr(self, "loss_param", LossParam()).ignore_label


class Labelled(NamedTuple):
    """Labels seen along an axis of scores; arrays have the shape of the scores with 1 at that axis."""

    label: Array  # int32
    hit: Array  # bool, shape of the scores: this class is the label
    counted: Array  # bool: not ignored
    right: Array  # bool: a class that exists


def look_up(scores: Array, label: Array, axis: int, ignore: int | None) -> Labelled:
    """Labels, cut towards zero to whole numbers, beside scores (outer..., classes, inner...)."""
    at = (*scores.shape[:axis], 1, *scores.shape[axis + 1 :])
    label = label.astype(jnp.int32).reshape(at)
    classes = jnp.arange(scores.shape[axis], dtype=jnp.int32).reshape(-1, *[1] * (scores.ndim - axis - 1))
    counted = jnp.ones(at, bool) if ignore is None else label != ignore
    return Labelled(label, classes == label, counted, (label >= 0) & (label < scores.shape[axis]))


def floored(x: Array, floor: float) -> Array:
    """max(x, floor) with the gradient of x: Caffe floors probabilities in what it shows, not in what it learns from."""
    return _floored()(x, floor)


@cache
def _floored() -> Any:
    floor = jax.custom_jvp(jnp.maximum, nondiff_argnums=(1,))
    floor.defjvp(lambda at, primals, tangents: (jnp.maximum(primals[0], at), tangents[0]))
    return floor


def check_batch(x: Shape, other: Shape, bottom: int = 1) -> None:
    """ShapeError unless both have the same number of items in the batch."""
    if not x or not other or x[0] != other[0]:
        raise ShapeError(
            f"the inputs are {show(x)} and {show(other)}; their first axes, the batch, must be equal.", bottom=bottom
        )


def check_labels(x: Shape, label: Shape, axis: int) -> None:
    """ShapeError unless there is one label for each position of `x`, which has its classes along `axis`."""
    check_batch(x, label) if axis else None
    positions = count(x[:axis]) * count(x[axis + 1 :])
    if count(label) != positions:
        raise ShapeError(
            f"there are {count(label)} labels ({show(label)}), but the scores {show(x)} have {positions} positions "
            f"beside their {x[axis]} classes along axis {axis}; give one label for each position.",
            bottom=1,
        )


def check_one_label(x: Shape, label: Shape, bottom: int = 1) -> None:
    """ShapeError unless there is one label for each item of the batch."""
    check_batch(x, label, bottom)
    if count(label) != label[0]:
        raise ShapeError(
            f"the labels are {show(label)}; one label for each of the {x[0]} items is wanted.", bottom=bottom
        )


def check_rows(x: Shape, label: Shape, given: int) -> int:
    """The axis `given` of x, from which on it holds features; ShapeError unless there is one row of features and one
    label for each item of the batch."""
    axis = axis_of(x, given)
    check_one_label(x, label)
    if count(x[:axis]) != x[0]:
        raise ShapeError(
            f"`axis` is {given}, which makes {count(x[:axis])} features of the input {show(x)}; "
            f"there must be one for each of its {x[0]} items.",
            field="axis",
        )
    return axis


def check_same_count(x: Shape, other: Shape, bottom: int = 1) -> None:
    """ShapeError unless both have as many values, and as many items in the batch."""
    check_batch(x, other, bottom)
    if count(x) != count(other):
        raise ShapeError(
            f"the inputs are {show(x)} and {show(other)}, {count(x)} and {count(other)} values; "
            "they must be equally many.",
            bottom=bottom,
        )


def ratio(part: Array, whole: Array, nothing: float = 0.0) -> Array:
    """part / whole as float32, `nothing` where the whole is 0."""
    return jnp.where(whole == 0, nothing, part / jnp.maximum(whole, 1)).astype(jnp.float32)
