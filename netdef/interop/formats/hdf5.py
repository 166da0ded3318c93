"""`.caffemodel.h5` and `.solverstate.h5`, the files that Caffe writes with `snapshot_format: HDF5`.

Weights are /data/LAYER/0, /data/LAYER/1 and so on; shared arrays are stored only with the first layer that uses them. A
state is /iter, /current_step, /learned_net and /history/0, /history/1 and so on.
Source: BVLC/caffe src/caffe/net.cpp, ToHDF5 and CopyTrainedLayersFromHDF5; src/caffe/solvers/sgd_solver.cpp.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...files import library_writes
from ..entries import Damaged, Entry, Stored, aligned_empty, checked_shape, foreign, grouped
from .base import Contents, Format

DATA, HISTORY = "data", "history"
MAGIC = b"\x89HDF\r\n\x1a\n"
T = TypeVar("T")


class HDF5(Format, name="hdf5"):
    """Caffe's weights as HDF5."""

    endings = (".caffemodel.h5",)

    def recognizes(self, path: Path, head: bytes) -> bool:
        return head.startswith(MAGIC)

    def read(self, path: Path) -> list[Entry]:
        if not is_hdf5(path):
            raise foreign(path, "a .caffemodel.h5", "the signature of HDF5 is missing")
        return _opened(path, "a .caffemodel.h5", lambda file: _layers(path, file))

    def write(self, path: Path, contents: Contents) -> None:
        import h5py

        with library_writes(), h5py.File(path, "w") as file:
            data = file.create_group(DATA)
            for entry in contents.entries:
                group = data.require_group(entry.name)
                for i, stored in enumerate(entry.arrays):
                    if stored is not None and (entry.name, i) not in contents.shared:
                        group.create_dataset(str(i), data=np.asarray(stored.read(), contents.dtype))


def _opened(path: Path, wanted: str, use: Callable[[Any], T]) -> T:
    import h5py

    try:
        with h5py.File(path, "r", rdcc_nbytes=0) as file:
            return use(file)
    except Exception as error:  # h5py raises many types; each of them means that the file is invalid
        raise foreign(path, wanted, error) from error


def _layers(path: Path, file: Any) -> list[Entry]:
    import h5py

    if not isinstance(file.get(DATA), h5py.Group):
        raise Damaged("the group `data` is missing")
    found: list[tuple[str, Stored]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, _stored(path, f"{DATA}/{name}", item)))

    file[DATA].visititems(visit)
    if not found:
        raise Damaged("it contains no array")
    return grouped(found, "a .caffemodel.h5", gaps=True)


def _stored(path: Path, name: str, item: Any) -> Stored:
    if item.dtype.kind not in "fiu" or item.shape is None:
        raise Damaged(f"the array {name!r} is of type {item.dtype}, which is not numeric")
    size = int(np.prod(item.shape, dtype=object))
    if item.chunks is None and item.external is None and item.id.get_storage_size() != size * item.dtype.itemsize:
        raise Damaged(f"the array {name!r} is incomplete")
    if item.external is not None or item.is_virtual:
        raise Damaged(f"the array {name!r} is stored in other files, which is not supported")
    if size * item.dtype.itemsize > 1032 * max(path.stat().st_size, 1):  # more than any compression achieves
        raise Damaged(f"the array {name!r} claims to have {size} elements, more than the file can contain")
    return Stored(checked_shape(item.shape, size), functools.partial(_array, path, name))


def _array(path: Path, name: str) -> np.ndarray:
    def use(file: Any) -> np.ndarray:
        item = file[name]
        array = aligned_empty(item.size).reshape(item.shape)
        if item.size:
            item.read_direct(array)
        return array

    return _opened(path, "a .caffemodel.h5", use)


def solver_state(path: Path) -> tuple[dict[str, Any], list[Stored]]:
    """Returns {"iter", "current_step", "learned_net"} and the history's arrays. Raises NetdefError for other files."""

    def use(file: Any) -> tuple[dict[str, Any], list[Stored]]:
        head = {"iter": _number(file, "iter"), "current_step": _number(file, "current_step"), "learned_net": ""}
        if "learned_net" in file:
            head["learned_net"] = file["learned_net"].asstr("utf-8", "surrogateescape")[()].rstrip("\0")
        history = file[HISTORY]
        stored = [_stored(path, f"{HISTORY}/{i}", history[str(i)]) for i in range(len(history))]
        return head, stored

    return _opened(path, "a .solverstate.h5", use)


def _number(file: Any, name: str) -> int:
    value = np.asarray(file[name][()]).reshape(-1)
    if value.size != 1 or int(value[0]) < 0:
        raise Damaged(f"`{name}` is not a single nonnegative integer")
    return int(value[0])


def write_solver_state(path: Path, head: Any, history: Iterable[Any]) -> None:
    """Writes a state (with the attributes iter, current_step, learned_net) and the arrays of its history."""
    import h5py

    with library_writes(), h5py.File(path, "w") as file:
        file["iter"] = np.array([head.iter], np.int32)
        file["current_step"] = np.array([head.current_step], np.int32)
        file["learned_net"] = np.bytes_(head.learned_net.encode(errors="surrogateescape") + b"\0")
        group = file.create_group(HISTORY)
        for i, array in enumerate(history):
            group.create_dataset(str(i), data=np.asarray(array, np.float32))


def is_hdf5(path: Path) -> bool:
    """Whether a file begins with the HDF5 signature."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC
