"""The site of the manual, built once for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_blocks import ROOT

from netdef.cli import main


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = "netdef docs --build manual"
    assert f"$ {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("site") / "manual"
    assert main([*command.split()[1:-1], str(folder)]) == 0  # 2 at a broken link
    return folder
