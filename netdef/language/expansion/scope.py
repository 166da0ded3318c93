"""The names that an expression sees, and what a file may cost to expand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import codes
from ..diagnostics import Related
from ..source import Source, Span
from ..syntax import Let, Message, Template
from .values import Fault, TooMuch

MOST_STEPS = 300_000  # of evaluation in one file; a net of a thousand layers takes about a tenth
MOST_FIELDS = 100_000  # that are written anew by templates and loops


class Budget:
    """What one file may still cost; `Fault` when it is used up."""

    def __init__(self) -> None:
        self.steps, self.fields = MOST_STEPS, MOST_FIELDS

    def step(self, span: Span, cost: int = 1) -> None:
        self.steps -= cost
        if self.steps < 0:
            raise TooMuch(codes.TOO_MUCH, span, f"Loops and expressions have taken {MOST_STEPS} steps.")

    def field(self, span: Span) -> None:
        self.fields -= 1
        if self.fields < 0:
            raise TooMuch(codes.TOO_MUCH, span, f"Loops and templates have made {MOST_FIELDS} fields.")


UNKNOWN = object()  # the value of a name whose expression was at fault


@dataclass(slots=True)
class Scope:
    """The names of a block, and those of the blocks around it; `places` tells where each was defined."""

    outer: Scope | None = None
    values: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, tuple[Template, Scope]] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    source: Source | None = None  # of an imported file
    body: Message | None = None

    def define(self, name: str, place: Span, value: Any = None, template: tuple[Template, Scope] | None = None) -> None:
        """Errors: a name that this block has already."""
        if name in self.places:
            earlier = self.places[name]
            if earlier == place and (template is None or self.templates.get(name, (None,))[0] is template[0]):
                return  # the same definition, imported twice
            detail = f"`{name}` is defined already."
            raise Fault(codes.DUPLICATE_NAME, place, detail, Related("first defined here", earlier))
        self.places[name] = place
        if template is None:
            self.values[name] = value
        else:
            self.templates[name] = template

    def template(self, name: str) -> tuple[Template, Scope] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.templates:
                return scope.templates[name]
            scope = scope.outer
        return None

    def value(self, name: str) -> tuple[Any] | None:
        """The value in a tuple of one, for it may be anything."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return (scope.values[name],)
            scope = scope.outer
        return None

    def later(self, name: str) -> Span | None:
        """Where a name is defined further down in one of these blocks."""
        scope: Scope | None = self
        while scope is not None:
            for item in scope.body.fields if scope.body else ():
                if isinstance(item, Let) and item.name == name:
                    return item.name_span
            scope = scope.outer
        return None

    def names(self) -> list[str]:
        return list(self.values) + (self.outer.names() if self.outer else [])
