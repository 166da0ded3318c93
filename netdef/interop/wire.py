"""The frame of protobuf's binary messages: where each field stands in a file, without reading what is in it.

The protobuf package makes objects of a whole message, which for weights of half a gigabyte takes several times their
size; here the long arrays are only located, and everything else still goes through that package.
Source: the encoding at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .entries import Damaged

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes


class Part(NamedTuple):
    """One field: its tag begins at `tag`, its content is bytes `start` to `end`."""

    number: int
    kind: int
    tag: int
    start: int
    end: int


def parts(data, start: int, end: int) -> Iterator[Part]:
    """The fields of a message that is bytes `start` to `end` of `data`.  Damaged where they do not add up."""
    at = start
    while at < end:
        part = part_at(data, at, end)
        yield part
        at = part.end


def part_at(data, at: int, end: int) -> Part:
    """The field that begins at byte `at`."""
    key, start = varint(data, at, end)
    number, kind = key >> 3, key & 7
    if kind == VARINT:
        stop = varint(data, start, end)[1]
    elif kind == BYTES:
        size, start = varint(data, start, end)
        stop = start + size
    elif kind in (FIXED32, FIXED64):
        stop = start + (4 if kind == FIXED32 else 8)
    else:
        raise Damaged(f"byte {at} begins no field")
    if not 0 < number < 1 << 29 or stop > end:
        raise Damaged(f"the field at byte {at} goes on to byte {stop}, and what it belongs to ends at {end}")
    return Part(number, kind, at, start, stop)


def varint(data, at: int, end: int) -> tuple[int, int]:
    """(an unsigned number of 64 bits, where the next byte is)."""
    value = 0
    for i in range(LONGEST_VARINT):
        if at + i >= end:
            raise Damaged(f"it ends at byte {end}, in the middle of a field")
        byte = data[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value & (1 << 64) - 1, at + i + 1
    raise Damaged(f"the number at byte {at} does not end")


def run_of(data, part: Part, end: int) -> int:
    """Where a run of fields like this one ends: a repeated number that is not packed, a tag before each value."""
    step = part.end - part.tag
    tag = np.frombuffer(data, np.uint8, part.start - part.tag, part.tag)
    at, most = part.end, 64
    while at + step <= end:
        n = min((end - at) // step, most)
        rows = np.frombuffer(data, np.uint8, n * step, at).reshape(n, step)[:, : len(tag)]
        differ = np.flatnonzero((rows != tag).any(axis=1))
        if len(differ):
            return at + int(differ[0]) * step
        at, most = at + n * step, most * 4
    return at


def tagged(number: int, kind: int) -> bytes:
    """The tag of a field."""
    return encoded(number << 3 | kind)


def encoded(value: int) -> bytes:
    """A varint."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
