"""Diagnostics as people and programs see them: goldens of complete outputs, and the exact position of the mark."""

from __future__ import annotations

import json
import unicodedata

import pytest

from netdef.language.diagnostics import Code, CompileError, Diagnostic, Related, Report
from netdef.language.expansion.expand import expand
from netdef.language.parsing.parser import parse
from netdef.language.render import count, render, to_json
from netdef.language.source import Source, Span

FAULT = Code("fault", "error", "A fault")
NOTE = Code("note", "warning", "A note")


def report_of(text: str, name: str = "lenet.net") -> Report:
    report = Report()
    document = parse(Source(name, text), report)
    if document is not None:
        expand(document, report)
    return report


EXAMPLES = {
    "unclosed": 'name: "LeNet"\nlayer {\n  name: "conv1"\n  convolution_param {\n    num_output: 20\n}\n',
    "comma": 'layer {\n\tname: "日本語"\n\tstepvalue: [1000 2000]\n}\n',
    "used": (
        'template conv(name, out) {\n  layer { name: "${name}" num_output: ${out + 1} }\n}\n'
        'template block(i) {\n  conv { name: "conv${i}" out: "x" }\n}\nfor i in range(3) {\n  block { i: ${i} }\n}\n'
    ),
    "argument": "template rate(value) {\n  base_lr: ${value}\n}\n\nrate { valeu: 0.1 }\n",
    "several": "base_lr 0.1\nlayer {\n  name: 'a\n}\nmomentum = 0.9\n",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_rendered(name, golden):
    diagnostics = report_of(EXAMPLES[name]).in_order()
    assert diagnostics
    golden(f"render_{name}.txt", render(diagnostics))


def test_rendered_in_color(golden):
    text = render(report_of(EXAMPLES["argument"]).in_order(), color=True)
    golden("render_color.txt", text.replace("\x1b", "<ESC>"))


def test_color_changes_nothing_else():
    diagnostics = report_of(EXAMPLES["used"]).in_order()
    colored = render(diagnostics, color=True)
    for code in ("0", "1", "1;31", "1;34", "34", "36"):
        colored = colored.replace(f"\x1b[{code}m", "")
    assert colored == render(diagnostics)


def lines_under(text: str, start: int, end: int) -> tuple[str, str]:
    """The displayed line, and its characters above the mark."""
    shown = render([Diagnostic(FAULT, "", Span(Source("x.net", text), start, end))]).splitlines()
    line, mark = shown[-2], shown[-1]
    at = [width(line[:i]) for i in range(len(line) + 1)]
    begin, length = mark.index("^"), mark.count("^")
    assert mark.rstrip().endswith("^" * length)
    return line, "".join(c for i, c in enumerate(line) if begin <= at[i] < begin + length and at[i + 1] > at[i])


def width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("base_lr: 1", "base_lr"),
        ("\t\tbase_lr: 1", "base_lr"),
        ("日本: 1 base_lr: 1", "base_lr"),
        ("日本: 1 base_lr: 1", "日本"),
        ("e\u0301\u0301x: 1 base_lr: 1", "base_lr"),
        ("a:\t'\t日' base_lr: 1", "base_lr"),
        ("a: 1 " * 100 + "base_lr: 1 " + "b: 2 " * 100, "base_lr"),
        ("日" * 200 + "base_lr" + "本" * 200, "base_lr"),
        ("base_lr" + " x: 1" * 200, "base_lr"),
        ("x: 1 " * 200 + "base_lr", "base_lr"),
        ("\t" * 300 + "base_lr", "base_lr"),
    ],
)
def test_the_mark_is_under_the_text(text, marked):
    start = text.index(marked)
    line, under = lines_under(text, start, start + len(marked))
    assert under == marked
    assert width(line) < 120 and "\t" not in line


def test_control_characters_are_made_harmless():
    shown = render([Diagnostic(FAULT, "", Span(Source("x.net", 'a: "\x1b[31m\x07" b'), 0, 1))])
    assert "\x1b" not in shown and "\x07" not in shown


def test_empty_ranges_and_ends_of_files():
    for text, start in (("", 0), ("a", 1), ("a\n", 2), ("a\n\n", 1)):
        assert "^" in render([Diagnostic(FAULT, "", Span(Source("x.net", text), start, start))])


def test_range_over_several_lines():
    text = "a {\n  b: 1\n  c: 2\n}\n"
    shown = render([Diagnostic(FAULT, "", Span(Source("x.net", text), 0, 19))])
    assert "1 | a {\n    | ^^^" in shown and "..." in shown and "4 | }" in shown


def test_no_place():
    assert (
        render([Diagnostic(NOTE, "It is so.", hint="do it")]) == "warning: A note [note]\n  It is so.\n  hint: do it\n"
    )


def test_a_long_chain_of_uses_is_cut():
    source = Source("x.net", "\n" * 50)
    via = None
    for at in range(20):
        via = Span(source, at, at, via)
    shown = render([Diagnostic(FAULT, "", via)])
    assert shown.count("used here") == 4 and "15 more" in shown and "x.net:1:1" in shown


def test_json():
    report = report_of(EXAMPLES["used"])
    (entry,) = to_json(report.diagnostics)
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["code"], entry["severity"], entry["file"]) == ("bad-operation", "error", "lenet.net")
    assert (entry["line"], entry["column"], entry["end"]) == (2, 41, [2, 48])
    assert [(use["line"], use["column"]) for use in entry["via"]] == [(5, 3), (8, 3), (7, 1)]
    source = Source("x.net", "ab")
    (entry,) = to_json([Diagnostic(NOTE, "", None, (Related("there", Span(source, 1, 2)),), "try")])
    assert entry["line"] is None and entry["hint"] == "try"
    assert entry["related"] == [{"message": "there", "file": "x.net", "line": 1, "column": 2, "end": [1, 3]}]


def test_count():
    assert count([Diagnostic(FAULT, ""), Diagnostic(NOTE, ""), Diagnostic(FAULT, "")]) == "2 errors, 1 warning"
    assert count([]) == ""


def test_compile_error_is_one_line():
    report = report_of(EXAMPLES["several"])
    with pytest.raises(CompileError) as error:
        report.stop_on_errors()
    assert "\n" not in str(error.value) and "and 2 more" in str(error.value)
    assert str(error.value).startswith("lenet.net:1:1: error: Missing colon")
