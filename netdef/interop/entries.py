"""The contents of a weight file before its values are read: layers with arrays of known shapes.

Every format returns a list of `Entry`. Only the metadata of a file is read; `Stored.read` reads one array. Files of
hundreds of megabytes are therefore never in memory twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..graph import Net
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..shape import Shape

Arrays = dict[str, list[np.ndarray]]
MOST_DIMENSIONS = 32  # axes of a blob, as in Caffe (kMaxBlobAxes)
ALIGNED = 64  # bytes; on a CPU, JAX uses arrays with this alignment without a copy


class Stored(NamedTuple):
    """One array of a file: its shape, and a function that reads it (as float32, or bfloat16 if it is stored so)."""

    shape: Shape
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Entry:
    """One layer of a file. `type`, `bottoms` and `tops` are empty if the format does not store them. An array is None
    if it is shared with another layer and stored there."""

    name: str
    arrays: tuple[Stored | None, ...]
    type: str = ""
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


class Damaged(Exception):
    """The bytes violate the format; the message says where and how."""


def foreign(path: Path, wanted: str, why: object) -> NetdefError:
    """Returns the error for a file that is truncated, damaged, or of another kind; it names that kind if it can."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        head = b""
    for mark, what in _LOOKS.items():
        if mark in head:
            return NetdefError(f"{path}: expected {wanted}, but this is {what}")
    reason = " ".join(str(why).split())[:200] or type(why).__name__
    return NetdefError(f"{path}: not {wanted}, or the file is damaged or truncated: {reason}")


_LOOKS = {
    b"https://git-lfs": "a Git LFS pointer; get the file with `git lfs pull`",
    b"<html": "a web page; download the file itself",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"archive/data.pkl": "a PyTorch file, which can run code when loaded; save the weights as .safetensors in PyTorch",
    b"\x80\x02}": "a pickle, which can run code when loaded; save the weights as .npz in Python",
    b"layer {": "the definition of a net",
    b"layers {": "the definition of a net",
}


def existing_file(path: Path, what: str = "weight file") -> Path:
    """Returns `path` if the file can be opened. Raises NetdefError otherwise."""
    try:
        with open(path, "rb"):
            return path
    except FileNotFoundError:
        raise NetdefError(f"{path}: {what} not found") from None
    except (OSError, ValueError) as error:
        raise NetdefError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def aligned_empty(count: int, dtype: np.dtype | type = np.float32) -> np.ndarray:
    """Returns an uninitialized flat array of `count` elements, aligned so that JAX uses it without a copy."""
    size = count * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return raw[start : start + size].view(dtype)


def bytes_of(array: Any) -> memoryview:
    """Returns the memory of an array as bytes."""
    return memoryview(array.reshape(-1).view(np.uint8))


def checked_shape(dims: Iterable[int], count: int) -> Shape:
    """Returns the shape of `count` values. Raises Damaged, before anything is allocated, if it has another size."""
    shape = tuple(int(d) for d in dims)
    if len(shape) > MOST_DIMENSIONS:
        raise Damaged(f"a blob has {len(shape)} axes; the maximum is {MOST_DIMENSIONS}")
    if any(d < 0 for d in shape) or math.prod(shape) != count:
        raise Damaged(f"a blob has the shape {'x'.join(map(str, shape)) or 'of a scalar'}, but {count} values")
    return shape


def grouped(arrays: Iterable[tuple[str, Stored]], wanted: str, gaps: bool = False) -> list[Entry]:
    """Returns entries from arrays named `layer/i`, with the layers in the order of the file. Raises Damaged if array 0
    or another one of a layer is missing, unless `gaps` is true."""
    layers: dict[str, dict[int, Stored]] = {}
    for key, stored in arrays:  # `layer` itself may have slashes
        layer, _, number = key.rpartition("/")
        if not layer or not (number.isascii() and number.isdigit()) or len(number) > 4:
            raise Damaged(f"the array {key[:60]!r} is not named LAYER/0, LAYER/1 and so on, as in {wanted}")
        layers.setdefault(layer, {})[int(number)] = stored
    made = []
    for layer, blobs in layers.items():
        if not gaps and sorted(blobs) != list(range(len(blobs))):
            raise Damaged(f"layer {layer!r} has the arrays {sorted(blobs)}; they must be numbered from 0 without gaps")
        made.append(Entry(layer, tuple(blobs.get(i) for i in range(max(blobs) + 1))))
    return made


def keyed(entries: Iterable[Entry]) -> Iterable[tuple[str, Stored]]:
    """Yields ("layer/i", array) for every array."""
    return ((f"{entry.name}/{i}", whole(entry, i)) for entry in entries for i in range(len(entry.arrays)))


def in_memory(array: np.ndarray) -> Stored:
    """Wraps an array that is in memory."""
    return Stored(array.shape, lambda: array)


def whole(entry: Entry, i: int) -> Stored:
    """Returns array `i` of an entry. Raises NetdefError if it is shared with a layer that the file does not name."""
    stored = entry.arrays[i]
    if stored is None:
        raise NetdefError(
            f"array {i} of layer `{entry.name}` is shared with another layer, which the file does not name; "
            "specify the net with --net"
        )
    return stored


def used(net: Net, how: str) -> None:
    """Raises NetdefError unless the net is of phase TEST; `how` is a participle, as in "exported" or "folded"."""
    if net.phase is not Phase.TEST:
        name = net.name or "(no name)"
        raise NetdefError(
            f"net {name} is of phase {net.phase.name}, but only a net of phase TEST can be {how}; use netdef.deploy"
        )
