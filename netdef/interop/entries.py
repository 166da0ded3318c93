"""What a weight file holds, before its numbers are read: layers with arrays of known shape.

Every format gives `Entry`s.  Scanning a file reads its small parts only; `Stored.read` fetches one array, so that a
file of many hundred megabytes never stands in memory twice.
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
MOST_DIMENSIONS = 32  # of a blob, as in Caffe (kMaxBlobAxes)
ALIGNED = 64  # bytes; jax on a CPU takes arrays that begin at such an address without a copy


class Stored(NamedTuple):
    """One array of a file: its shape, and how to get it (as float32, unless it is stored as bfloat16)."""

    shape: Shape
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Entry:
    """One layer of a file.  `type`, `bottoms` and `tops` are empty where the format does not keep them; an array that
    stands with another layer, which shares it, is None."""

    name: str
    arrays: tuple[Stored | None, ...]
    type: str = ""
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


class Damaged(Exception):
    """The bytes are not what the format says; the text says where and why."""


def foreign(path: Path, wanted: str, why: object) -> NetdefError:
    """The one line for a file that is truncated, damaged, or something else: what it looks like, and what to do."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        head = b""
    for mark, what in _LOOKS.items():
        if mark in head:
            return NetdefError(f"{path}: this is {what}, not {wanted}")
    reason = " ".join(str(why).split())[:200] or type(why).__name__
    return NetdefError(f"{path}: this is not {wanted}, or it is damaged or cut short: {reason}")


_LOOKS = {
    b"https://git-lfs": "a pointer of Git LFS; fetch the file itself with `git lfs pull`",
    b"<html": "a web page; download the file itself",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"archive/data.pkl": "a PyTorch file, a program rather than data; save it as .safetensors there",
    b"\x80\x02}": "a pickle, a program rather than data; save it as .npz there",
    b"layer {": "the text of a net",
    b"layers {": "the text of a net",
}


def existing_file(path: Path, what: str = "weight file") -> Path:
    """`path`, if it is a file that can be opened.  NetdefError in one line."""
    try:
        with open(path, "rb"):
            return path
    except FileNotFoundError:
        raise NetdefError(f"{path}: there is no such {what}") from None
    except (OSError, ValueError) as error:
        raise NetdefError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def aligned_empty(count: int, dtype: np.dtype | type = np.float32) -> np.ndarray:
    """An uninitialised flat array of `count` numbers at an address that jax takes as it is."""
    size = count * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return raw[start : start + size].view(dtype)


def bytes_of(array: Any) -> memoryview:
    """The memory of an array, flat."""
    return memoryview(array.reshape(-1).view(np.uint8))


def checked_shape(dims: Iterable[int], count: int) -> Shape:
    """The shape of `count` numbers.  Damaged if they do not fill it exactly; nothing was allocated before."""
    shape = tuple(int(d) for d in dims)
    if len(shape) > MOST_DIMENSIONS:
        raise Damaged(f"a blob has {len(shape)} axes, and {MOST_DIMENSIONS} are the most")
    if any(d < 0 for d in shape) or math.prod(shape) != count:
        raise Damaged(f"a blob says it is {'x'.join(map(str, shape)) or 'scalar'}, and {count} numbers are there")
    return shape


def grouped(arrays: Iterable[tuple[str, Stored]], wanted: str, gaps: bool = False) -> list[Entry]:
    """Entries from arrays called `layer/i`, layers in the order of the file.  Damaged if a layer's numbers have gaps
    and may not."""
    layers: dict[str, dict[int, Stored]] = {}
    for key, stored in arrays:  # `layer` itself may have slashes
        layer, _, number = key.rpartition("/")
        if not layer or not (number.isascii() and number.isdigit()) or len(number) > 4:
            raise Damaged(f"the array {key[:60]!r} is not named LAYER/0, LAYER/1 and so on, as {wanted} has them")
        layers.setdefault(layer, {})[int(number)] = stored
    made = []
    for layer, blobs in layers.items():
        if not gaps and sorted(blobs) != list(range(len(blobs))):
            raise Damaged(f"layer {layer!r} has the arrays {sorted(blobs)}, and those before are missing")
        made.append(Entry(layer, tuple(blobs.get(i) for i in range(max(blobs) + 1))))
    return made


def keyed(entries: Iterable[Entry]) -> Iterable[tuple[str, Stored]]:
    """("layer/i", array) of every array."""
    return ((f"{entry.name}/{i}", whole(entry, i)) for entry in entries for i in range(len(entry.arrays)))


def in_memory(array: np.ndarray) -> Stored:
    """An array that is there already."""
    return Stored(array.shape, lambda: array)


def whole(entry: Entry, i: int) -> Stored:
    """Array `i` of an entry.  NetdefError if it stands with another layer, and nobody says which."""
    stored = entry.arrays[i]
    if stored is None:
        raise NetdefError(f"array {i} of layer `{entry.name}` is shared with another layer; name the net with --net")
    return stored


def used(net: Net, how: str) -> None:
    """NetdefError for a net that is made for training: it is `how` (exported, folded) in phase TEST."""
    if net.phase is not Phase.TEST:
        name = net.name or "(no name)"
        raise NetdefError(
            f"net {name} is of phase {net.phase.name}; what is {how} is of phase TEST, as netdef.deploy gives"
        )
