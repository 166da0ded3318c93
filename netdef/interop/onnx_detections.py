"""Layers that output detections, as operations of ONNX: those of SSD (`onnx_ssd`) and YOLO (`onnx_yolo`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Net, Node, Value
from ..language.errors import NetdefError
from ..layers.detection import DetectionOutput
from ..layers.yolo_output import YoloOutput
from ..lazy import need
from . import onnx_ssd, onnx_yolo

FIXED = ("PriorBox", "Concat", "Reshape", "Flatten", "Split", "Permute")  # layers of default boxes


def check(net: Net, path: object) -> list[Node]:
    """Returns the layers of a net that output detections.  Raises NetdefError if ONNX has no operations for one."""
    found = [node for node in net.layers if node.layer.detects]
    for node in found:
        why = _why_not(net, node)
        if why:
            raise NetdefError(
                f"{path}: layer `{node.name}` cannot be written as ONNX: {why}; leave it out with `netdef deploy "
                f"{' '.join(f'--output {name}' for name in predictions(node))}`, or use .stablehlo"
            )
    return found


def _why_not(net: Net, node: Node) -> str:
    layer = node.layer
    if net.consumers.get(node.tops[0]):
        return f"layer `{net.consumers[node.tops[0]][0].name}` uses its detections"
    if isinstance(layer, YoloOutput):
        inverted = [size for size in layer.biases if size <= 0]
        return f"`biases` contains {inverted[0]:g}, which inverts boxes" if inverted else ""
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
    return "" if _is_fixed(net, node.bottoms[2]) else "its default boxes depend on the input"


def _is_fixed(net: Net, value: Value) -> bool:
    """Whether a value depends only on shapes."""
    maker = net.producers.get(value)
    if maker is None or maker.type not in FIXED:
        return False
    return maker.type == "PriorBox" or all(_is_fixed(net, bottom) for bottom in maker.bottoms)


def predictions(node: Node) -> list[str]:
    """Returns the names of the bottoms from which the detections are computed, without default boxes and images."""
    return [value.name for value in (node.bottoms if isinstance(node.layer, YoloOutput) else node.bottoms[:2])]


def append(graph: Any, net: Net, node: Node, value_of: Callable[[str], np.ndarray]) -> None:
    """Appends the layer of a net to an ONNX graph; `value_of` returns a blob that depends only on shapes."""
    if isinstance(node.layer, YoloOutput):
        onnx_yolo.append(graph, node, [net.shapes[value] or () for value in node.bottoms])
    else:
        onnx_ssd.append(graph, node, value_of(node.bottoms[2].name))


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
