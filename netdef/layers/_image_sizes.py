"""Boxes in pixels of the original images, whose sizes are in the `name_size_file` of the SSD fork.

Source: weiliu89/caffe, branch ssd, src/caffe/util/bbox_util.cpp (OutputBBox, JaccardOverlap).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..language.errors import NetdefError
from ..lazy import Array, jnp, np
from ._boxes import Boxes
from ._resize import Resize, ResizeMode


class Pixels(NamedTuple):
    """Boxes in pixels and their sizes, which the fork stores with them."""

    boxes: Boxes
    size: Array


def read_sizes(path: Path) -> Any:
    """Returns the heights and widths (images, 2) in a file with a line `name height width` for each image."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise NetdefError(
            f"{path}: `name_size_file` cannot be read: {getattr(error, 'strerror', None) or error}; remove the field "
            "to compare boxes as fractions of the image"
        ) from None
    sizes = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not all(word.isdecimal() and int(word) > 0 for word in words[1:]):
            raise NetdefError(f"{path}:{number}: not the name, height and width of an image: {line.strip()[:80]!r}")
        sizes.append((int(words[1]), int(words[2])))
    return np.array(sizes, np.float32).reshape(-1, 2)


def in_pixels(boxes: Boxes, sizes: Array, resize: Resize | None) -> Pixels:
    """Returns boxes, fractions of resized images, in pixels of the original images with these heights and widths
    (..., 2)."""
    height, width = sizes[..., 0], sizes[..., 1]
    if resize is not None and resize.rescales:
        scaled = _scaled(boxes, resize.height_scale, resize.width_scale)
        clipped = _clipped(scaled, height, width)
        return Pixels(clipped, clipped.size())
    if resize is not None and resize.resize_mode is ResizeMode.FIT_LARGE_SIZE_AND_PAD:
        boxes = _without_padding(boxes, height, width, resize)
    scaled = _scaled(_clipped(boxes, 1.0, 1.0), height, width)
    w, h = scaled.sides
    return Pixels(scaled, jnp.where((w < 0) | (h < 0), 0.0, (w + 1) * (h + 1)))


def pixel_overlap(a: Pixels, b: Pixels) -> Array:
    """Returns intersection / union of boxes that include the pixels at both ends; as in the fork, the intersection of
    boxes that are apart is one pixel."""
    one, other = a.boxes, b.boxes
    apart = (other.xmin > one.xmax) | (other.xmax < one.xmin) | (other.ymin > one.ymax) | (other.ymax < one.ymin)
    width = jnp.minimum(one.xmax, other.xmax) - jnp.maximum(one.xmin, other.xmin) + 1
    height = jnp.minimum(one.ymax, other.ymax) - jnp.maximum(one.ymin, other.ymin) + 1
    common = jnp.where(apart, 1.0, width * height)
    both = apart | ((width > 0) & (height > 0))
    return jnp.where(both, common / (a.size + b.size - common), 0.0)


def _scaled(boxes: Boxes, height: Any, width: Any) -> Boxes:
    return Boxes(boxes.xmin * width, boxes.ymin * height, boxes.xmax * width, boxes.ymax * height)


def _clipped(boxes: Boxes, height: Any, width: Any) -> Boxes:
    cut = lambda values, most: jnp.maximum(jnp.minimum(values, most), 0.0)
    return Boxes(cut(boxes.xmin, width), cut(boxes.ymin, height), cut(boxes.xmax, width), cut(boxes.ymax, height))


def _without_padding(boxes: Boxes, height: Array, width: Array, resize: Resize) -> Boxes:
    """Returns boxes as fractions of the part of the resized image that is not padding; those outside are unchanged."""
    aspect, wanted = width / height, resize.width / resize.height
    above = jnp.where(aspect > wanted, (resize.height - resize.width / aspect) / 2, 0.0) / resize.height
    beside = jnp.where(aspect > wanted, 0.0, (resize.width - resize.height * aspect) / 2) / resize.width
    xmin, ymin, xmax, ymax = beside, above, 1 - beside, 1 - above
    away = (boxes.xmin >= xmax) | (boxes.xmax <= xmin) | (boxes.ymin >= ymax) | (boxes.ymax <= ymin)
    w, h = xmax - xmin, ymax - ymin
    moved = Boxes((boxes.xmin - xmin) / w, (boxes.ymin - ymin) / h, (boxes.xmax - xmin) / w, (boxes.ymax - ymin) / h)
    return Boxes(*(jnp.where(away, before, after) for before, after in zip(boxes, moved, strict=True)))
