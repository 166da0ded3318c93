"""A text as the compiler sees it: its tree, its net in each phase, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..compiler import build_phases, decoded, plain_tree
from ..graph import Net
from ..language.diagnostics import CompileError, Diagnostic, Report
from ..language.errors import NetdefError
from ..language.parsing.parser import parse
from ..language.source import Source, Span
from ..language.syntax import Document
from ..language.trust import UNTRUSTED, Trust
from ..layers.base import Layer, Phase
from ..passes.solver_file import is_solver
from ..solvers.decode import decode_solver


@dataclass(frozen=True)
class Page:
    """What is known of one text.  `document` is None where it cannot be parsed; `layers` are those of every phase."""

    source: Source
    document: Document | None = None
    layers: tuple[Layer, ...] = ()
    nets: tuple[Net, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    trust: Trust = UNTRUSTED

    @cached_property
    def is_solver(self) -> bool:
        """Whether the text is a solver by itself."""
        return self.document is not None and is_solver(self.document.body)

    def here(self, span: Span | None) -> Span | None:
        """The place in this text that a place stands for: itself, or the use of a template that led to it."""
        while span is not None and span.source is not self.source:
            span = span.via
        return span


def read(source: Source, trust: Trust = UNTRUSTED) -> Page:
    """The page of a text; never an error, whatever the text."""
    report = Report()
    document = parse(source, Report())
    try:
        tree = plain_tree(source, report, trust=trust)
        if is_solver(tree.body):
            decode_solver(tree.body, report)
            return Page(source, document, diagnostics=report.in_order(), trust=trust)
        parsed = decoded(tree, report)
        built = build_phases(dict.fromkeys(Phase, parsed))
    except (CompileError, NetdefError) as error:
        told = error.diagnostics if isinstance(error, CompileError) else report.in_order()
        return Page(source, document, diagnostics=told, trust=trust)
    return Page(source, document, parsed.program.layers, built.nets, built.diagnostics, trust)


def blob_places(page: Page) -> Iterator[tuple[str, bool, Span]]:
    """(name, whether it is made here, place) of every bottom and top, as far as they were written somewhere."""
    for layer in page.layers:
        for made, names in ((False, layer.bottom), (True, layer.top)):
            for i, name in enumerate(names):
                span = layer.span_of("top" if made else "bottom", i)
                if span is not None:
                    yield name, made, span
