"""Label maps of the SSD fork."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netdef.cli import main
from netdef.data.label_map import label_map_of
from netdef.language.diagnostics import Report

TEXT = """# of a small data set
item { name: "none_of_the_above" label: 0 display_name: "background" }
item {
  name: "car"
  label: 1
}
"""


def test_names_are_those_to_show():
    found = label_map_of(TEXT, Report())
    assert found is not None
    assert found.names == {0: "background", 1: "car"}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("label: 1", "label: 0", "two classes have the label 0"),
        ('"car"', '"none_of_the_above"', "two classes have the name 'none_of_the_above'"),
        ("label: 1", "", "`label` is required here"),
        ("label: 1", 'label: "one"', "`label` expects"),
        ("label: 1", "label: 1 colour: 3", "there is no field `colour` here"),
    ],
)
def test_errors(before: str, after: str, words: str):
    report = Report()
    assert label_map_of(TEXT.replace(before, after), report) is None
    assert words in report.in_order()[0].message


def test_check_knows_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "labelmap.prototxt"
    path.write_text(TEXT)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: label map of 2 classes\n1 file checked: no problems\n"
    assert main(["check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    path.write_text(TEXT.replace("label: 1", "label: 0"))
    assert main(["check", str(path)]) == 2
    assert "Two classes have the label 0" in capsys.readouterr().out
