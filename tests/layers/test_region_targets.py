"""Targets of anchors and proposals: comparison with plain NumPy, numbers and chances of what is drawn, and errors."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import rcnn
from contexts import Alone
from one_layer import fault, model, outputs

from netdef.layers.region_targets import AnchorTarget, ProposalTarget

SHAPES = rcnn.anchor_shapes(16, (0.5, 1), (1, 2))
ANCHORS = rcnn.all_anchors(SHAPES, 6, 7, 8)
TRUTH = np.array([[3, 5, 30, 27, 2], [20, 10, 55, 40, 1], [40, 4, 51, 21, 3]], np.float32)
INFO = np.array([[50, 60, 1.0]], np.float32)
ANCHOR_LAYER = """layer { name: "t" type: "AnchorTarget" bottom: "score" bottom: "truth" bottom: "info"
  top: "labels" top: "targets" top: "inside" top: "outside"
  anchor_target_param { feat_stride: 8 ratio: 0.5 ratio: 1 scale: 1 scale: 2 %s } }"""
PROPOSAL_LAYER = """layer { name: "t" type: "ProposalTarget" bottom: "rois" bottom: "truth"
  top: "drawn" top: "labels" top: "targets" top: "inside" top: "outside" proposal_target_param { %s } }"""


def anchor_targets(fields: str = "", truth: np.ndarray = TRUTH) -> dict[str, np.ndarray]:
    """Labels (anchors) and the three others (anchors, 4), in the order of `ANCHORS`."""
    score = np.zeros((1, 8, 6, 7), np.float32)
    made = outputs(ANCHOR_LAYER % fields, score=score, truth=truth, info=INFO)
    labels = made.pop("labels")
    assert labels.shape == (1, 1, 24, 7)
    maps = {name: a.reshape(4, 4, 6, 7).transpose(2, 3, 0, 1).reshape(-1, 4) for name, a in made.items()}
    return maps | {"labels": labels.reshape(4, 6, 7).transpose(1, 2, 0).reshape(-1)}


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ("", (0, 0.7, 0.3, False)),
        ("allowed_border: 9 positive_overlap: 0.5 negative_overlap: 0.2", (9, 0.5, 0.2, False)),
        ("clobber_positives: true negative_overlap: 0.55", (0, 0.7, 0.55, True)),
    ],
)
def test_anchor_targets_equal_those_of_loops(fields: str, settings: tuple[Any, ...]):
    made = anchor_targets("batch_size: 1000 " + fields)
    want = rcnn.anchor_labels(ANCHORS, TRUTH, INFO[0], *settings)
    np.testing.assert_array_equal(made["labels"], want)
    assert {-1, 0, 1} <= {*want} or settings[3]
    nearest = TRUTH[rcnn.overlaps(ANCHORS, TRUTH).argmax(1)]
    border = settings[0]
    for i, (box, label) in enumerate(zip(ANCHORS, want, strict=True)):
        inside = min(box[:2]) >= -border and box[2] < 60 + border and box[3] < 50 + border
        offset = rcnn.offsets(box, nearest[i]) if inside else [0] * 4
        np.testing.assert_allclose(made["targets"][i], offset, atol=1e-5)
        assert (made["inside"][i] == (label == 1)).all()
        np.testing.assert_allclose(made["outside"][i], (label >= 0) / (want >= 0).sum(), rtol=1e-5)


def test_offsets_of_anchors_are_normalized():
    plain = anchor_targets("batch_size: 1000")
    made = anchor_targets("batch_size: 1000 target_mean: [0.1, 0, 0, 0] target_std: [0.1, 0.1, 0.2, 0.2]")
    some = plain["labels"] >= 0
    want = (plain["targets"][some] - [0.1, 0, 0, 0]) / [0.1, 0.1, 0.2, 0.2]
    np.testing.assert_allclose(made["targets"][some], want, atol=1e-4)


def test_the_sums_of_outer_weights_are_given():
    made = anchor_targets("batch_size: 1000 positive_weight: 0.25")
    labels, outside = made["labels"], made["outside"][:, 0]
    assert outside[labels == 1].sum() == pytest.approx(0.25, rel=1e-5)
    assert outside[labels == 0].sum() == pytest.approx(0.75, rel=1e-5)
    assert not outside[labels < 0].any()


def test_anchors_are_drawn_at_random_without_replacement():
    overlap = "positive_overlap: 0.4 "
    whole = anchor_targets(overlap + "batch_size: 1000")["labels"]
    layer = model(
        ANCHOR_LAYER % (overlap + "batch_size: 10 fg_fraction: 0.3"),
        score=np.zeros((1, 8, 6, 7), np.float32),
        truth=TRUTH,
        info=INFO,
    )
    objects, drawn = (whole == 1).sum(), np.zeros(len(whole))
    assert objects > 3
    for _ in range(300):
        made = layer(score=np.zeros((1, 8, 6, 7), np.float32), truth=TRUTH, info=INFO)
        labels = np.asarray(made["labels"]).reshape(4, 6, 7).transpose(1, 2, 0).reshape(-1)
        assert ((labels == 1).sum(), (labels == 0).sum()) == (3, 7)
        assert (whole[labels >= 0] == labels[labels >= 0]).all()
        drawn += labels >= 0
    for label, number in ((1, 3), (0, 7)):
        expected = 300 * number / (whole == label).sum()
        assert np.abs(drawn[whole == label] - expected).max() < 5 * np.sqrt(expected)


def test_rows_without_a_label_are_not_true_boxes():
    padded = np.concatenate([TRUTH, np.zeros((2, 5)), -np.ones((1, 5))]).astype(np.float32)
    one, other = anchor_targets("batch_size: 1000"), anchor_targets("batch_size: 1000", padded)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
    none = anchor_targets("batch_size: 1000", np.zeros((1, 5), np.float32))
    assert {*none["labels"]} == {-1, 0}
    assert not none["targets"].any() and not none["inside"].any()


def regions(number: int = 40, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    corner, side = random.uniform(0, 40, (number, 2)), random.uniform(5, 30, (number, 2))
    boxes = np.concatenate([corner, corner + side], 1)
    boxes[::4] = TRUTH[np.arange(len(boxes[::4])) % 3, :4] + random.uniform(-3, 3, (len(boxes[::4]), 4))
    return np.concatenate([np.zeros((number, 1)), boxes], 1).astype(np.float32)


def proposal_targets(fields: str, rois: np.ndarray, truth: np.ndarray = TRUTH) -> dict[str, np.ndarray]:
    return {n: a[:, :, 0, 0] for n, a in outputs(PROPOSAL_LAYER % fields, rois=rois, truth=truth).items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("classes", "low"), [(4, 0.0), (4, 0.1), (2, 0.0)])
def test_proposal_targets_equal_those_of_loops(seed: int, classes: int, low: float):
    rois = regions(seed=seed)
    made = proposal_targets(f"num_classes: {classes} batch_size: 16 bg_overlap_low: {low}", rois)
    candidates = np.concatenate([rois[:, 1:], TRUTH[:, :4]])
    table = rcnn.overlaps(candidates, TRUTH)
    number = (made["labels"] > 0).sum()
    assert number == min(4, (table.max(1) >= 0.5).sum()) and (made["labels"][:number] > 0).all()
    where = [int(np.flatnonzero((candidates == row[1:]).all(1))[0]) for row in made["drawn"]]
    assert len({*where}) == 16  # none twice
    for i, at in enumerate(where):
        most, truth = table[at].max(), TRUTH[table[at].argmax()]
        assert made["drawn"][i, 0] == 0
        assert most >= 0.5 if i < number else low <= most < 0.5
        assert made["labels"][i, 0] == (truth[4] if i < number else 0)
        targets, weights = np.zeros((classes, 4)), np.zeros((classes, 4))
        if i < number:
            at_class = 1 if classes == 2 else int(truth[4])
            targets[at_class] = np.array(rcnn.offsets(candidates[at], truth)) / [0.1, 0.1, 0.2, 0.2]
            weights[at_class] = 1
        np.testing.assert_allclose(made["targets"][i], targets.reshape(-1), atol=2e-5)
        np.testing.assert_array_equal(made["inside"][i], weights.reshape(-1))
        np.testing.assert_array_equal(made["outside"][i], weights.reshape(-1))


def test_regions_are_drawn_at_random():
    rois = regions()
    layer = ProposalTarget(num_classes=4, batch_size=12)
    run = jax.jit(lambda key: layer.apply((), rois, TRUTH, ctx=Keys(key))[0][:, 1:, 0, 0])
    candidates = np.concatenate([rois[:, 1:], TRUTH[:, :4]])
    objects = rcnn.overlaps(candidates, TRUTH).max(1) >= 0.5
    seen = np.zeros(len(candidates))
    for key in jax.random.split(jax.random.key(0), 300):
        for row in np.asarray(run(key)):
            seen[np.flatnonzero((candidates == row).all(1))[0]] += 1
    for mask, number in ((objects, 3), (~objects, 9)):
        expected = 300 * number / mask.sum()
        assert np.abs(seen[mask] - expected).max() < 5 * np.sqrt(expected)


class Keys(Alone):
    """A context whose random keys differ, and which starts at a given key."""

    def __init__(self, key: Any):
        super().__init__()
        self.next = key

    def rng(self) -> jax.Array:
        self.next, key = jax.random.split(self.next)
        return key


def test_few_regions_are_repeated_in_turn():
    rois = np.concatenate([regions(3), -np.ones((2, 5), np.float32)])  # the last ones only pad the proposals
    truth = np.concatenate([TRUTH, np.zeros((1, 5), np.float32)])
    made = proposal_targets("num_classes: 4 batch_size: 14 fg_fraction: 1", rois, truth)
    candidates = {tuple(row) for row in np.concatenate([rois[:3, 1:], TRUTH[:, :4]])}
    assert {tuple(row) for row in made["drawn"][:, 1:]} == candidates and len(candidates) == 6
    for name in made:
        np.testing.assert_array_equal(made[name][6:12], made[name][:6])
        np.testing.assert_array_equal(made[name][12:], made[name][:2])
    assert not made["drawn"][:, 0].any()


def test_all_regions_for_mining_of_hard_examples():
    rois = regions()
    made = proposal_targets("num_classes: 2 batch_size: -1", rois)
    assert made["labels"].shape == (43, 1)
    objects = rcnn.overlaps(np.concatenate([rois[:, 1:], TRUTH[:, :4]]), TRUTH).max(1) >= 0.5
    assert (made["labels"] > 0).sum() == objects.sum()


def test_an_image_without_objects_is_background():
    made = proposal_targets(
        "num_classes: 4 batch_size: 8 bg_overlap_low: 0.1", regions(5), np.zeros((2, 5), np.float32)
    )
    assert not made["labels"].any() and not made["inside"].any() and np.isfinite(made["targets"]).all()


def test_errors_show_both_numbers():
    shapes = {"score": (1, 8, 6, 7), "truth": (3, 5), "info": (1, 3)}
    place, message = fault(ANCHOR_LAYER % "", **shapes | {"score": (2, 8, 6, 7)})
    assert (place, "is 2x8x6x7, 2 images; give one image per batch" in message) == ('"score"', True)
    place, message = fault(ANCHOR_LAYER % "", **shapes | {"truth": (3, 4)})
    assert (place, "the true boxes, is 3x4; it must have" in message) == ('"truth"', True)
    place, message = fault(ANCHOR_LAYER % "", **shapes | {"truth": (0, 5)})
    assert "is 0x5; it must have at least one row" in message
    place, message = fault(ANCHOR_LAYER % "", **shapes | {"score": (1, 9, 6, 7)})
    assert "9 scores at each position, but 2 ratios and 2 scales are 4 anchors with 8 scores" in message
    place, message = fault(ANCHOR_LAYER % "target_std: [1, 2]", **shapes)
    assert "`target_std` has 2 values; give 4" in message
    place, message = fault(PROPOSAL_LAYER % "num_classes: 4", rois=(9, 4), truth=(3, 5))
    assert (place, "the regions, is 9x4; it must have 5 values" in message) == ('"rois"', True)
    place, message = fault(PROPOSAL_LAYER % "num_classes: 4 batch_size: 0", rois=(9, 5), truth=(3, 5))
    assert "`batch_size` is 0" in message
    assert AnchorTarget().batch_size == 256


def as_label(truth: np.ndarray) -> np.ndarray:
    """The same boxes of an image of 50 x 60 pixels as the label of AnnotatedData, with one of another image."""
    rows = [[0, label, 0, x1 / 60, y1 / 50, (x2 + 1) / 60, (y2 + 1) / 50, 0] for x1, y1, x2, y2, label in truth]
    return np.array([[[*rows, [1, 1, 0, 0, 0, 1, 1, 0], [-1] * 8]]], np.float32)


def test_true_boxes_may_be_the_label_of_annotated_data():
    """Boxes in fractions of the image are the same ones in pixels."""
    made, wanted = anchor_targets("batch_size: 1000", as_label(TRUTH)), anchor_targets("batch_size: 1000")
    for name, top in wanted.items():
        np.testing.assert_allclose(made[name], top, rtol=1e-4, atol=1e-5)
    fields = "num_classes: 4 batch_size: -1 bg_overlap_low: -1"
    rois = np.array([[0, 2, 4, 31, 27], [0, 22, 9, 54, 44]], np.float32)
    with_info = PROPOSAL_LAYER.replace('bottom: "truth"', 'bottom: "truth" bottom: "info"')
    made = outputs(with_info % fields, rois=rois, truth=as_label(TRUTH), info=INFO)
    wanted = outputs(PROPOSAL_LAYER % fields, rois=rois, truth=TRUTH)
    key = lambda tops: sorted(map(tuple, np.round(np.concatenate([tops["drawn"], tops["labels"]], 1)[:, :, 0, 0], 3)))
    assert {*key(wanted)} <= {*key(made)} and {row[-1] for row in key(made)} == {1.0, 2.0, 3.0}
    message = fault(PROPOSAL_LAYER % fields, rois=(2, 5), truth=(1, 1, 3, 8))[1]
    assert "is 1x1x3x8, boxes in fractions of the image; add a third bottom" in message
