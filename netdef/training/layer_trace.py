"""The layers in a trace of jax's profiler, as a trace of their own that Perfetto shows.

The events of a trace are operations with the names that the compiler gives them (`fusion.3`).  The trace also has the
compiled programs, in which each operation has the path of the code that it comes from, and `forward.py` puts the name
of the layer into this path: `jit(run)/transpose(jvp(conv1))/...`.
Sources: xplane.proto and hlo.proto of OpenXLA, and the Trace Event Format of Chromium.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ..files import write_atomically
from ..interop.wire import BYTES, Part, parts, varint
from .layer_events import HOST, Slice, add_layers

LAYERS = "layers.json.gz"
PROGRAMS = "/host:metadata"  # the plane of the trace with the compiled programs
CONTROL = ("while", "conditional", "call")  # operations that contain others
BACKWARD = " (backward)"  # after the name of a layer
PAUSE = 20_000  # nanoseconds, after which a slice of a layer ends
OTHER = "other operations"  # the update of the weights, and what moves data between layers


class Operation(NamedTuple):
    """One operation on a line of the trace: nanoseconds, its own name and that of its layer."""

    start: float
    end: float
    name: str
    layer: str


def layer_trace(trace: Path, layers: Mapping[str, str], path: Path) -> dict[str, float]:
    """Writes the trace of the layers, whose types are given by name, and adds those of a CPU to jax's trace.  Returns
    the time of each layer in nanoseconds, forward and backward together, on all devices and threads."""
    paths = paths_of(trace.read_bytes())
    lines: list[tuple[str, list[Operation]]] = []
    times: dict[str, float] = {}
    find = finder(layers)
    for plane in jax.profiler.ProfileData.from_file(str(trace)).planes:
        for line in plane.lines:
            found = sorted(_operations(line, paths, find), key=lambda o: (o.start, -o.end))
            if found:
                lines.append((f"{plane.name} {line.name}".strip(), found))
    for _, operations in lines:
        for one in operations:
            layer = one.layer.removesuffix(BACKWARD)
            times[layer] = times.get(layer, 0.0) + one.end - one.start
    on_host = [[_slice(group, layers) for group in _groups(found)] for name, found in lines if name.startswith(HOST)]
    if on_host:
        add_layers(trace, on_host)
    text = json.dumps({"traceEvents": list(_events(lines)), "displayTimeUnit": "ms"})
    write_atomically(path, lambda aside: aside.write_bytes(gzip.compress(text.encode())))
    return times


def finder(layers: Iterable[str]) -> Any:
    """A function from the path of an operation to the name of its layer, the longest if several fit."""
    names = "|".join(re.escape(name) for name in sorted(layers, key=len, reverse=True))
    pattern = re.compile(rf"(?:^|[/(])({names})(?=[/)]|$)") if names else None

    def find(path: str) -> str:
        found = pattern.search(path) if pattern else None
        if found is None:
            return OTHER
        return found[1] + (BACKWARD if "transpose(jvp" in path else "")

    return find


def _operations(line: Any, paths: Mapping[tuple[str, str], tuple[str, str]], find: Any) -> Iterator[Operation]:
    for event in line.events:
        facts = dict(event.stats)
        name = facts.get("hlo_op")
        if not isinstance(name, str):
            continue
        opcode, path = paths.get((str(facts.get("hlo_module", "")), name), ("", ""))
        if opcode not in CONTROL:
            yield Operation(event.start_ns, event.start_ns + event.duration_ns, name, find(path))


def _events(lines: Sequence[tuple[str, Sequence[Operation]]]) -> Iterator[dict[str, Any]]:
    """The events of Chromium's format: a slice for consecutive operations of a layer, and one in it for each."""
    begin = min((operations[0].start for _, operations in lines), default=0.0)
    slice_of = lambda name, start, end, thread, kind: {
        "ph": "X",
        "name": name,
        "cat": kind,
        "pid": 1,
        "tid": thread,
        "ts": (start - begin) / 1000,
        "dur": (end - start) / 1000,
    }
    yield {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "layers"}}
    for thread, (name, operations) in enumerate(lines, 1):
        yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": thread, "args": {"name": name}}
        for group in _groups(operations):
            yield slice_of(group[0].layer, group[0].start, max(o.end for o in group), thread, "layer")
            for one in group:
                yield slice_of(one.name, one.start, one.end, thread, "operation")


