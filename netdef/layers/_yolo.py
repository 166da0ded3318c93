"""What the layers of YOLO share: predictions of cells, true boxes, and overlaps.

A prediction (n, boxes values, h, w) has for each cell some boxes, each with x, y, w, h, the confidence, and a value per
class.  A box is (x, y, w, h): its center and its size, in fractions of the image.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

from ..lazy import Array, jax, jnp, lax
from ..shape import Shape, ShapeError, count, show
from ._boxes import Boxes
from ._image_numbers import of_ssd, own_image

COORDINATES = 4


class Box(NamedTuple):
    """Centers and sizes of boxes: four arrays of the same shape."""

    x: Array
    y: Array
    w: Array
    h: Array

    def each(self, change: Callable[[Array], Array]) -> Box:
        """Returns the boxes with a function applied to each array, for example an index."""
        return Box(*map(change, self))


class Overlap(enum.Enum):
    """How the overlap of two boxes is measured, and with MSE, that the loss compares coordinates."""

    IOU = 0
    GIOU = 1
    MSE = 2
    DIOU = 3
    CIOU = 4


class Truth(NamedTuple):
    """The true boxes (n, rows) of each image; `counted` are those that exist."""

    label: Array
    box: Box
    counted: Array

    def row(self, i: Array) -> Truth:
        """Returns one true box of each image, (n)."""
        return jax.tree.map(lambda values: values[:, i], self)

    def rows(self) -> Array:
        """Returns the number of rows up to the last true box of any image."""
        places = jnp.arange(1, self.counted.shape[1] + 1)
        return jnp.max(jnp.where(self.counted, places, 0), initial=0)


def check_cells(x: Shape, boxes: int, classes: int, bottom: int = 0, coordinates: int = COORDINATES) -> None:
    """Raises ShapeError unless x has the values of `boxes` boxes in each cell."""
    values = coordinates + 1 + classes
    if len(x) != 4:
        raise ShapeError(
            f"bottom {bottom}, the predictions, is {show(x)}; it must have 4 axes: batch, values of the boxes, height, "
            "width.",
            bottom=bottom,
        )
    if x[1] != boxes * values:
        raise ShapeError(
            f"the predictions {show(x)} have {x[1]} channels, but {boxes} boxes of {coordinates + 1} + {classes} "
            f"values need {boxes * values}; change the number of boxes or of classes, or the channels.",
            bottom=bottom,
        )


def check_biases(biases: tuple[float, ...], boxes: int) -> None:
    """Raises ShapeError unless there are a width and a height for each box."""
    if len(biases) != 2 * boxes:
        raise ShapeError(f"`biases` has {len(biases)} values for {boxes} boxes; give two for each.", field="biases")


def check_truth(x: Shape, truth: Shape) -> None:
    """Raises ShapeError unless `truth` has the form of the YOLO or of the SSD fork (see `truth_of`)."""
    if not of_ssd(truth) and (not truth or truth[0] != x[0] or count(truth[1:]) % 5):
        raise ShapeError(
            f"bottom 1, the true boxes, is {show(truth)}; it must be {x[0]} x count x 5: class, x, y, w, h, or 1 x 1 x "
            "count x 8: image, label, instance, xmin, ymin, xmax, ymax, difficult.",
            bottom=1,
        )


def truth_of(values: Array, n: int, first: int = 1) -> Truth:
    """Returns the true boxes of n images: rows (class, x, y, w, h) of each image, up to the first one with x or w 0; or
    rows (image, label, instance, xmin, ymin, xmax, ymax, difficult) of all images, where label `first` is class 0."""
    if of_ssd(values.shape):
        image, label, _, left, top, right, bottom, _ = (values[0, 0, :, i][None] for i in range(8))
        box = Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        counted = own_image(image, n) == jnp.arange(n)[:, None]
        each = lambda side: jnp.broadcast_to(side, counted.shape)
        return Truth(each(label - first).astype(jnp.int32), Box(*map(each, box)), counted & (box.w > 0) & (box.h > 0))
    rows = values.reshape(n, -1, 5)
    label, x, y, w, h = (rows[..., i] for i in range(5))
    counted = jnp.cumprod((x != 0) & (w != 0), 1).astype(bool)
    return Truth(label.astype(jnp.int32), Box(x, y, w, h), counted)


def corners(boxes: Box) -> Boxes:
    """Returns the corners of boxes."""
    x, y, w, h = boxes
    return Boxes(x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def overlap(a: Box, b: Box, kind: Overlap = Overlap.IOU) -> Array:
    """Returns the overlap of boxes, or one of its generalizations, which are at most as large.

    Source: Rezatofighi et al. 2019 (GIOU), Zheng et al. 2020 (DIOU, here with the power 0.6; CIOU)."""
    width = jnp.minimum(a.x + a.w / 2, b.x + b.w / 2) - jnp.maximum(a.x - a.w / 2, b.x - b.w / 2)
    height = jnp.minimum(a.y + a.h / 2, b.y + b.h / 2) - jnp.maximum(a.y - a.h / 2, b.y - b.h / 2)
    common = jnp.where((width > 0) & (height > 0), width * height, 0.0)
    union = a.w * a.h + b.w * b.h - common
    iou = jnp.where(common > 0, common / union, 0.0)
    if kind in (Overlap.IOU, Overlap.MSE):
        return iou
    outer_w = jnp.maximum(a.x + a.w / 2, b.x + b.w / 2) - jnp.minimum(a.x - a.w / 2, b.x - b.w / 2)
    outer_h = jnp.maximum(a.y + a.h / 2, b.y + b.h / 2) - jnp.minimum(a.y - a.h / 2, b.y - b.h / 2)
    if kind is Overlap.GIOU:
        hull = outer_w * outer_h
        return iou - jnp.where(hull == 0, 0.0, (hull - union) / hull)
    diagonal = outer_w**2 + outer_h**2
    distance = ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) / jnp.where(diagonal == 0, 1.0, diagonal)
    if kind is Overlap.DIOU:
        return iou - distance**0.6
    shape = (2 / jnp.pi * (jnp.arctan(b.w / b.h) - jnp.arctan(a.w / a.h))) ** 2
    term = distance + shape * shape / (1 - iou + shape + 1e-6)
    return iou - jnp.where(diagonal == 0, 0.0, term)


def best_overlap(boxes: Box, truth: Truth, kind: Overlap = Overlap.IOU) -> Array:
    """Returns the largest overlap of each box (n, ...) with a true box of its image; 0 if there is none."""
    spread = lambda side: side.reshape(-1, *(1,) * (boxes.x.ndim - 1))

    def larger(i: Array, best: Array) -> Array:
        one = truth.row(i)
        found = overlap(boxes, Box(*map(spread, one.box)), kind)
        return jnp.where(spread(one.counted), jnp.maximum(best, found), best)

    return lax.fori_loop(0, truth.rows(), larger, jnp.zeros_like(boxes.x))
