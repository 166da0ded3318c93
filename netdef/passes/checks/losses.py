"""Nets without a loss, losses with an input other than scores, and tests that measure only the loss."""

from __future__ import annotations

from ...files import locator
from ...graph import Net, Node
from ...language import codes
from ...language.diagnostics import Related, Report
from ...language.errors import NetdefError
from ...shape import UNKNOWN, ShapeError, Unavailable


def activation_before_loss(net: Net, report: Report) -> None:
    """A loss on scores applies its own activation; another activation before it loses information."""
    for node in net.layers:
        own = node.layer.prediction
        if not own or not node.bottoms or not any(node.loss_weights):
            continue
        maker = net.producers.get(node.bottoms[0])
        if maker is None or not maker.layer.squashes():
            continue
        place = maker.layer.span_of("name")
        twice = maker.type == own
        what = f"applies a {own} itself" if twice else f"expects scores of any size, but {maker.type} restricts them"
        report.add(
            codes.ACTIVATION_TWICE if twice else codes.ACTIVATION_BEFORE_LOSS,
            node.layer.span_of("bottom"),
            f"layer `{node.name}` of type {node.type} {what}; use the bottom of `{maker.name}` instead"
            + (
                f', `"{maker.bottoms[0].name}"`.'
                if maker.bottoms and maker.bottoms[0].name != node.bottoms[0].name
                else "."
            ),
            *([Related("the activation is here", place)] if place else []),
        )


def no_accuracy(net: Net, report: Report) -> None:
    """Tests of a classifier should measure more than its loss."""
    solver = net.solver
    if net.phase.name != "TEST" or solver is None or not (solver.test_interval and any(solver.test_iter)):
        return
    judged = [n for n in net.layers if n.layer.prediction and any(n.loss_weights) and not _draws_again(net, n)]
    if judged and not any(_measures(net, node) for node in net.layers):
        report.add(
            codes.NO_ACCURACY,
            solver.span_of("test_iter"),
            f"the net has no Accuracy layer in phase TEST, so tests report only the loss of `{judged[0].name}`.",
        )


def no_loss(net: Net, report: Report) -> None:
    """A solver needs something to minimize."""
    solver = net.solver
    if net.phase.name != "TRAIN" or solver is None or not net.layers or any(any(n.loss_weights) for n in net.layers):
        return
    idle = next((node for node in net.layers if node.layer.is_loss), None)
    if idle is not None:
        place = idle.layer.span_of("loss_weight" if idle.layer.given("loss_weight") else "name")
        detail = f"the `loss_weight` of `{idle.name}` is 0, so there is nothing to minimize in phase TRAIN."
        report.add(codes.NO_LOSS, place, detail)
        return
    scores = [node for node in net.layers if node.weights and any(top.name in net.outputs for top in node.tops)]
    last = scores[-1] if scores else next((n for n in reversed(net.layers) if n.tops), net.layers[-1])
    outputs = ", ".join(f"`{top.name}`" for top in last.tops) or "none"
    report.add(
        codes.NO_LOSS,
        last.layer.span_of("name"),
        f"no layer of phase TRAIN is a loss, so there is nothing to minimize. Add one that uses {outputs}, such as "
        "SoftmaxWithLoss or EuclideanLoss, or give a layer a `loss_weight`; a loss with `include { phase: TEST }` is "
        "not in this phase.",
    )


def other_classes_than_the_data(net: Net, report: Report) -> None:
    """A loss needs an output for each class of the data; many more are a number that was forgotten."""
    if net.phase.name != "TRAIN":
        return
    for node in net.layers:
        classes = _scored(net, node)
        source = net.producers.get(node.bottoms[1]) if classes is not None else None
        count = _classes_in(net, source) if source is not None else 0
        if classes is None or source is None or not count or count <= classes <= 2 * count:
            continue
        maker = net.producers.get(node.bottoms[0])
        own = maker.layer.span_of("num_output") if maker is not None and maker.layer.given("num_output") else None
        few = f"so that labels of {classes} and more are errors" if classes < count else "so that most are not used"
        report.add(
            codes.CLASS_COUNT,
            own or node.layer.span_of("bottom"),
            f"layer `{node.name}` has scores of {classes:,} classes, but `{source.name}` has {count:,}, {few}.",
            hint=str(count) if own else None,
        )


def _scored(net: Net, node: Node) -> int | None:
    """The number of classes whose scores a loss compares with labels; None if it is another layer, or unknown."""
    if len(node.bottoms) < 2:
        return None
    shapes = [net.shapes.get(value) for value in node.bottoms]
    scores = shapes[0]
    if scores is None or None in shapes or shapes[1] == scores:  # not checked by the layer, or rows of probabilities
        return None
    classes = node.layer.label_classes(scores)
    return None if classes is UNKNOWN else classes


def _classes_in(net: Net, source: Node) -> int:
    """The number of classes that a data layer finds in its folder; 0 if it is unknown."""
    names = getattr(source.layer, "class_names", None)
    if names is None or any(net.shapes.get(top) is None for top in source.tops):
        return 0
    try:
        return len(names(locator(net.folder)))
    except (NetdefError, ShapeError, Unavailable):
        return 0


def _draws_again(net: Net, loss: Node) -> bool:
    """Whether the target of the loss is also an input of the net, as in an autoencoder, and not a label."""
    wanted = loss.bottoms[1:2]
    return any(
        top in node.bottoms
        for top in wanted
        for node in net.layers
        if not node.layer.is_loss and not node.layer.is_metric and node.tops
    )


def _measures(net: Net, node: Node) -> bool:
    """Whether a layer measures something: its tops are outputs for people to read."""
    return (
        node.layer.is_metric
        or node.type == "Python"
        or (not node.layer.is_loss and bool(node.bottoms) and any(top.name in net.outputs for top in node.tops))
    )


RULES = (activation_before_loss, no_loss, no_accuracy, other_classes_than_the_data)
