"""Decides which layers of a net run on images with the channels last.

The language describes images as (n, c, spatial...).  Convolutions are fastest on (n, spatial..., c), and to change the
order copies the image.  So a convolution starts a stretch, which the layers after it continue if they can, and images
are transposed only at its borders.  On accelerators the compiler chooses the order in memory itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ..graph import Net, Node, Value

IMAGE = 3  # least number of axes: batch, channels, space


class Stretches(NamedTuple):
    """The layers (their indices) that run with the channels last, and the values that they compute."""

    layers: frozenset[int]
    values: frozenset[Value]


@lru_cache(maxsize=64)
def stretches(net: Net) -> Stretches:
    """Returns which part of a net runs with the channels last."""
    layers: set[int] = set()
    values: set[Value] = set()
    if not net.channels_last:
        return Stretches(frozenset(), frozenset())
    for i, node in enumerate(net.layers):
        if _accepts(net, node) and (node.layer.prefers_channels_last or not values.isdisjoint(node.bottoms)):
            layers.add(i)
            values.update(node.tops)
    return Stretches(frozenset(layers), frozenset(values))


def _accepts(net: Net, node: Node) -> bool:
    shapes = [net.shapes.get(v) for v in node.bottoms]
    images = [shape for shape in shapes if shape is not None and len(shape) >= IMAGE]
    return bool(images) and len(images) == len(shapes) and node.layer.channels_last(*images)
