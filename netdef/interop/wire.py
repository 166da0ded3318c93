"""The wire format of protobuf messages: finds the position of each field in a file without reading its contents.

The protobuf package parses whole messages into objects. For weights of half a gigabyte this needs several times their
size in memory, so only the positions of large arrays are determined here; the package parses everything else.
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
    """One field: its tag begins at byte `tag`, its contents are the bytes from `start` to `end`."""

    number: int
    kind: int
    tag: int
    start: int
    end: int


def parts(data, start: int, end: int) -> Iterator[Part]:
    """Yields the fields of a message, the bytes from `start` to `end` of `data`. Raises Damaged if they are invalid."""
    at = start
    while at < end:
        part = part_at(data, at, end)
        yield part
        at = part.end


def part_at(data, at: int, end: int) -> Part:
    """Returns the field that begins at byte `at`."""
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
        raise Damaged(f"no field begins at byte {at}")
    if not 0 < number < 1 << 29 or stop > end:
        raise Damaged(f"the field at byte {at} ends at byte {stop}, but its message ends at byte {end}")
    return Part(number, kind, at, start, stop)


def varint(data, at: int, end: int) -> tuple[int, int]:
    """Returns an unsigned integer of 64 bits, and the position of the next byte."""
    value = 0
    for i in range(LONGEST_VARINT):
        if at + i >= end:
            raise Damaged(f"the data ends at byte {end}, within a field")
        byte = data[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value & (1 << 64) - 1, at + i + 1
    raise Damaged(f"the integer at byte {at} is longer than {LONGEST_VARINT} bytes")


def run_of(data, part: Part, end: int) -> int:
    """Returns the end of a run of fields like this one: a repeated field that is not packed has a tag per value."""
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
    """Returns the tag of a field."""
    return encoded(number << 3 | kind)


def encoded(value: int) -> bytes:
    """Returns an integer as a varint."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
