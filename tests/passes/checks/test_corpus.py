"""Files with one error each: its code and its exact place, in either phase."""

from __future__ import annotations

import re

import pytest

from netdef.compiler import load_phases
from netdef.language import codes
from netdef.language.diagnostics import Diagnostic
from netdef.layers.base import Phase
from netdef.passes.checks.blobs import slip

ELSEWHERE = {
    "too-deep",
    "not-imported",
    "unknown-setting",
    "bad-range",
    "test-size",
    "random-test",
    "class-count",
    "empty-file",
}  # these need another file, a setting, hundreds of braces or nothing


def diagnose(text: str) -> dict[Diagnostic, None]:
    """The diagnostics of a file in either phase, each once, even if only the other phase has data."""
    return dict.fromkeys(d for phase in Phase for d in load_phases(text, [phase]).diagnostics)


def compare(chunk) -> None:
    """Compares the diagnostics of a file in either phase with the marks in its case."""
    found = diagnose(chunk.text)
    places = sorted((d.code, (d.line, d.column), d.end) for d in found)
    assert places == sorted((e.code, e.start, e.end) for e in chunk.expected)
    for expected in chunk.expected:
        assert any(expected.words in d.detail for d in found if (d.line, d.column) == expected.start)


@pytest.mark.chunks("errors/fields.txt")
def test_fields(chunk):
    compare(chunk)


@pytest.mark.chunks("errors/solver.txt")
def test_solvers(chunk):
    compare(chunk)


@pytest.mark.chunks("errors/net.txt")
def test_nets(chunk):
    compare(chunk)


@pytest.mark.chunks("errors/checks.txt")
def test_warnings(chunk):
    compare(chunk)


def test_every_code_has_a_case(request: pytest.FixtureRequest):
    folder = request.path.parents[2] / "corpus" / "errors"
    texts = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.txt"))
    covered = set(re.findall(r"^ *\^+(?: \d+:\d+)? ([a-z-]+)", texts, flags=re.M))
    assert covered | ELSEWHERE == set(codes.catalogue())
    assert texts.count("\n--- ") > 250


@pytest.mark.parametrize(
    ("a", "b"),
    [("conv1", "Conv1"), ("conv1_relu", "conv1relu"), ("score", "scor"), ("score", "socre"), ("output", "outptu")]
    + [("fire/concat", "fire/cancat"), ("pool5/7x7", "pool5_7x7")],
)
def test_typing_errors(a: str, b: str):
    assert slip(a, b) and slip(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [("conv1", "conv2"), ("conv1", "conv1a"), ("fc_a", "fc_b"), ("loss_x", "loss_y"), ("x", "y"), ("prob", "prob2")]
    + [
        ("conv1", "conv1"),
        ("conv12", "conv21"),
        ("left", "right"),
        ("out", "outs"),
        ("conv1a", "conv1b"),
        ("c1", "C2"),
    ],
)
def test_names_that_are_intended(a: str, b: str):
    assert not slip(a, b) and not slip(b, a)


SANE = [
    "examples/mnist/lenet_train_test.prototxt",
    "examples/cifar10/cifar10_full_train_test.prototxt",
    "models/bvlc_alexnet/train_val.prototxt",
    "models/bvlc_googlenet/train_val.prototxt",
    "examples/siamese/mnist_siamese_train_test.prototxt",
]


@pytest.mark.parametrize("name", SANE)
def test_caffes_own_nets_have_no_warnings(name: str, corpus):
    text = (corpus / "BVLC+caffe" / name).read_text()
    assert {d.code for d in diagnose(text)} <= {"unavailable"}
