"""YoloDetectionOutput and Yolov3DetectionOutput as operations of ONNX: the boxes of an image are sorted by TopK, and
NonMaxSuppression drops the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Node
from ..layers._boxes import just_below
from ..layers._yolo import COORDINATES
from ..layers.yolo_output import YoloDetectionOutput, YoloOutput
from ..shape import Shape
from .onnx_graph import Graph, listed, suppressed


def append(graph: Any, node: Node, shapes: Sequence[Shape]) -> None:
    """Appends a layer of YOLO's detections to an ONNX graph, for predictions of these shapes."""
    layer: Any = node.layer
    g = Graph(graph, node.name)
    made = [
        _predicted(g, layer, i, value.name, *shape[2:])
        for i, (value, shape) in enumerate(zip(node.bottoms, shapes, strict=True))
    ]
    rows, scores, labels = (g.op("Concat", *parts, axis=1) for parts in zip(*made, strict=True))
    number = sum(layer.num_box * shape[2] * shape[3] for shape in shapes)
    best, order = g.op("TopK", scores, g.constant([number]), outputs=2, axis=1)
    index = g.op("Expand", g.shaped(order, -1, number, 1), g.constant([1, 1, 4]))
    rows, labels = g.op("GatherElements", rows, index, axis=1), g.op("GatherElements", labels, order, axis=1)
    least = np.float32(layer.confidence_threshold)
    if isinstance(layer, YoloDetectionOutput):  # its confidences may be equal to the threshold
        least = np.nextafter(least, np.float32(-1))
    kept = suppressed(g, rows, best, number, just_below(layer.nms_threshold), float(least))
    label = lambda at, place: g.shaped(g.op("Cast", g.op("GatherND", labels, at), to=1), -1, 1)
    g.name(listed(g, kept, best, rows, lambda at, place: g.op("Add", label(at, place), g.real(1.0))), node.tops[0].name)


def _predicted(g: Graph, layer: YoloOutput, i: int, x: str, height: int, width: int) -> tuple[str, str, str]:
    """Returns the corners (n, rows, 4), confidences and classes (n, rows) of a bottom, by cell and then by box."""
    per_cell, cells, every = layer.num_box, height * width, layer.spread
    values = every * COORDINATES + 1 + layer.num_classes
    x = g.op("Transpose", g.shaped(x, 0, per_cell, values, cells), perm=[0, 3, 1, 2])
    x = g.shaped(x, 0, cells * per_cell, values)
    pick = lambda first, *rest: g.op("Gather", x, g.constant([first, *rest]), axis=2)
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    cell = np.stack([column, row], -1).reshape(-1, 1, 2).repeat(per_cell, 1).reshape(-1, 2)
    size = np.array([width, height], np.float32)
    center = g.op("Add", g.op("Sigmoid", pick(0, every)), g.real(cell))
    center = g.op("Div", center, g.real(size))
    half = g.real(np.tile(layer.anchors(i, height, width), (cells, 1)) / 2)
    half = g.op("Mul", g.op("Exp", pick(2 * every, 3 * every)), half)
    rows = g.op("Concat", g.op("Sub", center, half), g.op("Add", center, half), axis=2)
    first = every * COORDINATES
    sure, classes = g.op("Sigmoid", pick(first)), pick(*range(first + 1, values))
    if isinstance(layer, YoloDetectionOutput):
        scores = g.op("Softmax", classes, axis=2)
    else:
        scores = g.op("Sigmoid", classes)
    if every > 1:
        doubt = g.op("ReduceMean", g.op("Sigmoid", pick(*range(1, first, every))), g.constant([2]), keepdims=1)
        sure = g.op("Mul", sure, g.op("Sub", g.real(1.0), doubt))
    scores = g.op("Mul", scores, sure)
    best = g.op("ReduceMax", scores, g.constant([2]), keepdims=0)
    return rows, best, g.op("ArgMax", scores, axis=2, keepdims=0)
