"""What a net says about its input: scores of classes, boxes, or something else; and which blob says it."""

from __future__ import annotations

import enum

from ..graph import Net, Node, Value
from .boxes import detector_of


class Answer(enum.Enum):
    """What a net says about an image."""

    CLASSES = "a score for each class"
    BOXES = "boxes with a class"
    OUTPUTS = "neither"


def answer_of(net: Net, wanted: str | None) -> tuple[Answer, str | None, str | None, bool]:
    """Returns (kind of the answer, blob of the scores or boxes, blob of the labels, whether a softmax must still be
    applied).  Without scores of classes, the blob is the first output with a shape, or else, as in a regression, what a
    loss or a metric compares with the label; None if there is neither."""
    judge = next((n for n in net.layers if n.layer.judges_scores and len(n.bottoms) > 1), None)
    label = judge.bottoms[1].name if judge else None
    softmax = next((n for n in reversed(net.layers) if n.type == "Softmax"), None)
    detector = detector_of(net)
    if wanted and detector is not None and wanted == detector.tops[0].name:
        return Answer.BOXES, wanted, None, False
    if wanted:
        return Answer.CLASSES, wanted, label, judge is not None and judge.bottoms[0].name == wanted
    if detector is not None:
        return Answer.BOXES, detector.tops[0].name, None, False
    if softmax is not None:
        return _by_shape(net, softmax.tops[0]), softmax.tops[0].name, label, False
    if judge is not None:
        made = not _made_by(net, judge.bottoms[0], "Softmax")
        return _by_shape(net, judge.bottoms[0]), judge.bottoms[0].name, label, made
    compared = (n.bottoms[0].name for n in net.layers if (n.layer.is_loss or n.layer.is_metric) and len(n.bottoms) > 1)
    outputs = (name for name in net.outputs if net.blobs[name].shape)
    return Answer.OUTPUTS, next(outputs, None) or next(compared, None), None, False


def _by_shape(net: Net, scores: Value) -> Answer:
    """Returns OUTPUTS for scores of each pixel or of each step, and CLASSES for scores of each image."""
    shape = net.shapes.get(scores)
    return Answer.OUTPUTS if shape is not None and any(d != 1 for d in shape[2:]) else Answer.CLASSES


def _made_by(net: Net, value: Value, kind: str) -> bool:
    maker: Node | None = next((n for n in net.layers if value in n.tops), None)
    return maker is not None and maker.type == kind
