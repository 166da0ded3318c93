"""Information gain and focal loss, and errors of classification and regression losses for bottoms that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import fault, loss_and_gradients, text

import netdef

rng = np.random.RandomState(0)
X = rng.randn(4, 5).astype(np.float32)
LABEL = np.array([0, 3, 3, 1])
P = np.exp(X) / np.exp(X).sum(1, keepdims=True)
TARGET = np.eye(5, dtype=np.float32)[LABEL]


def test_infogain_gradient_is_caffes():
    matrix = rng.rand(5, 5).astype(np.float32)
    layer = 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "label" bottom: "H" top: "loss" }'
    loss, gradients = loss_and_gradients(layer, x=X, label=LABEL, H=matrix)
    rows = matrix[LABEL]
    assert loss == pytest.approx(-(rows * np.log(P)).sum() / 4, rel=1e-5)
    np.testing.assert_allclose(gradients["x"], (P * rows.sum(1, keepdims=True) - rows) / 4, atol=1e-6)
    assert not gradients["H"].any()


def test_infogain_matrix_in_a_file_is_named():
    layer = (
        'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "label" top: "loss"\n'
        '        infogain_loss_param { source: "h.binaryproto" } }'
    )
    net = netdef.load(text(layer, {"x": (4, 5), "label": (4,)}))
    assert [d.code for d in net.diagnostics] == ["unavailable"]
    assert "h.binaryproto" in net.diagnostics[0].message
    with pytest.raises(netdef.NetdefError, match="h.binaryproto"):
        netdef.compile(net)


@pytest.mark.parametrize(("kind", "sign"), [("ORIGIN", -1), ("LINEAR", -1), ("ONEADDP", 1)])
def test_focal_loss(kind, sign):
    layer = (
        'layer { name: "l" type: "FocalLoss" bottom: "x" bottom: "label" top: "loss"\n'
        f"        focal_loss_param {{ type: {kind} gamma: 3 }} }}"
    )
    p = (P * TARGET).sum(1, keepdims=True)
    power = (1 + sign * p) ** 3
    slope = sign * 3 * (1 + sign * p) ** 2 * np.log(p) * p + power  # of the fork's backward pass
    loss, gradients = loss_and_gradients(layer, x=X, label=LABEL)
    assert loss == pytest.approx((-power * np.log(p)).mean(), rel=1e-5)
    np.testing.assert_allclose(gradients["x"], slope * (P - TARGET) / 4, atol=1e-6)


def test_infogain_matrix_of_another_size():
    layer = 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "label" bottom: "H" top: "loss" }'
    where, message = fault(layer, x=(4, 5), label=(4,), H=(4, 4))
    assert where == '"H"'
    assert "16 values" in message
    assert "5 x 5" in message


LOSS = 'layer {{ name: "l" type: "{}" bottom: "a" bottom: "b" top: "loss" {} }}'


@pytest.mark.parametrize(
    ("kind", "fields", "a", "b", "place", "words"),
    [
        ("SoftmaxWithLoss", "", (4, 5), (3,), '"b"', "4x5 and 3"),
        ("SoftmaxWithLoss", "", (4, 5, 2, 2), (4,), '"b"', "4 labels (4)"),
        ("SoftmaxWithLoss", "softmax_param { axis: 2 }", (4, 5), (4,), "2", "has 2 axes"),
        ("SoftmaxWithLoss", "softmax_param { class_weight: [1, 2] }", (4, 5), (4,), "1", "5 classes"),
        ("SoftmaxWithLoss", "", (4, 5), (), '"b"', "4x5 and scalar"),
        ("EuclideanLoss", "", (4, 5), (4, 6), '"b"', "20 and 24 values"),
        ("EuclideanLoss", "", (4, 5), (2, 10), '"b"', "4x5 and 2x10"),
        ("SmoothL1Loss", "", (4, 5), (4, 1), '"b"', "20 and 4 values"),
        ("SigmoidCrossEntropyLoss", "", (4, 5), (4,), '"b"', "20 and 4 values"),
        ("HingeLoss", "", (4, 5), (4, 2), '"b"', "4x2"),
        ("MultinomialLogisticLoss", "", (4, 5), (2,), '"b"', "4x5 and 2"),
        ("InfogainLoss", "", (4, 5), (4,), '"l"', "give it as bottom 2"),
        ("FocalLoss", "focal_loss_param { gamma: -1 }", (4, 5), (4,), "-1", "at least 0"),
    ],
)
def test_errors_contain_both_values(kind, fields, a, b, place, words):
    where, message = fault(LOSS.format(kind, fields), a=a, b=b)
    assert where == place
    assert words in message
