"""Losses that are given something else than scores, and tests that measure nothing."""

from __future__ import annotations

from ...graph import Net, Node
from ...language import codes
from ...language.diagnostics import Related, Report


def activation_before_loss(net: Net, report: Report) -> None:
    """A loss that takes scores bends them itself; bent twice, or cut at 0, they say less."""
    for node in net.layers:
        own = node.layer.prediction
        if not own or not node.bottoms or not any(node.loss_weights):
            continue
        maker = net.makers.get(node.bottoms[0])
        if maker is None or not maker.layer.squashes():
            continue
        place = maker.layer.span_of("name")
        twice = maker.type == own
        what = f"applies a {own} itself" if twice else f"takes scores of any size, and {maker.type} bends them"
        report.add(
            codes.ACTIVATION_TWICE if twice else codes.ACTIVATION_BEFORE_LOSS,
            node.layer.span_of("bottom"),
            f"layer `{node.name}` of type {node.type} {what}; give it the bottom of `{maker.name}`"
            + (
                f', `"{maker.bottoms[0].name}"`.'
                if maker.bottoms and maker.bottoms[0].name != node.bottoms[0].name
                else "."
            ),
            *([Related("the scores go through here", place)] if place else []),
        )


def no_accuracy(net: Net, report: Report) -> None:
    """A solver that tests a classifier wants to know more than its loss."""
    solver = net.solver
    if net.phase.name != "TEST" or solver is None or not (solver.test_interval and solver.test_iter):
        return
    judged = [n for n in net.layers if n.layer.prediction and any(n.loss_weights) and not _draws_again(net, n)]
    if judged and not any(_measures(net, node) for node in net.layers):
        report.add(
            codes.NO_ACCURACY,
            solver.span_of("test_iter"),
            f"the net has no Accuracy layer in phase TEST, so that tests tell the loss of `{judged[0].name}` alone.",
        )


def _draws_again(net: Net, loss: Node) -> bool:
    """Whether what the loss compares with is no label but what the net itself works on, as in an autoencoder."""
    wanted = loss.bottoms[1:2]
    return any(
        top in node.bottoms
        for top in wanted
        for node in net.layers
        if not node.layer.is_loss and not node.layer.is_metric and node.tops
    )


def _measures(net: Net, node: Node) -> bool:
    """Whether a layer's tops are for people to look at."""
    return (
        node.layer.is_metric
        or node.type == "Python"
        or (not node.layer.is_loss and bool(node.bottoms) and any(top.name in net.outputs for top in node.tops))
    )


RULES = (activation_before_loss, no_accuracy)
