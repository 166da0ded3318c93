"""The language reference is correct: every example in grammar/SPEC.md, its limits and its table of codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netdef.language import codes, diagnostics, printer, render, source
from netdef.language.diagnostics import Report
from netdef.language.expansion import evaluate, expand, expander, imports, scope, values
from netdef.language.parsing import parser
from netdef.language.parsing.parser import parse
from netdef.language.source import Source

SPEC = (Path(__file__).parents[2] / "grammar" / "SPEC.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?([\w-]*)\n(.*?)^```$", SPEC, flags=re.M | re.S)
GOOD = [
    (text, BLOCKS[at + 1][2] if BLOCKS[at + 1 : at + 2] and BLOCKS[at + 1][0] == "expands" else None)
    for at, (kind, _, text) in enumerate(BLOCKS)
    if kind == "netdef"
]
BAD = [(code, text) for kind, code, text in BLOCKS if kind == "error"]


def outcome(text: str) -> tuple[str, Report]:
    report = Report()
    document = parse(Source("SPEC.md", text), report)
    return printer.print_message(expand.expand(document, report).body) if document else "", report


def test_there_are_examples():
    assert len(GOOD) > 7 and len(BAD) > 5 and {kind for kind, _, _ in BLOCKS} == {"netdef", "expands", "error"}


@pytest.mark.parametrize(("text", "expected"), GOOD, ids=range(len(GOOD)))
def test_good_example(text, expected):
    plain, report = outcome(text)
    assert not report.diagnostics, render.render(report.diagnostics)
    assert expected is None or plain == expected


@pytest.mark.parametrize(("code", "text"), BAD, ids=range(len(BAD)))
def test_bad_example(code, text):
    _, report = outcome(text)
    assert {d.code for d in report.diagnostics} == {code}


def test_every_code_is_listed():
    table = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", SPEC.partition("## Codes")[2], flags=re.M))
    assert table == {code.name: code.summary for code in codes.catalogue(codes.syntax, codes.expansion).values()}


def test_limits_are_those_of_the_code():
    limits = SPEC.partition("## Limits")[2].partition("```")[0].replace(",", "")
    for number in (scope.MOST_FIELDS, scope.MOST_STEPS, values.LONGEST, imports.MOST_FILES, expander.DEEPEST):
        assert f" {number} " in limits.replace("\n", " ")
    assert evaluate.LARGEST == 2**64 and "2 ** 64" in limits
    assert f"a file {source.LARGEST >> 20} MB" in limits
    for number in (parser.MOST_FAULTS, expander.MOST_FAULTS, diagnostics.MOST_ERRORS):
        assert f" {number} of its " in limits.replace("\n", " ")
