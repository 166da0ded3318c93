"""Reads and writes Caffe's BlobProto, an array with its shape.

Read: packed and unpacked floats, doubles, NVIDIA's raw bytes of any precision, and the four dimensions that preceded
`shape` before 2014. Written: `shape` and packed floats, as in Caffe, or half precision in NVIDIA's form.
Source: BVLC/caffe src/caffe/blob.cpp, FromProto and ToProto; NVIDIA/caffe and opencv/opencv for `raw_data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .caffe_proto import messages
from .entries import Damaged, Stored, aligned_empty, bytes_of, checked_shape
from .wire import BYTES, FIXED32, FIXED64, encoded, part_at, run_of, tagged

DATA, DIFF, SHAPE, DOUBLES, DOUBLE_DIFF, RAW_TYPE, RAW, RAW_DIFF = 5, 6, 7, 8, 9, 10, 12, 13
LONG = (DATA, DIFF, DOUBLES, DOUBLE_DIFF, RAW, RAW_DIFF)
RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2", 3: "<i4", 4: "<u4"}  # DOUBLE FLOAT FLOAT16 INT UINT
FLOAT16 = 2
LEGACY = ("num", "channels", "height", "width")


class Chunk(NamedTuple):
    """Values of one type in a file: bytes `start` to `end`, with `tag` bytes before each value (0: none)."""

    dtype: str
    start: int
    end: int
    tag: int = 0

    @property
    def count(self) -> int:
        return (self.end - self.start) // (np.dtype(self.dtype).itemsize + self.tag)


def located(path: Path, data, start: int, end: int) -> Stored:
    """Returns the blob at bytes `start` to `end` of a file with the contents `data`. Raises Damaged if the number of
    values does not match the shape."""
    small, chunks = _separated(data, start, end)
    blob = messages().BlobProto.FromString(small)
    found = [chunk for number, chunk in chunks if number in (DATA, DOUBLES, RAW)]
    if RAW in {number for number, _ in chunks}:
        if blob.raw_data_type not in RAW_TYPES:
            raise Damaged(f"a blob has values of type {blob.raw_data_type}, but types range from 0 to 4")
        found = [chunk._replace(dtype=RAW_TYPES[blob.raw_data_type]) for number, chunk in chunks if number == RAW]
    elif DOUBLES in {number for number, _ in chunks}:  # doubles take precedence over floats, as in Caffe
        found = [chunk for number, chunk in chunks if number == DOUBLES]
    for chunk in found:
        if (chunk.end - chunk.start) % (np.dtype(chunk.dtype).itemsize + chunk.tag):
            size = np.dtype(chunk.dtype).itemsize + chunk.tag
            raise Damaged(f"a blob has {chunk.end - chunk.start} bytes of values, which is not a multiple of {size}")
    shape = checked_shape(_dims(blob), sum(chunk.count for chunk in found))
    return Stored(shape, lambda: _read(path, shape, found))


def _separated(data, start: int, end: int) -> tuple[bytes, list[tuple[int, Chunk]]]:
    """Returns the message without its values, and the positions of the values."""
    small, chunks, at = [], [], start
    types = {DATA: "<f4", DOUBLES: "<f8"}
    while at < end:
        part = part_at(data, at, end)
        at = part.end
        if part.number not in LONG:
            small.append(data[part.tag : part.end])
        elif part.kind == BYTES:
            chunks.append((part.number, Chunk(types.get(part.number, "u1"), part.start, part.end)))
        elif part.kind in (FIXED32, FIXED64):  # not packed: a tag before each value
            at = run_of(data, part, end)
            if part.number in types and part.end - part.start == np.dtype(types[part.number]).itemsize:
                tag = part.start - part.tag
                chunks.append((part.number, Chunk(types[part.number], part.tag, at, tag)))
    return b"".join(small), chunks


def _dims(blob: Any) -> tuple[int, ...]:
    if any(blob.HasField(name) for name in LEGACY):
        return tuple(getattr(blob, name) for name in LEGACY)
    return tuple(blob.shape.dim)


def _read(path: Path, shape: tuple[int, ...], chunks: list[Chunk]) -> np.ndarray:
    """Reads the values as float32. Packed floats are read from the file into the array without a copy."""
    flat = aligned_empty(sum(chunk.count for chunk in chunks))
    with open(path, "rb", buffering=0) as file:
        at = 0
        for chunk in chunks:
            into = flat[at : at + chunk.count]
            at += chunk.count
            if chunk.dtype == "<f4" and not chunk.tag:
                _fill(file, bytes_of(into), chunk.start)
                if np.little_endian is False:
                    into.byteswap(inplace=True)
            else:
                raw = np.empty(chunk.end - chunk.start, "u1")
                _fill(file, bytes_of(raw), chunk.start)
                step = np.dtype(chunk.dtype).itemsize + chunk.tag
                into[:] = np.ndarray(len(into), chunk.dtype, raw, offset=chunk.tag, strides=step)
    return flat.reshape(shape)


def _fill(file: Any, into: memoryview, start: int) -> None:
    file.seek(start)
    view = into
    while view:
        n = file.readinto(view)
        if not n:
            raise Damaged(f"the file was truncated while it was read, at byte {start + len(into) - len(view)}")
        view = view[n:]


def written(array: np.ndarray, number: int, half: bool = False) -> Iterator[bytes | memoryview]:
    """Yields the bytes of a blob as field `number` of a message, in pieces, so that the array is not copied."""
    floats = np.ascontiguousarray(array, "<f2" if half else "<f4")
    dims = b"".join(encoded(d) for d in array.shape)
    shape = tagged(1, BYTES) + encoded(len(dims)) + dims
    head = tagged(SHAPE, BYTES) + encoded(len(shape)) + shape
    if half:
        head += tagged(RAW_TYPE, 0) + encoded(FLOAT16)
    head += tagged(RAW if half else DATA, BYTES) + encoded(floats.nbytes)
    yield tagged(number, BYTES) + encoded(len(head) + floats.nbytes) + head
    yield bytes_of(floats)
