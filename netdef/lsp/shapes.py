"""Inlay hints: the shape of each top where it is written, and of what a template computes at its use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..graph import Net, Node
from ..shape import show
from .answers import templates
from .names import uses_of
from .page import Page

MOST = 3  # different shapes at one place, such as those of a loop


@dataclass(frozen=True)
class ShapeHint:
    """A text to show at an offset: the shape there, or the shapes of a loop, or those of the phases."""

    offset: int
    label: str
    detail: str


def shape_hints(page: Page, start: int, end: int) -> list[ShapeHint]:
    """Returns the shapes to show in a range of a text, in its order."""
    found: dict[int, dict[str, list[str]]] = {}
    names: dict[int, list[str]] = {}
    uses = {use.name_span.start: use.span.end for use in uses_of(page.document, templates(page))}
    for net in page.nets:
        for offset, blob, shape in (*_tops(page, net), *_results(page, net, uses)):
            if start <= offset <= end:
                shapes = found.setdefault(offset, {}).setdefault(net.phase.name, [])
                shapes.append(shape)
                names.setdefault(offset, []).append(blob)
    return [ShapeHint(offset, _label(found[offset]), _detail(names[offset])) for offset in sorted(found)]


def _tops(page: Page, net: Net) -> Iterator[tuple[int, str, str]]:
    """Yields (end of its name in the text, blob, shape) of the tops that are written in this text."""
    for node in net.layers:
        for i, value in enumerate(node.tops):
            span = node.layer.span_of("top", i) if node.layer.given("top") else None
            if span is not None and span.source is page.source and net.shapes.get(value) is not None:
                yield span.end, value.name, show(net.shapes[value])


def _results(page: Page, net: Net, uses: dict[int, int]) -> Iterator[tuple[int, str, str]]:
    """Yields (end of a use of a template, blob, shape) of the last top of the layers that it stands for."""
    made: dict[int, list[tuple[Node, bool]]] = {}  # with whether the use is in a loop or in another template
    for node in net.layers:
        span = node.layer.span
        while span is not None:
            if span.source is page.source and span.start in uses:
                made.setdefault(span.start, []).append((node, span.via is not None))
            span = span.via
    for start, nodes in made.items():
        last, repeated = nodes[-1]
        place = last.layer.span and last.layer.span[:2]
        same = [n for n, _ in nodes if n.layer.span and n.layer.span[:2] == place] if repeated else [last]
        for node in same:
            value = node.tops[0] if node.tops else None
            if value is not None and net.shapes.get(value) is not None:
                yield uses[start], value.name, show(net.shapes[value])


def _label(by_phase: dict[str, list[str]]) -> str:
    """`64x10`, `64x10, 64x20` in a loop, `64x10 (TRAIN), 100x10 (TEST)` where the phases differ."""
    texts = {phase: _some(shapes) for phase, shapes in by_phase.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{text} ({phase})" for phase, text in texts.items())


def _some(shapes: list[str]) -> str:
    different = list(dict.fromkeys(shapes))
    return ", ".join(different[:MOST]) + (", ..." if len(different) > MOST else "")


def _detail(blobs: list[str]) -> str:
    different = list(dict.fromkeys(blobs))
    return ", ".join(f"`{blob}`" for blob in different[:MOST]) + (", ..." if len(different) > MOST else "")
