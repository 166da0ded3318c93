"""Snapshots: the complete state of a run, from which it resumes bit for bit, written atomically.

A snapshot is a folder `iter_000500` with

    arrays/           orbax: each array once, by name: `conv1.0` is array 0 of layer `conv1`, `conv1.0/momentum` an
                      array of the solver's history for it, `conv1.0/ema` its average, `bn1.0/tested` a recalibrated
                      statistic; `policy/step`, `losses` etc. are the rest of the training state. The names are
                      percent-encoded in orbax (`conv1.0%2Fmomentum`). Arrays of classes that several devices have
                      divided may have more rows than "layers" says: zeros, which `load` removes
    state.json        "format": 2; "iteration", "seed", "solver", "bn_recalibrate"; "position" and "test_positions" of
                      the data; "sources" and "test_sources", the files of the data with size and time; "owners",
                      [layer, index] of the arrays that are trained, fixed and kept; "slots", names of the arrays of a
                      history, in Caffe's order; "layers", the arrays and shapes of each layer, in Caffe's order
    net.prototxt      the source text of the net
    checksums.json    SHA-256 of all these files

It is written to a temporary folder, flushed to the disk and renamed, so every snapshot is complete even if the process
is killed at any moment; the next snapshot removes what a killed process left. An array that devices divide is written
and read in their parts: no process has the whole one. Format 1, which has no "format", numbers the arrays (`state.0`,
`trained.0`); it is only read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from ..files import put_in_place, remove_leftovers, temporary_name
from ..graph import Owner
from ..language.errors import NetdefError
from .quiet import quiet

FORMAT = 2
PATIENCE = 24 * 3600  # seconds, at most, for writing; a process of several that ends is noticed by the others itself
_CHECKSUMS, _STATE, _NET, _ARRAYS = "checksums.json", "state.json", "net.prototxt", "arrays"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in memory: the arrays by name, the contents of state.json, and the net."""

    path: Path
    arrays: dict[str, Any]
    state: dict[str, Any]
    net: str


def array_name(owner: Owner) -> str:
    """Returns the name of an array of the net in a snapshot."""
    return f"{owner.layer}.{owner.index}"


def save(
    folder: Path,
    iteration: int,
    arrays: Mapping[str, Any],
    state: Mapping[str, Any],
    net: str,
    name: str | None = None,
    decide: Callable[[Callable[[], Any]], Any] = lambda make: make(),
    processes: int = 1,
) -> Path:
    """Writes a snapshot; its name is derived from the iteration by default. Raises NetdefError if it cannot be written;
    earlier snapshots are then unchanged.

    Several processes call it together, and each writes its parts of the arrays. `decide` returns in all of them what
    the first one has made, or raises its NetdefError: only that one writes the other files."""
    path = folder / (name or f"iter_{iteration:06d}")
    aside = temporary_name(path)

    @contextlib.contextmanager
    def reported() -> Iterator[None]:
        try:
            yield
        except NetdefError:
            raise
        except Exception as error:  # orbax raises several types for a full disk
            free = shutil.disk_usage(_existing(folder)).free
            reason = _reason(error, arrays, free)
            raise NetdefError(f"the snapshot of iteration {iteration} cannot be written to {path}: {reason}") from error

    def begun() -> list[str]:
        with reported():
            return [_begun(folder, aside), f"{aside.name}{time.time_ns()}"]

    def completed() -> None:
        with reported():
            _complete(aside, path, state, net)

    try:
        shared, key = decide(begun)
        aside = Path(shared)
        with reported():
            _save_arrays(aside / _ARRAYS, arrays, key, processes)
        decide(completed)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return path


def _complete(aside: Path, path: Path, state: Mapping[str, Any], net: str) -> None:
    """Writes the files of a snapshot other than its arrays, and renames it."""
    (aside / _NET).write_text(net, encoding="utf-8")
    (aside / _STATE).write_text(json.dumps({"format": FORMAT, **state}, indent=1))
    (aside / _CHECKSUMS).write_text(json.dumps(_checksums(aside), indent=1))
    _force(aside)
    _exchange(aside, path)


