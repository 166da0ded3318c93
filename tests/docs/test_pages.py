"""Every block of every page of the manual is run, in the order of the page, as a reader would."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from manual import DOCS, RULES, STAND_INS, page
from markdown_blocks import KINDS, ROOT, Block, Reader, blocks

import netdef
from netdef.docs import contents

PAGES = [name for name in contents.written() if name not in contents.ELSEWHERE]
WIDTH = 98  # columns of code that a window of 1,400 pixels shows
ITERATIONS = 3  # of each training on a page, which would take too long here


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    if name in STAND_INS:
        STAND_INS[name]()
    train = netdef.train
    monkeypatch.setattr(netdef, "train", lambda *a, **k: train(*a, **{"max_iter": ITERATIONS, **k}), raising=False)
    reader = Reader(ITERATIONS, RULES.get(name, {}))
    for block in blocks(page(name)):
        reader.follow(block)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_is_found_and_has_a_rule(name: str):
    found = blocks(page(name))
    assert len(found) == page(name).count("```") / 2
    rules = RULES.get(name, {})
    for begin in rules:
        assert len([block for block in found if block.text.startswith(begin)]) == 1, begin
    without = [b for b in found if not b.title and b.kind not in KINDS and not b.text.startswith(tuple(rules))]
    assert not without


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (Block("yaml", "", "a: 1\n", 1), "nothing is known about a block of the language yaml"),
        (Block("text", "", "3 layers\n", 1), "no command has printed"),
        (Block("console", "", "$ netdef check none.net\n", 1), "exit code 2"),
        (Block("console", "", "$ netdef devices\nno such line\n", 1), "does not print, or not in this order"),
        (Block("console", "", "$ make\n", 1), "is not a command that the test knows"),
        (Block("protobuf", "", 'layer { name: "r" type: "ReLU" botom: "x" }\n', 1), "unknown-field"),
        (Block("text", "old.csv", "b\n", 1), "does not begin like this"),
    ],
)
def test_a_block_that_does_not_do_what_it_says_is_noticed(
    block: Block, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("old.csv").write_text("a\n")
    with pytest.raises(AssertionError, match=error):
        Reader(ITERATIONS).follow(block)


def test_pages_with_stand_ins_exist():
    assert {*STAND_INS, *RULES} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_its_title_and_has_no_other(name: str):
    without_code = re.sub(r"^ *```.*?^ *```", "", page(name), flags=re.S | re.M)
    assert re.findall(r"^# ", without_code, re.M) == ["# "] and without_code.startswith("# ")


@pytest.mark.parametrize("name", PAGES)
def test_lines_of_blocks_are_not_wider_than_the_page(name: str):
    lines = [(block.line, line) for block in blocks(page(name)) for line in block.text.splitlines()]
    assert not [(at, line) for at, line in lines if len(line) > WIDTH]


def test_the_first_page_leads_to_all_others():
    linked = set(re.findall(r"\]\(([\w-]+)\.md\)", page("index")))
    assert linked == {*PAGES} - {"index"}


def test_every_page_is_in_the_contents():
    assert {path.stem for path in DOCS.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_extras_and_files_of_a_page_exist(name: str):
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r'"\.\[([\w,]+)\]"', page(name)):
        assert all(f"\n{one} = " in project for one in extra.split(",")), extra
    for path in re.findall(r"`(examples/[\w./]+)`", page(name)):
        assert (ROOT / path).exists(), path
