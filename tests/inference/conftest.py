"""Statistics of data are cached in the folder of the test."""

from __future__ import annotations

import pytest
from simulated import eight

__all__ = ["eight"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path / "cache"))
