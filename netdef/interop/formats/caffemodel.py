"""`.caffemodel`: Caffe's weights as a NetParameter, with current layers or those of V1 (2013) and V0.

Source: BVLC/caffe src/caffe/net.cpp, CopyTrainedLayersFrom and ToProto; src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...language.errors import NetdefError
from ...passes.upgrade import V0_TYPES, V1_TYPES
from .. import blobs
from ..caffe_proto import messages
from ..entries import Damaged, Entry, Stored, foreign, whole
from ..wire import BYTES, encoded, parts, tagged
from .base import Contents, Format

LAYER, V1_LAYER, V0_LAYER = 100, 2, 1  # field numbers in NetParameter, NetParameter and V1LayerParameter
LAYER_BLOBS, V1_BLOBS, V0_BLOBS = 7, 6, 50
MOST_BYTES = (1 << 31) - 1  # protobuf's limit for a message
_V1_NAMES = {number: today for number, today in V1_TYPES.values()}


class CaffeModel(Format, name="caffemodel"):
    """Caffe's weights; NVIDIA/caffe and OpenCV can read half precision."""

    endings = (".caffemodel",)
    dtypes = ("float32", "float16")

    def read(self, path: Path) -> list[Entry]:
        try:
            with open(path, "rb") as file, _mapped(file) as data:
                found = list(_layers(path, data))
        except Exception as error:  # protobuf has exceptions of its own; each of them means that the file is invalid
            if isinstance(error, NetdefError):
                raise
            raise foreign(path, "a .caffemodel", error) from error
        if not any(entry.arrays for entry in found):
            raise foreign(path, "a .caffemodel", "the file contains no layer with weights")
        return found

    def write(self, path: Path, contents: Contents) -> None:
        """Writes all layers, with or without weights. Raises NetdefError if the file would be too large for Caffe."""
        total = 0
        with open(path, "wb") as file:
            file.write(messages().NetParameter(name=contents.name).SerializeToString())
            for entry in contents.entries:
                pieces = _pieces(entry, contents.dtype == np.float16)
                size = sum(map(len, pieces))
                total += size
                if total > MOST_BYTES:
                    raise NetdefError(
                        f"{path}: Caffe reads files of up to 2 GiB, and this one would be larger; use .caffemodel.h5"
                    )
                file.write(tagged(LAYER, BYTES) + encoded(size))
                file.writelines(pieces)


def _mapped(file: Any) -> mmap.mmap:
    if os.fstat(file.fileno()).st_size == 0:
        raise Damaged("the file is empty")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _layers(path: Path, data: Any) -> Iterator[Entry]:
    for part in parts(data, 0, len(data)):
        if part.number in (LAYER, V1_LAYER) and part.kind == BYTES:
            kind = "LayerParameter" if part.number == LAYER else "V1LayerParameter"
            yield _layer(path, data, part.start, part.end, kind, LAYER_BLOBS if part.number == LAYER else V1_BLOBS)


def _layer(path: Path, data: Any, start: int, end: int, kind: str, blobs_number: int) -> Entry:
    """Parses one layer, except for its values, which are only located."""
    small, arrays, inner = [], [], None
    for part in parts(data, start, end):
        if part.number == blobs_number and part.kind == BYTES:
            arrays.append(blobs.located(path, data, part.start, part.end))
        elif kind == "V1LayerParameter" and part.number == V0_LAYER and part.kind == BYTES:
            inner = _layer(path, data, part.start, part.end, "V0LayerParameter", V0_BLOBS)
        else:
            small.append(data[part.tag : part.end])
    layer = getattr(messages(), kind).FromString(b"".join(small))
    if inner is not None:
        return Entry(inner.name, inner.arrays, inner.type, tuple(layer.bottom), tuple(layer.top))
    if kind == "V0LayerParameter":
        return Entry(layer.name, tuple(arrays), V0_TYPES.get(layer.type) or layer.type)
    today = _V1_NAMES.get(layer.type, "") if kind == "V1LayerParameter" else layer.type
    return Entry(layer.name, tuple(arrays), today, tuple(layer.bottom), tuple(layer.top))


def _pieces(entry: Entry, half: bool) -> list[Any]:
    """Returns the bytes of one layer."""
    head = messages().LayerParameter(name=entry.name, type=entry.type, bottom=entry.bottoms, top=entry.tops)
    pieces = [head.SerializeToString()]
    for i in range(len(entry.arrays)):
        pieces += blobs.written(whole(entry, i).read(), LAYER_BLOBS, half)
    return pieces


def solver_state(path: Path) -> tuple[Any, list[Stored]]:
    """Returns the SolverState without its history, and the history's arrays. Raises NetdefError for other files."""
    try:
        with open(path, "rb") as file, _mapped(file) as data:
            small, history = [], []
            for part in parts(data, 0, len(data)):
                if part.number == 3 and part.kind == BYTES:
                    history.append(blobs.located(path, data, part.start, part.end))
                else:
                    small.append(data[part.tag : part.end])
            state = messages().SolverState.FromString(b"".join(small))
            if not state.HasField("iter") or state.iter < 0 or state.current_step < 0:
                raise Damaged("the iteration is missing or negative")
            return state, history
    except Exception as error:
        raise foreign(path, "a .solverstate", error) from error


def write_solver_state(path: Path, head: Any, history: Iterable[Any]) -> None:
    """Writes a SolverState and the arrays of its history."""
    with open(path, "wb") as file:
        file.write(head.SerializeToString())
        for array in history:
            file.writelines(blobs.written(array, 3))
