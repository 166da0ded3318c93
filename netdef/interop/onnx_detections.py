"""DetectionOutput as operations of ONNX: TopK and NonMaxSuppression, which drop the same boxes.

The boxes of each class are a batch of their own, of the `top_k` with the highest confidence, so that NonMaxSuppression
considers no others. The result has the rows that Caffe's has, and none that pad it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Net, Node, Value
from ..language.errors import NetdefError
from ..layers.detection import DetectionOutput
from ..lazy import need

LOWEST = np.float32(np.finfo(np.float32).min)
FIXED = ("PriorBox", "Concat", "Reshape", "Flatten", "Split", "Permute")  # layers of default boxes


def check(net: Net, path: object) -> list[Node]:
    """Returns the layers of a net that output detections.  Raises NetdefError if ONNX has no operations for one."""
    found = [node for node in net.layers if node.layer.detects]
    for node in found:
        why = _why_not(net, node)
        if why:
            raise NetdefError(
                f"{path}: layer `{node.name}` cannot be written as ONNX: {why}; leave it out with `netdef deploy "
                f"--output {node.bottoms[0].name} --output {node.bottoms[min(1, len(node.bottoms) - 1)].name}`, or use "
                ".stablehlo"
            )
    return found


def _why_not(net: Net, node: Node) -> str:
    layer = node.layer
    if not isinstance(layer, DetectionOutput):
        return f"ONNX has no operation for the suppression of {node.type}"
    how = layer.settings
    if how.eta < 1:
        return f"`eta` is {how.eta:g}, but the threshold of ONNX's NonMaxSuppression does not change"
    if how.nms_threshold > 1:
        return f"`nms_threshold` is {how.nms_threshold:g}, but NonMaxSuppression of ONNX has at most 1"
    if how.code_type != "CENTER_SIZE":
        return (
            f"boxes of `code_type` {how.code_type} may be inverted, and ONNX's NonMaxSuppression would turn them round"
        )
    if net.consumers.get(node.tops[0]):
        return f"layer `{net.consumers[node.tops[0]][0].name}` uses its detections"
    return "" if _is_fixed(net, node.bottoms[2]) else "its default boxes depend on the input"


def _is_fixed(net: Net, value: Value) -> bool:
    """Whether a value depends only on shapes."""
    maker = net.producers.get(value)
    if maker is None or maker.type not in FIXED:
        return False
    return maker.type == "PriorBox" or all(_is_fixed(net, bottom) for bottom in maker.bottoms)


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


def append(graph: Any, node: Node, loc: str, conf: str, priors: np.ndarray) -> None:
    """Appends a DetectionOutput layer to an ONNX graph, from the names of its inputs and its default boxes."""
    layer: Any = node.layer
    g, how = Graph(graph, node.name), layer.settings
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
    limit = g.real([LOWEST if how.least is None else how.least])
    most = g.constant([number])
    chosen = g.op("NonMaxSuppression", rows, g.shaped(best, -1, 1, number), most, g.real([how.nms_threshold]), limit)
    pairs = g.op("Gather", chosen, g.constant([0, 2]), axis=1)
    ones = g.op("Expand", g.real([1.0]), g.op("Shape", pairs, end=1))
    zeros = g.op("Mul", best, g.real(0.0))
    kept = g.shaped(g.op("ScatterND", zeros, pairs, ones), -1, len(classes) * number)
    best, rows = g.shaped(best, -1, len(classes) * number), g.shaped(rows, -1, len(classes) * number, 4)
    kept = _best(g, kept, best, how.per_image(boxes), len(classes) * number)
    at = g.op("Transpose", g.op("NonZero", kept), perm=[1, 0])  # image and index of each detection
    image, place = (g.op("Gather", at, g.constant([i]), axis=1) for i in (0, 1))
    label = g.op("Gather", g.real(classes), g.op("Div", place, g.constant([number])))
    score = g.shaped(g.op("GatherND", best, at), -1, 1)
    image = g.op("Cast", image, to=1)
    found = g.op("Concat", image, label, score, g.op("GatherND", rows, at), axis=1)
    g.name(g.op("Unsqueeze", _or_nothing(g, found, kept), g.constant([0, 1])), node.tops[0].name)


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


def _or_nothing(g: Graph, found: str, kept: str) -> str:
    """Returns the detections, or a row (image, -1, -1, -1, -1, -1, -1) for each image if there are none."""
    images = g.op("Shape", kept, end=1)
    none = g.op("Equal", g.op("Shape", found, end=1), g.constant([0]))
    number = g.op("Mul", images, g.op("Cast", none, to=7))
    zero, one = g.constant(0), g.constant(1)
    numbers = g.shaped(g.op("Cast", g.op("Range", zero, g.op("Squeeze", number), one), to=1), -1, 1)
    rest = g.op("Expand", g.real([[-1.0] * 6]), g.op("Concat", number, g.constant([6]), axis=0))
    return g.op("Concat", found, g.op("Concat", numbers, rest, axis=1), axis=0)


def outputs_of(graph: Any, outputs: Sequence[str], net: Net) -> None:
    """Makes the outputs of an ONNX graph those of the net; detections have any number of rows."""
    helper = need("onnx.helper", "writing ONNX")
    there = {value.name: value for value in graph.output}
    detected = {node.tops[0].name for node in net.layers if node.layer.detects}
    made = [
        helper.make_tensor_value_info(name, 1, [1, 1, None, 7]) if name in detected else there[name] for name in outputs
    ]
    del graph.output[:]
    graph.output.extend(made)
