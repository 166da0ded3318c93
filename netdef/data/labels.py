"""Labels held against the net: a loss over k classes takes labels from 0 to k - 1, and no others.

On a device a label out of range would go unnoticed, as a wrong loss; here it costs a look at a few numbers of each
batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph import Net, Node
from ..language.errors import NetdefError
from ..lazy import np
from ..shape import UNKNOWN

_BY_CLASS = ("SoftmaxWithLoss", "MultinomialLogisticLoss", "HingeLoss", "InfogainLoss", "FocalLoss")


class Limit(NamedTuple):
    """What a layer makes of the labels in one blob."""

    loss: str
    classes: int
    ignored: int | None


def limits(net: Net) -> dict[str, Limit]:
    """The strictest limit on each blob that a loss over classes takes as its labels."""
    found: dict[str, Limit] = {}
    for node in net.layers:
        if node.type not in _BY_CLASS or len(node.bottoms) < 2:
            continue
        classes = _classes(net, node)
        label = node.bottoms[1]
        if classes is None or label.version or label.name in found and found[label.name].classes <= classes:
            continue
        rule = getattr(node.layer, "loss_param", None)
        found[label.name] = Limit(node.name, classes, getattr(rule, "ignore_label", None))
    return found


def _classes(net: Net, node: Node) -> int | None:
    shape = net.shapes.get(node.bottoms[0])
    axis = getattr(getattr(node.layer, "softmax_param", node.layer), "axis", 1)
    if shape is None or not -len(shape) <= axis < len(shape) or shape[axis] is UNKNOWN:
        return None
    label = net.shapes.get(node.bottoms[1])
    if label is not None and len(label) == len(shape) and label == shape:
        return None  # rows of probabilities
    return shape[axis]


def check(layer: str, labels: Any, limit: Limit, name_of: Any) -> None:
    """NetdefError that names the first record whose label is out of range; `name_of(row)` names a record."""
    wrong = (labels < 0) | (labels >= limit.classes)
    if limit.ignored is not None:
        wrong &= labels != limit.ignored
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        value = labels[wrong].flat[0]
        raise NetdefError(
            f"layer `{layer}`: {name_of(row)} has the label {value:g}, but layer `{limit.loss}` has {limit.classes} "
            f"classes, 0 to {limit.classes - 1}; correct the label or the number of outputs."
        )
