"""Layers of SSD detectors whose fields mean something else than they say, as in the fork that introduced them."""

from __future__ import annotations

from ...graph import Net
from ...language import codes
from ...language.diagnostics import Report
from ...layers.multibox_loss import ConfLossType, MiningType, MultiBoxLoss
from ...layers.prior_box import PriorBox


def fractional_sizes(net: Net, report: Report) -> None:
    """Sizes of default boxes are cut to whole pixels."""
    for node in net.layers:
        if not isinstance(node.layer, PriorBox):
            continue
        for field in ("min_size", "max_size"):
            for i, size in enumerate(getattr(node.layer, field)):
                if size != int(size):
                    report.add(
                        codes.AS_IN_FORK,
                        node.layer.span_of(field, i),
                        f"`{field}` is {size:g}, but the boxes are computed with {int(size)}: like the fork, netdef "
                        f"truncates sizes to whole pixels. Write {int(size)}, or {int(size) + 1} for larger boxes.",
                    )


def losses_of_boxes(net: Net, report: Report) -> None:
    """Fields of MultiBoxLoss that make it select no boxes, or misplace the targets of all images but the first."""
    for node in net.layers:
        layer = node.layer
        if not isinstance(layer, MultiBoxLoss):
            continue
        mines = layer.mining_type is not MiningType.NONE
        if mines and layer.nms_param is not None and layer.nms_param.nms_threshold and not layer.nms_param.top_k:
            report.add(
                codes.AS_IN_FORK,
                layer.span_of("nms_param"),
                f"`top_k` of `nms_param` is {layer.nms_param.top_k or 'not given'}, so `{node.name}` selects no boxes, "
                "as in the fork; write `top_k: -1` to consider all boxes.",
            )
        shape = net.shapes.get(node.bottoms[0])
        if not mines and layer.conf_loss_type is ConfLossType.LOGISTIC and shape and shape[0] > 1:
            report.add(
                codes.AS_IN_FORK,
                layer.span_of("mining_type" if layer.given("mining_type") else "conf_loss_type"),
                f"with LOGISTIC and `mining_type: NONE`, the targets of all images but the first of {shape[0]} are "
                "those of other boxes, as in the fork; use SOFTMAX, or `mining_type: MAX_NEGATIVE`.",
            )


RULES = (fractional_sizes, losses_of_boxes)
