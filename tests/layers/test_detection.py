"""DetectionOutput and DetectionEvaluate: comparison with loops as in the fork, padding, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ssd_cases
import ssd_fork
from one_layer import fault, model, outputs, text

import netdef
from netdef.language.errors import printable

PRIORS = np.stack([np.tile([0.1, 0.1, 0.3, 0.3], 4), np.full(16, 0.1)])[None].astype(np.float32)
APART = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [4, 4, 4, 4]], np.float32).reshape(1, -1)  # x 0.1


def layer(fields: str) -> str:
    return ssd_cases.OUTPUT % f"detection_output_param {{ num_classes: 3 {fields} }}"


def detected(fields: str, conf: Any, loc: np.ndarray = APART) -> np.ndarray:
    conf = np.asarray(conf, np.float32)
    images = len(conf)
    loc = np.repeat(loc, images, 0)
    return outputs(layer(fields), "TEST", loc=loc, conf=conf.reshape(images, -1), priors=PRIORS)["y"][0, 0]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 8, 11, 13])
def test_detections_equal_those_of_the_fork(seed: int):
    source, fields, given = ssd_cases.output_case(seed)
    want = ssd_fork.detect(given["loc"], given["conf"], given["priors"], fields)
    np.testing.assert_allclose(outputs(source, "TEST", **given)["y"], want, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5])
def test_evaluated_detections_equal_those_of_the_fork(seed: int):
    source, fields, given = ssd_cases.evaluate_case(seed)
    want = ssd_fork.evaluate(given["found"], given["truth"], fields)
    np.testing.assert_allclose(outputs(source, "TEST", **given)["y"], want, rtol=1e-5)


@pytest.mark.parametrize(
    "resize",
    [
        None,
        {"resize_mode": "WARP", "height": 30, "width": 40},
        {"resize_mode": "FIT_LARGE_SIZE_AND_PAD", "height": 30, "width": 40},
        {"resize_mode": "FIT_SMALL_SIZE", "height": 30, "width": 40, "height_scale": 35, "width_scale": 45},
    ],
)
def test_boxes_are_compared_in_pixels_of_the_images_in_a_file(tmp_path: Path, resize: dict[str, Any] | None):
    (tmp_path / "sizes.txt").write_text("a 30 20\nb 12 50\nc 25 25\n")
    sizes = [(30, 20), (12, 50), (25, 25)]
    _, fields, given = ssd_cases.evaluate_case(2)
    more = f'name_size_file: "{printable(str(tmp_path))}/sizes.txt"'
    more += f" resize_param {{ {ssd_cases.shown(resize)} }}" if resize else ""
    source = ssd_cases.EVALUATE % f"detection_evaluate_param {{ {ssd_cases.shown(fields)} {more} }}"
    evaluator, fields = model(source, "TEST", **given), {**fields, "resize_param": resize}
    images = len(set(given["found"][..., 0].ravel()) - {-1})
    assert images > len(sizes)
    for start in (0, images):  # the second batch continues with the next images
        want = ssd_fork.evaluate(given["found"], given["truth"], fields, sizes, start)
        np.testing.assert_allclose(evaluator(**given)["y"], want, rtol=1e-5)


def test_errors_of_the_file_of_sizes(tmp_path: Path):
    path = tmp_path / "sizes.txt"
    source = (
        ssd_cases.EVALUATE % f'detection_evaluate_param {{ num_classes: 3 name_size_file: "{printable(str(path))}" }}'
    )
    given = {"found": np.zeros((1, 1, 4, 7), np.float32), "truth": np.zeros((1, 1, 4, 8), np.float32)}
    with pytest.raises(netdef.NetdefError, match=r"`name_size_file` cannot be read: No such file.*; remove the field"):
        model(source, "TEST", **given)(**given)
    path.write_text("a 30 20\nb 30\n")
    with pytest.raises(netdef.NetdefError, match=r"sizes.txt:2: not the name, height and width of an image: 'b 30'"):
        model(source, "TEST", **given)(**given)


def test_without_detections_there_is_one_row_of_minus_one_per_image():
    conf = np.zeros((2, 4, 3))
    found = detected("confidence_threshold: 0.5", conf)
    np.testing.assert_array_equal(found, [[0, *[-1] * 6], [1, *[-1] * 6]])
    conf[1, 2, 1] = 0.75  # one detection in the second image: no row for the first
    np.testing.assert_allclose(detected("confidence_threshold: 0.5", conf), [[1, 1, 0.75, 0.3, 0.3, 0.5, 0.5]])


def test_a_threshold_is_exceeded_and_ties_are_in_the_order_of_boxes_and_labels():
    conf = np.full((1, 4, 3), 0.5)
    assert (detected("confidence_threshold: 0.5", conf)[:, 1] == -1).all()
    found = detected("keep_top_k: 5", conf)
    assert found[:, 1].tolist() == [1, 1, 1, 1, 2]
    np.testing.assert_allclose(found[:, 3], [0.1, 0.2, 0.3, 0.5, 0.1], rtol=1e-6)


def test_signed_zeros_are_equal_scores():
    conf = np.zeros((1, 4, 3))
    conf[0, 0] = -0.0
    np.testing.assert_allclose(detected("nms_param { top_k: 2 }", conf)[:, 3], [0.1, 0.2] * 2, rtol=1e-6)


def test_an_adaptive_threshold_drops_boxes_that_come_later():
    offsets = np.array([0, 0.8, 5, 0.9], np.float32).repeat(4).reshape(1, -1)  # overlaps of the first: 0.42, 0, 0.36
    conf = np.zeros((1, 4, 3))
    conf[0, :, 1] = [0.9, 0.6, 0.8, 0.7]
    boxes = np.array([0.1, 0.18, 0.6, 0.19])
    kept = lambda fields: detected(f"confidence_threshold: 0.1 {fields}", conf, offsets)[:, 3]
    first, second = boxes[[0, 2, 3, 1]], boxes[[0, 2, 3]]
    np.testing.assert_allclose(kept("nms_param { nms_threshold: 0.9 }"), first, rtol=1e-5)
    np.testing.assert_allclose(kept("nms_param { nms_threshold: 0.9 eta: 0.9 }"), second, rtol=1e-5)


def test_a_compiled_program_has_all_rows_and_the_last_ones_are_minus_one():
    conf = np.zeros((1, 4, 3), np.float32)
    conf[0, 1, 2] = 0.5
    given = {"loc": APART, "conf": conf.reshape(1, -1), "priors": PRIORS}
    detector = model(layer("keep_top_k: 3 confidence_threshold: 0.1"), "TEST", **given)
    assert detector.net.blobs["y"].shape == (1, 1, 3, 7)
    assert detector(**given)["y"].shape == (1, 1, 1, 7)
    assert detector.blobs(**given)["y"].shape == (1, 1, 1, 7)
    inside = jax.jit(lambda given: detector(**given)["y"])(given)
    assert inside.shape == (1, 1, 3, 7)
    assert (np.asarray(inside)[0, 0, 1:] == -1).all()


def test_padding_is_not_evaluated():
    layers = layer("keep_top_k: 4 confidence_threshold: 0.4").replace('top: "y"', 'top: "found"')
    layers += ssd_cases.EVALUATE % "detection_evaluate_param { num_classes: 3 }"
    conf = np.zeros((1, 4, 3), np.float32)
    conf[0, :, 1] = [0.5, 0.3, 0.6, 0.2]
    truth = np.array([[0, 1, 0, 0.1, 0.1, 0.3, 0.3, 0], [0, 2, 0, 0, 0, 1, 1, 0], [-1] * 8], np.float32)[None, None]
    given = {"loc": APART, "conf": conf.reshape(1, -1), "priors": PRIORS, "truth": truth}
    rows = outputs(layers, "TEST", **given)["y"][0, 0]
    np.testing.assert_allclose(rows, [[-1, 1, 1, -1, -1], [-1, 2, 1, -1, -1], [0, 1, 0.6, 0, 1], [0, 1, 0.5, 1, 0]])


def test_detections_pass_no_gradient_on():
    given = {"loc": APART, "conf": np.full((1, 12), 0.5, np.float32), "priors": PRIORS}
    detector = model(layer(""), "TRAIN", **given)
    slope = jax.grad(lambda loc: jnp.sum(detector.blobs(**{**given, "loc": loc})["y"]))(jnp.asarray(APART))
    assert not np.asarray(slope).any()


PREDICTED = {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24)}


def test_the_shape_is_that_of_the_most_detections():
    shape = lambda fields: netdef.load(text(layer(fields), PREDICTED)).blobs["y"].shape
    assert shape("keep_top_k: 7") == (1, 1, 14, 7)
    assert shape("nms_param { top_k: 4 }") == (1, 1, 16, 7)
    assert shape("") == (1, 1, 24, 7)
    assert shape("keep_top_k: 0") == (1, 1, 2, 7)  # a row for each image without detections


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ("", {"conf": (2, 12)}, "bottom 1, the confidences, is 2x12, 12 values per image, but 6 default boxes of 3"),
        ("", {"loc": (2, 20)}, "bottom 0, the coordinates, is 2x20, 20 values per image, but 6 default boxes of 4"),
        ("share_location: false", {}, "24 values per image, but 6 default boxes of 12 values require 72"),
        ("", {"priors": (1, 2, 20)}, "5 default boxes of 4 values require 20"),
        ("", {"priors": (1, 1, 24)}, "bottom 2, the default boxes, is 1x1x24; it must be 1 x 2 x values"),
        ("", {"priors": (1, 2, 26)}, "with 4 values for each box"),
        ("", {"loc": (3, 24)}, "coordinates of 3 images and bottom 1 confidences of 2"),
        ("nms_param { eta: 1.5 }", {}, "`eta`"),
        ("nms_param { nms_threshold: -1 }", {}, "`nms_threshold`"),
    ],
)
def test_errors_of_detections(fields: str, shapes: dict[str, Any], words: str):
    assert words in fault(layer(fields), **(PREDICTED | shapes))[1]


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ("", {"found": (1, 1, 4, 5)}, "bottom 0 is 1x1x4x5; it must be 1 x 1 x count x 7"),
        ("", {"truth": (2, 1, 4, 8)}, "bottom 1 is 2x1x4x8; it must be 1 x 1 x count x 8"),
        ("overlap_threshold: 0", {}, "`overlap_threshold`"),
        ("background_label_id: 3", {}, "`background_label_id` is 3, but `num_classes` is 3"),
    ],
)
def test_errors_of_the_evaluation(fields: str, shapes: dict[str, Any], words: str):
    source = ssd_cases.EVALUATE % f"detection_evaluate_param {{ num_classes: 3 {fields} }}"
    assert words in fault(source, **({"found": (1, 1, 4, 7), "truth": (1, 1, 4, 8)} | shapes))[1]


def test_files_and_windows_of_the_fork_are_warned_of():
    fields = 'visualize: true save_output_param { output_directory: "results" output_format: "VOC" }'
    found = netdef.load(text(layer(fields), PREDICTED)).diagnostics
    assert [(d.code, d.span.text) for d in found if d.span] == [("no-effect", "true"), ("no-effect", '"results"')]
