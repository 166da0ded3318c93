"""The labels that the losses of a net accept: of a loss over k classes, the integers 0 to k - 1."""

from __future__ import annotations

from typing import NamedTuple

from ..graph import Net, Node
from ..shape import UNKNOWN


class Limit(NamedTuple):
    """The labels that a loss accepts in one blob."""

    loss: str
    classes: int
    ignored: int | None


def limits(net: Net) -> dict[str, Limit]:
    """Returns the strictest limit on each blob that a loss over classes uses as its labels."""
    found: dict[str, Limit] = {}
    for node in net.layers:
        classes = classes_of(net, node)
        if classes is None:
            continue
        label = node.bottoms[1]
        if label.version or (label.name in found and found[label.name].classes <= classes):
            continue
        found[label.name] = Limit(node.name, classes, node.layer.ignored_label)
    return found


def classes_of(net: Net, node: Node) -> int | None:
    """Returns the number of classes of the labels in a layer's second bottom, if it is known."""
    if len(node.bottoms) < 2:
        return None
    scores, labels = (net.shapes.get(value) for value in node.bottoms[:2])
    if scores is None or (labels is not None and len(labels) == len(scores) and labels == scores):
        return None  # unknown, or rows of probabilities
    classes = node.layer.label_classes(scores)
    return None if classes is UNKNOWN else classes
