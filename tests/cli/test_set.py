"""`--set` on the command line parses numbers, words and strings as the language does."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdef.cli.sweep import values
from netdef.language.diagnostics import CompileError, Report
from netdef.language.expansion.expand import expand
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source

FILE = """
let width: 4
let name: "a"
let pool: MAX
size: ${width}
name: ${name}
pool: ${pool}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "set.net"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("width=0x10", "size: 16"),
        ("width=010", "size: 8"),
        ("width=1e3", "size: 1000.0"),
        ("width=.5f", "size: 0.5"),
        ("width=-inf", "size: -inf"),
        ("width=inf", "size: inf"),
        ("width=true", "size: true"),
        ("width= 7 ", "size: 7"),
        ("width=[1, 2]", "size: 1\nsize: 2"),
        ("width=a/b", 'size: "a/b"'),
        ("width=\uff11\uff16", 'size: "\uff11\uff16"'),  # Unicode digits, but not digits of the language
        ("name=0x10", 'name: "0x10"'),  # a string is replaced with a string
        ("name=16", 'name: "16"'),
        ("name=true", 'name: "true"'),
        ("pool=AVE", "pool: AVE"),
        ("solver.base_lr=0x10", "base_lr: 16"),
        ("solver.type=3", "type: 3"),
        ("solver.snapshot_prefix=2024-run", 'snapshot_prefix: "2024-run"'),
    ],
)
def test_a_setting_is_read_by_the_language(netdef, file: Path, setting: str, line: str):
    name, _, value = setting.partition("=")
    done = netdef("expand", file, "--set", setting)
    assert (done.code, done.err) == (0, "")
    assert f"\n{line}\n" in f"\n{done.out}"
    document = parse(Source.read(file), Report())
    assert document is not None
    plain = print_message(expand(document, Report(), settings={name: value}).body)
    assert all(part in plain for part in line.split("\n"))


@pytest.mark.parametrize("value", ["1_000", "09", "+5", "3px"])
def test_a_number_is_not_replaced_by_what_is_nearly_one(netdef, file: Path, value: str):
    done = netdef("expand", file, "--set", f"width={value}")
    assert (done.code, done.out) == (2, "") and "[bad-number]" in done.err
    assert f"width={value}" in done.err and "--set:1:7" in done.err


def test_a_number_of_the_solver_is_not_replaced_by_what_is_nearly_one(netdef, file: Path):
    file.write_text("solver { base_lr: 0.1 early { patience: 3 } }")
    done = netdef("expand", file, "--solver", "--set", "solver.base_lr=0_1", "--set", "solver.early.patience=1_0")
    assert done.code == 2 and done.err.count("[bad-number]") == 2
    assert "solver.early.patience=1_0" in done.err


def test_a_sweep_reads_numbers_as_the_language_does():
    assert values(["width=0x10,010,1e3", "on=true,a"]) == {"width": [16, 8, 1000.0], "on": [True, "a"]}
    assert values(["width=1_000"]) == {"width": ["1_000"]}  # which the language rejects as a number


def test_python_values_stay_as_they_are():
    document = parse(Source("set.net", FILE), Report())
    assert document is not None
    plain = print_message(expand(document, Report(), settings={"width": 16, "name": "1", "solver.gamma": True}).body)
    assert plain.startswith('size: 16\nname: "1"\n') and "gamma: true" in plain


def test_a_list_in_a_list_is_reported(tmp_path: Path):
    report = Report()
    document = parse(Source("set.net", "solver { stepvalue: 1 }"), report)
    assert document is not None
    expand(document, report, settings={"solver.stepvalue": [[1], [2]]})
    assert [(d.code, d.file) for d in report.diagnostics] == [("wrong-place-for-value", "--set")]
    with pytest.raises(CompileError):
        report.stop_on_errors()
