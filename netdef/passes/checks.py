"""What is allowed and probably not meant: warnings about a whole net, after its shapes are known.

One function per rule; each takes the net and reports.
"""

from __future__ import annotations

from ..graph import Net
from ..language import codes
from ..language.diagnostics import Report


def check(net: Net, report: Report) -> None:
    """Hold a typed net against every rule."""
    for rule in RULES:
        rule(net, report)


def unused_tops(net: Net, report: Report) -> None:
    """In a net that is trained, a blob that nobody takes and that is no loss or metric is work for nothing."""
    if not any(any(node.loss_weights) for node in net.layers):
        return
    for node in net.layers:
        if node.layer.is_loss or node.layer.is_metric or node.layer.is_input:
            continue
        for top, weight in zip(node.tops, node.loss_weights, strict=True):
            if top.name in net.outputs and not weight:
                report.add(
                    codes.UNUSED_TOP,
                    top.span,
                    f"nothing takes `{top.name}`, and it is no loss; a Silence layer says that this is meant.",
                )


RULES = (unused_tops,)
