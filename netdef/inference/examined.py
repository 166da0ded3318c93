"""The records of a detector's own data: what it finds in each, and what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..language.errors import NetdefError
from ..shape import show
from .boxes import Box, Detection, detections_in, per_image, true_boxes_of, truth_of, whole
from .pictures import boxed, stretched

OVERLAP = 0.5  # intersection / union from which on a box is found


class Examined(NamedTuple):
    """One record: its detections, its true boxes, and its row (c, h, w) of the first input, as it is before the mean is
    subtracted.  Boxes are in pixels of the row."""

    found: Detection
    truth: tuple[Box, ...]
    row: np.ndarray

    def picture(self, least: float) -> bytes:
        """Returns a PNG file with the boxes of at least this score, and the true boxes dashed."""
        return boxed(stretched(self.row), [box for box in self.found.boxes if box.score >= least], self.truth)


def examined(predictor: Any, names: Mapping[int, str]) -> Iterator[Examined]:
    """Yields the records of the net's data once, in order.  NetdefError if its first input is not images."""
    net, way, number = predictor.net, predictor.preprocessing, 0
    truth = truth_of(net)
    for inputs, count in predictor.records():
        images = inputs[net.inputs[0]]
        if images.ndim != 4:
            raise NetdefError(f"the net's first input `{net.inputs[0]}` is {show(images.shape)}, which is not images.")
        made = predictor.blobs(inputs, [predictor.blob, *([truth] if truth else [])])
        place = whole(images.shape[2:])
        labels = [f"record {number + i}" for i in range(count)]
        found = detections_in(made[predictor.blob], labels, [place] * count, names)
        true = per_image(made[truth], count) if truth else [np.zeros((0, 8), np.float32)] * count
        for one, rows, row in zip(found, true, images, strict=False):
            restored = way.restored(row) if way is not None and way.shape == row.shape else row
            yield Examined(one, true_boxes_of(rows, names, place), restored)
        number += count


def mistakes(one: Examined, least: float) -> tuple[list[Box], list[Box]]:
    """Returns the true boxes that no detection of at least this score finds, and the detections that find none.

    As in DetectionEvaluate, the first detection that overlaps a true box of its class finds it; difficult ones do not
    count."""
    missed, false = list(one.truth), []
    for box in one.found.boxes:
        if box.score < least:
            continue
        same = [true for true in one.truth if true.label == box.label]
        best = max(same, key=lambda true: overlap(box, true), default=None)
        if best is not None and overlap(box, best) >= OVERLAP and (best in missed or best.difficult):
            missed = [true for true in missed if true is not best]
        else:
            false.append(box)
    return [box for box in missed if not box.difficult], false


def overlap(a: Box, b: Box) -> float:
    """Returns intersection / union."""
    area = lambda box: max(box.xmax - box.xmin, 0) * max(box.ymax - box.ymin, 0)
    width = min(a.xmax, b.xmax) - max(a.xmin, b.xmin)
    height = min(a.ymax, b.ymax) - max(a.ymin, b.ymin)
    common = width * height if width > 0 and height > 0 else 0.0
    return common / (area(a) + area(b) - common) if common else 0.0
