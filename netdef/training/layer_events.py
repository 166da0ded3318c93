"""The layers as events of the host in a trace of jax's profiler, for the statistics of XProf.

XProf counts the operations of GPUs and TPUs by itself. Of a host, and therefore of a CPU, it counts events with names
such as `conv1:Convolution`, in its tool Framework Op Stats; this adds one for each time in which a thread works for a
layer. Source: xplane.proto of OpenXLA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..files import write_atomically
from ..interop.wire import BYTES, VARINT, Part, encoded, parts, tagged

HOST = "/host:CPU"  # the plane of the trace with the threads of the host
PLANES, NAME, LINES, EVENTS_OF_PLANE = 1, 2, 3, 4  # fields
FIRST = 1 << 40  # the number of the first added event and line; those of the profiler are counted from 0
UNUSUAL = re.compile(r"[^A-Za-z0-9_./-]")  # characters that a name must not have for XProf


class Slice(NamedTuple):
    """A time in which a thread works for a layer, in nanoseconds; `type` is that of the layer."""

    start: float
    end: float
    layer: str
    type: str


def add_layers(trace: Path, threads: Sequence[Sequence[Slice]]) -> None:
    """Adds a line for each thread to the host in a trace, which is replaced."""
    data = trace.read_bytes()
    new = b"".join(_added([slices for slices in threads if slices]))
    made = bytearray()
    for plane in parts(data, 0, len(data)):
        body = data[plane.start : plane.end]
        if plane.number == PLANES and any(_is_name(body, part) for part in parts(body, 0, len(body))):
            made += _message(PLANES, body + new)
            new = b""
        else:
            made += data[plane.tag : plane.end]
    write_atomically(trace, lambda aside: aside.write_bytes(made))


def _is_name(body: bytes, part: Part) -> bool:
    return part.number == NAME and body[part.start : part.end] == HOST.encode()


def _added(threads: Sequence[Sequence[Slice]]) -> Iterator[bytes]:
    """The fields of a plane: the names of the events, and lines of events."""
    names = dict.fromkeys(_name(one) for slices in threads for one in slices)
    numbers = {name: FIRST + i for i, name in enumerate(names)}
    for name, number in numbers.items():  # a map: its keys are 1, its values 2
        yield _message(
            EVENTS_OF_PLANE, _number(1, number) + _message(2, _number(1, number) + _message(2, name.encode()))
        )
    for i, slices in enumerate(threads):
        begin = int(min(one.start for one in slices))
        events = (_event(one, begin, numbers[_name(one)]) for one in slices)
        yield _message(LINES, _number(1, FIRST + i) + _message(2, b"layers") + _number(3, begin) + b"".join(events))


def _event(one: Slice, begin: int, number: int) -> bytes:
    """An event: the number of its name, its offset and its duration in picoseconds."""
    times = _number(2, round((one.start - begin) * 1000)) + _number(3, round((one.end - one.start) * 1000))
    return _message(4, _number(1, number) + times)


def _name(one: Slice) -> str:
    return f"{UNUSUAL.sub('_', one.layer)}:{one.type}"


def _number(field: int, value: int) -> bytes:
    return tagged(field, VARINT) + encoded(value)


def _message(field: int, body: bytes) -> bytes:
    return tagged(field, BYTES) + encoded(len(body)) + body
