"""Every block of every page of the manual is run, in the order of the page, as a reader would."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from markdown_blocks import ROOT, Reader, blocks

import netdef
from netdef.docs import contents

PAGES = [name for name in contents.written() if name not in contents.ELSEWHERE]
FOLDER = ROOT / "netdef" / "docs"
ITERATIONS = 3  # of each training on a page, which would take too long here


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    train = netdef.train
    monkeypatch.setattr(netdef, "train", lambda *a, **k: train(*a, **{"max_iter": ITERATIONS, **k}), raising=False)
    found = blocks(text_of(name))
    assert len(found) == text_of(name).count("```") / 2
    reader = Reader(ITERATIONS)
    for block in found:
        reader.follow(block)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_its_title_and_has_no_other(name: str):
    without_code = re.sub(r"^ *```.*?^ *```", "", text_of(name), flags=re.S | re.M)
    assert re.findall(r"^# ", without_code, re.M) == ["# "] and without_code.startswith("# ")


def test_every_page_is_in_the_contents():
    assert {path.stem for path in FOLDER.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_extras_and_files_of_a_page_exist(name: str):
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r'"\.\[([\w,]+)\]"', text_of(name)):
        assert all(f"\n{one} = " in project for one in extra.split(",")), extra
    for path in re.findall(r"`(examples/[\w./]+)`", text_of(name)):
        assert (ROOT / path).exists(), path
