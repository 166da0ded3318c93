"""Determines which parameters are trained and which bottoms a gradient is propagated to.

Caffe computes a gradient only where it is needed: below a loss, and above a parameter that is trained (lr_mult not 0).
Inputs have no gradient, and neither has anything in a net without a loss, unless the file has `force_backward: true`.
Gradients that are not needed cost nothing, so frozen layers next to the data are cheap. A net for testing usually has
no loss; its outputs then count as losses, so a custom loss can be computed from them.
Source: BVLC/caffe src/caffe/net.cpp, Net::Init.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node, Value
from ..language import codes
from ..language.diagnostics import Related, Report
from ..layers.base import Phase


def mark_gradients(nodes: Sequence[Node], phase: Phase, outputs: Sequence[str], force: bool) -> tuple[Node, ...]:
    """The nodes with `trained` (per weight) and `reached` (per bottom) set."""
    under_loss = _under_loss(nodes, phase, outputs)
    needing: set[Value] = set()  # values whose gradient is needed by the layer that outputs them
    marked = []
    for node, contributes in zip(nodes, under_loss, strict=True):
        trained = tuple(force or (contributes and rate != 0) for rate in _rates(node))
        works = any(trained) or any(value in needing for value in node.bottoms)
        reached = tuple(force or (contributes and works and wants) for wants in _wanted(node, needing))
        marked.append(node.but(trained=trained, reached=reached))
        if works:
            needing.update(node.tops)
    return tuple(marked)


def _under_loss(nodes: Sequence[Node], phase: Phase, outputs: Sequence[str]) -> list[bool]:
    """Whether a loss depends on each node."""
    lossless = not any(any(node.loss_weights) for node in nodes)
    stand_in = set(outputs) if lossless and phase is Phase.TEST else set()
    needed: set[Value] = set()
    found = []
    for node in reversed(nodes):
        weighted = zip(node.tops, node.loss_weights, strict=True)
        contributes = any(weight or top in needed or top.name in stand_in for top, weight in weighted)
        if contributes:
            needed.update(node.bottoms)
        found.append(contributes)
    return found[::-1]


def _rates(node: Node) -> list[float]:
    """lr_mult of each weight: from the file, else from the layer."""
    specs = node.layer.param
    weights = node.weights or ()
    return [
        0.0 if w.kind != "param" else specs[i].lr_mult if i < len(specs) and specs[i].given("lr_mult") else w.lr_mult
        for i, w in enumerate(weights)
    ]


def _wanted(node: Node, needing: set[Value]) -> list[bool]:
    """Whether each bottom needs a gradient: as `propagate_down` says if it is given."""
    said = node.layer.propagate_down
    return [said[i] if i < len(said) else value in needing for i, value in enumerate(node.bottoms)]


def mark_overwritten(nodes: Sequence[Node], report: Report) -> tuple[Node, ...]:
    """The nodes with `overwritten` set where Caffe computes the gradient from values that a later layer has written.

    This is Caffe's gradient but probably not intended, so each causes a warning."""
    writers: dict[str, list[tuple[Value, Node]]] = {}
    for node in nodes:
        for top in node.tops:
            writers.setdefault(top.name, []).append((top, node))
    harm = {kind: _next_harm(writers, kind) for kind in ("value", "sign")}
    return tuple(
        _overwritten(node, writers, harm[node.layer.reads_back], report) if node.layer.reads_back else node
        for node in nodes
    )


def _next_harm(writers: dict[str, list[tuple[Value, Node]]], kind: str) -> dict[Value, Node]:
    """For each value, the first later layer that overwrites it and changes its value or sign, as `kind` says."""
    found: dict[Value, Node] = {}
    for row in writers.values():
        following: Node | None = None
        for value, node in reversed(row):
            if following is not None:
                found[value] = following
            if kind == "value" or not node.layer.keeps_sign:
                following = node
    return found


def _overwritten(
    node: Node, writers: dict[str, list[tuple[Value, Node]]], harm: dict[Value, Node], report: Report
) -> Node:
    top = node.tops[0] if node.tops else Value("")
    other = harm.get(top)
    if other is None:
        return node
    place = other.layer.span_of("top")
    report.add(
        codes.OVERWRITTEN,
        node.layer.span_of("top"),
        f"layer `{other.name}` works in place on `{top.name}`, and as in Caffe, the gradient of `{node.name}` is "
        f"computed from the {node.layer.reads_back}s that it writes there; give `{other.name}` its own top.",
        *([Related("overwritten here", place)] if place else []),
    )
    return node.but(overwritten=writers[top.name][-1][0])
