"""Batch normalization: what it requires from the layers around it, and what has no effect beside it."""

from __future__ import annotations

from ...graph import Net, Node
from ...language import codes
from ...language.diagnostics import Related, Report
from ...layers.batch_norm import BatchNormalization


def without_scale(net: Net, report: Report) -> None:
    """Caffe's BatchNorm only normalizes, so it should be followed by a Scale layer with the learned scale and shift."""
    if not trained(net):
        return
    for node in normalizations(net):
        own = [w for w in node.weights or () if w.kind == "param"]
        consumers = net.consumers.get(node.tops[0], [])
        first = node.bottoms[0] in net.producers and not net.producers[node.bottoms[0]].bottoms
        unknown = any(n.weights is None for n in (node, *consumers))  # their shapes, because the data is missing
        if own or first or unknown or not consumers:
            continue
        if not all(taker.type in ("Scale", "Bias") or _multiplies(taker) for taker in consumers):
            report.add(
                codes.BATCH_NORM_WITHOUT_SCALE,
                node.layer.span_of("name"),
                f"no Scale layer follows `{node.name}`, so all its channels have mean 0 and variance 1; add one with "
                "`bias_term: true`.",
            )


def bias_before(net: Net, report: Report) -> None:
    """A bias before batch normalization is removed again with the mean."""
    if not trained(net):
        return
    for node in normalizations(net):
        if not node.layer.uses_stored(True) and (maker := net.producers.get(node.bottoms[0])):  # type: ignore[attr-defined]
            if not _adds_a_bias(maker) or net.consumers[node.bottoms[0]] != [node]:
                continue
            place = node.layer.span_of("bottom")
            report.add(
                codes.BIAS_BEFORE_NORM,
                maker.layer.span_of("name"),
                f"the bias of `{maker.name}` is removed by `{node.name}`, which subtracts the mean of each channel; "
                "write `bias_term: false`.",
                *([Related("normalized here", place)] if place else []),
            )


def trained_statistics(net: Net, report: Report) -> None:
    """The stored mean and variance are averages over batches; the solver should not train them as well."""
    for node in normalizations(net):
        for i, weight in enumerate(node.weights or ()):
            if weight.kind != "stat" or i >= len(node.layer.param) or not node.layer.param[i].lr_mult:
                continue
            report.add(
                codes.TRAINED_STATISTICS,
                node.layer.span_of("param", i),
                f"parameter {i + 1} of `{node.name}` is a stored statistic, which netdef never trains; BVLC's Caffe "
                "rejects this, and some forks apply weight decay to it. Write `lr_mult: 0 decay_mult: 0`.",
            )


def normalizations(net: Net) -> list[Node]:
    return [node for node in net.layers if isinstance(node.layer, BatchNormalization) and node.bottoms and node.tops]


def trained(net: Net) -> bool:
    """Whether the net has a loss."""
    return any(any(node.loss_weights) for node in net.layers)


def _multiplies(node: Node) -> bool:
    """Whether a layer multiplies by a weight matrix, which can absorb any scale."""
    return any(weight.kind == "param" and len(weight.shape) > 1 for weight in node.weights or ())


def _adds_a_bias(node: Node) -> bool:
    """Whether a layer adds a learned bias to each channel of its output."""
    weights = node.weights or ()
    return _multiplies(node) and bool(getattr(node.layer, "bias_term", False)) and len(weights) > 1


def nothing_to_recalibrate(net: Net, report: Report) -> None:
    """`bn_recalibrate` has an effect only on statistics that are updated in training."""
    if net.phase.name != "TRAIN" or net.solver is None or not net.solver.bn_recalibrate:
        return
    if all(node.layer.uses_stored(True) for node in normalizations(net)):  # type: ignore[attr-defined]
        detail = "`bn_recalibrate` has an effect only if the net has a BatchNorm or BN layer that updates statistics."
        report.add(codes.NO_EFFECT, net.solver.span_of("bn_recalibrate"), detail)


RULES = (without_scale, bias_before, trained_statistics, nothing_to_recalibrate)
