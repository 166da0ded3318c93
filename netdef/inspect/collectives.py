"""The collectives of a compiled program: what its devices exchange, read from the text of its HLO.

Bytes are those of the result on one device: all of the sum for an all-reduce, the gathered array for an all-gather, and
the part of one device for a reduce-scatter. An asynchronous collective is counted once: at its start, or, where a TPU
overlaps it with other fusions and repeats it in each of them, at the first one. A collective in the body of a loop is
counted once, as XLA counts FLOP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
)
PAIRED = frozenset(KINDS) - {"all-reduce"}  # their start returns the operands too, before the results

# `%x = f32[8] all-reduce(...)` or `%x = (f32[8], f32[2]) all-reduce-start(...)`, once the layouts are removed. The
# result of an instruction contains neither `%` nor `"`, so names of other instructions and metadata are never matched.
_COLLECTIVE = re.compile(rf' = (\([^%"]*\)|[^%" ]+) ({"|".join(KINDS)})(-start)?\(')
_CHAIN = re.compile(r'chain_id="(\d+)"')  # of the fusions that overlap with one collective
_LAYOUT = re.compile(r"\{[^{}]*\}")
_ARRAY = re.compile(r"([a-z]+\d*)\w*\[([\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    """All collectives of one kind in a program."""

    kind: str
    count: int
    bytes: int  # of their results on one device


def collectives(hlo: str) -> tuple[Collective, ...]:
    """Returns the collectives of a program, in the order of `KINDS`, from its compiled HLO as text."""
    found: dict[str, list[int]] = {}
    chains: set[tuple[str, str]] = set()
    for line in hlo.splitlines():
        if not any(kind in line for kind in KINDS):
            continue
        match = _COLLECTIVE.search(_LAYOUT.sub("", line))
        if not match:
            continue
        result, kind, start = match.groups()
        chain = _CHAIN.search(line)
        if chain:
            if (kind, chain[1]) in chains:
                continue
            chains.add((kind, chain[1]))
        arrays = _second(result) if start and kind in PAIRED else result
        found.setdefault(kind, []).append(_bytes(arrays))
    return tuple(Collective(kind, len(found[kind]), sum(found[kind])) for kind in KINDS if kind in found)


def _second(result: str) -> str:
    """The second part of a tuple `(operands, results, ...)`, whose parts may be tuples."""
    parts, depth, start = [], 0, 1
    for i, char in enumerate(result[:-1]):
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 1:
            parts.append(result[start:i])
            start = i + 1
    return [*parts, result[start:-1]][1]


def _bytes(arrays: str) -> int:
    total = 0
    for dtype, dims in _ARRAY.findall(arrays):
        size = _bits(dtype)
        for dim in dims.split(","):
            size *= int(dim) if dim else 1
        total += -(-size // 8)
    return total


def _bits(dtype: str) -> int:
    """The width of an element: the number in the name of its type, as in `bf16`; `token` has none."""
    width = dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
    return 8 if dtype == "pred" else int(width or 0)
