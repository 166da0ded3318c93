"""SegAccuracy by numbers counted by hand, and YOLO's layers, which are read and not run."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, model, outputs, text

import netdef

LAYER = 'layer { name: "m" type: "SegAccuracy" bottom: "x" bottom: "label" top: "m" seg_accuracy_param { FIELDS } }'
TOLD = np.asarray([[0, 0, 1, 1, 1, 0]]).reshape(1, 1, 2, 3)
LABEL = np.asarray([[0, 0, 1, 1, 0, 255]], np.float32).reshape(1, 1, 2, 3)
X = (np.arange(3).reshape(1, 3, 1, 1) == TOLD).astype(np.float32)  # of three classes, the third nowhere


def measures(fields: str, label: np.ndarray = LABEL) -> np.ndarray:
    return outputs(LAYER.replace("FIELDS", fields), x=X, label=label)["m"].reshape(3)


def test_pixels_are_counted() -> None:
    right, recall, overlap = 4 / 5, (2 / 3 + 1) / 2, (2 / 3 + 2 / 3 + 1) / 3
    np.testing.assert_allclose(measures("ignore_label: 255"), [right, recall, overlap], rtol=1e-6)


def test_a_label_that_is_no_class_is_seen() -> None:
    assert np.isnan(measures("")).all()


def test_batches_can_be_counted_together() -> None:
    made = model(LAYER.replace("FIELDS", "ignore_label: 255 reset: false"), x=X, label=LABEL)
    first = np.asarray(made(x=X, label=LABEL)["m"]).reshape(3)
    second = np.asarray(made(x=X, label=np.full_like(LABEL, 1))["m"]).reshape(3)
    assert first[0] == pytest.approx(4 / 5) and second[0] == pytest.approx(7 / 11)


def test_sizes_must_be_equal() -> None:
    _, said = fault(LAYER.replace("FIELDS", ""), x=(1, 3, 4, 4), label=(1, 1, 4, 5))
    assert "1x3x4x4" in said and "1x1x4x5" in said


YOLO = (
    'layer { name: "found" type: "EvalDetection" bottom: "boxes" bottom: "truth" top: "found"\n'
    "        eval_detection_param { side: 3 num_class: 2 num_object: 2 } }"
)


def test_detections_of_yolo_are_shaped_and_not_run() -> None:
    net = netdef.load(text(YOLO, {"boxes": (2, 3, 3, 14), "truth": (2, 30, 5)}))
    assert net.blobs["found"].shape == (2, 2 + 4 * 9 * 2)
    with pytest.raises(netdef.NetdefError, match="EvalDetection can be read and checked, but not run yet"):
        netdef.compile(net)
    assert "126 for each image" in fault(YOLO, boxes=(2, 3, 3, 15), truth=(2, 30, 5))[1]
