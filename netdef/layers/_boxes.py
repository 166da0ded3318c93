"""Boxes of detectors: their encoding relative to default boxes, overlap, and greedy suppression.

Source: weiliu89/caffe, branch ssd, src/caffe/util/bbox_util.cpp.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..lazy import Array, jnp, lax, np
from ..schema import Block, param
from ..shape import Dim, Shape, ShapeError, count, show


class CodeType(enum.Enum):
    """How a box is encoded relative to its default box."""

    CORNER = 1
    CENTER_SIZE = 2
    CORNER_SIZE = 3


class NonMaximumSuppression(Block):
    """`nms_param { }`: suppression of overlapping boxes."""

    nms_threshold: float = param("Boxes that overlap more than this are dropped.", default=0.3, at_least=0)
    top_k: int | None = param("Number of boxes with the highest scores to consider; -1: all.", default=None)
    eta: float = param("Factor of a threshold above 0.5 after each box that is kept.", default=1.0, above=0, at_most=1)


class Boxes(NamedTuple):
    """The corners of boxes, four arrays of the same shape."""

    xmin: Array
    ymin: Array
    xmax: Array
    ymax: Array

    @property
    def sides(self) -> tuple[Array, Array]:
        return self.xmax - self.xmin, self.ymax - self.ymin

    @property
    def centers(self) -> tuple[Array, Array]:
        return (self.xmin + self.xmax) / 2, (self.ymin + self.ymax) / 2

    def size(self) -> Array:
        """Returns the areas; 0 for an inverted box."""
        width, height = self.sides
        return jnp.where((width < 0) | (height < 0), 0.0, width * height)

    def each(self, change: object) -> Boxes:
        """Returns the boxes with a function applied to each array, for example an index."""
        return Boxes(*map(change, self))  # type: ignore[arg-type,call-overload]

    def stacked(self) -> Array:
        """Returns one array (..., 4)."""
        return jnp.stack(self, -1)


def boxes_of(values: Array) -> Boxes:
    """Returns the boxes in an array (..., 4)."""
    return Boxes(*(values[..., i] for i in range(4)))


class Priors(NamedTuple):
    """Default boxes and their variances, (boxes) each."""

    boxes: Boxes
    variances: Boxes


def priors_of(values: Array, boxes: int) -> Priors:
    """Returns the default boxes of a top of PriorBox."""
    both = lax.stop_gradient(values).reshape(-1)[: 8 * boxes].reshape(2, boxes, 4)
    return Priors(boxes_of(both[0]), boxes_of(both[1]))


def decode(code: str, priors: Priors, offsets: Boxes, scaled: bool) -> Boxes:
    """Returns the boxes (..., boxes) of predictions. `code` is the name of a code type; `scaled`: the predictions
    include the variances."""
    prior = priors.boxes
    dx, dy, dw, dh = offsets if scaled else (v * d for v, d in zip(priors.variances, offsets, strict=True))
    if code == "CORNER":
        return Boxes(prior.xmin + dx, prior.ymin + dy, prior.xmax + dw, prior.ymax + dh)
    width, height = prior.sides
    if code == "CORNER_SIZE":
        return Boxes(
            prior.xmin + dx * width, prior.ymin + dy * height, prior.xmax + dw * width, prior.ymax + dh * height
        )
    x, y = prior.centers
    x, y = dx * width + x, dy * height + y
    half_w, half_h = jnp.exp(dw) * width / 2, jnp.exp(dh) * height / 2
    return Boxes(x - half_w, y - half_h, x + half_w, y + half_h)


def encode(code: CodeType, priors: Priors, boxes: Boxes, scaled: bool) -> Boxes:
    """Returns the predictions that `decode` converts to the boxes (..., boxes)."""
    prior = priors.boxes
    width, height = prior.sides
    if code is CodeType.CENTER_SIZE:
        (x, y), (to_x, to_y), (w, h) = prior.centers, boxes.centers, boxes.sides
        made = Boxes((to_x - x) / width, (to_y - y) / height, jnp.log(w / width), jnp.log(h / height))
    else:
        made = Boxes(*(box - own for box, own in zip(boxes, prior, strict=True)))
        if code is CodeType.CORNER_SIZE:
            made = Boxes(made.xmin / width, made.ymin / height, made.xmax / width, made.ymax / height)
    return made if scaled else Boxes(*(d / v for d, v in zip(made, priors.variances, strict=True)))


def overlap(a: Boxes, b: Boxes) -> Array:
    """Returns intersection / union of boxes; 0 where they have no common area."""
    width = jnp.minimum(a.xmax, b.xmax) - jnp.maximum(a.xmin, b.xmin)
    height = jnp.minimum(a.ymax, b.ymax) - jnp.maximum(a.ymin, b.ymin)
    common = width * height
    return jnp.where((width > 0) & (height > 0), common / (a.size() + b.size() - common), 0.0)


def outside(boxes: Boxes) -> Boxes:
    """Returns for each coordinate whether it is outside the image."""
    return boxes.each(lambda at: (at < 0) | (at > 1))


def suppress(boxes: Boxes, candidates: Array, threshold: float, eta: float = 1.0, most: Array | None = None) -> Array:
    """Returns which boxes (rows, boxes) are kept: from the first one on, each candidate that overlaps no kept one by
    more than the threshold. `most` (rows, 1) is the number to keep.

    A step of the loop keeps the next box of every row, so their number is that of the boxes kept, not of candidates."""
    boxes_in_row = candidates.shape[1]
    order = lax.broadcasted_iota(jnp.int32, candidates.shape, 1)

    def following(at: Array, worst: Array, limit: Array) -> Array:
        alive = candidates & (order > at) & (worst <= limit)
        return jnp.min(jnp.where(alive, order, boxes_in_row), 1, keepdims=True, initial=boxes_in_row)

    def open_rows(at: Array, number: Array) -> Array:
        return at < boxes_in_row if most is None else (at < boxes_in_row) & (number < most)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        at, number, kept, worst, limit = state
        is_open = open_rows(at, number)
        one = boxes.each(lambda side: jnp.take_along_axis(side, jnp.minimum(at, boxes_in_row - 1), 1))
        kept = kept | (is_open & (order == at))
        worst = jnp.maximum(worst, overlap(one, boxes))
        limit = jnp.where(is_open & (limit > 0.5), limit * eta, limit) if eta < 1 else limit
        return following(at, worst, limit), number + 1, kept, worst, limit

    rows = (candidates.shape[0], 1)
    limit = jnp.full(rows, threshold, jnp.float32)
    worst = jnp.zeros(candidates.shape, jnp.float32)
    first = following(jnp.full(rows, -1, jnp.int32), worst, limit)
    state = (first, jnp.zeros(rows, jnp.int32), jnp.zeros(candidates.shape, bool), worst, limit)
    return lax.while_loop(lambda s: jnp.any(open_rows(s[0], s[1])), step, state)[2]


def just_below(threshold: float) -> float:
    """Returns the limit for `suppress` with which boxes are dropped that overlap a kept one by exactly `threshold`."""
    return float(np.nextafter(np.float32(threshold), np.float32(0)))


def check_predictions(priors: Shape, loc: Shape, conf: Shape, num_classes: int, share_location: bool) -> Dim:
    """Returns the number of default boxes; raises ShapeError unless the predictions (n, boxes x values) fit them."""
    if len(priors) not in (3, 4) or len(loc) < 2 or len(conf) < 2:
        raise ShapeError(
            f"the predictions are {show(loc)} and {show(conf)}, and the default boxes {show(priors)}; "
            "they must be n x values, n x values and 1 x 2 x values."
        )
    if count(priors[:2]) != 2 or count(priors[3:]) != 1 or priors[2] % 4:
        raise ShapeError(
            f"bottom 2, the default boxes, is {show(priors)}; it must be 1 x 2 x values, with 4 values for each box: "
            "the tops of PriorBox layers, concatenated along axis 2.",
            bottom=2,
        )
    boxes = priors[2] // 4
    for i, (shape, each) in enumerate(((loc, 4 * (1 if share_location else num_classes)), (conf, num_classes))):
        if count(shape[1:]) != boxes * each:
            raise ShapeError(
                f"bottom {i}, the {('coordinates', 'confidences')[i]}, is {show(shape)}, {count(shape[1:])} values per "
                f"image, but {boxes} default boxes of {each} values require {boxes * each}; change the layer that "
                "outputs it.",
                bottom=i,
            )
    if loc[0] != conf[0]:
        raise ShapeError(
            f"bottom 0 has coordinates of {loc[0]} images and bottom 1 confidences of {conf[0]}; they must be equal.",
            bottom=1,
        )
    return boxes


def check_background(background: int, num_classes: int) -> None:
    """Raises ShapeError unless the class of the background exists."""
    if background >= num_classes:
        raise ShapeError(
            f"`background_label_id` is {background}, but `num_classes` is {num_classes}; "
            f"give at most {num_classes - 1}.",
            field="background_label_id",
        )
