"""InnerDistance, the losses of distances, and LabelSpecificRescale, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, loss_and_gradients, model, outputs

X = np.asarray([[0.0, 0.0], [3.0, 4.0]], np.float32)
ROWS = np.asarray([[0.0, 1.0], [3.0, 0.0], [6.0, 8.0]], np.float32)
LABEL = np.asarray([0, 2])
FAR = np.asarray([[0.5, 0.4, 2.0], [0.9, 3.0, 1.5]], np.float32)


def far(fields: str) -> np.ndarray:
    text = 'layer { name: "d" type: "InnerDistance" bottom: "x" bottom: "w" top: "d" inner_distance_param { FIELDS } }'
    return outputs(text.replace("FIELDS", fields), x=X, w=ROWS)["d"]


def test_distances_to_vectors() -> None:
    np.testing.assert_allclose(far('distance_type: "L2"'), [[1, 9, 100], [18, 16, 25]], rtol=1e-5)
    np.testing.assert_allclose(far('distance_type: "L1"'), [[1, 3, 14], [6, 4, 7]], rtol=1e-5)


def test_own_vectors_of_length_1() -> None:
    made = model(
        'layer { name: "d" type: "InnerDistance" bottom: "x" top: "d"\n'
        "        inner_distance_param { num_output: 3 normalize: true } }",
        x=X,
    )
    made.set_weights({"d": [ROWS]})
    np.testing.assert_allclose(made(x=X)["d"][0], [1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(made(x=X)["d"][1], [25 + 1 - 8, 25 + 1 - 6, 25 + 1 - 10], rtol=1e-5)


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_a_center_learns_only_from_its_own_items(kind: str) -> None:
    text = (
        'layer { name: "d" type: "InnerDistance" bottom: "x" bottom: "w" bottom: "label" top: "d" loss_weight: 1\n'
        f'        inner_distance_param {{ distance_type: "{kind}" update_center_only: true }} }}'
    )
    value, slopes = loss_and_gradients(text, x=X, w=ROWS, label=LABEL)
    assert value == pytest.approx(169 if kind == "L2" else 35)
    pull = {"L1": [[0, 1], [0, 0], [1, 1]], "L2": [[0, 2], [0, 0], [6, 8]]}[kind]
    np.testing.assert_allclose(slopes["w"], pull)
    push = {"L1": np.sign(X[:, None] - ROWS).sum(1), "L2": 2 * (X[:, None] - ROWS).sum(1)}[kind]
    np.testing.assert_allclose(slopes["x"], push, atol=1e-5)


def test_errors_of_distances() -> None:
    layer = 'layer { name: "d" type: "InnerDistance" bottom: "x" top: "d" inner_distance_param { FIELDS } }'
    assert "`num_output` is missing" in fault(layer.replace("FIELDS", ""), x=(2, 3))[1]
    assert '"L3"' in fault(layer.replace("FIELDS", 'num_output: 2 distance_type: "L3"'), x=(2, 3))[1]
    two = layer.replace('bottom: "x"', 'bottom: "x" bottom: "w"').replace("FIELDS", "")
    assert "have 4 values each, but those of the input 2x3 have 3" in fault(two, x=(2, 3), w=(5, 4))[1]
    assert "the vectors W are a number" in fault(two, x=(2, 3), w=())[1]


def loss(kind: str, fields: str, **more: np.ndarray) -> tuple[float, np.ndarray]:
    block = {"Contrastive": "general_contrastive_loss_param", "Triplet": "general_triplet_loss_param"}[kind]
    third = "".join(f'bottom: "{name}" ' for name in more)
    text = (
        f'layer {{ name: "l" type: "General{kind}Loss" bottom: "far" bottom: "label" {third}top: "l" top: "means"\n'
        f"        {block} {{ {fields} }} }}"
    )
    value, slopes = loss_and_gradients(text, far=FAR, label=LABEL, **more)
    return value, slopes["far"]


def test_contrastive_loss_of_distances() -> None:
    value, slope = loss("Contrastive", "")
    assert value == pytest.approx((0.5 + 0.6 + 1.5 + 0.1) / 2)
    np.testing.assert_allclose(slope, [[0.5, -0.5, 0], [-0.5, 0, 0.5]])
    value, slope = loss(
        "Contrastive", "positive_margin: 1 negative_margin: 4 max_negative_only: true negative_weight: 2"
    )
    assert value == pytest.approx((0 + 2 * 3.6 + 0.5 + 2 * 3.1) / 2)
    np.testing.assert_allclose(slope, [[0, -1, 0], [-1, 0, 0.5]])
    value, slope = loss("Contrastive", "exp_negative_weight: true")
    assert value == pytest.approx((0.5 + np.exp(-0.4) + 1.5 + np.exp(-0.9)) / 2)
    np.testing.assert_allclose(slope[0], [0.5, -np.exp(-0.4) / 2, 0], rtol=1e-6)


def test_contrastive_loss_far_from_the_own_class() -> None:
    value, slope = loss("Contrastive", "positive_first: true positive_upper_bound: 1")
    assert value == pytest.approx((0.5 + 0.6 + 1.5) / 2)
    np.testing.assert_allclose(slope, [[0.5, -0.5, 0], [0, 0, 0.5]])


def test_contrastive_loss_with_tamed_negatives() -> None:
    _, slope = loss("Contrastive", "negative_margin: 4 normalize_negative: 0.5")  # four negatives: 4 / 0.5 / 2 = 4
    np.testing.assert_allclose(slope, np.asarray([[1, -0.25, -0.25], [-0.25, -0.25, 1]]) / 2)


def test_the_margin_follows_the_own_distances() -> None:
    text = (
        'layer { name: "l" type: "GeneralContrastiveLoss" bottom: "far" bottom: "label" top: "l" top: "means"\n'
        "        general_contrastive_loss_param { add_intra_mae: true } }"
    )
    made = model(text, far=FAR, label=LABEL)
    np.testing.assert_allclose(made(far=FAR, label=LABEL)["means"][2], 0.01 * 1.0, rtol=1e-5)
    np.testing.assert_allclose(made(far=FAR, label=LABEL)["means"][2], 0.99 * 0.01 + 0.01, rtol=1e-5)


def test_triplet_loss_of_distances() -> None:
    value, slope = loss("Triplet", "margin: 0.2")
    assert value == pytest.approx((0.3 + 0.8) / 2)
    np.testing.assert_allclose(slope, [[0.5, -0.5, 0], [-0.5, 0, 0.5]])
    value, slope = loss("Triplet", "margin: 0 add_center_loss: false positive_weight: 3 hardest_only: true")
    assert value == pytest.approx((0.1 + 0.6) / 2)
    np.testing.assert_allclose(slope, [[1.5, -0.5, 0], [-0.5, 0, 1.5]])
    _, slope = loss("Triplet", "margin: -9 add_center_loss: false")
    assert not slope.any()
    _, slope = loss("Triplet", "margin: -9", factor=np.asarray([1.0, 4.0], np.float32))
    np.testing.assert_allclose(slope, [[0.5, 0, 0], [0, 0, 2]])


def rescaled(fields: str, phase: str = "TRAIN") -> np.ndarray:
    text = (
        'layer { name: "r" type: "LabelSpecificRescale" bottom: "x" bottom: "label" top: "r"\n'
        f"        label_specific_rescale_param {{ {fields} }} }}"
    )
    return outputs(text, phase, x=FAR - 1, label=LABEL)["r"]


def test_the_own_class_is_rescaled() -> None:
    x = FAR - 1
    np.testing.assert_allclose(rescaled("positive_weight: 2"), x * [[2, 1, 1], [1, 1, 2]], rtol=1e-6)
    np.testing.assert_allclose(rescaled("negative_weight: 2"), x * [[1, 2, 2], [2, 2, 1]], rtol=1e-6)
    np.testing.assert_allclose(rescaled("positive_weight: 2 for_ip: true"), x * [[1, 1, 1], [1, 1, 2]], rtol=1e-6)
    np.testing.assert_allclose(rescaled("positive_weight: 2 bias_fix: true")[0, 0], -2, rtol=1e-6)
    np.testing.assert_allclose(rescaled("positive_weight: 2 power_on_positive: true")[0, 0], -0.25, rtol=1e-6)
    np.testing.assert_allclose(rescaled("positive_weight: 2", "TEST"), x, rtol=1e-6)


def test_the_factor_falls_while_training() -> None:
    text = (
        'layer { name: "r" type: "LabelSpecificRescale" bottom: "x" bottom: "label" top: "r" top: "factor"\n'
        "        label_specific_rescale_param { positive_weight_base: 4 gamma: 1 positive_weight_min: 1.5 } }"
    )
    made = model(text, x=FAR, label=LABEL)
    factors = [float(made(x=FAR, label=LABEL)["factor"][0]) for _ in range(3)]
    assert factors == pytest.approx([4 / 2, 1.5, 1.5])
