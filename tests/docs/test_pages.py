"""Every block of every page of the manual is run, in the order of the page, as a reader would."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from markdown_blocks import ROOT, Reader, blocks

import netdef
from netdef.cli import COMMANDS, parser_of
from netdef.docs import contents
from netdef.layers.base import LAYERS
from netdef.solvers.base import SOLVERS

PAGES = [name for name in contents.written() if name not in contents.ELSEWHERE]
FOLDER = ROOT / "netdef" / "docs"
# Pages about features that are merged separately, and whether these are here.
LATER = {
    "starter": "init" in COMMANDS,
    "tables": "TableData" in LAYERS.names(),
    "text": "TableData" in LAYERS.names(),
    "view": "view" in COMMANDS,
    "notebooks": (ROOT / "examples" / "tour.ipynb").exists(),
    "search": "--search" in parser_of("sweep")[1].format_help(),
    "tracking": "--early-stop" in parser_of("train")[1].format_help(),
    "optax": SOLVERS.get("optax.lion") is not None,
}
ITERATIONS = 3  # of each training on a page, which would take too long here


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not LATER.get(name, True):
        pytest.skip("the feature is not here yet")
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
    if not LATER.get(name, True):
        pytest.skip("the feature is not here yet")
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r'"\.\[([\w,]+)\]"', text_of(name)):
        assert all(f"\n{one} = " in project for one in extra.split(",")), extra
    for path in re.findall(r"`(examples/[\w./]+)`", text_of(name)):
        assert (ROOT / path).exists(), path
