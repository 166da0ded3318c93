"""Regions of Faster R-CNN: anchors, boxes in pixels of the image, and random choice.

A box (x1, y1, x2, y2) includes the pixels at both ends, so its width is x2 - x1 + 1.
Source: rbgirshick/py-faster-rcnn lib/rpn/generate_anchors.py, lib/fast_rcnn/bbox_transform.py, lib/utils/bbox.pyx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..lazy import Array, jax, jnp, lax, np
from ..schema import Block, param
from ..shape import Dim, Shape, ShapeError, count, show
from ._boxes import Boxes, overlap
from ._image_numbers import of_ssd, own_image


class Anchors(Block):
    """The fields of layers with anchors."""

    feat_stride: int = param("Pixels of the image per position of the scores.", default=16, at_least=1)
    base_size: int = param("Side of the square from which anchors are derived, in pixels.", default=16, at_least=1)
    ratio: tuple[float, ...] = param("Heights of anchors divided by their widths.", default=(0.5, 1.0, 2.0), above=0)
    scale: tuple[float, ...] = param("Sizes of anchors, as factors of `base_size`.", default=(8.0, 16.0, 32.0), above=0)

    def per_place(self) -> int:
        """Returns the number of anchors at each position."""
        return len(self.ratio) * len(self.scale)

    def check_scores(self, scores: Shape) -> None:
        """Raises ShapeError unless there are two scores for each anchor at each position."""
        if len(scores) != 4:
            raise ShapeError(
                f"bottom 0, the scores, is {show(scores)}, {len(scores)} axes; it must have 4: batch, scores, height, "
                "width.",
                bottom=0,
            )
        if scores[1] != 2 * self.per_place():
            raise ShapeError(
                f"bottom 0, the scores, is {show(scores)}, {scores[1]} scores at each position, but {len(self.ratio)} "
                f"ratios and {len(self.scale)} scales are {self.per_place()} anchors with {2 * self.per_place()} "
                "scores; change `ratio`, `scale` or the layer that outputs it.",
                bottom=0,
            )

    def anchors(self, height: int, width: int) -> Any:
        """Returns the anchors (height, width, anchors, 4) of all positions."""
        at = square_anchors(self.base_size, self.ratio, self.scale)
        y, x = np.mgrid[:height, :width].astype(np.float32) * self.feat_stride
        return np.stack([x, y, x, y], -1)[:, :, None] + at


def square_anchors(base_size: int, ratios: Sequence[float], scales: Sequence[float]) -> Any:
    """Returns the anchors (anchors, 4) of the first position: every scale of the first ratio, then of the next."""
    sides = np.round(np.sqrt(base_size * base_size / np.asarray(ratios, np.float64)))
    width = (sides[:, None] * np.asarray(scales, np.float64)).reshape(-1)
    height = (np.round(sides * np.asarray(ratios, np.float64))[:, None] * np.asarray(scales, np.float64)).reshape(-1)
    center = (base_size - 1) / 2
    w, h = (width - 1) / 2, (height - 1) / 2
    return np.stack([center - w, center - h, center + w, center + h], -1).astype(np.float32)


def with_ends(boxes: Boxes) -> Boxes:
    """Returns boxes whose sides are differences of coordinates, as `overlap` and `suppress` expect them."""
    return Boxes(boxes.xmin, boxes.ymin, boxes.xmax + 1, boxes.ymax + 1)


def region_overlaps(a: Boxes, b: Boxes) -> Array:
    """Returns intersection / union of all pairs of boxes (rows) and (columns)."""
    return overlap(with_ends(a).each(lambda side: side[:, None]), with_ends(b))


def shifted(boxes: Boxes, offsets: Boxes) -> Boxes:
    """Returns the boxes that the offsets (dx, dy, log w, log h) move and scale boxes to."""
    width, height = with_ends(boxes).sides
    x, y = boxes.xmin + 0.5 * width, boxes.ymin + 0.5 * height
    dx, dy, dw, dh = offsets
    x, y = dx * width + x, dy * height + y
    half_w, half_h = 0.5 * (jnp.exp(dw) * width), 0.5 * (jnp.exp(dh) * height)
    return Boxes(x - half_w, y - half_h, x + half_w, y + half_h)


def offsets_to(boxes: Boxes, targets: Boxes) -> Array:
    """Returns the offsets (..., 4) with which boxes have the center, width and height of the targets."""
    width, height = with_ends(boxes).sides
    to_width, to_height = with_ends(targets).sides
    dx = (targets.xmin + 0.5 * to_width - (boxes.xmin + 0.5 * width)) / width
    dy = (targets.ymin + 0.5 * to_height - (boxes.ymin + 0.5 * height)) / height
    return jnp.stack([dx, dy, jnp.log(to_width / width), jnp.log(to_height / height)], -1)


def drawn(key: Array, among: Array, number: Any) -> Array:
    """Returns a mask of `number` random rows of those in the mask `among`, without replacement; all if fewer."""
    chance = jnp.where(among, jax.random.uniform(key, among.shape), 2.0)
    rank = jnp.argsort(jnp.argsort(chance))
    return among & (rank < number)


def check_four(layer: Block, *fields: str) -> None:
    """Raises ShapeError unless these fields have 4 values: of x, y, width and height."""
    for field in fields:
        if (given := len(getattr(layer, field))) != 4:
            raise ShapeError(f"`{field}` has {given} values; give 4: of x, y, width and height.", field=field)


def check_image_info(info: Shape, images: Dim, bottom: int) -> None:
    """Raises ShapeError unless there are height, width and scale of one image, or of each image."""
    if len(info) < 2 or count(info[1:]) < 3:
        raise ShapeError(
            f"bottom {bottom}, the sizes of the images, is {show(info)}; it must be 1 x 3: height, width, scale.",
            bottom=bottom,
        )
    if info[0] != 1 and info[0] != images:
        raise ShapeError(
            f"bottom {bottom} has the sizes of {info[0]} images, but there are {images}; give one row, or one for "
            "each.",
            bottom=bottom,
        )


def rows_of_boxes(truth: Shape) -> Dim:
    """Returns the number of rows of the true boxes: (count, 5), (1, count, 5) or as in SSD, (1, 1, count, 8); raises
    ShapeError for other shapes."""
    if of_ssd(truth) and truth[1] == 1:
        return truth[2]
    listed = truth[1:] if len(truth) == 3 and truth[0] == 1 and truth[2] == 5 else truth
    if len(listed) < 2 or count(listed[1:]) != 5 or listed[0] < 1:
        raise ShapeError(
            f"bottom 1, the true boxes, is {show(truth)}; it must have at least one row, and 5 values per box: "
            "x1, y1, x2, y2, label, of one image; or be 1 x 1 x count x 8, as the label of AnnotatedData.",
            bottom=1,
        )
    return listed[0]


def true_regions(truth: Array, info: Array | None) -> Array:
    """Returns the true boxes (count, 5) of an image in pixels: x1, y1, x2, y2, label, which is 0 where there is none.
    `info` (1, 3), its height, width and scale, is only used for boxes as in SSD, which are fractions of it."""
    truth = lax.stop_gradient(truth)
    if info is None or not of_ssd(truth.shape):
        return truth.reshape(-1, 5)
    height, width = lax.stop_gradient(info).reshape(-1)[:2]
    image, label, _, left, top, right, bottom, _ = (truth[0, 0, :, i] for i in range(8))
    label = jnp.where(own_image(image, 1) == 0, label, 0.0)
    return jnp.stack([left * width, top * height, right * width - 1, bottom * height - 1, label], 1)
