"""The names that an expression can use, and the budget of an expansion."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import codes
from ..diagnostics import Related
from ..source import Source, Span
from ..syntax import Let, Message, Template
from .values import Fault, TooMuch

MOST_STEPS = 300_000  # of evaluation in one file; a net of a thousand layers needs about a tenth
MOST_FIELDS = 100_000  # produced by the expansion of one file


class Budget:
    """The steps and fields that one file may still use; raises `TooMuch` when they are exhausted. `folder` is that of
    the file, to which the paths that expressions name are relative."""

    def __init__(self, folder: Path | None = None) -> None:
        self.steps, self.fields, self.folder = MOST_STEPS, MOST_FIELDS, folder

    def step(self, span: Span, cost: int = 1) -> None:
        self.steps -= cost
        if self.steps < 0:
            raise TooMuch(codes.TOO_MUCH, span, f"The expansion takes more than {MOST_STEPS} steps.")

    def field(self, span: Span) -> None:
        self.fields -= 1
        if self.fields < 0:
            raise TooMuch(codes.TOO_MUCH, span, f"The file expands to more than {MOST_FIELDS} fields.")


UNKNOWN = object()  # the value of a name if its expression had an error


@dataclass(slots=True)
class Scope:
    """The names of a block and of the blocks around it; `places` maps each name to its definition."""

    outer: Scope | None = None
    values: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, tuple[Template, Scope]] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    source: Source | None = None  # of an imported file
    body: Message | None = None

    def define(self, name: str, place: Span, value: Any = None, template: tuple[Template, Scope] | None = None) -> None:
        """Defines a name. Raises Fault if this block has already defined it."""
        if name in self.places:
            earlier = self.places[name]
            if earlier == place and (template is None or self.templates.get(name, (None,))[0] is template[0]):
                return  # the same definition, imported twice
            detail = f"`{name}` is already defined."
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
        """The value of a name in a tuple of one element, or None if the name is unknown."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return (scope.values[name],)
            scope = scope.outer
        return None

    def later(self, name: str) -> Span | None:
        """Where a name is defined later in one of these blocks."""
        scope: Scope | None = self
        while scope is not None:
            for item in scope.body.fields if scope.body else ():
                if isinstance(item, Let) and item.name == name:
                    return item.name_span
            scope = scope.outer
        return None

    def names(self) -> list[str]:
        return list(self.values) + (self.outer.names() if self.outer else [])
