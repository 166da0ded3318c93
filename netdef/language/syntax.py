"""The syntax tree: what was written, with the place of everything, and no opinion about what it means.

Messages hold fields in the order of the file.  NamedTuples rather than dataclasses: a ResNet has tens of thousands of
these nodes, and they are made three times as fast.
"""

from __future__ import annotations

from typing import NamedTuple

from .source import Source, Span


class Scalar(NamedTuple):
    """One value: `num_output: 20`.  `kind` is int, float, string or name (a bare word: true, MAX, inf)."""

    kind: str
    value: int | float | str
    span: Span


class ListValue(NamedTuple):
    """`[1, 2]`, the short form of a repeated field; elements may be scalars or messages."""

    items: tuple[Value, ...]
    span: Span


class Message(NamedTuple):
    """`{ ... }`; for a whole file, everything in it."""

    fields: tuple[Field, ...]
    span: Span

    def all(self, name: str) -> list[Field]:
        """The fields of this name, in order."""
        return [f for f in self.fields if f.name == name]

    def get(self, name: str) -> Field | None:
        """The last field of this name."""
        found = self.all(name)
        return found[-1] if found else None


class Field(NamedTuple):
    """`name: value`; `name_span` covers the name, `span` the whole."""

    name: str
    value: Value
    name_span: Span
    span: Span


Value = Scalar | ListValue | Message


class Comment(NamedTuple):
    """`# text`, with its mark and without the end of line."""

    text: str
    span: Span


class Document(NamedTuple):
    """A parsed file: its message, its comments in order (the formatter puts them back), and its text."""

    body: Message
    comments: tuple[Comment, ...]
    source: Source
