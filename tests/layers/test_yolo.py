"""YOLO's layers beyond their recorded cases: forms of true boxes, several images, programs, errors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN
from one_layer import fault, loss_and_gradients, outputs

from netdef.layers.yolo import RegionLoss, YoloSeg
from netdef.layers.yolo_output import YoloDetectionOutput, Yolov3DetectionOutput
from netdef.layers.yolov3 import Yolov3
from netdef.shape import UNKNOWN, ShapeError

rng = np.random.default_rng(1)
BIASES = (1.0, 1.2, 2.0, 1.5)
BOXES = rng.normal(size=(2, 14, 3, 4)).astype(np.float32)
TRUTH = np.zeros((2, 6, 5), np.float32)  # class, x, y, w, h
TRUTH[0, :3] = [[1, 0.3, 0.4, 0.2, 0.3], [0, 0.7, 0.2, 0.4, 0.2], [1, 0.5, 0.9, 0.1, 0.1]]
TRUTH[1, :1] = [[0, 0.6, 0.5, 0.5, 0.5]]
REGION = """layer {{ name: "l" type: "RegionLoss" bottom: "x" bottom: "truth" top: "loss"
            region_loss_param {{ num_class: 2 num: 2 {} biases: [1, 1.2, 2, 1.5] }} }}"""
V3 = """layer {{ name: "l" type: "Yolov3" bottom: "x" bottom: "truth" top: "loss"
        yolov3_param {{ num_class: 2 num: 2 anchors_scale: 16 mask: [0, 1] {} biases: [16, 19, 32, 24] }} }}"""


def as_ssd(truth: np.ndarray) -> np.ndarray:
    """The same true boxes as rows of the SSD fork, in another order, with rows of padding."""
    rows = [[-1.0] * 8]
    for image, label, box in [(i, row[0], row[1:]) for i in (1, 0) for row in truth[i] if row[3]]:
        x, y, w, h = box
        rows.append([image, label + 1, 0, x - w / 2, y - h / 2, x + w / 2, y + h / 2, 0])
    return np.array([[[*rows, [-1.0] * 8]]], np.float32)


@pytest.mark.parametrize("layer", [REGION.format("thresh: 0.4"), V3.format("")])
def test_true_boxes_may_have_the_form_of_the_ssd_fork(layer):
    loss, gradients = loss_and_gradients(layer, x=BOXES, truth=TRUTH)
    again, others = loss_and_gradients(layer, x=BOXES, truth=as_ssd(TRUTH))
    assert again == pytest.approx(loss, rel=1e-5) and loss > 0
    np.testing.assert_allclose(others["x"], gradients["x"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [REGION.format("thresh: 0.4"), V3.format("")])
def test_images_of_a_batch_are_separate(layer):
    both = loss_and_gradients(layer, x=BOXES, truth=TRUTH)
    each = [loss_and_gradients(layer, x=BOXES[i : i + 1], truth=TRUTH[i : i + 1]) for i in range(2)]
    assert both[0] == pytest.approx(sum(loss for loss, _ in each) / 2, rel=1e-5)
    np.testing.assert_allclose(both[1]["x"][1], each[1][1]["x"][0] / 2, rtol=1e-4, atol=1e-6)


def test_without_true_boxes_only_the_confidences_count():
    loss, gradients = loss_and_gradients(REGION.format("noobject_scale: 1"), x=BOXES, truth=np.zeros((2, 6, 5)))
    confidence = 1 / (1 + np.exp(-BOXES.reshape(2, 2, 7, 3, 4)[:, :, 4]))
    d = confidence**2 * (1 - confidence)
    assert loss == pytest.approx((d**2).sum() / 2, rel=1e-5)
    found = gradients["x"].reshape(2, 2, 7, 3, 4)
    np.testing.assert_allclose(found[:, :, 4], d / 2, rtol=1e-4, atol=1e-7)
    assert not found[:, :, [0, 1, 2, 3, 5, 6]].any()


def test_a_center_at_the_edge_is_in_the_last_cell():
    truth = np.zeros((1, 2, 5), np.float32)
    truth[0, 0] = [1, 1.0, 1.0, 0.3, 0.3]
    _, gradients = loss_and_gradients(REGION.format("thresh: 1"), x=BOXES[:1], truth=truth)
    moved = gradients["x"].reshape(2, 7, 3, 4)[:, 0].any(0)
    assert np.argwhere(moved).tolist() == [[2, 3]]


def detections(kind: str, block: str, **bottoms: np.ndarray) -> np.ndarray:
    listed = " ".join(f'bottom: "{name}"' for name in bottoms)
    return outputs(f'layer {{ name: "l" type: "{kind}" {listed} top: "y" {block} }}', "TEST", **bottoms)["y"]


V2_BLOCK = "yolo_detection_output_param { num_classes: 2 num_box: 2 confidence_threshold: %g biases: [1, 1.2, 2, 1.5] }"


def test_detections_of_a_batch_are_those_of_each_image():
    both = detections("YoloDetectionOutput", V2_BLOCK % 0.3, x=BOXES)
    each = [detections("YoloDetectionOutput", V2_BLOCK % 0.3, x=BOXES[i : i + 1])[0, 0].copy() for i in range(2)]
    each[1][:, 0] = 1
    np.testing.assert_allclose(both[0, 0], np.concatenate(each), rtol=1e-5)
    assert (np.diff(both[0, 0, both[0, 0, :, 0] == 0, 2]) <= 0).all()


def test_images_without_detections_have_a_row_if_no_image_has_any():
    assert detections("YoloDetectionOutput", V2_BLOCK % 1.0, x=BOXES)[0, 0].tolist() == [
        [0, -1, -1, -1, -1, -1, -1],
        [1, -1, -1, -1, -1, -1, -1],
    ]


def test_a_compiled_program_pads_the_detections():
    layer = YoloDetectionOutput(num_classes=2, num_box=2, biases=BIASES, confidence_threshold=0.3)
    y = np.asarray(layer.apply((), jnp.asarray(BOXES), ctx=PLAIN))
    assert y.shape == layer.infer(BOXES.shape) == (1, 1, 48, 7)
    found = detections("YoloDetectionOutput", V2_BLOCK % 0.3, x=BOXES)[0, 0]
    np.testing.assert_allclose(y[0, 0, : len(found)], found, rtol=1e-5)
    assert (y[0, 0, len(found) :] == -1).all()


def test_unknown_sizes_stay_unknown():
    layer = YoloDetectionOutput(num_classes=2, num_box=2, biases=BIASES)
    assert layer.infer((UNKNOWN, 14, UNKNOWN, 4))[3] == 7
    assert RegionLoss(num_class=2, num=2, biases=BIASES).infer((UNKNOWN, 14, 3, 3), (1, 1, UNKNOWN, 8)) == ()


V3_OUTPUT = dict(num_classes=2, num_box=1, anchors_scale=(16, 8), mask=(1, 0), biases=BIASES)


@pytest.mark.parametrize(
    ("layer", "shapes", "words"),
    [
        (RegionLoss(num_class=2, num=2, biases=BIASES), [(2, 15, 3, 3), (2, 4, 5)], "15 channels, but 2 boxes .* 14"),
        (RegionLoss(num_class=2, num=2, biases=BIASES), [(2, 126), (2, 4, 5)], "is 2x126; it must have 4 axes"),
        (RegionLoss(num_class=2, num=2, biases=(1.0,)), [(2, 14, 3, 3), (2, 4, 5)], "1 values for 2 boxes"),
        (RegionLoss(num_class=2, num=2, biases=BIASES), [(2, 14, 3, 3), (2, 4, 6)], "is 2x4x6; it must be 2 x count"),
        (Yolov3(num_class=2, num=2), [(2, 14, 3, 3), (2, 4, 5)], "`biases` has 0 values"),
        (Yolov3(num_class=2, num=2, biases=BIASES), [(2, 14, 3, 3), (2, 4, 5)], r"`mask` is \[\], but it must have 2"),
        (
            Yolov3(num_class=2, num=2, biases=BIASES, mask=(1, 2)),
            [(2, 14, 3, 3), (2, 4, 5)],
            r"`mask` is \[1, 2\], .* of the 2 pairs in `biases`",
        ),
        (YoloSeg(), [(2, 3, 4), (2, 3, 4), (3,)], "is 3; for the input 2x3x4 it must be 2x3"),
        (YoloSeg(), [(2, 3, 4), (2, 3, 5)], "2x3x4 and 2x3x5"),
        (YoloDetectionOutput(num_classes=2, num_box=2), [(2, 14, 3, 3)], "`biases` has 0 values for 2 boxes"),
        (Yolov3DetectionOutput(**V3_OUTPUT), [(1, 7, 2, 2)], "1 bottoms .* `mask_group_num` is 2"),
        (Yolov3DetectionOutput(**V3_OUTPUT), [(1, 7, 2, 2), (2, 7, 4, 4)], "bottom 1 has a batch of 2, .* one of 1"),
        (Yolov3DetectionOutput(**{**V3_OUTPUT, "mask": (1,)}), [(1, 7, 2, 2)] * 2, "`mask` has 1 values; .* need 2"),
        (Yolov3DetectionOutput(**{**V3_OUTPUT, "mask": (1, 4)}), [(1, 7, 2, 2)] * 2, "contains 4, .* only 2 pairs"),
        (
            Yolov3DetectionOutput(**V3_OUTPUT, gaussian_box=True),
            [(1, 7, 2, 2)] * 2,
            "1 boxes of 9 \\+ 2 values need 11",
        ),
    ],
)
def test_errors_contain_both_values(layer, shapes, words):
    with pytest.raises(ShapeError, match=words):
        layer.infer(*shapes)


def test_boxes_with_variances():
    """Every second value of a box is a variance, which lowers its confidence."""
    block = """yolov3_detection_output_param { num_classes: 2 num_box: 2 anchors_scale: 8 mask_group_num: 1 mask: [0, 1]
               biases: [9, 8, 12, 20] confidence_threshold: 0.3 nms_threshold: 1 %s }"""
    plain = detections("Yolov3DetectionOutput", block % "", x=BOXES)[0, 0]
    values = np.zeros((2, 2, 11, 3, 4), np.float32)
    values[:, :, [0, 2, 4, 6, 8, 9, 10]] = BOXES.reshape(2, 2, 7, 3, 4)
    values[:, :, 1:8:2] = -100  # certain
    certain = detections("Yolov3DetectionOutput", block % "gaussian_box: true", x=values.reshape(2, 22, 3, 4))[0, 0]
    np.testing.assert_allclose(certain, plain, rtol=1e-5)
    values[:, :, [1, 3, 5, 7]] = np.array([-100.0, 0, 1, 2])[:, None, None]
    sure = (4 - (1 / (1 + np.exp([100.0, 0, -1, -2]))).sum()) / 4
    block = block.replace("0.3", f"{0.3 * sure:.9f}")
    unsure = detections("Yolov3DetectionOutput", block % "gaussian_box: true", x=values.reshape(2, 22, 3, 4))[0, 0]
    np.testing.assert_allclose(unsure[:, 2], plain[:, 2] * sure, rtol=1e-5)
    np.testing.assert_allclose(unsure[:, [0, 1, 3, 4, 5, 6]], plain[:, [0, 1, 3, 4, 5, 6]], rtol=1e-5)


def test_errors_in_a_file():
    place, message = fault(REGION.format(""), x=(2, 15, 3, 3), truth=(2, 4, 5))
    assert place == '"x"' and "15 channels" in message
