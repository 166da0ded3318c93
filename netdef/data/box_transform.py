"""Transformations of an image together with its boxes, in the order of the SSD fork: `distort_param`, `expand_param`,
`batch_sampler`, `resize_param`, `noise_param`; the crop and the mirror follow in `Transformer`.

Source: weiliu89/caffe branch ssd, src/caffe/layers/annotated_data_layer.cpp and src/caffe/data_transformer.cpp.
Differs: the fork compresses the image as JPEG after each step; netdef does not.  `resize_param` is always applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..lazy import np
from . import boxes
from .box_sampler import BatchSampler, Jitter, drawn
from .fork_transforms import distorted, expanded, fixed_size, random_side, spoiled
from .transform import Places, Transform

NEARLY_ONE = 1e-2  # an expansion by less is none


class Labeled(NamedTuple):
    """An image (h, w, c) uint8, its boxes, and its size (height, width) before `resize_param`."""

    image: Any
    rows: Any
    size: tuple[int, int]


def prepared(
    x: Any, rows: Any, way: Transform, samplers: Sequence[BatchSampler | Jitter], rng: Any, random: bool
) -> Labeled:
    """Applies the steps before the crop to an image (h, w, c) uint8 and its boxes; `random`: whether those that depend
    on chance are applied.  Raises ValueError for fields that contradict each other."""
    if random and way.distort_param is not None and x.shape[2] == 3:
        x = distorted(x, way.distort_param, rng)
    if random and way.expand_param is not None and rng.random() <= way.expand_param.prob:
        largest = way.expand_param.max_expand_ratio
        if largest - 1 >= NEARLY_ONE:
            x, rows = _expanded(x, rows, largest, way, rng)
    window = drawn(samplers, rows[:, boxes.SIDES], rng) if random and samplers else None
    if window is not None:
        x, rows = _part(x, window), boxes.projected(rows, window, way.emit_constraint)
    if way.random_resize_param is not None:
        x = random_side(x, way.random_resize_param, rng)
    if random and way.random_size:
        x = way.to_random_size(x, rng)
    h, w = x.shape[:2]
    if way.resize is not None:
        x, rows = fixed_size(x, way.resize, rng), boxes.resized(rows, way.resize, h, w)
    if random and way.noise_param is not None and rng.random() < way.noise_param.prob:
        x = spoiled(x, way.noise_param, rng)
    return Labeled(x, rows, (h, w))


def _expanded(image: Any, rows: Any, largest: float, way: Transform, rng: Any) -> tuple[Any, Any]:
    h, w = image.shape[:2]
    x, top, left = expanded(image, largest, way.mean_value, rng)
    window = (-left / w, -top / h, (x.shape[1] - left) / w, (x.shape[0] - top) / h)
    return x, boxes.projected(rows, window, way.emit_constraint)


def _part(x: Any, window: Any) -> Any:
    """Returns the part of an image in a window, in whole pixels as in the fork."""
    h, w = x.shape[:2]
    left, top, right, bottom = np.clip(window, 0, 1) * np.array([w, h, w, h], np.float32)
    height, width = max(1, int(bottom - top)), max(1, int(right - left))
    return x[int(top) : int(top) + height, int(left) : int(left) + width]


def placed(of: Labeled, place: Places, crop: tuple[int, int], way: Transform) -> Any:
    """Returns the boxes after the crop, of (height, width) or 0 for the whole side, and the mirror."""
    h, w = of.image.shape[:2]
    top, left = int(place.top), int(place.left)
    window = (left / w, top / h, (left + (crop[1] or w)) / w, (top + (crop[0] or h)) / h)
    rows = boxes.projected(of.rows, window, way.emit_constraint)
    rows = boxes.mirrored(rows) if place.mirror else rows
    rows = boxes.flipped(rows) if place.over else rows
    return rows if way.resize is None else boxes.rescaled(rows, way.resize, *of.size, window)
