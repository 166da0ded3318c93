"""The transformations of the NVIDIA, SSD and Intel forks, under their field names."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from data_sets import datum, numbered, write_lmdb

import netdef
from netdef.data import images as im
from netdef.data.transform import Transform
from netdef.layers.detection import DetectionEvaluate, SaveOutput


@pytest.fixture(autouse=True)
def colors(tmp_path):
    images = numbered(6, 3, 12, 20)
    write_lmdb(tmp_path / "db", [datum(image, i) for i, image in enumerate(images)])
    return images


def data(transform):
    return f"""layer {{ name: "d" type: "Data" top: "data" top: "label" transform_param {{ {transform} }}
               data_param {{ source: "db" batch_size: 6 backend: LMDB }} }}"""


def test_random_sizes_fit_the_crop(batches):
    made = batches(data("img_rand_resize_lower: 8 img_rand_resize_upper: 12 crop_size: 8"), 4, phase="TRAIN")
    assert all(b["data"].shape == (6, 3, 8, 8) for b in made)
    stretched = data(
        "vertical_stretch_lower: 0.7 horizontal_stretch_upper: 1.2 rand_resize_ratio_lower: 1 "
        "rand_resize_ratio_upper: 1.5 allow_upscale: true interpolation_algo_down: INTER_LINEAR crop_size: 6"
    )
    assert batches(stretched, 2, phase="TRAIN")[1]["data"].shape == (6, 3, 6, 6)


def test_crop_h_and_crop_w(batches, colors):
    np.testing.assert_array_equal(batches(data("crop_h: 4 crop_w: 10"), 1)[0]["data"], colors[:, :, 4:8, 5:15])


@pytest.mark.parametrize(
    ("mode", "shape"), [("WARP", (6, 9)), ("FIT_SMALL_SIZE", (6, 10)), ("FIT_LARGE_SIZE_AND_PAD", (6, 9))]
)
def test_resize_param(batches, mode, shape):
    text = data(f"resize_param {{ resize_mode: {mode} height: 6 width: 9 pad_value: 7 interp_mode: LINEAR }}")
    made = batches(text, 1)[0]["data"]
    assert made.shape == (6, 3, *shape)
    if "PAD" in mode:  # 12x20 becomes 5x9, and one row of 7 is put below
        assert np.all(made[:, :, 5] == 7) and not np.all(made[:, :, 4] == 7)


def test_warp_is_opencvs_bilinear(batches, colors):
    made = batches(data("resize_param { height: 6 width: 10 }"), 1)[0]["data"]
    halves = colors.astype(np.float32).reshape(6, 3, 6, 2, 10, 2).mean((3, 5))  # half the size: the mean of four
    assert np.abs(made - halves).max() <= 1


def test_noise(batches, colors):
    plain = colors.astype(np.float32)
    always = lambda fields: batches(data(f"noise_param {{ prob: 1 {fields} }}"), 1, phase="TRAIN")[0]["data"]
    np.testing.assert_array_equal(always("inverse: true"), 255 - plain)
    np.testing.assert_array_equal(always("posterize: true"), colors // 64 * 64 + 32)
    gray = always("decolorize: true")
    assert (
        np.array_equal(gray[:, 0], gray[:, 2])
        and np.abs(gray[:, 0] - plain.transpose(0, 2, 3, 1) @ [0.114, 0.587, 0.299]).max() < 1
    )
    assert np.all(always("erode: true") <= plain)
    spots = always("saltpepper: true saltpepper_param { fraction: 0.1 value: 255 }") != plain
    assert 0 < spots.any(1).sum() <= 6 * 24
    blurred = always("gauss_blur: true")
    assert blurred.std() < plain.std() / 2 and abs(blurred.mean() - plain.mean()) < 2
    brightness = np.array([0.114, 0.587, 0.299])  # because JPEG halves the color of noise, and keeps its brightness
    lost = (always("jpeg: 95") - plain).transpose(0, 2, 3, 1) @ brightness
    assert 0 < np.abs(lost).mean() < 5
    assert not np.array_equal(always("hist_eq: true"), plain)
    np.testing.assert_array_equal(batches(data("noise_param { prob: 1 inverse: true }"), 1)[0]["data"], plain)


def test_what_opencv_does_for_the_fork(batches, colors):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    plain, made = (
        batches(data(f"noise_param {{ prob: 1 {what} }}"), 1, phase="TRAIN")[0]["data"]
        for what in ("", "convert_to_lab: true")
    )
    first = cv2.cvtColor(plain[0].transpose(1, 2, 0).astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    np.testing.assert_allclose(made[0].transpose(1, 2, 0), first, atol=1e-4)
    local = batches(data("noise_param { prob: 1 clahe: true }"), 1, phase="TRAIN")[0]["data"]
    brightness = np.array([0.114, 0.587, 0.299])
    spread = [np.ptp(x[0].transpose(1, 2, 0) @ brightness) for x in (plain, local)]
    assert spread[1] >= spread[0] - 3 and not np.array_equal(local, plain)


def test_opencv_is_named_where_it_is_missing(batches, colors, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(
        netdef.NetdefError,
        match=r"`clahe` requires the package opencv-python-headless, .*pip install opencv-python-headless",
    ):
        batches(data("noise_param { prob: 1 clahe: true }"), 1, phase="TRAIN")


def test_distort_and_expand(batches, colors):
    text = """distort_param { brightness_prob: 1 brightness_delta: 20 contrast_prob: 1 contrast_lower: 0.5
              contrast_upper: 1.5 hue_prob: 1 hue_delta: 18 saturation_prob: 1 saturation_lower: 0.5
              saturation_upper: 1.5 random_order_prob: 0.5 }"""
    one, two = batches(data(text), 2, phase="TRAIN")
    assert not np.array_equal(one["data"], two["data"])
    np.testing.assert_array_equal(batches(data(text), 1)[0]["data"], colors)
    wide = batches(
        data("expand_param { max_expand_ratio: 3 } resize_param { height: 12 width: 20 } mean_value: 99"),
        1,
        phase="TRAIN",
    )
    assert (wide[0]["data"] == 0).mean() > 0.2  # the canvas is filled with the mean, which is then subtracted


def test_hue_saturation_value_and_back():
    x = numbered(1, 3, 30, 30)[0].transpose(1, 2, 0)
    hsv = im.to_hsv(x)
    assert hsv[:, :, 0].max() < 180
    assert np.abs(im.from_hsv(hsv).astype(int) - x).max() <= 6  # hue has two degrees, saturation 256 steps
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)  # blue, green, red, gray
    np.testing.assert_array_equal(im.to_hsv(pure)[0], [[120, 255, 255], [60, 255, 255], [0, 255, 255], [0, 0, 9]])


def test_intels_random_sizes(batches, colors):
    made = batches(data("random_resize_param { min_size: 8 max_size: 10 } crop_size: 8"), 2)
    assert made[0]["data"].shape == (6, 3, 8, 8) and not np.array_equal(made[0]["data"], made[1]["data"])
    same = batches(data("random_resize_param { min_size: 12 max_size: 12 }"), 1)[0]["data"]
    np.testing.assert_array_equal(same, colors)
    with pytest.raises(netdef.NetdefError, match="`min_size` of `random_resize_param` is 30; it must be at most 20"):
        batches(data("random_resize_param { min_size: 30 max_size: 20 } crop_size: 8"), 1)


def test_intels_random_parts(batches, colors):
    made = batches(data("random_aspect_ratio_param { aspect_ratio_change: 0.75 } crop_size: 9"), 2, phase="TRAIN")
    assert made[0]["data"].shape == (6, 3, 9, 9) and not np.array_equal(made[0]["data"], made[1]["data"])
    whole = batches(data("random_aspect_ratio_param { max_attempt: 0 } crop_size: 12"), 1)[0]["data"]
    np.testing.assert_array_equal(whole, colors[:, :, :, 4:16])  # the shorter side is 12 already
    with pytest.raises(netdef.NetdefError, match="`random_aspect_ratio_param` requires `crop_size`"):
        batches(data("random_aspect_ratio_param { }"), 1)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (
            'type: "ImageSegData" top: "data" top: "label" transform_param { crop_size: 33 scale_factors: 0.5 }\n'
            'image_data_param { source: "list.txt" batch_size: 2 label_type: PIXEL }',
            [(2, 3, 33, 33), (2, 1, 33, 33)],
        ),
        (
            'type: "VideoData" top: "data" top: "label" transform_param { crop_size: 24 scale_ratios: [1, 0.75] }\n'
            'video_data_param { source: "list.txt" batch_size: 4 }',
            [(4, 3, 24, 24), (4,)],
        ),
    ],
)
def test_what_is_not_read_is_shaped(layer, shapes):
    net = netdef.load(f'layer {{ name: "d" {layer} }}')
    assert [net.blobs[name].shape for name in ("data", "label")] == shapes
    assert [d.code for d in net.diagnostics] == ["unavailable"]


def test_boxes_are_resized_back_by_the_message_that_resizes_images():
    messages = {cls.params()["resize_param"].type for cls in (Transform, SaveOutput, DetectionEvaluate)}
    assert len(messages) == 1
