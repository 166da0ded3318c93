"""Real nets of Caffe and its forks: what loads, and that what does not is refused for a reason that is named.

A sample is read; --whole-corpus reads all 644.  The index of the corpus says what real Caffe makes of each file:
`bvlc_ok` that its parser takes it, `nonbvlc_types` which layer types it does not know, `dangling_TRAIN` and
`dangling_TEST` how many bottoms have no maker in that phase.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

import netdef

SYNTAX = {"unquoted-text", "bad-escape", "stray-character"}  # faults of the text; Caffe's parser refuses each
UNKNOWN = {"unknown-layer-type", "unknown-field", "unknown-filler", "wrong-enum"}  # what netdef has no notion of
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
    """Anything but a net or a CompileError is a crash, and fails the test."""
    try:
        netdef.load(corpus / row["file"], phase=phase)
    except netdef.CompileError as error:
        return Verdict(row, phase, [d for d in error.diagnostics if d.severity == "error"])
    return Verdict(row, phase, [])


def test_what_caffe_accepts_loads(verdicts: list[Verdict]) -> None:
    for v in verdicts:
        if v.row["bvlc_ok"] != "1":
            continue
        for error in v.errors:
            refused = {
                "unknown-layer-type": any(name in error.message for name in v.row["nonbvlc_types"].split(";") if name),
                "unknown-bottom": int(v.row[f"dangling_{v.phase}"] or 0) > 0,
                "unknown-filler": "gabor" in error.message,  # of intel/caffe
            }
            assert refused.get(error.code), f"{v.name}: real Caffe takes what is called {error.message}"


def test_what_is_refused_is_named_where_it_stands(verdicts: list[Verdict]) -> None:
    for v in verdicts:
        for error in v.errors:
            assert error.line, f"{v.name}: no place is given for {error.message}"
            if error.code in UNKNOWN:
                assert error.span is not None
                said = error.span.text.strip("\"'")
                assert said in error.message or "`type` of an old" in error.message, f"{v.name}: {error.message}"


def test_only_what_is_unknown_stops_a_net(verdicts: list[Verdict]) -> None:
    """A net fails for a layer, field or word that is unknown, for a fault of its text, or for a bottom that nobody
    makes in this phase; anything else must be a fault that was looked at."""
    looked_at = {"rpn_cls_prob_reshape"}  # reshapes 30 channels of 15 anchors to 18
    for v in verdicts:
        codes = {error.code for error in v.errors}
        if not codes or codes & UNKNOWN or codes <= SYNTAX:
            continue
        if codes == {"unknown-bottom"} and int(v.row[f"dangling_{v.phase}"] or 0):
            continue
        assert all(any(name in e.message for name in looked_at) for e in v.errors), f"{v.name}: {v.errors[0].message}"


def test_enough_nets_load(verdicts: list[Verdict]) -> None:
    loads = Counter(v.row["bvlc_ok"] == "1" for v in verdicts if not v.errors)
    total = Counter(v.row["bvlc_ok"] == "1" for v in verdicts)
    assert loads[True] >= 0.95 * total[True], f"{loads[True]} of {total[True]} nets that Caffe reads"
    assert loads.total() >= 0.75 * total.total(), f"{loads.total()} of {total.total()}"
