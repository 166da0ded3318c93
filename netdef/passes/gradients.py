"""Where gradients go: which parameters are trained, and which bottoms a gradient reaches.

Caffe computes a gradient only where somebody needs it: below a loss, and above a parameter that is trained (lr_mult
not 0).  So inputs get none, and in a net without a loss nothing does, unless the file says `force_backward: true`.
What is not needed costs nothing, which is what makes frozen layers next to the data cheap.  A net for testing has no
losses as a rule; there its outputs stand for them, so that a loss of one's own can be put on top.
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
    needing: set[Value] = set()  # values whose maker wants their gradient
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
    """For each node, whether a loss depends on it."""
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
    """lr_mult of each weight: what the file says, else what the layer says."""
    specs = node.layer.param
    weights = node.weights or ()
    return [
        0.0 if w.kind != "param" else specs[i].lr_mult if i < len(specs) and specs[i].given("lr_mult") else w.lr_mult
        for i, w in enumerate(weights)
    ]


def _wanted(node: Node, needing: set[Value]) -> list[bool]:
    """Whether each bottom wants a gradient: `propagate_down` decides where it is given."""
    said = node.layer.propagate_down
    return [said[i] if i < len(said) else value in needing for i, value in enumerate(node.bottoms)]


def mark_overwritten(nodes: Sequence[Node], report: Report) -> tuple[Node, ...]:
    """The nodes with `overwritten` set, where Caffe's gradient is computed from numbers that a later layer put there.

    It is Caffe's gradient and hardly what was meant, so each is a warning."""
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
    """For each value, the first later layer that leaves something else of this kind in its place."""
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
        f"layer `{other.name}` works in place on `{top.name}`, and the gradient of `{node.name}` is computed, "
        f"as in Caffe, from the {node.layer.reads_back} that it leaves there; give `{other.name}` its own top.",
        *([Related("overwritten here", place)] if place else []),
    )
    return node.but(overwritten=writers[top.name][-1][0])
