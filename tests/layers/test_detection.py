"""Layers of the SSD detector."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, outputs, text

import netdef

PRIOR = 'layer {{ name: "l" type: "PriorBox" bottom: "x" bottom: "image" top: "y" prior_box_param {{ {} }} }}'
SHAPES = {"x": np.zeros((2, 8, 2, 3), np.float32), "image": np.zeros((2, 3, 40, 90), np.float32)}


def test_default_boxes():
    made = outputs(PRIOR.format("min_size: 9 max_size: 16 aspect_ratio: 4 variance: [1, 2, 3, 4]"), **SHAPES)["y"]
    assert made.shape == (1, 2, 2 * 3 * 4 * 4)
    boxes = made[0, 0].reshape(2, 3, 4, 4)
    center = np.array([(1 + 0.5) * 30 / 90, (0 + 0.5) * 20 / 40] * 2)
    for box, (w, h) in zip(boxes[0, 1], [(9, 9), (12, 12), (18, 4.5), (4.5, 18)], strict=True):
        half = np.array([-w / 90, -h / 40, w / 90, h / 40]) / 2
        np.testing.assert_allclose(box, center + half, rtol=1e-5)
    np.testing.assert_array_equal(made[0, 1].reshape(-1, 4), [[1, 2, 3, 4]] * 24)


def test_boxes_are_clipped_placed_by_steps_and_counted_once():
    fields = "min_size: 30 aspect_ratio: [1, 2, 2] flip: false clip: true step: 10 offset: 0 img_size: 100"
    boxes = outputs(PRIOR.format(fields), **SHAPES)["y"][0, 0].reshape(2, 3, 2, 4)
    np.testing.assert_allclose(boxes[1, 2, 0], [0.05, 0, 0.35, 0.25], atol=1e-6)
    assert boxes.min() == 0
    assert outputs(PRIOR.format(fields), **SHAPES)["y"][0, 1, 0] == np.float32(0.1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("", "`min_size`"),
        ("min_size: [1, 2] max_size: 3", "`max_size` is 1, but the number of `min_size` is 2"),
        ("min_size: 3 max_size: 2", "`max_size` 2 is not above its `min_size` 3"),
        ("min_size: 3 variance: [1, 2]", "`variance` has 2 values"),
        ("min_size: 3 img_size: 3 img_h: 3 img_w: 3", "`img_size` and `img_h` are both given"),
        ("min_size: 3 step_h: 3", "only `step_h` is given"),
    ],
)
def test_errors_of_default_boxes(fields, words):
    assert words in fault(PRIOR.format(fields), x=(2, 8, 2, 3), image=(2, 3, 40, 90))[1]


LOSS = (
    'layer { name: "l" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "truth" top: "loss"\n'
    "        multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE mining_type: MAX_NEGATIVE\n"
    "                              nms_param { nms_threshold: 0.5 } } loss_param { normalization: VALID } }"
)
DETECT = (
    'layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"\n'
    '        detection_output_param { num_classes: 3 keep_top_k: 7 save_output_param { output_format: "VOC" } } }'
)
PREDICTED = {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24)}


def test_shapes_of_the_detector():
    net = netdef.load(text(LOSS, {**PREDICTED, "truth": (1, 1, 5, 8)}))
    assert net.blobs["loss"].shape == ()
    found = netdef.load(text(DETECT, PREDICTED)).blobs["found"].shape
    assert found is not None
    assert str(found) == "(1, 1, ?, 7)"


def test_predictions_that_do_not_fit_the_default_boxes():
    where, message = fault(LOSS, loc=(2, 24), conf=(2, 12), priors=(1, 2, 24), truth=(1, 1, 5, 8))
    assert where == '"conf"'
    assert "6 default boxes of 3 values require 18" in message
    assert "12 values per image" in message


def test_running_the_detector_is_an_error_in_one_line():
    with pytest.raises(netdef.NetdefError, match="layer `l`: layers of type MultiBoxLoss.*not run yet"):
        netdef.compile(text(LOSS, {**PREDICTED, "truth": (1, 1, 5, 8)}))
    with pytest.raises(netdef.NetdefError, match="layer `d`: layers of type DetectionOutput.*not run yet"):
        netdef.compile(text(DETECT, PREDICTED))
