"""Fields of data layers without effect."""

from __future__ import annotations

from ...graph import Net
from ...language import codes
from ...language.diagnostics import Report
from ...layers.base import Phase


def repeated_sizes(net: Net, report: Report) -> None:
    """Only layers of boxes change the size of their images, and only in training."""
    for node in net.layers:
        transform = getattr(node.layer, "transform_param", None)
        sizes = getattr(transform, "resize_param", ())
        changes = net.phase is Phase.TRAIN and hasattr(node.layer, "batches_per_size")
        if transform is not None and len(sizes) > 1 and not changes:
            where = "in phase TEST" if hasattr(node.layer, "batches_per_size") else f"in {node.type}"
            report.add(
                codes.NO_EFFECT,
                transform.span_of("resize_param", 1),
                f"`resize_param` is given {len(sizes)} times, for images of changing size; {where} the first is used, "
                f"{sizes[0].height} x {sizes[0].width}.",
            )


def colors_of_files(net: Net, report: Report) -> None:
    """As in Caffe, `is_color` decides how image files are decoded, and `force_gray` how those in databases are."""
    for node in net.layers:
        transform = getattr(node.layer, "transform_param", None)
        is_color = getattr(node.layer, "is_color", None)
        if transform is None or is_color is None:
            continue
        for name, color in (("force_gray", False), ("force_color", True)):
            if getattr(transform, name) and is_color is not color:
                report.add(
                    codes.NO_EFFECT,
                    transform.span_of(name),
                    f"`{name}` has no effect on image files; write `is_color: {str(color).lower()}` in "
                    f"`{node.layer.block}` instead.",
                )


RULES = (repeated_sizes, colors_of_files)
