"""Size and time of data files: whether they are still those that a reader opened, or that a run began with.

A reader that keeps its file open (LMDB, .npy), or its records in memory (.npz, lists of images), continues with what it
opened if the file is replaced by another.  One that opens files again (HDF5), or whose file is written in place, would
mix two data sets: it raises `changed`.  An image is read whenever it is needed, as it is then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError, printable

MOST_IMAGES = 1000  # image files of a layer that are compared; of more, evenly spaced ones
MOST_READ, READ = 16, 1 << 16  # files whose contents are compared, and bytes at each end of them
Stamp = tuple[int, int]  # bytes, and nanoseconds of the last change


def stamp(file: Path | int) -> Stamp:
    """Returns size and time of a path or an open file.  Raises OSError."""
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns


def changed(path: Path) -> NetdefError:
    """The error for a file that is written or replaced while it is read."""
    return NetdefError(f"{path} has changed while it was in use; run again when it is complete.")


def spaced(count: int) -> Sequence[int]:
    """Returns the numbers of the image files whose stamps are compared, of `count`."""
    return range(count) if count <= MOST_IMAGES else [i * count // MOST_IMAGES for i in range(MOST_IMAGES)]


def described(records: int | None, files: Iterable[Path]) -> dict[str, Any]:
    """Returns what a snapshot keeps of the data of a layer, as JSON values: [path, bytes, time] of each file."""
    return {"records": records, "files": [[str(file), *_stamp_if_there(file)] for file in files]}


def _stamp_if_there(file: Path) -> Stamp:
    try:
        return stamp(file)
    except (OSError, ValueError):  # a list may name images that are missing; ValueError: a NUL in the name
        return -1, 0


def fingerprint(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what identifies the data `described`, also after it was copied: its records, files and bytes, and a hash
    of the names and sizes of the files and of the first and last bytes of some."""
    files = [(Path(name), size) for name, size, _ in found["files"]]
    made = hashlib.sha256()
    for path, size in files:
        made.update(f"{path.name}\0{size}\0".encode(errors="surrogateescape"))
    for i in range(0, len(files), -(-len(files) // MOST_READ) or 1):
        made.update(_ends(files[i][0]))
    total = sum(max(size, 0) for _, size in files)
    return {"records": found["records"], "files": len(files), "bytes": total, "sha256": made.hexdigest()}


def _ends(path: Path) -> bytes:
    """The first and the last bytes of a file; empty for a folder or a missing file."""
    try:
        with path.open("rb") as file:
            first = file.read(READ)
            file.seek(max(os.fstat(file.fileno()).st_size - READ, 0))
            return first + file.read(READ)
    except (OSError, ValueError):
        return b""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each layer whose data are not those `described` before; files may have moved."""
    return [
        f"layer `{name}`: {what}; the resumed run uses the data as they are now, and may differ from one without an "
        "interruption"
        for name in now
        if name in before and (what := _difference(before[name], now[name]))
    ]


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if before["records"] != now["records"]:
        source = f" of {printable(now['files'][0][0])}" if now["files"] else ""
        return f"the data{source} had {before['records']} records before, and {now['records']} now"
    if len(before["files"]) != len(now["files"]):
        return f"the data were {len(before['files'])} files before, and are {len(now['files'])} now"
    for (_, *old), (path, *new) in zip(before["files"], now["files"], strict=True):
        if old != new:
            how = f"it had {old[0]} bytes, and now {new[0]}" if old[0] != new[0] else "it was written again"
            return f"{printable(path)} has changed since the run opened it ({how})"
    return ""