def _groups(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Consecutive operations of the same layer."""
    first = 0
    for i in range(1, len(operations) + 1):
        if i == len(operations) or not _continues(operations[i - 1], operations[i]):
            yield operations[first:i]
            first = i


def _slice(group: Sequence[Operation], types: Mapping[str, str]) -> Slice:
    """The operations of a group as one event of the host; `layer/backward` is a name that XProf accepts."""
    name = group[0].layer.removesuffix(BACKWARD)
    layer = f"{name}/backward" if name != group[0].layer else name
    return Slice(group[0].start, max(one.end for one in group), layer, types.get(name, "Other"))


def _continues(one: Operation, after: Operation) -> bool:
    """Whether an operation is of the same layer, and begins soon after another."""
    return one.layer == after.layer and after.start < one.end + PAUSE


def paths_of(data: bytes) -> dict[tuple[str, str], tuple[str, str]]:
    """The opcode and the path of each operation of the programs in a trace, by the names of program and operation."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    whole = Part(1, BYTES, 0, 0, len(data))
    for plane in _inside(data, 1, whole):
        if _text(data, 2, plane) == PROGRAMS:
            # event_metadata (4) is a map (its values are 2), whose statistics (5) have the program (6)
            for module in _inside(data, 1, *_reach(data, plane, 4, 2, 5, 6)):
                name = _text(data, 1, module)
                for computation in _inside(data, 3, module):
                    for one, path in _with_paths([_instruction(data, part) for part in _inside(data, 2, computation)]):
                        found[name, one.name] = one.opcode, path
    return found


class Instruction(NamedTuple):
    """An operation of a program, with the numbers of those whose results it uses."""

    number: int
    name: str
    opcode: str
    path: str
    uses: tuple[int, ...]


def _instruction(data: bytes, message: Part) -> Instruction:
    path = next((_text(data, 2, inside) for inside in _inside(data, 7, message)), "")
    number = next((varint(data, p.start, p.end)[0] for p in _inside(data, 35, message)), 0)
    uses = tuple(value for part in _inside(data, 36, message) for value in _integers(data, part))
    return Instruction(number, _text(data, 1, message), _text(data, 2, message), path, uses)


def _integers(data: bytes, part: Part) -> Iterator[int]:
    """The values of a repeated field, packed or not."""
    at = part.start
    while at < part.end:
        value, at = varint(data, at, part.end)
        yield value


def _with_paths(instructions: Sequence[Instruction]) -> Iterator[tuple[Instruction, str]]:
    """The instructions with their paths. One without a path, which the compiler has made to prepare the input of
    another, has the path of the one that uses its result."""
    paths = {one.number: one.path for one in instructions}
    for one in reversed(instructions):  # an instruction is after those that it uses
        for used in one.uses:
            paths[used] = paths.get(used) or paths[one.number]
    return ((one, paths[one.number]) for one in instructions)


def _inside(data: bytes, number: int, *messages: Part) -> Iterator[Part]:
    """The fields with this number of some messages."""
    for message in messages:
        yield from (part for part in parts(data, message.start, message.end) if part.number == number)


def _reach(data: bytes, message: Part, *numbers: int) -> list[Part]:
    found = [message]
    for number in numbers:
        found = [part for one in found for part in _inside(data, number, one)]
    return found


def _text(data: bytes, number: int, message: Part) -> str:
    return next((data[p.start : p.end].decode(errors="replace") for p in _inside(data, number, message)), "")
