"""The syntax tree: what was written, with the place of everything, independent of its meaning.

Messages contain fields in the order of the file. The nodes are NamedTuples because a ResNet has tens of thousands of
them, and creating dataclasses takes three times as long.
"""

from __future__ import annotations

from typing import NamedTuple

from .source import Source, Span


class Scalar(NamedTuple):
    """One value: `num_output: 20`. `kind` is int, float, string or name (an unquoted word: true, MAX, inf)."""

    kind: str
    value: int | float | str
    span: Span


class ListValue(NamedTuple):
    """`[1, 2]`, the short form of a repeated field; elements may be scalars or messages."""

    items: tuple[Value, ...]
    span: Span


class Message(NamedTuple):
    """`{ ... }`, or the contents of a whole file."""

    fields: tuple[Field, ...]
    span: Span

    def all(self, name: str) -> list[Field]:
        """The fields with this name, in order; the statements of a message that is not expanded are not fields."""
        return [f for f in self.fields if type(f) is Field and f.name == name]

    def get(self, name: str) -> Field | None:
        """The last field with this name, or None."""
        for field in reversed(self.fields):
            if type(field) is Field and field.name == name:
                return field
        return None


class Field(NamedTuple):
    """`name: value`; `name_span` covers the name, `span` the whole."""

    name: str
    value: Value
    name_span: Span
    span: Span


Value = Scalar | ListValue | Message


class Comment(NamedTuple):
    """`# text`, including the `#` but not the line end."""

    text: str
    span: Span


class Document(NamedTuple):
    """A parsed file: its message, its comments in order (for the formatter), and its source.

    If `plain`, there are only fields. Otherwise the fields of messages may also be the statements defined below, and
    values may be an `Interpolation` or a `Text`; the expander turns all of these into plain fields.
    """

    body: Message
    comments: tuple[Comment, ...]
    source: Source
    plain: bool = True


# Expressions: in `${...}`, after `let`, `if` and `in`, and as a default. They may also be elements of a ListValue.


class Reference(NamedTuple):
    """`width`, a name that `let`, a loop or a template's parameters define; or a word such as true or MAX."""

    name: str
    span: Span


class Unary(NamedTuple):
    """`-x`, `not x`."""

    operator: str
    operand: Expression
    span: Span


class Binary(NamedTuple):
    """`x + y`, `x < y`, `x and y`."""

    operator: str
    left: Expression
    right: Expression
    span: Span


class Conditional(NamedTuple):
    """`yes if test else no`."""

    yes: Expression
    test: Expression
    no: Expression
    span: Span


class Index(NamedTuple):
    """`x[i]`."""

    value: Expression
    index: Expression
    span: Span


class Call(NamedTuple):
    """`len(x)`; `name_span` covers the function's name."""

    function: str
    arguments: tuple[Expression, ...]
    name_span: Span
    span: Span


class Text(NamedTuple):
    """`"conv${i}"`: a string as alternating literal parts and expressions."""

    parts: tuple[str | Expression, ...]
    span: Span


class Interpolation(NamedTuple):
    """`${x}`."""

    expression: Expression
    span: Span


Expression = Scalar | ListValue | Reference | Unary | Binary | Conditional | Index | Call | Text | Interpolation


# Statements: what may occur among fields.


class Import(NamedTuple):
    """`import "blocks.net"`."""

    path: str
    path_span: Span
    span: Span


class Let(NamedTuple):
    """`let width: 64`."""

    name: str
    value: Expression
    name_span: Span
    span: Span


class Parameter(NamedTuple):
    """`kernel: 3` in the head of a template; it is required if it has no default."""

    name: str
    default: Expression | None
    span: Span


class Template(NamedTuple):
    """`template conv(name, kernel: 3) { ... }`; `head` ends before the brace."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Message
    name_span: Span
    head: Span
    span: Span


class For(NamedTuple):
    """`for i in range(3) { ... }`."""

    name: str
    values: Expression
    body: Message
    name_span: Span
    head: Span
    span: Span


class If(NamedTuple):
    """`if test { ... } else { ... }`; `otherwise` is the other block, another If, or None."""

    test: Expression
    then: Message
    otherwise: Message | If | None
    head: Span
    span: Span


Statement = Import | Let | Template | For | If
