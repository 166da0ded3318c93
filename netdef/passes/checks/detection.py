"""Layers of SSD detectors whose fields mean something else than they say, as in the fork that introduced them."""

from __future__ import annotations

from ...graph import Net
from ...language import codes
from ...language.diagnostics import Report
from ...layers.detection import DetectionOutput
from ...layers.multibox_loss import ConfLossType, MiningType, MultiBoxLoss
from ...layers.prior_box import PriorBox
from ...shape import show


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
        shape, true = (net.shapes.get(node.bottoms[i]) for i in (0, 3))
        # another number of axes is an error of the layer, if the other shapes are known
        if true is not None and len(true) == 4 and (true[0] != 1 or true[1] != 1 or true[3] != 8):
            report.add(
                codes.AS_IN_FORK,
                layer.span_of("bottom", 3),
                f"`{node.bottoms[3].name}` is {show(true)}, but true boxes are 1 x 1 x count x 8; like the fork, "
                f"netdef reads its first 8 x {true[2]} values as {true[2]} boxes.",
            )
        if not mines and layer.conf_loss_type is ConfLossType.LOGISTIC and shape and shape[0] > 1:
            report.add(
                codes.AS_IN_FORK,
                layer.span_of("mining_type" if layer.given("mining_type") else "conf_loss_type"),
                f"with LOGISTIC and `mining_type: NONE`, the targets of all images but the first of {shape[0]} are "
                "those of other boxes, as in the fork; use SOFTMAX, or `mining_type: MAX_NEGATIVE`.",
            )


def files_of_detections(net: Net, report: Report) -> None:
    """The fork writes detections to files, and shows them in a window."""
    for node in net.layers:
        layer = node.layer
        if not isinstance(layer, DetectionOutput):
            continue
        if layer.save_output_param.output_directory:
            report.add(
                codes.NO_EFFECT,
                layer.save_output_param.span_of("output_directory"),
                "`output_directory` has no effect, because netdef writes no files of detections; use the blob "
                f"`{node.tops[0].name}`.",
            )
        if layer.visualize:
            report.add(
                codes.NO_EFFECT, layer.span_of("visualize"), "`visualize` has no effect: netdef opens no window."
            )


RULES = (fractional_sizes, losses_of_boxes, files_of_detections)
