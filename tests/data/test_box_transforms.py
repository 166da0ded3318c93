"""Images change together with their boxes: seen in the pixels, and against the rules of the fork in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from box_sets import annotated, pictures, rows_of, write_database, write_voc
from data_sets import layer, write_lmdb

import netdef
from netdef.data import boxes
from netdef.data.box_sampler import BatchSampler, Jitter, SampleConstraint, Sampler, drawn
from netdef.data.boxes import EmitConstraint, EmitType
from netdef.data.fork_transforms import Resize, ResizeMode
from netdef.language.errors import printable

H, W = 60, 90


@pytest.fixture
def solid(tmp_path):
    """Sixteen images of one solid box each, 200 on 50, of random place and size."""
    rng = np.random.RandomState(1)
    records = []
    for _ in range(16):
        w, h = rng.randint(20, 60), rng.randint(15, 40)
        x, y = rng.randint(0, W - w), rng.randint(0, H - h)
        image = np.full((3, H, W), 50, np.uint8)
        image[:, y : y + h, x : x + w] = 200
        records.append(annotated(image, [[0, 1, 0, x / W, y / H, (x + w) / W, (y + h) / H, 0]]))
    write_lmdb(tmp_path / "db", records)


def database(transform: str = "", samplers: str = "", batch: int = 16) -> str:
    block = f'data_param {{ source: "db" backend: LMDB batch_size: {batch} }}'
    return layer(
        "AnnotatedData", block, beside=f"transform_param {{ {transform} }} annotated_data_param {{ {samplers} }}"
    )


SAMPLER = (
    "batch_sampler { sampler { min_scale: 0.4 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }"
    " sample_constraint { min_jaccard_overlap: 0.1 } max_sample: 1 max_trials: 50 }"
)
WARP = "resize_param { height: 48 width: 64 interp_mode: NEAREST }"
CHANGES = {
    "mirror": ("mirror: true", ""),
    "warp": (WARP, ""),
    "pad": ("resize_param { height: 64 width: 64 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_value: 50 }", ""),
    "tall pad": ("resize_param { height: 40 width: 99 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_value: 50 }", ""),
    "expand": (f"expand_param {{ prob: 1 max_expand_ratio: 3 }} mean_value: 50 {WARP}", ""),
    "sampler": (WARP, SAMPLER),
    "crop": ("crop_h: 50 crop_w: 60", ""),
    "all": (
        f"expand_param {{ prob: 0.5 max_expand_ratio: 2 }} mirror: true mean_value: 50 {WARP} crop_size: 44",
        SAMPLER,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_boxes_follow_the_pixels(name, solid, batches):
    seen = 0
    most = 6 if CHANGES[name][1] else 2.1  # because parts have whole pixels, which are enlarged
    for batch in batches(database(*CHANGES[name]), 4, phase="TRAIN"):
        h, w = batch["data"].shape[2:]
        bright = batch["data"][:, 0] > (75 if "mean_value" in CHANGES[name][0] else 125)
        rows = batch["label"][0, 0]
        for image in range(16):
            own = rows[rows[:, 0] == image]
            if not len(own):
                assert bright[image].sum() <= 64
                continue
            if not bright[image].any():  # the part of the box in the image is narrower than its pixels
                assert ((own[0, 5:7] - own[0, 3:5]) * [w, h]).min() <= most
                continue
            ys, xs = np.nonzero(bright[image])
            found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(found - own[0, 3:7] * [w, h, w, h]).max() <= most
            seen += 1
    assert seen >= 32


def test_random_changes_differ_and_repeat(solid, batches):
    text = database(*CHANGES["all"])
    one, two = (batches(text, 2, phase="TRAIN", seed=5) for _ in range(2))
    np.testing.assert_array_equal(one[1]["data"], two[1]["data"])
    np.testing.assert_array_equal(one[1]["label"], two[1]["label"])
    assert not np.array_equal(one[0]["label"], one[1]["label"])
    assert not np.array_equal(one[0]["label"], batches(text, 1, phase="TRAIN", seed=6)[0]["label"])


def test_a_layer_of_the_fork_is_random_in_tests_as_there_and_netdefs_own_is_not(tmp_path, solid, batches):
    text = database(*CHANGES["expand"])
    one, two = batches(text, 2, phase="TEST")
    assert not np.array_equal(one["label"], two["label"])
    warnings = [d.message for d in netdef.load(text, phase="TEST").diagnostics if d.code == "random-test"]
    assert warnings and "`expand_param`" in warnings[0]
    write_voc(tmp_path / "set")
    fields = f"transform_param {{ mirror: true {CHANGES['expand'][0]} }}"
    own = layer("BoxFolder", f'box_folder_param {{ source: "set" batch_size: 4 {SAMPLER} }}', beside=fields)
    one, two = batches(own, 2, phase="TEST")
    np.testing.assert_array_equal(one["label"], two["label"])
    expected = [row for i in range(4) for row in rows_of(i, i)]
    np.testing.assert_allclose(one["label"][0, 0], expected, rtol=1e-6)
    assert not np.array_equal(one["label"], batches(own, 1, phase="TRAIN")[0]["label"])


def test_distortion_changes_no_boxes(tmp_path, batches):
    write_database(tmp_path / "db")
    by = "distort_param { brightness_prob: 1 brightness_delta: 30 contrast_prob: 1 contrast_lower: .5 contrast_upper: 2 }"
    batch = batches(database(by, batch=4), 1, phase="TRAIN")[0]
    assert not np.array_equal(batch["data"], pictures())
    np.testing.assert_allclose(
        batch["label"][0, 0, :, 3:7], [r[3:7] for i in range(4) for r in rows_of(i, i)], rtol=1e-6
    )


# The rules of the fork for one box, in plain Python: bbox_util.cpp and sampler.cpp.


def size(box):
    return 0 if box[2] < box[0] or box[3] < box[1] else (box[2] - box[0]) * (box[3] - box[1])


def intersection(a, b):
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return (0, 0, 0, 0)
    return (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))


def jaccard(a, b):
    both = intersection(a, b)
    if both[2] <= both[0] or both[3] <= both[1]:
        return 0
    return size(both) / (size(a) + size(b) - size(both))


def covered(a, b):
    both = size(intersection(a, b))
    return both / size(a) if both > 0 else 0


def satisfies(window, objects, limits):
    kinds = {
        "jaccard_overlap": lambda box: jaccard(window, box),
        "sample_coverage": lambda box: covered(window, box),
        "object_coverage": lambda box: covered(box, window),
    }
    if not limits:
        return True
    found = False
    for box in objects:
        passed = True
        for kind, measure in kinds.items():
            least, most = limits.get(f"min_{kind}"), limits.get(f"max_{kind}")
            if least is None and most is None:
                continue
            value = measure(box)
            if (least is not None and value < least) or (most is not None and value > most):
                passed = False
                break
            found = True
        if passed and found:
            return True
    return found


def project(window, box):
    if box[0] >= window[2] or box[2] <= window[0] or box[1] >= window[3] or box[3] <= window[1]:
        return None
    w, h = window[2] - window[0], window[3] - window[1]
    sides = ((box[0] - window[0]) / w, (box[1] - window[1]) / h, (box[2] - window[0]) / w, (box[3] - window[1]) / h)
    made = [max(min(side, 1), 0) for side in sides]
    return made if size(made) > 0 else None


def random_boxes(rng, count):
    corners = np.sort(rng.rand(count, 2, 2), 1)
    return corners.reshape(count, 4).astype(np.float32)


LIMITS = [
    {},
    {"min_jaccard_overlap": 0.3},
    {"max_jaccard_overlap": 0.1},
    {"min_sample_coverage": 0.2, "max_sample_coverage": 0.6},
    {"min_object_coverage": 0.7},
    {"min_jaccard_overlap": 0.1, "min_object_coverage": 0.9},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_constraints_are_those_of_the_fork(limits):
    rng = np.random.RandomState(2)
    constraint = SampleConstraint(**limits)
    for count in (0, 1, 5):
        objects = random_boxes(rng, count)
        windows = random_boxes(rng, 60)
        expected = [satisfies(w, objects.tolist(), limits) for w in windows.tolist()]
        assert constraint.met(windows, objects).tolist() == expected


def test_random_parts_have_the_sizes_of_the_fork():
    sampler = Sampler(min_scale=0.3, max_scale=0.9, min_aspect_ratio=0.2, max_aspect_ratio=4)
    found = sampler.draw(np.random.default_rng(0), 4000)
    w, h = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    assert found.min() >= -1e-6 and found.max() <= 1 + 1e-6
    scale, ratio = np.sqrt(w * h), w / h
    assert abs(scale.min() - 0.3) < 0.01 and abs(scale.max() - 0.9) < 0.01 and abs(scale.mean() - 0.6) < 0.02
    assert np.all(ratio >= scale**2 - 1e-3) and np.all(ratio <= 1 / scale**2 + 1e-3)
    assert abs(found[:, 0].mean() - ((1 - w) / 2).mean()) < 0.01


def test_one_of_the_parts_of_all_samplers_is_used():
    objects = np.array([[0.2, 0.2, 0.6, 0.6]], np.float32)
    whole = BatchSampler(max_sample=1)
    never = BatchSampler(sample_constraint=SampleConstraint(min_jaccard_overlap=2))
    small = BatchSampler(sampler=Sampler(min_scale=0.5, max_scale=0.5), max_sample=1)
    rng = np.random.default_rng(0)
    assert drawn([never], objects, rng) is None
    widths = [float(w[2] - w[0]) for w in (drawn([whole, never, small], objects, rng) for _ in range(200))]
    assert 60 < sum(width > 0.9 for width in widths) < 140


def test_boxes_in_a_window_are_those_of_the_fork():
    rng = np.random.RandomState(3)
    for emit in (None, EmitConstraint(), EmitConstraint(emit_type=EmitType.MIN_OVERLAP, emit_overlap=0.4)):
        for _ in range(40):
            window = random_boxes(rng, 1)[0] * 1.5 - 0.2
            rows = np.zeros((6, boxes.COLUMNS), np.float32)
            rows[:, boxes.SIDES] = random_boxes(rng, 6)
            rows[:, boxes.LABEL] = np.arange(6)
            expected = {}
            for label, box in enumerate(rows[:, boxes.SIDES].tolist()):
                x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                if emit is not None and emit.emit_type is EmitType.MIN_OVERLAP:
                    kept = covered(box, window.tolist()) > 0.4
                else:
                    kept = emit is None or (window[0] <= x <= window[2] and window[1] <= y <= window[3])
                made = project(window.tolist(), box) if kept else None
                expected |= {label: made} if made else {}
            found = boxes.projected(rows, window, emit)
            assert found[:, boxes.LABEL].astype(int).tolist() == list(expected)
            for row, box in zip(found, expected.values(), strict=True):
                np.testing.assert_allclose(row[boxes.SIDES], box, atol=2e-6)


def resized_as_in_the_fork(mode, height, width, h, w, box):
    """UpdateBBoxByResizePolicy, in pixels."""
    aspect, wanted = w / h, width / height
    x0, y0, x1, y1 = box[0] * w, box[1] * h, box[2] * w, box[3] * h
    pad_x = pad_y = 0.0
    if mode is ResizeMode.FIT_SMALL_SIZE:
        height, width = (width / aspect, width) if aspect < wanted else (height, aspect * height)
    if mode is ResizeMode.FIT_LARGE_SIZE_AND_PAD:
        if aspect > wanted:
            pad_y = (height - width / aspect) / 2
        else:
            pad_x = (width - aspect * height) / 2
    x0, x1 = pad_x + max(0, x0 * (width - 2 * pad_x) / w), pad_x + min(width, x1 * (width - 2 * pad_x) / w)
    y0, y1 = pad_y + max(0, y0 * (height - 2 * pad_y) / h), pad_y + min(height, y1 * (height - 2 * pad_y) / h)
    return x0 / width, y0 / height, x1 / width, y1 / height


@pytest.mark.parametrize("mode", ResizeMode)
def test_resizing_moves_boxes_as_in_the_fork(mode):
    rng = np.random.RandomState(4)
    for h, w in ((30, 50), (50, 30), (40, 40)):
        rows = np.zeros((5, boxes.COLUMNS), np.float32)
        rows[:, boxes.SIDES] = random_boxes(rng, 5) * 1.1 - 0.05
        found = boxes.resized(rows, Resize(resize_mode=mode, height=24, width=36), h, w)
        for before, after in zip(rows[:, boxes.SIDES].tolist(), found[:, boxes.SIDES], strict=True):
            np.testing.assert_allclose(after, resized_as_in_the_fork(mode, 24, 36, h, w, before), atol=2e-6)


def test_scales_of_the_smaller_side():
    rows = np.zeros((1, boxes.COLUMNS), np.float32)
    rows[0, boxes.SIDES] = (0.5, 0.5, 1, 1)
    to = Resize(resize_mode=ResizeMode.FIT_SMALL_SIZE, height=20, width=30, height_scale=10, width_scale=15)
    found = boxes.rescaled(rows, to, 30, 60, (0.25, 0, 0.75, 1))  # 20 x 40 after resizing, 20 x 20 after the crop
    np.testing.assert_allclose(found[0, boxes.SIDES], (0.5 * 20 / 15, 1, 20 / 15, 2), rtol=1e-6)
    assert math.isclose(found[0, boxes.XMAX], 4 / 3, rel_tol=1e-6)


def test_samplers_that_contradict_themselves(tmp_path):
    write_database(tmp_path / "db")
    text = database(samplers="batch_sampler { sampler { min_scale: 0.8 max_scale: 0.5 } }")
    with pytest.raises(netdef.CompileError, match="`min_scale` of `sampler` is 0.8, but `max_scale` is 0.5; exchange"):
        netdef.load(text.replace('"db"', f'"{printable(str(tmp_path))}/db"'))


def test_labels_of_yolo(tmp_path, batches, feed):
    write_database(tmp_path / "db")
    text = database(samplers="yolo_data_type: 1 yolo_data_jitter: 0 train_diffcult: false", batch=4)
    (batch,) = batches(text, 1)
    assert batch["label"].shape == (4, 1, 300, 5) and not batch["label"][2].any()
    for image in range(4):
        rows = [row for row in rows_of(image, image) if not row[7]]
        for (_, label, _, x0, y0, x1, y1, _), found in zip(rows, batch["label"][image, 0], strict=False):
            np.testing.assert_allclose(found, [label - 1, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], rtol=1e-5)
        assert not batch["label"][image, 0, len(rows) :].any()
    all_boxes = batches(text.replace("train_diffcult: false", ""), 1)[0]["label"]
    assert [int((own[0, :, 3] > 0).sum()) for own in all_boxes] == [3, 1, 0, 2]
    halves = [next(feed(text, "TEST", process=(i, 2)))["label"] for i in range(2)]  # processes can divide it
    np.testing.assert_array_equal(np.concatenate(halves), batch["label"])


def test_jitter():
    rng = np.random.default_rng(0)
    found = np.concatenate([Jitter(0.4, False).draw(None, rng) for _ in range(3000)])
    sides = found[:, 2:] - found[:, :2]
    assert found.min() >= 0 and found.max() <= 1 + 1e-6
    assert abs((sides.min(1) > 0.9999).mean() - 0.2) < 0.03  # no jitter
    assert abs((sides.min(1) < 0.8).mean() - 0.6 * 0.75) < 0.03  # one of two sides is shorter by more than half of it
    kept = Jitter(0.4, True).draw(None, rng)[0]
    assert np.isclose(kept[2] - kept[0], kept[3] - kept[1])


def test_jitter_is_the_default_of_yolo_only(solid, batches):
    plain, yolo = (database(WARP, fields) for fields in ("", "yolo_data_type: 1"))
    np.testing.assert_array_equal(*(batch["data"] for batch in batches(plain, 2, phase="TRAIN")))
    one, two = batches(yolo, 2, phase="TRAIN")
    assert not np.array_equal(one["data"], two["data"])


def test_a_jitter_out_of_range(tmp_path):
    write_database(tmp_path / "db")
    with pytest.raises(netdef.CompileError, match="`yolo_data_jitter` is 1.5; it must be at least 0 and less than 1"):
        netdef.load(database(samplers="yolo_data_jitter: 1.5").replace('"db"', f'"{printable(str(tmp_path))}/db"'))
