"""The range of labels of a net, which its layers determine."""

from __future__ import annotations

import pytest

import netdef
from netdef.data.labels import Limit, limits

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


def test_an_ignored_label():
    assert of("SoftmaxWithLoss", more="loss_param { ignore_label: 255 }")["label"].ignored == 255


@pytest.mark.parametrize("kind", ["EuclideanLoss", "SigmoidCrossEntropyLoss"])
def test_losses_whose_targets_are_no_classes(kind):
    assert of(kind, labels=(4, 5)) == {}
