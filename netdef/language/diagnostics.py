"""Errors, warnings and notes about the user's file, as values: collected here, printed by `render`.

A `Code` is one kind of error or warning with a fixed summary; a `Diagnostic` is one occurrence, with its place, the
values involved and what to do. Every stage adds to a `Report` and continues; `Report.stop_on_errors` ends the run where
the next stage cannot continue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .errors import LONGEST, NetdefError, brief
from .shown import Shown
from .source import Span

Severity = Literal["error", "warning", "note"]  # a note is information: nothing is wrong with the file


@dataclass(frozen=True)
class Code:
    """One kind of error or warning. `netdef explain CODE` prints `why` and two small files, `wrong` and `right`."""

    name: str  # kebab-case, as users see it: "unknown-field"
    severity: Severity
    summary: str  # a few fixed words, no variables: "Unknown field"
    why: str = ""
    wrong: str = ""
    right: str = ""


class Related(NamedTuple):
    """Another place that is relevant: `first defined here`."""

    message: str
    span: Span


@dataclass(frozen=True, repr=False)
class Diagnostic(Shown):
    """One error or warning at one place. `detail` is full sentences with names and values, `hint` what to type."""

    kind: Code
    detail: str
    span: Span | None = None
    related: tuple[Related, ...] = ()
    hint: str | None = None

    @property
    def code(self) -> str:
        return self.kind.name

    @property
    def severity(self) -> Severity:
        return self.kind.severity

    @property
    def message(self) -> str:
        return f"{self.kind.summary}: {self.detail}" if self.detail else self.kind.summary

    @property
    def file(self) -> str | None:
        return self.span.source.file if self.span else None

    @property
    def line(self) -> int | None:
        return self.span.line if self.span else None

    @property
    def column(self) -> int | None:
        return self.span.column if self.span else None

    @property
    def end(self) -> tuple[int, int] | None:
        """(line, column) just after the last character."""
        return self.span.source.position(self.span.end) if self.span else None

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        return f"{place}{self.severity}: {self.message} [{self.code}]"

    def __repr__(self) -> str:
        """One line, because its place refers to the whole file."""
        return f"<{self}>"


class Diagnostics(tuple[Diagnostic, ...], Shown):
    """The diagnostics of a file."""


class CompileError(NetdefError, Shown):
    """The net has errors; `diagnostics` contains all of them, and the warnings."""

    def __init__(self, diagnostics: Iterable[Diagnostic]):
        self.diagnostics = Diagnostics(diagnostics)
        errors = [d for d in self.diagnostics if d.severity == "error"]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{errors[0]}{more}" if errors else "the net has errors")

    def __reduce__(self) -> tuple[type[CompileError], tuple[Any]]:
        """Processes exchange it with its diagnostics, not with its message."""
        return type(self), (self.diagnostics,)


MOST_ERRORS = 100  # reported for one file; more would not help
MOST_WARNINGS = 200  # reported for one file, and as many notes


@dataclass
class Report:
    """Collects the diagnostics of a run, each once, in the order in which they were found.

    Raises CompileError when there are `MOST_ERRORS` errors."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known = set(self.diagnostics)  # a loop may report the same diagnostic a hundred thousand times
        self._errors = sum(d.severity == "error" for d in self.diagnostics)
        self._warnings = sum(d.severity == "warning" for d in self.diagnostics)
        self._notes = len(self.diagnostics) - self._errors - self._warnings
        self.errors_met = 0  # all calls, also for errors that were already known
        self.cause: BaseException | None = None  # what the code of a user raised, if this is the first error

    def add(self, code: Code, span: Span | None, detail: str = "", *related: Related, hint: str | None = None) -> None:
        if code.severity == "warning" and self._warnings >= MOST_WARNINGS:
            return
        if code.severity == "note" and self._notes >= MOST_WARNINGS:
            return
        related = tuple(Related(brief(message), place) for message, place in related)
        hint = None if hint is None or len(hint) > LONGEST else hint  # not shortened, because it is meant to be copied
        diagnostic = Diagnostic(code, brief(detail), span, related, hint)
        self.errors_met += code.severity == "error"
        if diagnostic in self._known:
            return
        self._known.add(diagnostic)
        self.diagnostics.append(diagnostic)
        self._errors += code.severity == "error"
        self._warnings += code.severity == "warning"
        self._notes += code.severity == "note"
        if self._errors >= MOST_ERRORS:
            raise CompileError(self.in_order())

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Adds diagnostics of another report."""
        for d in diagnostics:
            self.add(d.kind, d.span, d.detail, *d.related, hint=d.hint)

    @property
    def is_full(self) -> bool:
        """Whether no more warnings are kept."""
        return self._warnings >= MOST_WARNINGS

    @property
    def has_errors(self) -> bool:
        return self._errors > 0

    def stop_on_errors(self) -> None:
        """Raises CompileError if any diagnostic is an error."""
        if self.has_errors:
            raise CompileError(self.in_order()) from self.cause

    def in_order(self) -> Diagnostics:
        """The diagnostics sorted by place; those without a place come last."""
        far = (1, "", 0)
        key = lambda d: (0, d.span.source.name, d.span.start) if d.span else far
        return Diagnostics(sorted(self.diagnostics, key=key))
