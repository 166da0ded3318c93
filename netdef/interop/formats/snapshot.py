"""Snapshots of a run, and runs, as weights. These folders are only read."""

from __future__ import annotations

from pathlib import Path

from ...language.errors import NetdefError
from .. import snapshot
from ..entries import Entry, in_memory
from .base import Format


class Snapshot(Format, name="snapshot"):
    """A snapshot, or a folder of snapshots, of which the newest intact one is read."""

    def recognizes(self, path: Path, head: bytes) -> bool:
        return snapshot.is_one(path) or bool(snapshot.found(path))

    def read(self, path: Path) -> list[Entry]:
        if not snapshot.is_one(path):
            newest, _ = snapshot.newest(path)
            if newest is None:
                raise NetdefError(f"{path}: all snapshots in this folder are damaged")
            path = newest
        return [Entry(name, tuple(map(in_memory, blobs))) for name, blobs in snapshot.weights(path).items()]