def _begun(folder: Path, aside: Path) -> str:
    """Creates the temporary folder of a snapshot, and removes those of processes that were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    _remove_replaced(folder)
    aside.mkdir()
    return str(aside.absolute())


def size(arrays: Mapping[str, Any]) -> int:
    """The bytes of the arrays of a snapshot; its file is of about this size."""
    return sum(int(array.nbytes) for array in arrays.values())


def _reason(error: BaseException, arrays: Mapping[str, Any], free: int) -> str:
    """Why a snapshot could not be written, in the words of the system if it is known."""
    system = next((e for e in _chain(error) if isinstance(e, OSError) and e.strerror), None)
    text = str(error)
    if (system and system.errno == errno.ENOSPC) or "No space left" in text or "RESOURCE_EXHAUSTED" in text:
        words = f"about {size(arrays) / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB were free"
        return f"{os.strerror(errno.ENOSPC)} (it needs {words})"
    if system:
        return str(system.strerror)
    return text.splitlines()[0][:200] if text else type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _existing(folder: Path) -> Path:
    """A folder, or the first folder above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _remove_replaced(folder: Path) -> None:
    """Removes snapshots that were replaced by a process that was killed before it removed them itself."""
    for old in folder.glob("*~"):
        new = old.with_name(old.name[:-1])
        if (old / _CHECKSUMS).is_file() and damage(new) is None:
            shutil.rmtree(old, ignore_errors=True)


def _save_arrays(path: Path, arrays: Mapping[str, Any], key: str, processes: int) -> None:
    import orbax.checkpoint as ocp

    encoded = {quote(name, safe=""): array for name, array in arrays.items()}
    together = ocp.options.MultiprocessingOptions()
    if processes > 1:  # which wait for each other by the coordination service: by the devices, they would meet a step
        together = ocp.options.MultiprocessingOptions(
            active_processes=set(range(processes)), barrier_sync_key_prefix=key
        )
    waiting = ocp.options.AsyncOptions(timeout_secs=PATIENCE)
    with (
        quiet(),
        ocp.StandardCheckpointer(multiprocessing_options=together, async_options=waiting) as checkpointer,
    ):
        checkpointer.save(path.absolute(), encoded)


def _force(folder: Path) -> None:
    """Flushes all files of a folder to the disk, before the folder is renamed."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exchange(aside: Path, path: Path) -> None:
    """Renames the folder to its final name, on the disk too."""
    put_in_place(aside, path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _CHECKSUMS)
    return {p.relative_to(folder).as_posix(): _digest(p) for p in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path) -> Snapshot:
    """Reads a snapshot. Raises NetdefError if it is damaged, with the name of the first damaged file."""
    return with_arrays(opened(path))


def opened(path: Path) -> Snapshot:
    """Reads a snapshot, but not its arrays. Raises NetdefError if it is damaged, as `load` does."""
    wrong = damage(path)
    if wrong:
        raise NetdefError(f"the snapshot {path} is damaged: {wrong}")
    return Snapshot(path, {}, json.loads((path / _STATE).read_text()), (path / _NET).read_text())


def with_arrays(read: Snapshot, divided: Mapping[str, Any] | None = None) -> Snapshot:
    """Reads the arrays of a snapshot: those of `divided`, {name: ShapeDtypeStruct with a sharding}, in the parts of the
    devices, with as many rows of zeros at their end as its shape says; all others whole, on the host and without such
    rows, whatever devices and processes wrote them."""
    import orbax.checkpoint as ocp

    divided, path = divided or {}, (read.path / _ARRAYS).absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        stored: Any = checkpointer.metadata(path).item_metadata
        like = {}
        for name, array in stored.tree.items():
            wanted = divided.get(unquote(name))
            fits = wanted is not None and wanted.shape[1:] == tuple(array.shape)[1:]
            like[name] = wanted if fits else np.zeros(array.shape, array.dtype)
        encoded = checkpointer.restore(path, like, strict=False)  # adds and removes rows of zeros
    arrays = {unquote(name): array for name, array in encoded.items()}
    return replace(read, arrays=_without_padding(arrays, read))


def shapes(read: Snapshot) -> dict[Owner, tuple[int, ...]]:
    """Returns the shapes of the parameters of a snapshot."""
    entries = (entry for entries in read.state.get("layers", {}).values() for entry in entries)
    return {Owner(*owner): tuple(shape) for owner, shape in entries}


def _without_padding(arrays: Mapping[str, Any], read: Snapshot) -> dict[str, Any]:
    """The arrays without the rows that pad them, except those that several devices have."""
    found = dict(arrays)
    for owner, shape in shapes(read).items():
        own = array_name(owner)
        for name in (own, f"{own}/ema", *(f"{own}/{slot}" for slot in read.state.get("slots", ()))):
            array = arrays.get(name)
            if isinstance(array, np.ndarray) and array.ndim and shape and array.shape[1:] == shape[1:]:
                found[name] = array[: shape[0]]
    return found


def damage(path: Path) -> str | None:
    """Returns the first problem of a snapshot's files; None if they are intact."""
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
        if _digest(file) != digest:
            return f"{name} does not match its checksum"
    return None if _STATE in wanted else f"{_STATE} is missing"


