"""Determines which layers compute in half precision."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Net, Node
from ..shape import Shape


def in_half(net: Net, precision: str) -> Net:
    """The net with its expensive layers, which multiply by trained weights, in `precision` (bfloat16). Losses, metrics
    and layers with running statistics compute in float32, all other layers in the dtype of their inputs."""
    return replace(net, layers=tuple(replace(node, precision=_precision(net, node, precision)) for node in net.layers))


def _precision(net: Net, node: Node, precision: str) -> str:
    kinds = {w.kind for w in node.weights or ()}
    if node.layer.is_loss or node.layer.is_metric or "stat" in kinds:
        return "float32"
    shapes = [_known(net.shapes.get(v)) for v in node.bottoms], [_known(net.shapes.get(v)) for v in node.tops]
    heavy = "param" in kinds and node.layer.multiply_adds(*shapes) > 0
    return precision if heavy else ""


def _known(shape: Shape | None) -> Shape:
    return shape if shape is not None else ()
