"""Definitions and references of blobs, templates and constants; renaming of blobs; the outline of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..language.errors import NetdefError
from ..language.source import Source, Span
from ..language.syntax import Document, Field, For, If, Import, Let, ListValue, Message, Reference, Scalar, Template
from ..layers.base import Layer
from .answers import imported_lets, signature, templates
from .context import context
from .page import Page, blob_places, read

MOST_INSIDE = 200  # entries of a use of a template


@dataclass(frozen=True)
class Symbol:
    """An entry of the outline: `kind` is layer, solver, template, constant, import or branch (`for` and `if`, with the
    entries `inside`)."""

    name: str
    kind: str
    detail: str
    span: Span
    name_span: Span
    inside: tuple[Symbol, ...] = ()


def definition(page: Page, offset: int) -> list[Span]:
    """Returns where the name at the cursor is defined."""
    at = context(page.source.text, offset, page.index)
    if at.quoted:
        statement = next(
            (i for i in _statements(page.document) if isinstance(i, Import) and _holds(i.span, offset)), None
        )
        if statement is not None:
            return _file(page, statement)
        return _makers(page, at.word, at.start)
    if at.word in (used := templates(page)):
        return [used[at.word].name_span]
    return _defined(page, at.word, offset)


def _defined(page: Page, name: str, offset: int) -> list[Span]:
    """Returns the innermost definition of a constant, loop variable or argument that is in scope at an offset."""
    found: list[tuple[int, Span]] = []  # with the length of its scope
    for item in _statements(page.document):
        if isinstance(item, Let) and item.name == name:
            found.append((len(page.source.text), item.name_span))
        elif isinstance(item, For) and item.name == name and _holds(item.span, offset):
            found.append((item.span.end - item.span.start, item.name_span))
        elif isinstance(item, Template) and _holds(item.span, offset):
            size = item.span.end - item.span.start
            found += [(size, p.span) for p in item.parameters if p.name == name]
        elif isinstance(item, Import):
            found += [
                (2 * len(page.source.text), let.name_span) for let in imported_lets(page, item) if let.name == name
            ]
    return [min(found, key=lambda pair: pair[0])[1]] if found else []


def references(page: Page, offset: int) -> list[Span]:
    """Returns all uses of the name at the cursor in this page, and its definition."""
    at = context(page.source.text, offset, page.index)
    if at.quoted:
        return blob_strings(page, at.word)
    used = templates(page)
    if at.word in used:
        uses = [f.name_span for f in _fields(page.document) if f.name == at.word]
        own = used[at.word].name_span
        return _in_order([*uses, *([own] if own.source is page.source else [])])
    own = [span for span in _defined(page, at.word, offset) if span.source is page.source]
    return _in_order([*own, *(r.span for r in walk(page.document, Reference) if r.name == at.word)])


def rename(page: Page, offset: int, name: str) -> list[Span]:
    """Returns the quoted strings to replace by `name`, to rename the blob at the cursor.

    NetdefError if there is no blob at the cursor, or if the result would be a different net."""
    at = context(page.source.text, offset, page.index)
    places = blob_strings(page, at.word) if at.quoted else []
    if not places or not any(at.word in net.blobs for net in page.nets):
        raise NetdefError("only blobs can be renamed: place the cursor on the name of a bottom or top")
    if any(name in net.blobs for net in page.nets):
        raise NetdefError(f"a blob `{name}` already exists")
    if not name or any(c in name for c in "\"'\\\n$"):
        raise NetdefError(f"{name!r} is not a valid blob name")
    changed = replaced(page.source.text, places, f'"{name}"')
    after = read(Source(page.source.name, changed, page.source.path), page.trust)
    errors = lambda page: [d.code for d in page.diagnostics if d.severity == "error"]
    if errors(after) != errors(page) or [len(net.blobs) for net in after.nets] != [len(net.blobs) for net in page.nets]:
        raise NetdefError(f"`{at.word}` cannot be renamed here: a template composes its name")
    return places


def replaced(text: str, places: Iterable[Span], by: str) -> str:
    """Returns `text` with `by` in place of the given spans."""
    for span in sorted(places, key=lambda span: span.start, reverse=True):
        text = text[: span.start] + by + text[span.end :]
    return text


def blob_strings(page: Page, name: str) -> list[Span]:
    """Returns the strings of a page that name a blob: bottoms, tops and template arguments."""
    used = templates(page)
    found = []
    for inside, field in _strings(page.document.body if page.document else None, ()):
        if field.name in ("bottom", "top") or (inside and inside[-1] in used):
            items = field.value.items if isinstance(field.value, ListValue) else (field.value,)
            found += [v.span for v in items if isinstance(v, Scalar) and v.kind == "string" and v.value == name]
    return _in_order(found)


def outline(page: Page) -> list[Symbol]:
    """Returns layers, uses of templates, definitions and the solver, in the order of the source."""
    return _symbols(page.document.body, Uses(templates(page), made_by(page))) if page.document else []


class Uses(NamedTuple):
    """The templates of a page, and the layers that their uses stand for."""

    templates: Mapping[str, Template]
    layers: Mapping[int, list[Layer]]

    def inside(self, use: Field) -> tuple[Symbol, ...]:
        """The entries of the layers of a use, each layer of several phases or of a loop once."""
        layers = {layer.name: layer for layer in self.layers.get(use.name_span.start, ())}
        return tuple(Symbol(n, "layer", one.type, use.span, use.name_span) for n, one in layers.items())[:MOST_INSIDE]


def _symbols(body: Message, used: Uses) -> list[Symbol]:
    found = []
    for item in body.fields:
        if isinstance(item, Import):
            found.append(Symbol(item.path, "import", "", item.span, item.path_span))
        elif isinstance(item, Let):
            found.append(Symbol(item.name, "constant", item.value.span.text[:40], item.span, item.name_span))
        elif isinstance(item, Template):
            inside = tuple(_symbols(item.body, used))
            parameters = signature(item).removeprefix(item.name)
            found.append(Symbol(item.name, "template", parameters, item.span, item.name_span, inside))
        elif isinstance(item, For | If):
            found.append(_branch(item, used))
        elif item.name == "solver":
            found.append(Symbol("solver", "solver", "", item.span, item.name_span))
        elif isinstance(item.value, Message) and item.name in ("layer", "layers", *used.templates):
            kind = _text(item.value, "type") if item.name not in used.templates else item.name
            name = _text(item.value, "name") or _text(item.value, "id") or item.name
            found.append(Symbol(name, "layer", kind, item.span, item.name_span, used.inside(item)))
    return found


def _branch(item: For | If, used: Uses) -> Symbol:
    """Returns the entry of a `for` or `if`, with the entries inside."""
    bodies = [item.body] if isinstance(item, For) else [item.then]
    other = item.otherwise if isinstance(item, If) else None
    inside = [symbol for body in bodies for symbol in _symbols(body, used)]
    inside += [_branch(other, used)] if isinstance(other, If) else _symbols(other, used) if other else []
    return Symbol(" ".join(item.head.text.split()), "branch", "", item.span, item.head, tuple(inside))


def _text(message: Message, name: str) -> str:
    field = message.get(name) if all(isinstance(f, Field) for f in message.fields) else None
    return str(field.value.value) if field and isinstance(field.value, Scalar) else ""


def _makers(page: Page, name: str, start: int) -> list[Span]:
    """Returns where the blob that is visible at `start` is first output, by a layer or a use of a template."""
    made = [here for n, is_top, span in blob_places(page) if is_top and n == name and (here := page.here(span))]
    before = [span for span in made if span.start <= start]
    return _in_order(made)[:1] if not before else [min(before, key=lambda span: span.start)]


def _file(page: Page, statement: Import) -> list[Span]:
    from ..language.errors import NetdefError
    from ..language.expansion.evaluate import Fault
    from ..language.expansion.imports import find

    try:
        source = Source.read(find(statement, page.source.path, page.trust))
    except (Fault, NetdefError):
        return []
    return [Span(source, 0, 0)]


def _in_order(spans: Iterable[Span]) -> list[Span]:
    return sorted(dict.fromkeys(Span(s.source, s.start, s.end) for s in spans), key=lambda span: span.start)


def _holds(span: Span, offset: int) -> bool:
    return span.start <= offset <= span.end


def walk(node: Any, kind: type) -> Iterator[Any]:
    """Yields all nodes of a type in a tree; nodes are NamedTuples."""
    if isinstance(node, kind):
        yield node
    if isinstance(node, tuple) and not isinstance(node, Span):
        for part in node:
            yield from walk(part, kind)


def _statements(document: Document | None) -> Iterator[Any]:
    return walk(document.body if document else None, (Import, Let, For, If, Template))  # type: ignore[arg-type]


def _fields(document: Document | None) -> Iterator[Field]:
    return walk(document.body if document else None, Field)


def uses_of(document: Document | None, used: Mapping[str, Template]) -> Iterator[Field]:
    """Yields the uses of templates in a document."""
    return (field for field in _fields(document) if field.name in used and isinstance(field.value, Message))


def made_by(page: Page) -> dict[int, list[Layer]]:
    """Returns the layers that each use of a template in a page stands for, by the start of its name."""
    starts = {use.name_span.start for use in uses_of(page.document, templates(page))}
    found: dict[int, list[Layer]] = {}
    for layer in page.layers:
        span = layer.span
        while span is not None:
            if span.source is page.source and span.start in starts:
                found.setdefault(span.start, []).append(layer)
            span = span.via
    return found


def _strings(node: Any, inside: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
    """Yields the fields with a scalar or list value, and the names of the blocks around them."""
    if isinstance(node, Field):
        if isinstance(node.value, Message):
            yield from _strings(node.value, (*inside, node.name))
        else:
            yield inside, node
    elif isinstance(node, tuple) and not isinstance(node, Span):
        for part in node:
            yield from _strings(part, inside)
