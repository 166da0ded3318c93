"""Did-you-mean: which names are suggested, in which order, and which are too far away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netdef.language.spelling import closest, did_you_mean, nearest, suggestion, typos

FIELDS = "num_output bias_term pad kernel_size group stride weight_filler bias_filler pad_h pad_w kernel_h axis".split()
TYPES = "Convolution Deconvolution Pooling InnerProduct ReLU PReLU ELU LRN Softmax SoftmaxWithLoss Concat Crop".split()


@pytest.mark.parametrize(
    ("name", "candidates", "first"),
    [
        ("num_outputs", FIELDS, "num_output"),
        ("numoutput", FIELDS, "num_output"),
        ("NumOutput", FIELDS, "num_output"),
        ("size_kernel", FIELDS, "kernel_size"),
        ("kernal_size", FIELDS, "kernel_size"),
        ("biasterm", FIELDS, "bias_term"),
        ("stirde", FIELDS, "stride"),
        ("convolution", TYPES, "Convolution"),
        ("Conv", TYPES, "Convolution"),
        ("Relu", TYPES, "ReLU"),
        ("Inner_Product", TYPES, "InnerProduct"),
        ("SoftMaxWithLoss", TYPES, "SoftmaxWithLoss"),
        ("SoftmaxLoss", ["SoftmaxWithLoss", "Softmax"], "Softmax"),
        ("conv1/rleu", ["conv1/relu", "conv2/relu", "conv1"], "conv1/relu"),
        ("widht", ["width", "height"], "width"),
    ],
)
def test_nearest(name, candidates, first):
    assert nearest(name, candidates)[0] == first


@pytest.mark.parametrize("name", ["", "x", "zzzzzz", "learning_rate", "y" * 10_000])
def test_nothing_is_near(name):
    assert nearest(name, FIELDS + TYPES) == []
    assert did_you_mean(name, FIELDS) is None


def test_few_and_each_once():
    assert nearest("pad_x", ["pad_h", "pad_w", "pad_a", "pad_b", "pad_h"], n=2) == ["pad_a", "pad_b"]
    assert "width" not in nearest("width", ["width"])


def test_sentence():
    assert did_you_mean("bias_tern", FIELDS) == "did you mean bias_term?"
    assert did_you_mean("pad_x", ["pad_h", "pad_w"]) == "did you mean pad_h or pad_w?"
    assert did_you_mean("pad_x", ["pad_h", "pad_w"], 1) == "did you mean pad_h?"
    assert suggestion("pad_x", ["pad_h", "pad_w"]) == " Did you mean `pad_h`?"
    assert suggestion("pad_x", ["pad_h", "pad_w"], "{}", 3) == " Did you mean pad_h or pad_w?"
    assert suggestion("{pad_x", ["{pad_h"], "<{}>") == " Did you mean <{pad_h>?"
    assert closest("pad_x", ["pad_h", "pad_w"]) == "pad_h" and closest("pad_x", ["pad_h"], '"{}"') == '"pad_h"'
    assert suggestion("zzzzzz", FIELDS) == "" and closest("zzzzzz", FIELDS) is None


def test_the_sentence_has_one_home():
    package = Path(__file__).parents[2] / "netdef"
    homes = [p.name for p in package.rglob("*.py") if re.search(r"you mean [^\n]*\{", p.read_text(encoding="utf-8"))]
    assert homes == ["spelling.py"]


def test_typos():
    assert [typos("ab", x) for x in ("ab", "ba", "a", "abc", "cd", "")] == [0, 1, 1, 1, 2, 2]
