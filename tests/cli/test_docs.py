"""`netdef docs`: the manual in a folder, and mistakes of the arguments."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netdef.cli import main


@pytest.mark.parametrize("options", [["--no-browser"], ["--build", "manual"]], ids=["shown", "built"])
def test_a_missing_package_is_named_and_nothing_else(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setitem(sys.modules, "material", None)
    monkeypatch.setitem(sys.modules, "mkdocs", None)
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["docs", *options]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("netdef: error: netdef docs requires the package mkdocs-material")
    assert len(told.err.splitlines()) == 1 and not told.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_out_of_range(port: str, capsys: pytest.CaptureFixture[str]):
    assert main(["docs", "--port", port]) == 2
    assert "must be from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("make", ["file", "folder"])
def test_other_files_are_kept(make: str, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    place = tmp_path / "mine"
    if make == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    assert main(["docs", "--build", str(place)]) == 2
    assert "name a new folder" in capsys.readouterr().err
    assert place.exists()
