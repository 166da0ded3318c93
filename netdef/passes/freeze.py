"""Freezes layers by name: their parameters are not trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..graph import Net, Node
from ..language.errors import NetdefError
from ..language.spelling import suggestion
from .gradients import mark_gradients


def frozen(net: Net, patterns: Sequence[str]) -> Net:
    """The net with the layers frozen whose whole name matches a pattern: their parameters are not trained, they compute
    as in phase TEST, and no gradient is computed below a blob if all layers below it are frozen. Raises NetdefError for
    a pattern that matches no layer."""
    if not patterns:
        return net
    names = matching(net, patterns)
    nodes = [_frozen(node) if node.name in names else node for node in net.layers]
    return replace(net, layers=mark_gradients(nodes, net.phase, net.outputs, False))


def matching(net: Net, patterns: Sequence[str]) -> set[str]:
    """The names of the layers that match a pattern as a whole."""
    found: set[str] = set()
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise NetdefError(f'"{pattern}" is not a regular expression: {error}.') from error
        names = {node.name for node in net.layers if expression.fullmatch(node.name)}
        if not names:
            meant = suggestion(pattern, [node.name for node in net.layers])
            raise NetdefError(f'no layer of the net matches "{pattern}".{meant} A pattern must match the whole name.')
        found |= names
    return found


def _frozen(node: Node) -> Node:
    weights = tuple(replace(w, lr_mult=0.0) for w in node.weights or ())
    return replace(node, layer=node.layer.replace(param=()), weights=weights, frozen=True)
