"""DetectionOutput as operations of ONNX: TopK and NonMaxSuppression, which drop the same boxes.

The boxes of each class are a batch of their own, of the `top_k` with the highest confidence, so that NonMaxSuppression
considers no others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Node
from .onnx_graph import LOWEST, Graph, listed, suppressed


def append(graph: Any, node: Node, priors: np.ndarray) -> None:
    """Appends a DetectionOutput layer to an ONNX graph, with its default boxes."""
    layer: Any = node.layer
    g, how = Graph(graph, node.name), layer.settings
    loc, conf = (value.name for value in node.bottoms[:2])
    count = priors.shape[2] // 4
    boxes, classes, number = count, list(how.classes), how.per_class(count)
    scores = g.op("Transpose", g.shaped(conf, -1, boxes, how.num_classes), perm=[0, 2, 1])
    scores = g.shaped(g.op("Gather", scores, g.constant(classes), axis=1), -1, boxes)  # (n classes, boxes)
    best, order = g.op("TopK", scores, g.constant([number]), outputs=2, axis=1)
    decoded = _decoded(g, loc, priors, boxes, layer)  # (n, 1 or classes, boxes, 4)
    shape = g.op("Concat", g.op("Shape", decoded, end=1), g.constant([len(classes), boxes, 4]), axis=0)
    rows = g.shaped(g.op("Expand", decoded, shape), -1, boxes, 4)
    index = g.op("Expand", g.shaped(order, -1, number, 1), g.constant([1, 1, 4]))
    rows = g.op("GatherElements", rows, index, axis=1)  # (n classes, number, 4)
    least = float(LOWEST) if how.least is None else how.least
    kept = g.shaped(suppressed(g, rows, best, number, how.nms_threshold, least), -1, len(classes) * number)
    best, rows = g.shaped(best, -1, len(classes) * number), g.shaped(rows, -1, len(classes) * number, 4)
    kept = _best(g, kept, best, how.per_image(boxes), len(classes) * number)
    label = lambda at, place: g.op("Gather", g.real(classes), g.op("Div", place, g.constant([number])))
    g.name(listed(g, kept, best, rows, label), node.tops[0].name)


def _decoded(g: Graph, loc: str, priors: np.ndarray, boxes: int, layer: Any) -> str:
    """Returns the boxes (n, 1 or classes, boxes, 4) of predictions of code type CENTER_SIZE."""
    how = layer.settings
    prior, variance = priors.reshape(2, boxes, 4).astype(np.float32)
    offsets = g.op("Transpose", g.shaped(loc, 0, boxes, -1, 4), perm=[0, 2, 1, 3])
    if not layer.share_location:
        offsets = g.op("Gather", offsets, g.constant(list(how.classes)), axis=1)
    if not how.scaled:
        offsets = g.op("Mul", offsets, g.real(variance))
    size, center = prior[:, 2:] - prior[:, :2], (prior[:, :2] + prior[:, 2:]) / 2
    move, grow = g.op("Split", offsets, outputs=2, axis=3, num_outputs=2)
    middle = g.op("Add", g.op("Mul", move, g.real(size)), g.real(center))
    half = g.op("Div", g.op("Mul", g.op("Exp", grow), g.real(size)), g.real(2.0))
    return g.op("Concat", g.op("Sub", middle, half), g.op("Add", middle, half), axis=3)


def _best(g: Graph, kept: str, scores: str, number: int, total: int) -> str:
    """Returns 1 for the kept boxes of each image with the highest confidences, at most this number."""
    if number >= total:
        return kept
    masked = g.op("Where", g.op("Greater", kept, g.real(0.0)), scores, g.real(LOWEST))
    _, order = g.op("TopK", masked, g.constant([number]), outputs=2, axis=1)
    ones = g.op("Expand", g.real([1.0]), g.op("Shape", order))
    chosen = g.op("ScatterElements", g.op("Mul", scores, g.real(0.0)), order, ones, axis=1)
    return g.op("Mul", chosen, kept)
