"""Real nets of Caffe and its forks load, or an error names the reason and the place.

A sample is read; --whole-corpus reads all 644.  The index of the corpus has the results of real Caffe for each file:
`bvlc_ok`, whether its parser accepts the file; `nonbvlc_types`, the layer types that it does not know; `dangling_TRAIN`
and `dangling_TEST`, the number of bottoms that no layer outputs in that phase.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

import netdef

SYNTAX = {"unquoted-text", "bad-escape", "stray-character"}  # syntax errors; Caffe's parser rejects each
UNKNOWN = {"unknown-layer-type", "unknown-field", "unknown-filler", "wrong-enum"}  # unknown to netdef
PHASES = ("TRAIN", "TEST")


class Verdict(NamedTuple):
    row: dict[str, str]
    phase: str
    errors: list[netdef.Diagnostic]

    @property
    def name(self) -> str:
        return f"{self.row['file']} in phase {self.phase}"


@pytest.fixture(scope="module")
def verdicts(corpus: Path, corpus_rows: list[dict[str, str]], request: pytest.FixtureRequest) -> list[Verdict]:
    nets = [row for row in corpus_rows if row["class"] in ("net", "net_malformed")]
    whole = request.config.getoption("--whole-corpus")
    return [verdict(corpus, row, phase) for row in (nets if whole else nets[::5]) for phase in PHASES]


def verdict(corpus: Path, row: dict[str, str], phase: str) -> Verdict:
    """Loads a file; anything but a net or a CompileError fails the test."""
    try:
        netdef.load(corpus / row["file"], phase=phase)
    except netdef.CompileError as error:
        return Verdict(row, phase, [d for d in error.diagnostics if d.severity == "error"])
    return Verdict(row, phase, [])


def test_nets_that_caffe_accepts_load(verdicts: list[Verdict]) -> None:
    for v in verdicts:
        if v.row["bvlc_ok"] != "1":
            continue
        for error in v.errors:
            refused = {
                "unknown-layer-type": any(name in error.message for name in v.row["nonbvlc_types"].split(";") if name),
                "unknown-bottom": int(v.row[f"dangling_{v.phase}"] or 0) > 0,
                "unknown-filler": "gabor" in error.message,  # of intel/caffe
            }
            assert refused.get(error.code), f"{v.name}: real Caffe accepts this net, netdef reports: {error.message}"


def test_errors_have_a_place_and_name_the_unknown_word(verdicts: list[Verdict]) -> None:
    for v in verdicts:
        for error in v.errors:
            assert error.line, f"{v.name}: no line for: {error.message}"
            if error.code in UNKNOWN:
                assert error.span is not None
                said = error.span.text.strip("\"'")
                assert said in error.message or "`type` of an old" in error.message, f"{v.name}: {error.message}"


def test_nets_fail_only_for_known_reasons(verdicts: list[Verdict]) -> None:
    """A net fails because of an unknown layer type, field or enum value, a syntax error, or a bottom that no layer
    outputs in this phase; any other error must be one of those that were reviewed."""
    reviewed = {"rpn_cls_prob_reshape"}  # reshapes 30 channels of 15 anchors to 18
    for v in verdicts:
        codes = {error.code for error in v.errors}
        if not codes or codes & UNKNOWN or codes <= SYNTAX:
            continue
        if codes == {"unknown-bottom"} and int(v.row[f"dangling_{v.phase}"] or 0):
            continue
        assert all(any(name in e.message for name in reviewed) for e in v.errors), f"{v.name}: {v.errors[0].message}"


def test_enough_nets_load(verdicts: list[Verdict]) -> None:
    loads = Counter(v.row["bvlc_ok"] == "1" for v in verdicts if not v.errors)
    total = Counter(v.row["bvlc_ok"] == "1" for v in verdicts)
    assert loads[True] >= 0.95 * total[True], f"{loads[True]} of {total[True]} nets that Caffe accepts"
    assert loads.total() >= 0.75 * total.total(), f"{loads.total()} of {total.total()}"
