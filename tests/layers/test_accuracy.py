"""Accuracy of items, pixels (counted by hand) and pairs: ties, labels out of range, thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, model, outputs

X = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], np.float32)
LABEL = np.array([0, 1, 1, 2])  # chosen: 0 2 0 2


def measure(kind: str, fields: str = "", bottoms: str = 'bottom: "x" bottom: "label"', tops: str = 'top: "y"') -> str:
    return f'layer {{ name: "l" type: "{kind}" {bottoms} {tops} {fields} }}'


def test_ties_count_against_the_label():
    x = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    assert outputs(measure("Accuracy"), x=x, label=np.array([0, 0]))["y"] == 0.5
    assert outputs(measure("Accuracy", "accuracy_param { top_k: 2 }"), x=x, label=np.array([0, 1]))["y"] == 0.5


def test_what_cannot_be_right_is_wrong():
    x = np.array([[np.nan, np.nan], [1, 0], [1, 0]], np.float32)
    assert outputs(measure("Accuracy"), x=x, label=np.array([0, 0, 7]))["y"] == pytest.approx(1 / 3)


def test_nothing_to_count_is_zero():
    fields = "accuracy_param { ignore_label: 1 }"
    made = outputs(measure("Accuracy", fields, tops='top: "y" top: "each"'), x=X, label=np.ones(4))
    assert made["y"] == 0
    assert made["each"].tolist() == [0, 0, 0]


def test_accuracy_of_distances_and_weighted_positions():
    bottoms = 'bottom: "x" bottom: "label" bottom: "weight"'
    made = outputs(
        measure("Accuracy", "accuracy_param { min_is_better: true }", bottoms),
        x=-X,
        label=LABEL,
        weight=np.array([1, 0, 3, 1.0]),
    )
    assert made["y"] == pytest.approx(2 / 3)


def test_more_classes_than_there_are():
    where, message = fault(measure("Accuracy", "accuracy_param { top_k: 4 }"), x=(2, 3), label=(2,))
    assert where == "4"
    assert "only 3 classes" in message


def test_the_best_threshold_of_a_batch_of_pairs():
    a = np.tile(np.array([[1, 0]], np.float32), (5, 1))
    angles = np.array([0.1, 0.5, 1.0, 1.5, 2.0])
    b = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    like = np.array([1, 1, 0, 1, 0])
    pairs = measure("PairVerificationAccuracy", "", 'bottom: "a" bottom: "b" bottom: "like"', 'top: "y" top: "t"')
    made = outputs(pairs, a=a, b=b, like=like)
    assert made["y"] == pytest.approx(0.8)
    assert min(abs(made["t"] - np.cos([0.5, 1.5]))) < 1e-5  # with both, four of the five are correct
    fixed = pairs.replace('top: "t"', 'top: "t" pair_verification_accuracy_param { threshold: 0.9 }')
    assert outputs(fixed, a=a, b=b, like=like)["y"] == pytest.approx(0.6)
    assert (
        outputs(pairs, a=a, b=b, like=np.zeros(5))["y"] == 1
    )  # all pairs are of different classes, and are classified as such


SEGMENTED = 'layer { name: "m" type: "SegAccuracy" bottom: "x" bottom: "label" top: "m" seg_accuracy_param { FIELDS } }'
CHOSEN = np.asarray([[0, 0, 1, 1, 1, 0]]).reshape(1, 1, 2, 3)
PIXEL_LABEL = np.asarray([[0, 0, 1, 1, 0, 255]], np.float32).reshape(1, 1, 2, 3)
PIXELS = (np.arange(3).reshape(1, 3, 1, 1) == CHOSEN).astype(np.float32)  # three classes, the third does not occur


def segmented(fields: str, label: np.ndarray = PIXEL_LABEL) -> np.ndarray:
    return outputs(SEGMENTED.replace("FIELDS", fields), x=PIXELS, label=label)["m"].reshape(3)


def test_pixels_are_counted() -> None:
    right, recall, overlap = 4 / 5, (2 / 3 + 1) / 2, (2 / 3 + 2 / 3 + 1) / 3
    np.testing.assert_allclose(segmented("ignore_label: 255"), [right, recall, overlap], rtol=1e-6)


def test_a_label_out_of_range() -> None:
    assert np.isnan(segmented("")).all()


def test_batches_can_be_counted_together() -> None:
    made = model(SEGMENTED.replace("FIELDS", "ignore_label: 255 reset: false"), x=PIXELS, label=PIXEL_LABEL)
    first = np.asarray(made(x=PIXELS, label=PIXEL_LABEL)["m"]).reshape(3)
    second = np.asarray(made(x=PIXELS, label=np.full_like(PIXEL_LABEL, 1))["m"]).reshape(3)
    assert first[0] == pytest.approx(4 / 5) and second[0] == pytest.approx(7 / 11)


def test_sizes_must_be_equal() -> None:
    _, said = fault(SEGMENTED.replace("FIELDS", ""), x=(1, 3, 4, 4), label=(1, 1, 4, 5))
    assert "1x3x4x4" in said and "1x1x4x5" in said
