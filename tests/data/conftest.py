"""Fixtures that feed a net from the folder of the test."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
from netdef.data.feed import Feed


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def feed(tmp_path):
    """feed(text, phase="TRAIN", **options): a Feed on the folder of the test, closed at the end."""
    opened = []

    def open_feed(text: str, phase: str = "TRAIN", **options) -> Feed:
        opened.append(Feed(netdef.load(text, phase=phase), root=options.pop("root", tmp_path), **options))
        return opened[-1]

    yield open_feed
    for one in opened:
        one.close()


@pytest.fixture
def batches(tmp_path):
    """batches(text, n, phase="TEST", **options): the first n batches."""

    def take(text: str, n: int, phase: str = "TEST", **options) -> list[dict[str, np.ndarray]]:
        iterator = netdef.data.batches(text, phase=phase, root=tmp_path, **options)
        made = [next(iterator) for _ in range(n)]
        iterator.close()
        return made

    return take
