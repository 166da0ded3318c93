"""Operations that are appended to an ONNX graph, and what detections of all kinds share.

The result has the rows that Caffe's has, and none that pad it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..lazy import need

LOWEST = np.float32(np.finfo(np.float32).min)


class Graph:
    """Appends operations to an ONNX graph; values are the names of its tensors."""

    def __init__(self, graph: Any, prefix: str):
        self.graph, self.prefix, self.count = graph, prefix, 0
        self.helper, self.numpy = need("onnx.helper", "writing ONNX"), need("onnx.numpy_helper", "writing ONNX")

    def op(self, kind: str, *inputs: str, outputs: int = 1, **fields: Any) -> Any:
        """Returns the result of an operation, or a list of several results."""
        made = [self._name(kind) for _ in range(outputs)]
        self.graph.node.append(self.helper.make_node(kind, inputs, made, name=made[0], **fields))
        return made[0] if outputs == 1 else made

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = self._name("constant")
        self.graph.initializer.append(self.numpy.from_array(np.asarray(value, dtype), name))
        return name

    def real(self, value: Any) -> str:
        return self.constant(value, np.float32)

    def shaped(self, value: str, *shape: int) -> str:
        """Returns a value with another shape; 0 keeps an axis, -1 is what remains."""
        return self.op("Reshape", value, self.constant(shape))

    def name(self, value: str, wanted: str) -> None:
        self.graph.node.append(self.helper.make_node("Identity", [value], [wanted], name=wanted))

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{self.prefix}/{kind}_{self.count}"


def suppressed(g: Graph, rows: str, best: str, number: int, threshold: float, least: float) -> str:
    """Returns 1 for the boxes that remain of rows (n, number, 4), highest confidence (n, number) first, else 0."""
    most, limits = g.constant([number]), (g.real([threshold]), g.real([least]))
    chosen = g.op("NonMaxSuppression", rows, g.shaped(best, -1, 1, number), most, *limits)
    pairs = g.op("Gather", chosen, g.constant([0, 2]), axis=1)
    ones = g.op("Expand", g.real([1.0]), g.op("Shape", pairs, end=1))
    return g.op("ScatterND", g.op("Mul", best, g.real(0.0)), pairs, ones)


def listed(g: Graph, kept: str, best: str, rows: str, label_of: Callable[[str, str], str]) -> str:
    """Returns the detections (1, 1, count, 7), the kept ones of boxes (n, number, 4) with a confidence (n, number);
    `label_of` returns their labels from their image and index, together and the index alone."""
    at = g.op("Transpose", g.op("NonZero", kept), perm=[1, 0])
    image, place = (g.op("Gather", at, g.constant([i]), axis=1) for i in (0, 1))
    score, image = g.shaped(g.op("GatherND", best, at), -1, 1), g.op("Cast", image, to=1)
    found = g.op("Concat", image, label_of(at, place), score, g.op("GatherND", rows, at), axis=1)
    return g.op("Unsqueeze", _or_nothing(g, found, kept), g.constant([0, 1]))


def _or_nothing(g: Graph, found: str, kept: str) -> str:
    """Returns the detections, or a row (image, -1, -1, -1, -1, -1, -1) for each image if there are none."""
    images = g.op("Shape", kept, end=1)
    none = g.op("Equal", g.op("Shape", found, end=1), g.constant([0]))
    number = g.op("Mul", images, g.op("Cast", none, to=7))
    zero, one = g.constant(0), g.constant(1)
    numbers = g.shaped(g.op("Cast", g.op("Range", zero, g.op("Squeeze", number), one), to=1), -1, 1)
    rest = g.op("Expand", g.real([[-1.0] * 6]), g.op("Concat", number, g.constant([6]), axis=0))
    return g.op("Concat", found, g.op("Concat", numbers, rest, axis=1), axis=0)
