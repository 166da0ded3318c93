"""The page of a net: its diagram in each phase, facts about each layer, explanations and diagnostics.

The diagram has all boxes and frames; the page folds them itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..compiler import Phases
from ..fillers import Filler
from ..graph import Net, Node
from ..inspect import draw, explain
from ..inspect.summary import Row, Summary, size, summarize
from ..language.diagnostics import Diagnostic
from ..language.expansion.imports import LIBRARY
from ..language.render import uses
from ..language.source import Span
from ..schema import Block
from ..shape import show

MOST_LINES = 16  # of a layer's source that are shown
NEAR = 120  # characters on each side of a mark
MOST_VALUES = 12  # of a repeated field that are shown
BESIDE = ("name", "type", "bottom", "top")  # fields that the page shows in other places


@dataclass(frozen=True)
class Place:
    """Lines of a source: of a layer, or of the use of a template that contains it."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Fact:
    """A name and its value."""

    name: str
    value: str


@dataclass(frozen=True)
class LayerFacts:
    """What the page shows of a layer; numbers are strings, `?` if unknown."""

    name: str
    type: str
    family: str
    words: str
    bottoms: tuple[Fact, ...]
    tops: tuple[Fact, ...]
    weights: tuple[str, ...]
    facts: tuple[Fact, ...]
    fields: tuple[Fact, ...]
    places: tuple[Place, ...]  # its source, then the uses of templates, the innermost first
    faulty: bool  # whether its fields have errors, which may be those of a constant


@dataclass(frozen=True)
class Frame:
    """A frame of the diagram; `inside` is the key of the frame around it, or empty."""

    key: str
    template: str
    title: str
    inside: str


@dataclass(frozen=True)
class Box:
    """A box of the diagram; `frame` is the key of its innermost frame, or empty."""

    key: str
    title: str
    lines: tuple[str, ...]
    family: str
    frame: str
    parameters: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Diagram:
    """The net of one phase."""

    phase: str
    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    arrows: tuple[draw.Arrow, ...]
    loose: dict[str, str]
    layers: tuple[LayerFacts, ...]
    totals: tuple[str, ...]


@dataclass(frozen=True)
class Mark:
    """A marked part of a source line, and the text before and after it."""

    where: str
    before: str
    marked: str
    after: str


@dataclass(frozen=True)
class Fault:
    """A diagnostic, with its place and the uses of templates that lead to it."""

    severity: str
    code: str
    summary: str
    detail: str
    hint: str
    marks: tuple[Mark, ...]
    layers: tuple[str, ...]  # those whose source contains it


@dataclass(frozen=True)
class NetPage:
    """The page of a file.  `error` is set if the file cannot be read."""

    kind: str
    title: str
    file: str
    diagrams: tuple[Diagram, ...]
    faults: tuple[Fault, ...]
    types: dict[str, explain.Entry]
    error: str = ""
    stale: bool = False  # the diagrams are those before the file had errors
    partial: bool = False  # the diagrams show what can be read of a file with errors

    @property
    def drawn(self) -> bool:
        return bool(self.diagrams)


def net_page(name: str, loaded: Phases) -> NetPage:
    """Returns the page of a file.  If it has errors, its diagrams show the layers that can be read."""
    partial = any(d.severity == "error" for d in loaded.diagnostics)
    nets = tuple(replace(net, solver=None) for net in loaded.nets if net.layers) if partial else loaded.nets
    types = dict.fromkeys(node.type for net in nets for node in net.layers)
    entries = {kind: found[0] for kind in types if (found := explain.find(kind))}
    title = next((net.name for net in nets if net.name), "") or Path(name).stem
    faults = tuple(_fault(d, loaded.nets) for d in loaded.diagnostics)
    return NetPage("net", title, name, tuple(map(diagram, nets)), faults, entries, partial=partial and bool(nets))


def diagram(net: Net) -> Diagram:
    """Returns the diagram of a net and the facts of its layers."""
    drawn, summary = draw.picture(net), summarize(net)
    frames = dict.fromkeys(frame for box in drawn.boxes for frame in draw.around(box.frame))
    return Diagram(
        net.phase.name,
        tuple(
            Box(b.key, b.title, b.lines, b.family, b.frame.key if b.frame else "", b.parameters, b.names)
            for b in drawn.boxes
        ),
        tuple(Frame(f.key, f.template, f.title, f.inside.key if f.inside else "") for f in frames),
        drawn.arrows,
        drawn.loose,
        tuple(_layer(net, node, row) for node, row in zip(net.layers, summary.rows, strict=True)),
        tuple(_totals(summary)),
    )


def _totals(summary: Summary) -> Iterator[str]:
    """Yields the totals of a net; those of which nothing is known are missing."""
    yield f"{len(summary.rows):,} layers"
    least = "" if summary.complete else "at least "
    if summary.parameters or summary.complete:
        yield summary.counted
    if summary.multiply_adds or summary.complete:
        yield f"{least}{summary.multiply_adds:,} multiply-adds"
    if summary.activations or summary.complete:
        yield f"{least}{size(summary.activations)} of activations"


