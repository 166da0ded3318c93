"""Divides a net into segments whose values the backward pass computes again instead of storing them.

    recompute: AUTO                   # segments that need little memory, see `automatic`
    recompute: "residual_bottleneck"  # each use of this template is a segment
    recompute: "inception_(..)/.*"    # consecutive layers with these names: a segment for each value of the groups

The layers of a segment are consecutive and have the same number in `Node.segment`. Of their values, only those that
other layers use are stored.

Source: T. Chen, B. Xu, C. Zhang, C. Guestrin, Training deep nets with sublinear memory cost, 2016.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from ..graph import Net, Node, Value
from ..language.errors import NetdefError
from ..language.source import Span
from ..language.spelling import suggestion
from ..shape import count, known

AUTO = "AUTO"
BYTES = 4  # of a value; the segments do not depend on it
MOST_COMPARED = 500_000  # layers of all divisions that AUTO compares; a net of 4,000 layers has fewer


def recomputed(net: Net, wanted: Sequence[str]) -> Net:
    """The net with the segments that `wanted` selects: AUTO, or regular expressions for the whole name of layers or
    templates. Raises NetdefError for a pattern that selects nothing."""
    if not wanted:
        return net
    if AUTO in wanted and len(wanted) > 1:
        others = ", ".join(f'"{other}"' for other in wanted if other != AUTO)
        raise NetdefError(f"`recompute` is AUTO and also {others or AUTO}; give either AUTO alone, or patterns.")
    marks = automatic(net) if AUTO in wanted else _matching(net, wanted)
    layers = zip(net.layers, _numbered(marks), strict=True)
    return replace(net, layers=tuple(node.but(segment=number) for node, number in layers))


def segment_of(node: Node) -> int | None:
    """The number of the segment of a layer; None if it has none, or if nothing is computed backward in it, because then
    nothing is stored for it."""
    return node.segment if _works_backward(node) else None


def segments_of(net: Net) -> list[list[Node]]:
    """The layers of each segment, in order."""
    return [list(nodes) for number, nodes in groupby(net.layers, segment_of) if number is not None]


def crossing(net: Net, nodes: Sequence[Node]) -> tuple[list[Value], list[Value]]:
    """The values of other layers that these layers use, and the values of these that others use or that are outputs of
    the net."""
    inside = {node.name for node in nodes}
    made = {top: None for node in nodes for top in node.tops}
    entering = {v: None for node in nodes for v in node.bottoms if v not in made}
    return list(entering), [v for v in made if not inside.issuperset(_names(net.consumers[v]))]


def _names(consumers: Sequence[Node]) -> list[str]:
    return [node.name for node in consumers] or [""]  # an output of the net is used outside of it


def _works_backward(node: Node) -> bool:
    return any(node.trained) or any(node.reached)


def _suits(node: Node) -> bool:
    """Whether a layer can be computed twice, and has something to store. Excluded are data, metrics, layers without
    tops, which write files, layers that run a user's code, and layers with a gradient from values of later layers."""
    layer = node.layer
    return bool(node.bottoms and node.tops) and not (
        layer.is_input or layer.is_metric or layer.runs_module is not None or node.overwritten
    )


def _numbered(marks: Sequence[Hashable]) -> Iterator[int | None]:
    """A number for each run of equal marks; None where there is no mark."""
    number = 0
    for mark, run in groupby(marks):
        yield from (None if mark is None else number for _ in run)
        number += mark is not None


# By pattern


def _matching(net: Net, patterns: Sequence[str]) -> list[Hashable]:
    """A mark for each layer: equal for the layers of one use of a template, or of one value of the groups."""
    marks: list[Hashable] = [None] * len(net.layers)
    for k, pattern in enumerate(patterns):
        expression = _expression(pattern)
        found = {i: mark for i, node in enumerate(net.layers) if (mark := _mark(node, expression)) is not None}
        suitable = [i for i in found if _suits(net.layers[i])]
        if not suitable:
            raise NetdefError(_nothing(net, pattern, [net.layers[i].name for i in found]))
        for i in suitable:
            marks[i] = (k, found[i]) if marks[i] is None else marks[i]
    return marks


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise NetdefError(f'`recompute: "{pattern}"` is not a regular expression: {error}.') from error


def by_layers(net: Net, patterns: Sequence[str]) -> list[str]:
    """Patterns that select the same segments in a net whose templates are expanded, where only layers have names: each
    pattern that matches a template is replaced by the names of the layers, one pattern for each use."""
    if AUTO in patterns:
        return list(patterns)
    found: list[str] = []
    for pattern in patterns:
        marks: dict[Hashable, list[str]] = {}
        expression = _expression(pattern)
        for node in net.layers:
            if (mark := _mark(node, expression)) is not None:
                marks.setdefault(mark, []).append(re.escape(node.name))
        by_name = all(isinstance(mark, tuple) for mark in marks)
        found += [pattern] if by_name else ["|".join(names) for names in marks.values()]
    return found


def _nothing(net: Net, pattern: str, matched: Sequence[str]) -> str:
    """The message for a pattern that selects nothing, though it may have matched layers."""
    if matched:
        return (
            f'`recompute: "{pattern}"` matches only layers that cannot be recomputed, such as `{matched[0]}`: data, '
            "metrics, layers without a top, or Python layers. Select other layers."
        )
    templates = dict.fromkeys(use.text for node in net.layers for use in _uses(node))
    meant = suggestion(pattern, [*(node.name for node in net.layers), *templates])
    return (
        f'no layer and no template of the net matches `recompute: "{pattern}"`.{meant} A pattern is a regular '
        "expression that must match the whole name."
    )


