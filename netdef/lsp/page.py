"""A compiled document: its tree, its net in each phase, and its diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..compiler import build_phases, decoded, expanded_tree
from ..graph import Net
from ..language import codes
from ..language.diagnostics import CompileError, Diagnostic, Report
from ..language.errors import NetdefError
from ..language.expansion.evaluate import Fault
from ..language.expansion.imports import MOST_FILES, find
from ..language.parsing.parser import parse
from ..language.source import Source, Span
from ..language.syntax import Document, Import, Let, Template
from ..language.trust import UNTRUSTED, Trust
from ..layers.base import Layer, Phase
from ..passes.solver_file import is_solver
from ..solvers.base import Solver
from ..solvers.decode import decode_solver
from .context import Index, index


class Names(NamedTuple):
    """The constants and templates that a file defines at its top level."""

    lets: tuple[Let, ...] = ()
    templates: tuple[Template, ...] = ()


@dataclass(frozen=True)
class Page:
    """A compiled document. `document` is None if it cannot be parsed; `layers` contains the layers of all phases."""

    source: Source
    document: Document | None = None
    layers: tuple[Layer, ...] = ()
    nets: tuple[Net, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    trust: Trust = UNTRUSTED
    solver: Solver | None = None

    @cached_property
    def is_solver(self) -> bool:
        """Whether the file is a solver file."""
        return self.document is not None and is_solver(self.document.body)

    @cached_property
    def index(self) -> Index:
        """Where the scan for the context of the cursor may begin."""
        return index(self.source.text)

    @cached_property
    def imported(self) -> Mapping[str, Names]:
        """What the imported files define, by their names in this file; each is read once, and only as many as an
        expansion reads. One that cannot be read defines nothing."""
        statements: dict[str, Import] = {}
        for item in self.document.body.fields if self.document else ():
            if isinstance(item, Import):
                statements.setdefault(item.path, item)
        return {path: _defined(item, self) for path, item in [*statements.items()][:MOST_FILES]}

    @cached_property
    def templates(self) -> Mapping[str, Template]:
        """The templates of the top level, including imported ones."""
        found: dict[str, Template] = {}
        for item in self.document.body.fields if self.document else ():
            if isinstance(item, Template):
                found[item.name] = item
            elif isinstance(item, Import):
                found.update((t.name, t) for t in self.imported.get(item.path, Names()).templates)
        return found

    def here(self, span: Span | None) -> Span | None:
        """Returns the span itself if it is in this file, or the use of a template that leads to it."""
        while span is not None and span.source is not self.source:
            span = span.via
        return span


def read(source: Source, trust: Trust = UNTRUSTED) -> Page:
    """Compiles a document. Never raises, whatever the source is."""
    report = Report()
    document = parse(source, report)
    if document is None:
        return Page(source, diagnostics=report.in_order(), trust=trust)
    try:
        tree = expanded_tree(document, report, trust=trust)
        if is_solver(tree.body):
            solver = decode_solver(tree.body, report)
            return Page(source, document, diagnostics=report.in_order(), trust=trust, solver=solver)
        parsed = decoded(tree, report)
        built = build_phases(dict.fromkeys(Phase, parsed))
    except (CompileError, NetdefError) as error:
        told = error.diagnostics if isinstance(error, CompileError) else report.in_order()
        return Page(source, document, diagnostics=told, trust=trust)
    return Page(source, document, parsed.program.layers, built.nets, built.diagnostics, trust, parsed.program.solver)


def _defined(statement: Import, page: Page) -> Names:
    try:
        document = parse(Source.read(find(statement, page.source.path, page.trust)), Report())
    except (Fault, NetdefError):
        return Names()
    fields = document.body.fields if document else ()
    return Names(
        tuple(item for item in fields if isinstance(item, Let)), tuple(i for i in fields if isinstance(i, Template))
    )


def refused(source: Source) -> Page:
    """The page of a text that is too long to be read while it is edited."""
    detail = f"This text has {len(source.text)} characters; the language server does not read so many."
    hint = "check it with `netdef check`"
    return Page(source, diagnostics=(Diagnostic(codes.TOO_MUCH, detail, Span(source, 0, 0), hint=hint),))


def blob_places(page: Page) -> Iterator[tuple[str, bool, Span]]:
    """Yields (name, whether it is a top, span) of every bottom and top that has a place in the source."""
    for layer in page.layers:
        for made, names in ((False, layer.bottom), (True, layer.top)):
            for i, name in enumerate(names):
                span = layer.span_of("top" if made else "bottom", i)
                if span is not None:
                    yield name, made, span