def found(folder: Path) -> list[Path]:
    """Returns the snapshots of a folder, newest first, including damaged ones."""
    names = {p: _iteration(p) for p in folder.glob("iter_*") if p.is_dir()}
    return sorted(
        (p for p, n in names.items() if n >= 0), key=lambda p: (names[p], not p.name.endswith("~")), reverse=True
    )


def is_one(path: Path) -> bool:
    """Whether a path is a snapshot, intact or damaged, rather than the folder of a run."""
    return path.is_dir() and ((path / _CHECKSUMS).is_file() or _iteration(path) >= 0)


def _iteration(path: Path) -> int:
    digits = path.name.removeprefix("iter_").removesuffix("~")
    return int(digits) if path.name.startswith("iter_") and digits.isdigit() else -1


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """Returns the newest intact snapshot of a folder, and a note on each newer one that is damaged."""
    notes = []
    for path in found(folder):
        wrong = damage(path)
        if wrong is None:
            return path, notes
        notes.append(f"snapshot {path} is damaged ({wrong}); using the one before it")
    return None, notes


def weights(path: Path) -> dict[str, list[np.ndarray]]:
    """Returns {layer: [arrays]} of a snapshot, as `model.set_weights` expects them; with the averages and
    the recalibrated statistics, if the run has them."""
    read = load(path)
    arrays = _numbered_weights(read) if is_numbered(read) else read.arrays
    tested = lambda name: next((arrays[n] for n in (f"{name}/tested", f"{name}/ema") if n in arrays), arrays[name])
    value = lambda name: np.asarray(tested(name))
    return {
        layer: [value(array_name(Owner(*owner))).reshape(shape) for owner, shape in entries]
        for layer, entries in read.state["layers"].items()
    }


# Format 1


def is_numbered(read: Snapshot) -> bool:
    """Whether a snapshot is of format 1, which numbers the leaves of the training state."""
    return "format" not in read.state


def count_numbered(read: Snapshot) -> int:
    """Returns the number of leaves of the training state in a snapshot of format 1."""
    return sum(name.startswith("state.") for name in read.arrays)


def by_name(read: Snapshot, names: Sequence[str]) -> dict[str, Any]:
    """Returns the arrays of a snapshot of format 1 by name; `names` names the first leaves of its training state."""
    fixed = {array_name(Owner(*o)): read.arrays[f"fixed.{i}"] for i, o in enumerate(read.state["owners"]["fixed"])}
    return fixed | {name: read.arrays[f"state.{i}"] for i, name in enumerate(names)}


def _numbered_weights(read: Snapshot) -> Mapping[str, Any]:
    """Returns the arrays of the net, which format 1 stores in addition to the training state; averages, if kept."""
    return {
        array_name(Owner(*owner)): read.arrays[f"{group}.{i}"]
        for group in ("trained", "fixed", "kept")
        for i, owner in enumerate(read.state["owners"][group])
    }
