"""The range of labels of a net, which its layers determine."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
from netdef.data.labels import Limit, check, limits

NET = """
layer {{ name: "in" type: "Input" top: "x" top: "label" top: "h"
         input_param {{ shape {{ {scores} }} shape {{ {labels} }} shape {{ dim: 1 dim: 1 dim: 5 dim: 5 }} }} }}
layer {{ name: "loss" type: "{kind}" bottom: "x" bottom: "label" {more} }}
"""


def of(kind: str, scores=(4, 5), labels=(4,), more: str = "") -> dict[str, Limit]:
    dims = {name: " ".join(f"dim: {d}" for d in shape) for name, shape in (("scores", scores), ("labels", labels))}
    return limits(netdef.load(NET.format(kind=kind, more=more, **dims)))


@pytest.mark.parametrize(
    ("kind", "scores", "labels", "more", "classes"),
    [
        ("SoftmaxWithLoss", (4, 5), (4,), "", 5),
        ("SoftmaxWithLoss", (4, 5, 3), (4, 5), "softmax_param { axis: -1 }", 3),
        ("SoftmaxWithLossOHEM", (4, 5), (4,), "", 5),
        ("FocalLoss", (4, 5, 3), (4, 5), "softmax_param { axis: 2 }", 3),
        ("InfogainLoss", (4, 5), (4,), 'bottom: "h"', 5),
        ("MultinomialLogisticLoss", (4, 5), (4,), "", 5),
        ("HingeLoss", (4, 5, 2, 1), (4,), "", 10),  # classes are flattened
    ],
)
def test_losses_over_classes(kind, scores, labels, more, classes):
    assert of(kind, scores, labels, more) == {"label": Limit("loss", classes, None)}


@pytest.mark.parametrize("value", [2.5, float("nan"), 5, -1])
def test_a_label_that_is_no_class(value):
    labels = np.array([0, 4, value], np.float32)
    with pytest.raises(netdef.NetdefError, match=r"layer `d`: record 2 has the label .*`loss`"):
        check("d", labels, Limit("loss", 5, None), lambda row: f"record {row}")
    check("d", labels[:2], Limit("loss", 5, None), str)


def test_an_ignored_label():
    assert of("SoftmaxWithLoss", more="loss_param { ignore_label: 255 }")["label"].ignored == 255


@pytest.mark.parametrize("kind", ["EuclideanLoss", "SigmoidCrossEntropyLoss"])
def test_losses_whose_targets_are_no_classes(kind):
    assert of(kind, labels=(4, 5)) == {}
