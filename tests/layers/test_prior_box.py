"""Default boxes of the SSD detector."""

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


def test_sizes_are_cut_to_whole_pixels_with_a_warning():
    net = PRIOR.format("min_size: [9, 10.5] max_size: [16, 20]")
    found = netdef.load(text(net, {"x": (2, 8, 2, 3), "image": (2, 3, 40, 90)})).diagnostics
    assert [(d.code, d.span.text) for d in found if d.span] == [("as-in-fork", "10.5")]
    assert "the boxes are computed with 10" in found[0].message
    whole = outputs(PRIOR.format("min_size: [9, 10] max_size: [16, 20]"), **SHAPES)["y"]
    np.testing.assert_array_equal(outputs(net, **SHAPES)["y"], whole)
