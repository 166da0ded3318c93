"""Precision, recall, errors, similarity and ArgMax, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, loss_and_gradients, outputs

X = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], np.float32)
LABEL = np.array([0, 1, 1, 2])  # chosen: 0 2 0 2


def measure(kind: str, fields: str = "", bottoms: str = 'bottom: "x" bottom: "label"', tops: str = 'top: "y"') -> str:
    return f'layer {{ name: "l" type: "{kind}" {bottoms} {tops} {fields} }}'


@pytest.mark.parametrize("axis", ["", "axis: 1"])
def test_arg_max_outputs_the_last_index_first_in_case_of_ties(axis):
    x = np.array([[3, 1, 3, 3]], np.float32)
    made = outputs(measure("ArgMax", f"argmax_param {{ top_k: 3 {axis} }}", 'bottom: "x"'), x=x)["y"]
    assert made.reshape(-1).tolist() == [3, 2, 0]


def test_arg_max_errors_contain_the_number_of_values():
    where, message = fault(measure("ArgMax", "argmax_param { top_k: 9 axis: 1 }", 'bottom: "x"'), x=(2, 4))
    assert where == "9"
    assert "only 4 values" in message


@pytest.mark.parametrize(
    ("kind", "each", "mean", "micro"),
    [
        ("Precision", [0.5, 0, 0.5], 1 / 3, 0.5),
        ("Recall", [1, 0, 1], 2 / 3, 0.5),
        ("F1", [2 / 3, 0, 2 / 3], 4 / 9, 0.5),
    ],
)
def test_precision_recall_f1_of_classes(kind, each, mean, micro):
    made = outputs(measure(kind, tops='top: "y" top: "each"'), x=X, label=LABEL)
    np.testing.assert_allclose(made["each"], each, rtol=1e-6)
    assert made["y"] == pytest.approx(mean)
    block = {"Precision": "precision_param", "Recall": "recall_param", "F1": "f1_param"}[kind]
    assert outputs(measure(kind, f"{block} {{ average: MICRO }}"), x=X, label=LABEL)["y"] == pytest.approx(micro)


def test_classes_that_do_not_occur_do_not_count():
    x = np.eye(4, dtype=np.float32)[[0, 1]]
    assert outputs(measure("F1"), x=x, label=np.array([0, 1]))["y"] == 1


def test_precision_and_recall_of_yes_and_no():
    x = np.array([0.9, 0.8, 0.3, 0.6, 0.2], np.float32)
    label = np.array([1, 0, 1, 1, -1])
    made = {k: outputs(measure(k, f"{b} {{ ignore_label: -1 }}"), x=x, label=label)["y"] for k, b in BLOCKS.items()}
    assert made["Precision"] == pytest.approx(2 / 3)
    assert made["Recall"] == pytest.approx(2 / 3)
    assert made["BinaryAccuracy"] == pytest.approx(0.5)


BLOCKS = {"Precision": "precision_param", "Recall": "recall_param", "BinaryAccuracy": "binary_accuracy_param"}


def test_errors_and_similarity():
    a, b = np.random.RandomState(0).randn(2, 3, 4).astype(np.float32)
    made = {
        kind: float(outputs(measure(kind), x=a, label=b)["y"])
        for kind in ("MeanAbsoluteError", "MeanSquaredError", "CosineSimilarity")
    }
    cos = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    want = [np.abs(a - b).mean(), ((a - b) ** 2).mean(), cos.mean()]
    assert list(made.values()) == pytest.approx(want, rel=1e-5)


def test_no_gradient_comes_through_a_measure():
    layer = measure("MeanSquaredError", "loss_weight: 1")
    _, gradients = loss_and_gradients(layer, x=X, label=X * 2)
    assert not gradients["x"].any()
