"""Text to tree: runs the LALR tables of `grammar/netdef.lark` over a source.

Takes a `Source`; gives a `Document`, or None with the syntax errors in the report.  What fields mean, others know.

The loop in `Parsing.run` is the textbook's: read a token in the mode of the present state, reduce rules as long as the
table says so, shift the token.  Each rule is one function below, found by the rule's alias in the grammar; it gets the
values of the rule's symbols and gives that of the whole.  Fused terminals (a whole `name: value`) become nodes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import codes, literals, mistakes, tables
from .diagnostics import Report
from .literals import SyntaxFault
from .source import Source, Span
from .syntax import Comment, Document, Field, ListValue, Message, Scalar

MOST_FAULTS = 20  # of syntax in one file; more help nobody
DEEPEST = 100  # levels of blocks and lists, each of which holds at least two states on the stack


class Token(NamedTuple):
    """A terminal that is not a node by itself."""

    kind: str
    text: str
    start: int
    end: int


def parse(source: Source, report: Report) -> Document | None:
    """The tree of a text, or None if it has syntax errors, which are added to the report."""
    at: int | None = 0
    while at is not None:
        parsing = Parsing(source)
        try:
            fields = parsing.run(at)
        except SyntaxFault as fault:
            if at and fault.code is codes.UNMATCHED_CLOSE:
                return None  # it belongs to the block whose beginning was skipped
            report.add(fault.code, Span(source, fault.start, fault.end), fault.detail, *fault.related, hint=fault.hint)
            at = mistakes.resumption(parsing, fault) if len(report.diagnostics) < MOST_FAULTS else None
        else:
            if at:
                return None
            body = Message(tuple(fields), Span(source, 0, len(source.text)))
            return Document(body, tuple(parsing.comments), source)
    return None


class Parsing:
    """One run of the tables over one source: the stacks, and the comments met on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.comments: list[Comment] = []
        self.tables = tables.load()
        self.states = [self.tables.start]
        self.values: list[Any] = []

    def run(self, at: int = 0) -> list[Any]:
        """The fields from offset `at` to the end of the text."""
        text, states, values = self.source.text, self.states, self.values
        scan, modes = self.tables.scan, self.tables.modes
        actions, rules = self.tables.actions, self.tables.rules
        make = [ACTIONS[rule.action] if rule.action else None for rule in rules]
        while True:
            match = scan[modes[states[-1]]](text, at)
            if match is None:
                raise mistakes.explain(self, at)
            kind = match.lastgroup or ""
            start, end = match.span(kind)
            if kind == "COMMENT":
                self.comments.append(Comment(match[kind].rstrip("\r"), Span(self.source, start, end)))
                at = end
                continue
            if kind == "END":
                kind = "$END"
            while (action := actions[states[-1]].get(kind)) is not None and action < 0:
                rule = rules[-1 - action]
                if rule.makes == "start":
                    return values[-1]
                if act := make[-1 - action]:
                    first = len(values) - rule.length
                    made = act(self, *values[first:])
                    del states[first + 1 :], values[first:]
                    values.append(made)
                    states.append(actions[states[-1]][rule.makes])
                else:  # a rule of one symbol, which stands for it
                    states[-1] = actions[states[-2]][rule.makes]
            if action is None:
                raise mistakes.explain(self, at)
            if kind == "FIELD":
                values.append(simple_field(self.source, match[kind], start, end))
            else:
                values.append(Token(kind, match[kind], start, end) if kind != "$END" else None)
                if len(states) > 2 * DEEPEST and (fault := mistakes.too_deep(self, DEEPEST)):
                    raise fault
            states.append(action)
            at = end


def simple_field(source: Source, text: str, start: int, end: int) -> Field:
    """The node of a fused `name: value`."""
    before, _, after = text.partition(":")
    name = before.rstrip()
    written = after.lstrip()
    at = end - len(written)
    span = Span(source, at, end)
    first = written[0]
    if first == '"' or first == "'":
        value = Scalar("string", literals.string(written, at), span)
    elif first.isalpha() or first == "_":
        value = Scalar("name", written, span)
    elif first == "-" and written[-1].isalpha() and (word := written[1:].lstrip())[0].isalpha():
        value = Scalar("float", literals.negative_word(word, at, end), span)
    else:
        found = literals.number(written, at)
        value = Scalar("int" if type(found) is int else "float", found, span)
    return Field(name, value, Span(source, start, start + len(name)), Span(source, start, end))


# The rules.  `p` is the Parsing; the rest are the values of the rule's symbols.


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


def next(p: Parsing, items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def named(p: Parsing, name: Token, value: Any) -> Field:
    span = Span(p.source, name.start, value.span.end)
    return Field(name.text, value, Span(p.source, name.start, name.end), span)


def field(p: Parsing, name: Token, colon: Token, value: Any) -> Field:
    return named(p, name, value)


def field_without_colon(p: Parsing, name: Token, value: Any) -> Field:
    if isinstance(value, ListValue) and not all(isinstance(item, Message) for item in value.items):
        raise mistakes.missing_colon(name, "before a list of values")
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


def list_of(p: Parsing, opener: Token, items: list[Any], closer: Token) -> ListValue:
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


def text(p: Parsing, tokens: list[Token]) -> Scalar:
    value = "".join(literals.string(token.text, token.start) for token in tokens)
    return Scalar("string", value, Span(p.source, tokens[0].start, tokens[-1].end))


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__.removesuffix("_of"): action
    for action in (
        *(no_fields, add_field, first, one, more, next, field, field_without_colon, block, extension, message),
        *(empty_list, list_of, number, negative_number, word, negative_word, text),
    )
}