def _mark(node: Node, expression: re.Pattern[str]) -> Hashable:
    """What the layers of one segment have in common: the outermost use of a template that matches, or the groups of
    their names; None if nothing matches."""
    for use in reversed(_uses(node)):
        if expression.fullmatch(use.text):
            return id(use)  # one object for each use: uses in a loop have equal spans
    match = expression.fullmatch(node.name)
    return match.groups() if match else None


def _uses(node: Node) -> list[Span]:
    """The places of the template names that produced a layer, the innermost first; loops are left out."""
    found, via = [], node.span.via if node.span else None
    while via is not None:
        if via.text.isidentifier():
            found.append(via)
        via = via.via
    return found


# Automatic


class _Sizes(NamedTuple):
    """Bytes of a net: of the values of each layer that are stored for the backward pass; before each layer, of the
    values that it or a later layer uses; and each value as (its layer, the last layer that uses it, bytes)."""

    layers: list[int]
    alive: list[int]
    values: list[tuple[int, int, int]]


def automatic(net: Net) -> list[Hashable]:
    """A mark for each layer: None, or the first layer of its segment.

    For k = 1, 2, ... to twice the square root of the number of layers, or fewer for more than 4,000 layers, these are
    divided into segments of at most 1/k of all bytes, such that the values alive at their borders have the fewest
    bytes. Of these divisions, the one with the smallest sum of stored bytes and bytes of its largest segment is used,
    and the smallest k in case of ties. The last segment is stored, because its values are needed at once, and so is one
    whose values are all used by other layers."""
    sizes, stretches = _sizes(net), _stretches(net)
    total = sum(sizes.layers)
    most = min(2 * int(len(net.layers) ** 0.5), MOST_COMPARED // max(len(net.layers), 1)) + 1
    ends = [[0, *accumulate(sum(sizes.layers[i:j]) for i, j in pairwise(borders))] for borders in stretches]
    divided = (
        [s for borders, sums in zip(stretches, ends, strict=True) for s in _divided(sizes, borders, sums, total / k)]
        for k in range(1, most)
    )
    best = min((segments[:-1] for segments in divided), key=lambda segments: _needed(sizes, segments), default=[])
    inside = {i: segment for segment in best for i in segment}
    saving = {inside[i] for i, last, _ in sizes.values if i in inside and last < inside[i].stop}
    marks: list[Hashable] = [None] * len(net.layers)
    for segment in best:
        if segment in saving:  # otherwise all its values are stored in any case
            marks[segment.start : segment.stop] = [segment.start] * len(segment)
    return marks


def _sizes(net: Net) -> _Sizes:
    at = {node.name: i for i, node in enumerate(net.layers)}
    layers, values = [0] * len(net.layers), []
    change = [0] * (len(net.layers) + 1)
    for i, node in enumerate(net.layers):
        for top in node.tops if _works_backward(node) else ():
            shape = net.shapes.get(top)
            size = BYTES * count(shape) if shape is not None and known(shape) else 0
            last = max((at[user.name] for user in net.consumers[top]), default=len(net.layers))
            layers[i] += size
            values.append((i, last, size))
            change[i + 1] += size
            if last + 1 <= len(net.layers):
                change[last + 1] -= size
    return _Sizes(layers, list(accumulate(change)), values)


def _stretches(net: Net) -> list[list[int]]:
    """The possible borders in each maximal range of layers that can be in one segment, from its first layer to the one
    after its last. There is none between a layer and those that work in place on its top."""
    marks = [True if _suits(node) and _works_backward(node) else None for node in net.layers]
    runs = [[i for i, _ in run] for n, run in groupby(enumerate(_numbered(marks)), lambda x: x[1]) if n is not None]
    in_place = [not {v.name for v in node.tops}.isdisjoint(v.name for v in node.bottoms) for node in net.layers]
    return [[run[0], *(i for i in run[1:] if not in_place[i]), run[-1] + 1] for run in runs]


def _divided(sizes: _Sizes, borders: Sequence[int], ends: Sequence[int], limit: float) -> list[range]:
    """Segments of at most `limit` bytes, or between two adjacent borders, with the fewest bytes alive at their borders;
    they are as long as possible in case of ties. `ends` are the bytes before each border."""
    cost = [0]  # for each border: of the best borders before it, and of itself
    back = [0]  # for each border: the one before it
    window: deque[int] = deque()  # the borders that a segment can begin at, with increasing costs
    for j in range(1, len(borders)):
        while window and cost[window[-1]] > cost[j - 1]:
            window.pop()
        window.append(j - 1)
        while (first := window[0]) < j - 1 and ends[j] - ends[first] > limit:
            window.popleft()
        back.append(first)
        cost.append(cost[first] + sizes.alive[borders[j]])
    found, j = [], len(borders) - 1
    while j:
        found.append(range(borders[back[j]], borders[j]))
        j = back[j]
    return found[::-1]


def _needed(sizes: _Sizes, segments: Sequence[range]) -> int:
    """The bytes that are stored, and those of the largest part that is in memory while its gradient is computed."""
    end = [0] * len(sizes.layers)
    for segment in segments:
        end[segment.start : segment.stop] = [segment.stop] * len(segment)
    stored = sum(size for i, last, size in sizes.values if last >= end[i])
    return stored + max((sum(sizes.layers[i] for i in segment) for segment in segments), default=0)
