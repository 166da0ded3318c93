"""One function for each rule of the grammar: from the values of its symbols to a node of the tree.

Each accepts the Parsing `p` and the values of the rule's symbols, tokens or nodes, in order. `ACTIONS` maps the rule's
alias in `grammar/netdef.lark` to its function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import codes
from ..diagnostics import Related
from ..source import Span
from ..syntax import (
    Binary,
    Call,
    Conditional,
    Field,
    For,
    If,
    Import,
    Index,
    Interpolation,
    Let,
    ListValue,
    Message,
    Parameter,
    Reference,
    Scalar,
    Template,
    Text,
    Unary,
)
from . import literals
from .faults import SyntaxFault, missing_colon
from .tokens import Parsing, Token

new = tuple.__new__  # creates a NamedTuple in half the time, for the nodes of which a net has most


def simple_field(p: Parsing, text: str, start: int, end: int) -> Field:
    """The node of a fused `name: value`."""
    before, _, after = text.partition(":")
    name = before.rstrip()
    written = after.lstrip()
    at = end - len(written)
    source = p.source
    span = new(Span, (source, at, end, None))
    first = written[0]
    value: Any
    if first == '"' or first == "'":
        if "${" in written:
            value = interpolated_text(p, written, at)
        else:
            value = new(Scalar, ("string", literals.string(written, at), span))
    elif first.isalpha() or first == "_":
        value = new(Scalar, ("name", written, span))
    elif first == "-" and written[-1].isalpha() and (word := written[1:].lstrip())[0].isalpha():
        value = Scalar("float", literals.negative_word(word, at, end), span)
    else:
        found = literals.number(written, at)
        value = new(Scalar, ("int" if type(found) is int else "float", found, span))
    name_span = new(Span, (source, start, start + len(name), None))
    return new(Field, (name, value, name_span, new(Span, (source, start, end, None))))


def interpolated_text(p: Parsing, written: str, at: int) -> Any:
    """The node of one or several quoted strings that contain `${`: a Text, or a Scalar if each of these is `$${`."""
    parts: list[Any] = []
    for piece in literals.PIECE.finditer(written):
        begin, end = at + piece.start() + 1, at + piece.end() - 1
        for text, start, stop in literals.cut(p.source.text, begin, end):
            if text is None:
                parts.append(p.inner(start, stop))
            else:
                parts.append(literals.outside_code(text, start))
    span = Span(p.source, at, at + len(written))
    if all(isinstance(part, str) for part in parts):
        return Scalar("string", "".join(parts), span)
    p.plain = False
    return Text(tuple(parts), span)


# Fields and values


def no_fields(p: Parsing) -> list[Field]:
    return []


def add_field(p: Parsing, fields: list[Any], one: Any) -> list[Any]:
    fields.append(one)
    return fields


def first(p: Parsing, one: Any, *_: Any) -> Any:
    return one


def one(p: Parsing, item: Any) -> list[Any]:
    return [item]


def more(p: Parsing, items: list[Any], comma: Token, item: Any) -> list[Any]:
    items.append(item)
    return items


def add_string(p: Parsing, items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def named(p: Parsing, name: Token, value: Any) -> Field:
    span = Span(p.source, name.start, value.span.end)
    return Field(name.text, value, Span(p.source, name.start, name.end), span)


def field(p: Parsing, name: Token, colon: Token, value: Any) -> Field:
    return named(p, name, value)


def field_without_colon(p: Parsing, name: Token, value: Any) -> Field:
    if isinstance(value, ListValue) and not all(isinstance(item, Message) for item in value.items):
        raise missing_colon(name, "before a list of values")
    return named(p, name, value)


def block(p: Parsing, opener: Token, fields: list[Field], closer: Token) -> Field:
    message = Message(tuple(fields), Span(p.source, opener.end - 1, closer.end))
    name = opener.text[:-1].rstrip().removesuffix(":").rstrip()
    return Field(
        name, message, Span(p.source, opener.start, opener.start + len(name)), Span(p.source, opener.start, closer.end)
    )


def extension(p: Parsing, name: Token) -> Token:
    return name._replace(text="".join(name.text.split()))


def message(p: Parsing, opener: Token, fields: list[Field], closer: Token) -> Message:
    return Message(tuple(fields), Span(p.source, opener.start, closer.end))


def empty_list(p: Parsing, opener: Token, closer: Token) -> ListValue:
    return ListValue((), Span(p.source, opener.start, closer.end))


def list_value(p: Parsing, opener: Token, items: list[Any], closer: Token) -> ListValue:
    return ListValue(tuple(items), Span(p.source, opener.start, closer.end))


def number(p: Parsing, token: Token) -> Scalar:
    found = literals.number(token.text, token.start)
    return Scalar("int" if type(found) is int else "float", found, Span(p.source, token.start, token.end))


def negative_number(p: Parsing, minus: Token, token: Token) -> Scalar:
    kind, value, _ = number(p, token)
    assert not isinstance(value, str)
    return Scalar(kind, -value, Span(p.source, minus.start, token.end))


def word(p: Parsing, token: Token) -> Scalar:
    return Scalar("name", token.text, Span(p.source, token.start, token.end))


def negative_word(p: Parsing, minus: Token, token: Token) -> Scalar:
    value = literals.negative_word(token.text, minus.start, token.end)
    return Scalar("float", value, Span(p.source, minus.start, token.end))


def text(p: Parsing, tokens: list[Token]) -> Any:
    if any("${" in token.text for token in tokens):
        pieces = [interpolated_text(p, token.text, token.start) for token in tokens]
        parts = [part for piece in pieces for part in (piece.parts if isinstance(piece, Text) else (piece.value,))]
        span = Span(p.source, tokens[0].start, tokens[-1].end)
        plain = all(isinstance(piece, Scalar) for piece in pieces)
        return Scalar("string", "".join(map(str, parts)), span) if plain else Text(tuple(parts), span)
    value = "".join(literals.string(token.text, token.start) for token in tokens)
    return Scalar("string", value, Span(p.source, tokens[0].start, tokens[-1].end))


def field_named_else(p: Parsing, name: Token, value: Message) -> Field:
    return named(p, name, value)


# Statements


def import_file(p: Parsing, keyword: Token, tokens: list[Token]) -> Import:
    p.plain = False
    path = text(p, tokens)
    if isinstance(path, Text):
        detail = "The name of an imported file must be a plain string, without `${...}`."
        raise SyntaxFault(codes.BAD_IMPORT, path.span.start, path.span.end, detail)
    return Import(str(path.value), path.span, Span(p.source, keyword.start, path.span.end))


def let(p: Parsing, keyword: Token, value: Any) -> Let:
    p.plain = False
    name = keyword.text[:-1].split()[1]
    start = keyword.start + keyword.text.index(name, 4)
    return Let(name, value, Span(p.source, start, start + len(name)), Span(p.source, keyword.start, value.span.end))


def template(
    p: Parsing, keyword: Token, name: Token, _: Token, parameters: list[Parameter], close: Token, body: Message
):
    p.plain = False
    known: dict[str, Parameter] = {}
    for parameter in parameters:
        if (earlier := known.setdefault(parameter.name, parameter)) is not parameter:
            detail = f"The template `{name.text}` has two parameters with the name `{parameter.name}`."
            span, first_here = parameter.span, Related("first defined here", earlier.span)
            raise SyntaxFault(codes.DUPLICATE_NAME, span.start, span.end, detail, first_here)
    span, head = Span(p.source, keyword.start, body.span.end), Span(p.source, keyword.start, close.end)
    return Template(name.text, tuple(parameters), body, Span(p.source, name.start, name.end), head, span)


def template_without_parameters(p: Parsing, keyword: Token, name: Token, open: Token, close: Token, body: Message):
    return template(p, keyword, name, open, [], close, body)


def required_parameter(p: Parsing, name: Token) -> Parameter:
    return Parameter(name.text, None, Span(p.source, name.start, name.end))


def optional_parameter(p: Parsing, name: Token, colon: Token, default: Any) -> Parameter:
    return Parameter(name.text, default, Span(p.source, name.start, default.span.end))


def for_loop(p: Parsing, keyword: Token, name: Token, _: Token, values: Any, body: Message) -> For:
    p.plain = False
    head = Span(p.source, keyword.start, values.span.end)
    span = Span(p.source, keyword.start, body.span.end)
    return For(name.text, values, body, Span(p.source, name.start, name.end), head, span)


def if_else(p: Parsing, keyword: Token, test: Any, then: Message, _: Token | None = None, otherwise: Any = None) -> If:
    p.plain = False
    head = Span(p.source, keyword.start, test.span.end)
    return If(test, then, otherwise, head, Span(p.source, keyword.start, (otherwise or then).span.end))


def if_only(p: Parsing, keyword: Token, test: Any, then: Message) -> If:
    return if_else(p, keyword, test, then)


# Expressions


def interpolated(p: Parsing, opener: Token, expression: Any, closer: Token) -> Interpolation:
    p.plain = False
    return Interpolation(expression, Span(p.source, opener.start, closer.end))


def reference(p: Parsing, name: Token) -> Reference:
    return Reference(name.text, Span(p.source, name.start, name.end))


def parentheses(p: Parsing, opener: Token, expression: Any, closer: Token) -> Interpolation:
    return Interpolation(expression, Span(p.source, opener.start, closer.end))


def unary(p: Parsing, operator: Token, operand: Any) -> Unary:
    return Unary(operator.text, operand, Span(p.source, operator.start, operand.span.end))


def binary(p: Parsing, left: Any, operator: Token, right: Any) -> Binary:
    return Binary(operator.text, left, right, Span(p.source, left.span.start, right.span.end))


def conditional(p: Parsing, yes: Any, _: Token, test: Any, __: Token, no: Any) -> Conditional:
    return Conditional(yes, test, no, Span(p.source, yes.span.start, no.span.end))


def index(p: Parsing, value: Any, _: Token, at: Any, closer: Token) -> Index:
    return Index(value, at, Span(p.source, value.span.start, closer.end))


def call(p: Parsing, name: Token, _: Token, arguments: list[Any], closer: Token) -> Call:
    name_span = Span(p.source, name.start, name.end)
    return Call(name.text, tuple(arguments), name_span, Span(p.source, name.start, closer.end))


def call_without_arguments(p: Parsing, name: Token, opener: Token, closer: Token) -> Call:
    return call(p, name, opener, [], closer)


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action
    for action in (
        *(no_fields, add_field, first, one, more, add_string, field, field_without_colon, field_named_else, block),
        *(extension, message, empty_list, list_value, number, negative_number, word, negative_word, text),
        *(import_file, let, template, template_without_parameters, required_parameter, optional_parameter),
        *(for_loop, if_else, if_only, interpolated, reference, parentheses, unary, binary, conditional, index),
        *(call, call_without_arguments),
    )
}
