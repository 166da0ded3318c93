"""Checks labels against the net: a loss over k classes accepts only the integers 0 to k - 1 as labels, and Embed with
k vectors as indices.

On a device, a label out of range would only show as a wrong loss; checking the labels of each batch here costs little.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph import Net, Node, Value
from ..language.errors import NetdefError
from ..lazy import np
from ..shape import UNKNOWN
from .base import DataLayer


class Limit(NamedTuple):
    """The labels that a loss accepts in one blob, or the indices that a layer looks up.  `axis`: along which the
    records of the blob are."""

    loss: str
    classes: int
    ignored: int | None
    looks_up: bool = False
    axis: int = 0


def limits(net: Net) -> dict[str, Limit]:
    """Returns the strictest limit on each blob that a loss over classes uses as its labels."""
    found: dict[str, Limit] = {}
    for node in net.layers:
        classes = node.layer.most_indices or _classes(net, node)
        if classes is None:
            continue
        label = node.bottoms[0 if node.layer.most_indices else 1]
        if label.version or (label.name in found and found[label.name].classes <= classes):
            continue
        looks_up = bool(node.layer.most_indices)
        found[label.name] = Limit(node.name, classes, node.layer.ignored_label, looks_up, _axis(net, label))
    return found


def _axis(net: Net, label: Value) -> int:
    layer = net.producers[label].layer if label in net.producers else None
    return layer.record_axis(label.name) if isinstance(layer, DataLayer) else 0


def _classes(net: Net, node: Node) -> int | None:
    """Returns the number of classes of the labels in a layer's second bottom, if it is known."""
    if len(node.bottoms) < 2:
        return None
    scores, labels = (net.shapes.get(value) for value in node.bottoms[:2])
    if scores is None or (labels is not None and len(labels) == len(scores) and labels == scores):
        return None  # unknown, or rows of probabilities
    classes = node.layer.label_classes(scores)
    return None if classes is UNKNOWN else classes


def check(layer: str, labels: Any, limit: Limit, name_of: Any) -> None:
    """Raises NetdefError for the first label that is out of range or not an integer; `name_of(row)` returns the name of
    a record."""
    wrong = (labels < 0) | (labels >= limit.classes) | (labels != np.floor(labels))
    if limit.ignored is not None:
        wrong &= labels != limit.ignored
    if wrong.any():
        row = int(np.argwhere(wrong)[0][limit.axis])
        value = labels[wrong].flat[0]
        if limit.looks_up:
            raise NetdefError(
                f"layer `{layer}`: {name_of(row)} has the index {value:g}, but layer `{limit.loss}` has "
                f"{limit.classes} vectors, 0 to {limit.classes - 1}; increase its `input_dim`."
            )
        if not float(value).is_integer():
            raise NetdefError(
                f"layer `{layer}`: {name_of(row)} has the label {value:g}, but layer `{limit.loss}` expects classes, "
                f"which are integers, 0 to {limit.classes - 1}; correct the label, or use a loss of values, such as "
                "EuclideanLoss."
            )
        ignoring = ", or set `ignore_label` in `loss_param`" if value < 0 and limit.ignored is None else ""
        classes = f"{limit.classes} classes, 0 to {limit.classes - 1}" if limit.classes > 1 else "one class, 0"
        raise NetdefError(
            f"layer `{layer}`: {name_of(row)} has the label {value:g}, but layer `{limit.loss}` has {classes}; correct "
            f"the label or the number of outputs{ignoring}."
        )
