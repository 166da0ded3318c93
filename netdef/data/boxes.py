"""True boxes of an image: rows of label, instance, xmin, ymin, xmax, ymax, difficult, and how they follow the image.

Sides are fractions of the image.  A window is (xmin, ymin, xmax, ymax) in the same units; it may exceed the image.
Source: weiliu89/caffe branch ssd, src/caffe/util/bbox_util.cpp, im_transforms.cpp and data_transformer.cpp.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..layers._resize import Resize, ResizeMode
from ..lazy import np
from ..schema import Block, param

COLUMNS = 7
LABEL, INSTANCE, XMIN, YMIN, XMAX, YMAX, DIFFICULT = range(COLUMNS)
SIDES = slice(XMIN, YMAX + 1)
OVERHANG = 0.01  # of the image's side: a box that exceeds the image by more is an error, because labels are rounded


@dataclass(frozen=True, eq=False)
class Boxes:
    """The true boxes of one record."""

    rows: Any  # (count, COLUMNS) float32


class EmitType(enum.Enum):
    """When a box belongs to a part of an image."""

    CENTER = 0
    MIN_OVERLAP = 1


class EmitConstraint(Block):
    """`emit_constraint { }`: which boxes belong to a part of an image."""

    emit_type: EmitType = param("By the center of the box, or by the fraction inside.", default=EmitType.CENTER)
    emit_overlap: float = param("Fraction of the box that must be exceeded (MIN_OVERLAP).", default=0.0)

    def met(self, rows: Any, window: Any) -> Any:
        """Returns which boxes belong to the window."""
        if self.emit_type is EmitType.MIN_OVERLAP:
            return coverage(rows[:, SIDES], np.asarray(window, np.float32)) > self.emit_overlap
        x, y = (rows[:, XMIN] + rows[:, XMAX]) / 2, (rows[:, YMIN] + rows[:, YMAX]) / 2
        return (x >= window[0]) & (x <= window[2]) & (y >= window[1]) & (y <= window[3])


def fault(rows: Any, labels: Collection[int] = (), height: float = 1, width: float = 1) -> str:
    """Returns what is wrong with the first wrong box; an empty string if all are right.

    `labels` are those of the label map, if there is one; height and width are those of the image, in units of the
    boxes."""
    for number, row in enumerate(np.asarray(rows).tolist(), 1):
        xmin, ymin, xmax, ymax = row[SIDES]
        place = f"x {xmin:.6g} to {xmax:.6g}, y {ymin:.6g} to {ymax:.6g}"
        if not np.isfinite(row).all():
            return f"box {number} is not finite ({place})"
        if xmin >= xmax or ymin >= ymax:
            return f"box {number} is {'inverted' if xmin > xmax or ymin > ymax else 'empty'} ({place})"
        x, y = OVERHANG * width, OVERHANG * height
        if xmin < -x or ymin < -y or xmax > width + x or ymax > height + y:
            return f"box {number} is partly outside the image ({place}, in an image of {width:g} x {height:g})"
        if labels and int(row[LABEL]) not in labels:
            return f"box {number} has the label {int(row[LABEL])}, which is not in the label map"
    return ""


def grouped(rows: Any) -> Any:
    """Returns the boxes by label, in the order in which the labels first appear, and counts those of each label: the
    instances 0, 1, 2, ...  This is the order of an AnnotatedDatum."""
    found, first = rows[:, LABEL].tolist(), {}
    for label in found:
        first.setdefault(label, len(first))
    order = sorted(range(len(found)), key=lambda i: first[found[i]])
    made, seen = rows[order], dict.fromkeys(first, 0)
    for row in made:
        label = float(row[LABEL])
        row[INSTANCE] = seen[label]
        seen[label] += 1
    return made


def area(sides: Any) -> Any:
    """Returns the area of boxes (..., 4); 0 of inverted ones."""
    return np.maximum(sides[..., 2] - sides[..., 0], 0) * np.maximum(sides[..., 3] - sides[..., 1], 0)


def shared(one: Any, other: Any) -> Any:
    """Returns the area that boxes (..., 4) share."""
    least, most = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    return area(np.concatenate([least, most], -1))


def overlap(one: Any, other: Any) -> Any:
    """Returns the intersection over union of boxes (..., 4)."""
    both = shared(one, other)
    return np.divide(both, area(one) + area(other) - both, out=np.zeros_like(both), where=both > 0)


def coverage(one: Any, other: Any) -> Any:
    """Returns the fraction of `one` that `other` covers, of boxes (..., 4)."""
    both = shared(one, other)
    return np.divide(both, np.broadcast_to(area(one), both.shape), out=np.zeros_like(both), where=both > 0)


def projected(rows: Any, window: Any, emit: EmitConstraint | None = None) -> Any:
    """Returns the boxes of the part of an image in `window`, as fractions of this part, clipped to it; boxes outside or
    without `emit` are dropped."""
    left, top, right, bottom = (np.float32(side) for side in window)
    kept = (rows[:, XMIN] < right) & (rows[:, XMAX] > left) & (rows[:, YMIN] < bottom) & (rows[:, YMAX] > top)
    if emit is not None:
        kept &= emit.met(rows, window)
    made = rows[kept]
    origin = np.array([left, top, left, top], np.float32)
    made[:, SIDES] = (made[:, SIDES] - origin) / np.array([right - left, bottom - top] * 2, np.float32)
    made[:, SIDES] = made[:, SIDES].clip(0, 1)
    return made[area(made[:, SIDES]) > 0]


def mirrored(rows: Any) -> Any:
    """Returns the boxes of the image mirrored left to right."""
    made = rows.copy()
    made[:, XMIN], made[:, XMAX] = 1 - rows[:, XMAX], 1 - rows[:, XMIN]
    return made


def flipped(rows: Any) -> Any:
    """Returns the boxes of the image flipped top to bottom."""
    made = rows.copy()
    made[:, YMIN], made[:, YMAX] = 1 - rows[:, YMAX], 1 - rows[:, YMIN]
    return made


class Fitted(NamedTuple):
    """The size of an image after `resize_param`, and of the part of it that is not padding, in pixels: (height, width).
    The part is in the middle."""

    size: tuple[float, float]
    part: tuple[float, float]


def fitted(to: Resize, height: int, width: int) -> Fitted:
    """Returns the size of an image of height x width after `resize_param`, not rounded to whole pixels."""
    aspect, high, wide = width / height, float(to.height), float(to.width)
    if to.resize_mode is ResizeMode.WARP:
        return Fitted((high, wide), (high, wide))
    is_small = to.resize_mode is ResizeMode.FIT_SMALL_SIZE
    by_width = (aspect > wide / high) != is_small
    part = (wide / aspect, wide) if by_width else (high, high * aspect)
    return Fitted(part if is_small else (high, wide), part)


def resized(rows: Any, to: Resize, height: int, width: int) -> Any:
    """Returns the boxes of an image of height x width after `resize_param`, whose padding moves them."""
    size, part = fitted(to, height, width)
    filled_y, filled_x = (own / whole for own, whole in zip(part, size, strict=True))
    made = rows.copy()
    for least, most, filled in ((XMIN, XMAX, filled_x), (YMIN, YMAX, filled_y)):
        margin = (1 - filled) / 2
        made[:, least] = margin + np.maximum(0, rows[:, least] * np.float32(filled))
        made[:, most] = margin + np.minimum(1, rows[:, most] * np.float32(filled))
    return made


def rescaled(rows: Any, to: Resize, height: int, width: int, window: Any) -> Any:
    """Returns the boxes of a crop, after FIT_SMALL_SIZE, as fractions of `width_scale` and `height_scale`."""
    if not to.rescales:
        return rows
    high, wide = fitted(to, height, width).size
    x = wide * (window[2] - window[0]) / to.width_scale
    y = high * (window[3] - window[1]) / to.height_scale
    made = rows.copy()
    made[:, SIDES] *= np.array([x, y, x, y], np.float32)
    return made


def most_rows(counts: Any, batch_size: int, in_order: bool) -> int:
    """Returns the largest number of boxes of a batch, at least 1: of consecutive records, or of any records."""
    counts = np.asarray(counts)
    whole, rest = divmod(batch_size, len(counts))
    if in_order:
        sums = np.cumsum(np.concatenate([[0], counts, counts[:rest]]))
        some = int((sums[rest:] - sums[: len(sums) - rest]).max())
    else:
        some = int(np.sort(counts)[len(counts) - rest :].sum())
    return max(1, whole * int(counts.sum()) + some)
