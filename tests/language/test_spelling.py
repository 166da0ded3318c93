"""Did-you-mean: which names are suggested, in which order, and which are too far away."""

from __future__ import annotations

import re
from itertools import product
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


def test_typos_are_those_of_the_table_of_distances():
    words = ["".join(letters) for length in range(5) for letters in product("ab", repeat=length)]
    words += ["convolution", "cnovoultion", "x" * 80, "x" * 79 + "y", "yx" * 40, "InnerProduct", "Inner_Porduct"]
    for a, b in product(words, repeat=2):
        assert typos(a, b) == by_table(a, b), (a, b)


def by_table(a: str, b: str) -> int:
    table = {(i, j): max(i, j) for i in range(len(a) + 1) for j in range(len(b) + 1) if not i or not j}
    for i, j in product(range(1, len(a) + 1), range(1, len(b) + 1)):
        replaced = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
        table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, replaced)
        if i > 1 and j > 1 and a[i - 2 : i] == b[j - 2 : j][::-1]:
            table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(a), len(b)]
