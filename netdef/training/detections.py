"""Mean average precision: what a test reports of the rows of DetectionEvaluate.

The rows of all batches are collected; for each label, precision and recall follow from the detections by confidence.
Source: weiliu89/caffe, branch ssd, src/caffe/solver.cpp (TestDetection) and src/caffe/util/bbox_util.cpp (ComputeAP).
Differs: they are computed for every output of a DetectionEvaluate layer, also without `eval_type: "detection"`, with
which the fork reports no means but theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..graph import Net
from ..language.errors import NetdefError
from ..layers.detection import DetectionEvaluate
from .step import shown_outputs

IMAGE, LABEL, CONFIDENCE, CORRECT, WRONG = range(5)  # the columns of a row; of a class, CONFIDENCE is its true boxes
POINTS = 11  # recalls of "11point": 0, 0.1 to 1
EPSILON = 1e-6


def evaluated(net: Net) -> tuple[str, ...]:
    """The outputs of a test net of which the mean average precision is reported."""
    rows = {v.name for node in net.layers if isinstance(node.layer, DetectionEvaluate) for v in node.tops}
    return tuple(name for name in net.outputs if name in rows)


def reported(net: Net) -> tuple[str, ...]:
    """The outputs that a test reports."""
    rows, shown = evaluated(net), shown_outputs(net)
    return tuple(name for name in net.outputs if name in rows or name in shown)


def refuse_other_outputs(net: Net) -> None:
    """Raises a NetdefError for `eval_type: "detection"` if an output of the test net is no evaluation of detections."""
    others = [name for name in net.outputs if name not in evaluated(net)]
    if net.solver is not None and net.solver.eval_type == "detection" and others:
        raise NetdefError(
            f'`eval_type` of the solver is "detection", but the test net\'s output `{others[0]}` is not the top of a '
            "DetectionEvaluate layer; remove it from the test net, or use it as the bottom of a Silence layer."
        )


def mean_average_precision(batches: Iterable[np.ndarray], version: str) -> tuple[float, dict[int, float]]:
    """Returns the mean over the labels, and the average precision of each label that has detections. `batches` are tops
    (1, 1, rows, 5) of DetectionEvaluate."""
    rows = np.concatenate([np.asarray(top)[0, 0] for top in batches])
    rows = rows[(rows != -1).any(1)]  # without padding
    classes, found = rows[rows[:, IMAGE] == -1], rows[rows[:, IMAGE] != -1]
    found = found[(found[:, CORRECT] != 0) | (found[:, WRONG] != 0)]
    labels = np.unique(classes[:, LABEL]).astype(int)
    each = {}
    for label in map(int, labels):
        positives = int(classes[classes[:, LABEL] == label, CONFIDENCE].sum())
        mine = found[found[:, LABEL] == label]
        if len(mine):
            each[label] = average_precision(mine[:, CONFIDENCE], mine[:, CORRECT] != 0, positives, version)
    return (sum(each.values()) / len(labels) if len(labels) else 0.0), each


def average_precision(confidence: np.ndarray, correct: np.ndarray, positives: int, version: str) -> float:
    """Returns the area below the curve of precision over recall, for `positives` true boxes.

    "Integral" is the sum of precision x increase of recall. "MaxIntegral" uses the highest precision at the recall
    before the increase or at a higher one; "11point" is the mean of the highest precisions at recalls of at least 0,
    0.1 to 1."""
    if not len(correct) or not positives:
        return 0.0
    hits = np.cumsum(correct[np.argsort(-confidence, kind="stable")])
    precision = (hits / np.arange(1, len(hits) + 1)).astype(np.float32)
    recall = (hits / positives).astype(np.float32)
    if version == "Integral":
        return _area(precision, np.diff(recall, prepend=0))
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    if version == "MaxIntegral":
        return _area(highest[:-1], np.diff(recall)) + float(highest[0] * recall[0])
    reached = [recall.astype(np.float64) >= point / (POINTS - 1) for point in range(POINTS)]
    return float(sum(precision[at].max(initial=0) for at in reached) / POINTS)


def _area(precision: np.ndarray, increase: np.ndarray) -> float:
    return float((precision * np.where(increase > EPSILON, increase, 0)).sum())
