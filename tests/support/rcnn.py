"""Proposals and targets of Faster R-CNN in plain NumPy loops, written from the formulas of py-faster-rcnn."""

from __future__ import annotations

from typing import Any

import numpy as np


def anchor_shapes(base: int, ratios: Any, scales: Any) -> np.ndarray:
    """(x1, y1, x2, y2) of the anchors of the first position."""
    made = []
    middle = (base - 1) / 2
    for ratio in ratios:
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            w, h = width * scale, height * scale
            made.append([middle - (w - 1) / 2, middle - (h - 1) / 2, middle + (w - 1) / 2, middle + (h - 1) / 2])
    return np.array(made)


def all_anchors(shapes: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    return np.array([a + [x * stride, y * stride] * 2 for y in range(height) for x in range(width) for a in shapes])


def area(box: Any) -> float:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def common(a: Any, b: Any) -> float:
    """Intersection / union of boxes that include the pixels at both ends."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return w * h / (area(a) + area(b) - w * h) if w > 0 and h > 0 else 0.0


def overlaps(a: Any, b: Any) -> np.ndarray:
    return np.array([[common(one, other) for other in b] for one in a]).reshape(len(a), len(b))


def moved(box: Any, offset: Any) -> list[float]:
    w, h = box[2] - box[0] + 1, box[3] - box[1] + 1
    x, y = box[0] + w / 2 + offset[0] * w, box[1] + h / 2 + offset[1] * h
    w, h = w * np.exp(offset[2]), h * np.exp(offset[3])
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def offsets(box: Any, to: Any) -> list[float]:
    w, h, to_w, to_h = box[2] - box[0] + 1, box[3] - box[1] + 1, to[2] - to[0] + 1, to[3] - to[1] + 1
    x, y = to[0] + to_w / 2 - box[0] - w / 2, to[1] + to_h / 2 - box[1] - h / 2
    return [x / w, y / h, np.log(to_w / w), np.log(to_h / h)]


def proposals(
    scores: np.ndarray,
    deltas: np.ndarray,
    info: np.ndarray,
    shapes: np.ndarray,
    stride: int,
    min_size: float,
    considered: int,
    kept: int,
    threshold: float,
) -> list[tuple[list[float], float]]:
    """(box, score) of the proposals of one image; scores (2 a, h, w), deltas (4 a, h, w)."""
    a, (height, width) = len(shapes), scores.shape[1:]
    found = []
    for i, anchor in enumerate(all_anchors(shapes, height, width, stride)):
        place, k = divmod(i, a)
        y, x = divmod(place, width)
        box = moved(anchor, deltas[4 * k : 4 * k + 4, y, x])
        box = [max(min(v, info[1 - at % 2] - 1), 0) for at, v in enumerate(box)]
        scale_w = info[3] if len(info) > 3 else info[2]
        if box[2] - box[0] + 1 >= min_size * scale_w and box[3] - box[1] + 1 >= min_size * info[2]:
            found.append((box, float(scores[a + k, y, x])))
    found.sort(key=lambda one: -one[1])
    result: list[tuple[list[float], float]] = []
    for box, score in found[: considered if considered > 0 else None]:
        if all(common(box, other) <= threshold for other, _ in result):
            result.append((box, score))
    return result[: kept if kept > 0 else None]


def anchor_labels(
    anchors: np.ndarray, truth: np.ndarray, size: Any, border: float, positive: float, negative: float, clobber: bool
) -> np.ndarray:
    """The labels of all anchors before any are drawn; -1: ignored."""
    inside = [
        i
        for i, (x1, y1, x2, y2) in enumerate(anchors)
        if x1 >= -border and y1 >= -border and x2 < size[1] + border and y2 < size[0] + border
    ]
    table = overlaps(anchors[inside], truth)
    best, labels = table.max(1), np.full(len(inside), -1.0)
    if not clobber:
        labels[best < negative] = 0
    for column in table.T:
        labels[np.isclose(column, column.max(), rtol=1e-6)] = 1
    labels[best >= positive] = 1
    if clobber:
        labels[best < negative] = 0
    made = np.full(len(anchors), -1.0)
    made[inside] = labels
    return made
