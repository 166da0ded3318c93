"""Nets as a run changes them: layers that are frozen by name, and layers that compute in half precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from ..graph import Net, Node
from ..language.diagnostics import NetdefError
from ..language.spelling import nearest
from ..passes.gradients import mark_gradients
from ..shape import Shape


def frozen(net: Net, patterns: Sequence[str]) -> Net:
    """The net with the layers whose whole name matches a pattern frozen: their parameters stay, they compute as in
    phase TEST, and no gradient is computed for what lies below them alone.  NetdefError for a pattern that matches
    nothing."""
    if not patterns:
        return net
    names = matching(net, patterns)
    nodes = [_frozen(node) if node.name in names else node for node in net.layers]
    return replace(net, layers=mark_gradients(nodes, net.phase, net.outputs, False))


def matching(net: Net, patterns: Sequence[str]) -> set[str]:
    """The layers that some pattern matches in full."""
    found: set[str] = set()
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise NetdefError(f'"{pattern}" is not a regular expression: {error}.') from error
        names = {node.name for node in net.layers if expression.fullmatch(node.name)}
        if not names:
            close = nearest(pattern, [node.name for node in net.layers])
            meant = f" Did you mean `{close[0]}`?" if close else ""
            raise NetdefError(
                f'no layer of the net is called "{pattern}".{meant} A pattern has to match the whole name.'
            )
        found |= names
    return found


def _frozen(node: Node) -> Node:
    layer = copy(node.layer)
    layer.__dict__["param"] = ()
    weights = tuple(replace(w, lr_mult=0.0) for w in node.weights or ())
    return replace(node, layer=layer, weights=weights, frozen=True)


def in_half(net: Net, precision: str) -> Net:
    """The net with its heavy layers in `precision` (bfloat16): those that multiply by trained weights.  Losses, metrics
    and layers with running statistics compute in float32; all others in the type of what they are given."""
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
