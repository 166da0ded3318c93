"""Snapshots: all that a run needs to go on bit for bit, written whole or not at all.

A snapshot is a folder `iter_000500` with the arrays (orbax), `state.json` (numbers, positions of the data, names and
shapes), the net's text, and `checksums.json` over all of it.  It is written aside, forced to the disk and renamed: a
process that is killed at any moment leaves whole snapshots only.  This is the only module that knows orbax.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..language.errors import NetdefError

_CHECKSUMS, _STATE, _NET, _ARRAYS = "checksums.json", "state.json", "net.prototxt", "arrays"


@dataclass(frozen=True)
class Snapshot:
    """What was read back: the arrays as they were given, and the numbers beside them."""

    path: Path
    arrays: dict[str, Any]
    state: dict[str, Any]
    net: str


def save(
    folder: Path, iteration: int, arrays: dict[str, Any], state: dict[str, Any], net: str, name: str | None = None
) -> Path:
    """Write a snapshot, called by its iteration if it has no other name.  NetdefError if the disk refuses; what was
    saved before is untouched."""
    path = folder / (name or f"iter_{iteration:06d}")
    aside = folder / f".{path.name}.writing"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.writing"):  # of a process that was killed
            shutil.rmtree(left)
        aside.mkdir()
        _save_arrays(aside / _ARRAYS, arrays)
        (aside / _NET).write_text(net)
        (aside / _STATE).write_text(json.dumps(state, indent=1))
        (aside / _CHECKSUMS).write_text(json.dumps(_checksums(aside), indent=1))
        _force(aside)
        _exchange(aside, path)
    except Exception as error:  # orbax reports a full disk in several ways
        shutil.rmtree(aside, ignore_errors=True)
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NetdefError(
            f"the snapshot of iteration {iteration} could not be written to {path}: {why[:200]}"
        ) from error
    return path


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), _nested(arrays))


def _nested(arrays: dict[str, Any]) -> dict[str, Any]:
    """Numpy arrays under names that any file system takes."""
    return {name: np.asarray(array) for name, array in arrays.items()}


def _force(folder: Path) -> None:
    """Have everything in a folder on the disk before it gets its name."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exchange(aside: Path, path: Path) -> None:
    """Give the folder its name; one that has it already is kept as `name~` until then."""
    old = path.with_name(path.name + "~")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    aside.rename(path)
    shutil.rmtree(old, ignore_errors=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _CHECKSUMS)
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def load(path: Path) -> Snapshot:
    """Read a snapshot.  NetdefError if it is damaged, with the name of the first file that is."""
    wrong = damage(path)
    if wrong:
        raise NetdefError(f"the snapshot {path} is damaged: {wrong}")
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore((path / _ARRAYS).absolute())
    return Snapshot(path, dict(arrays), json.loads((path / _STATE).read_text()), (path / _NET).read_text())


def damage(path: Path) -> str | None:
    """What is wrong with a snapshot's files; None if nothing is."""
    listing = path / _CHECKSUMS
    if not listing.is_file():
        return f"{_CHECKSUMS} is missing"
    try:
        wanted = json.loads(listing.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        return f"{_CHECKSUMS} cannot be read"
    for name, digest in wanted.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            return f"{name} is not what was written"
    return None if _STATE in wanted else f"{_STATE} is missing"


def found(folder: Path) -> list[Path]:
    """The snapshots of a folder, the newest first, damaged ones included."""
    names = {p: _iteration(p) for p in folder.glob("iter_*") if p.is_dir()}
    return sorted(
        (p for p, n in names.items() if n >= 0), key=lambda p: (names[p], not p.name.endswith("~")), reverse=True
    )


def is_one(path: Path) -> bool:
    """Whether a path is a snapshot, damaged or not, rather than the folder of a run."""
    return path.is_dir() and ((path / _CHECKSUMS).is_file() or _iteration(path) >= 0)


def _iteration(path: Path) -> int:
    digits = path.name.removeprefix("iter_").removesuffix("~")
    return int(digits) if path.name.startswith("iter_") and digits.isdigit() else -1


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole snapshot of a folder, and a line on each damaged one that is newer."""
    notes = []
    for path in found(folder):
        wrong = damage(path)
        if wrong is None:
            return path, notes
        notes.append(f"the snapshot {path} is damaged ({wrong}); the one before it is used")
    return None, notes


def weights(path: Path) -> dict[str, list[np.ndarray]]:
    """{layer: [arrays]} of a snapshot, in Caffe's order, as `model.set_weights` takes them."""
    read = load(path)
    by_owner = dict(_by_owner(read))
    return {
        layer: [by_owner[tuple(owner)].reshape(shape) for owner, shape in entries]
        for layer, entries in read.state["layers"].items()
    }


def _by_owner(read: Snapshot) -> Iterator[tuple[tuple[str, int], np.ndarray]]:
    for group in ("trained", "fixed", "kept"):
        for i, (layer, index) in enumerate(read.state["owners"][group]):
            yield (layer, index), np.asarray(read.arrays[f"{group}.{i}"])
