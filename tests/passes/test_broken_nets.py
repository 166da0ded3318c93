"""Ten files with typical errors: the exact output of netdef."""

from __future__ import annotations

from pathlib import Path

import pytest

import netdef
from netdef.language.render import render

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.net"))


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_output(path: Path, golden, monkeypatch) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(netdef.CompileError) as failure:
        netdef.load(path.name)
    assert all(d.line and d.column and d.end for d in failure.value.diagnostics)
    golden(f"{path.stem}.txt", render(failure.value.diagnostics, color=False))