def _layer(net: Net, node: Node, row: Row) -> LayerFacts:
    blobs = lambda values: tuple(Fact(str(value), show(net.shapes.get(value))) for value in values)
    counted = {"parameters": row.parameters, "multiply-adds": row.multiply_adds}
    facts = [Fact(name, "?" if n is None else f"{n:,}") for name, n in counted.items() if n != 0]
    if row.activations != 0:
        facts.append(Fact("output memory", "?" if row.activations is None else size(row.activations)))
    if row.dtype:
        facts.append(Fact("dtype", f"{row.dtype}, because {row.float32}" if row.float32 else row.dtype))
    return LayerFacts(
        node.name,
        node.type,
        row.family,
        draw.words(node.layer),
        blobs(node.bottoms),
        blobs(node.tops),
        tuple(show(shape) for shape in row.weights),
        tuple(facts),
        tuple(given_fields(node.layer)),
        tuple(_places(node.span)),
        node.layer.faulty,
    )


def given_fields(block: Block, above: str = "") -> Iterator[Fact]:
    """Yields the fields that the file gives, those in blocks as `convolution_param.num_output`."""
    for attribute, spec in block.params().items():
        if not block.given(attribute) or (not above and spec.name in BESIDE):
            continue
        value, name = getattr(block, attribute), f"{above}{spec.name}"
        values = value if isinstance(value, tuple) else (value,)
        blocks = [v for v in values if isinstance(v, Block) and not isinstance(v, Filler)]
        for i, inner in enumerate(blocks):
            own = list(given_fields(inner, f"{name}[{i}]." if len(blocks) > 1 else f"{name}."))
            yield from own or [Fact(name, "{ }")]
        if not blocks:
            more = f", ... ({len(values)} values)" if len(values) > MOST_VALUES else ""
            yield Fact(name, ", ".join(map(explain.show_value, values[:MOST_VALUES])) + more)


def _places(span: Span | None) -> Iterator[Place]:
    if span is None:
        return
    for place in (span, *uses(span)):
        yield Place(name_of(place), place.line, lines_of(place))


def name_of(span: Span) -> str:
    """Returns the name of a source; of the library, as it is imported, because a page may be sent to others."""
    path = span.source.path
    inside = path is not None and path.is_relative_to(LIBRARY)
    return f"std/{path.relative_to(LIBRARY).as_posix()}" if path is not None and inside else span.source.name


def lines_of(span: Span) -> str:
    """Returns the source lines of a span, without their common indentation."""
    last = span.source.position(max(span.start, span.end - 1))[0]
    lines = [span.source.line(n) for n in range(span.line, min(last, span.line + MOST_LINES - 1) + 1)]
    lines += ["..."] if last - span.line >= MOST_LINES else []
    return textwrap.dedent("\n".join(lines))


def _fault(diagnostic: Diagnostic, nets: Sequence[Net]) -> Fault:
    span = diagnostic.span
    return Fault(
        diagnostic.severity,
        diagnostic.code,
        diagnostic.kind.summary,
        diagnostic.detail,
        diagnostic.hint if diagnostic.hint and diagnostic.hint not in diagnostic.detail else "",
        tuple(mark_of(place) for place in (span, *uses(span)) if place is not None),
        tuple(dict.fromkeys(node.name for net in nets for node in net.layers if _holds(node.span, span))),
    )


def mark_of(span: Span) -> Mark:
    """Returns the first line of a span with its marked part; a long line is cut around it."""
    line, start = span.source.line(span.line), span.column - 1
    end = max(start, min(start + span.end - span.start, len(line)))
    before, marked, after = line[:start].lstrip(), line[start:end], line[end:].rstrip()
    before = f"...{before[-NEAR:]}" if len(before) > NEAR else before
    marked = f"{marked[:NEAR]}..." if len(marked) > NEAR else marked
    where = f"{name_of(span)}:{span.line}:{span.column}"
    return Mark(where, before, marked, f"{after[:NEAR]}..." if len(after) > NEAR else after)


def _holds(layer: Span | None, span: Span | None) -> bool:
    """Whether a diagnostic is in a layer as it was expanded.  Of a file with syntax errors, the source of the layers is
    another one, with the same lines."""
    if layer is None or span is None or layer.via != span.via:
        return False
    if layer.source is span.source:
        return layer.start <= span.start and span.end <= layer.end
    last = layer.source.position(max(layer.start, layer.end - 1))[0]
    return layer.source.name == span.source.name and layer.line <= span.line <= last


def sources_of(loaded: Phases) -> set[Path]:
    """Returns the files of which a net was made, and those with diagnostics."""
    spans: Iterable[Any] = (
        *(node.span for net in loaded.nets for node in net.layers),
        *(diagnostic.span for diagnostic in loaded.diagnostics),
    )
    return {
        place.source.path
        for span in spans
        if span is not None
        for place in (span, *uses(span))
        if place.source.path is not None
    }
