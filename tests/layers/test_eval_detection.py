"""EvalDetection against the computation of its fork, box after box."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from one_layer import fault, outputs

rng = np.random.default_rng(3)
SIDE, CLASSES, BIASES = 3, 2, (1.0, 1.2, 2.0, 1.5)
BOXES = rng.normal(size=(2, 14, 3, 3)).astype(np.float32)
LAYER = """layer {{ name: "e" type: "EvalDetection" bottom: "x" bottom: "truth" top: "y"
           eval_detection_param {{ side: 3 num_class: 2 num_object: 2 biases: [1, 1.2, 2, 1.5] {} }} }}"""


def iou(a, b):
    """The overlap of boxes (x, y, w, h)."""
    w, h = (
        min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2) for i in (0, 1)
    )
    return 0.0 if w < 0 or h < 0 else w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def found_in(x, kind, nms):
    """The detections (score, class, box) of an image, highest score first, after suppression."""
    found = []
    for j in range(SIDE):
        for i in range(SIDE):
            for k in range(2):
                v = x[7 * k : 7 * k + 7, j, i].astype(np.float64)
                s = 1 / (1 + np.exp(-v[[0, 1, 4]]))
                p = np.exp(v[5:]) / np.exp(v[5:]).sum()
                box = (i + s[0], j + s[1], np.exp(v[2]) * BIASES[2 * k], np.exp(v[3]) * BIASES[2 * k + 1])
                score = {"OBJ": s[2], "PROB": p.max(), "MULTIPLY": s[2] * p.max()}[kind]
                found.append((score, int(p.argmax()), [side / SIDE for side in box]))
    kept = []
    for one in sorted(found, key=lambda row: -row[0]):
        if nms < 0 or all(iou(one[2], other[2]) < nms for other in kept):
            kept.append(one)
    return [row for row in kept if row[0] >= 0.005]


def true_boxes():
    """(image, label, corners) of true boxes: some of the detections of both images, and one of a class apart."""
    made = []
    for image, places in ((0, (0, 2, 5)), (1, (1,))):
        found = found_in(BOXES[image], "MULTIPLY", 0.45)
        for _, label, (x, y, w, h) in (found[place] for place in places):
            made.append((image, label + 1, x - w / 2, y - h / 2, x + 0.4 * w, y + h / 2))
    return [*made, (1, 2, 0.1, 0.1, 0.3, 0.2)]


TRUTH = true_boxes()
ROWS = np.array([[[-1.0] * 8, *([i, label, 0, *box, 0] for i, label, *box in TRUTH)]], np.float32)[None]


def evaluated(x, truth, kind, nms, threshold):
    """The row of an image; `truth` are (class, box)."""
    counts = [sum(label == c for label, _ in truth) for c in range(CLASSES)]
    rows, taken = [], defaultdict(set)
    for label in range(CLASSES):
        mine = [box for c, box in truth if c == label]
        for score, c, box in found_in(x, kind, nms):
            if c != label:
                continue
            correct, wrong = 0, int(not mine)
            overlaps = [iou(box, other) for other in mine]
            if mine and max(overlaps) >= threshold:
                best = overlaps.index(max(overlaps))
                correct, wrong = int(best not in taken[label]), int(best in taken[label])
                taken[label].add(best)
            rows += [label, score, correct, wrong]
    return counts + rows + [0] * (4 * 2 * SIDE * SIDE - len(rows))


@pytest.mark.parametrize(
    ("kind", "nms", "threshold"),
    [("MULTIPLY", 0.45, 0.5), ("OBJ", 0.3, 0.2), ("PROB", 0.6, 0.3), ("MULTIPLY", -1, 0.1)],
)
def test_it_computes_what_the_fork_does(kind, nms, threshold):
    y = outputs(LAYER.format(f"score_type: {kind} nms: {nms} threshold: {threshold}"), "TEST", x=BOXES, truth=ROWS)["y"]
    assert y.shape == (2, CLASSES + 4 * 18)
    found = 0
    for image in range(2):
        mine = [(label - 1, [(a + c) / 2, (b + d) / 2, c - a, d - b]) for i, label, a, b, c, d in TRUTH if i == image]
        expected = evaluated(BOXES[image], mine, kind, nms, threshold)
        found += sum(expected[CLASSES + 2 :: 4])
        np.testing.assert_allclose(y[image], expected, rtol=1e-5)
    assert found  # some are correct


def test_true_boxes_may_have_the_form_of_yolo():
    rows = np.zeros((2, 4, 5), np.float32)
    for at, (i, label, a, b, c, d) in zip((0, 1, 2, 0, 1), TRUTH, strict=True):
        rows[i, at] = [label - 1, (a + c) / 2, (b + d) / 2, c - a, d - b]
    one, other = (outputs(LAYER.format("nms: 0.45"), "TEST", x=BOXES, truth=truth)["y"] for truth in (ROWS, rows))
    np.testing.assert_allclose(other, one, rtol=1e-6)


def test_without_true_boxes_every_detection_is_wrong():
    y = outputs(LAYER.format("nms: 0.45"), "TEST", x=BOXES, truth=np.full((1, 1, 1, 8), -1, np.float32))["y"]
    assert not y[:, :CLASSES].any() and not y[:, CLASSES + 2 :: 4].any()
    assert (y[:, CLASSES + 3 :: 4] == (y[:, CLASSES + 1 :: 4] > 0)).all()


def test_errors_contain_both_values():
    assert (
        "13 channels, but 2 boxes of 5 + 2 values need 14"
        in fault(LAYER.format(""), x=(2, 13, 3, 3), truth=(2, 4, 5))[1]
    )
    place, message = fault(LAYER.format(""), x=(2, 14, 4, 3), truth=(2, 4, 5))
    assert place == "3" and "the predictions are 2x14x4x3, but `side` is 3" in message
    assert (
        "`biases` has 2 values for 2 boxes"
        in fault(LAYER.replace(", 2, 1.5", "").format(""), x=(2, 14, 3, 3), truth=(2, 4, 5))[1]
    )
