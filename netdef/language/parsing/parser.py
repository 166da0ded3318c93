"""Parses source text to a tree with the LALR tables of `grammar/netdef.lark`.

Returns a `Document`, or None with the syntax errors in the report. The meaning of fields is left to later stages.

The loop in `Parser.run` is a standard LALR parser: read a token in the mode of the current state, reduce rules while
the table says so, shift the token. Each rule is a function in `rules`, found by the rule's alias in the grammar; it
accepts the values of the rule's symbols and returns the value of the whole. Fused terminals (a whole `name: value`)
become nodes immediately. Each `${...}` inside a string is parsed by a separate run on the same source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from .. import codes
from ..diagnostics import Report
from ..source import LARGEST, Source, Span
from ..syntax import Comment, Document, Message
from . import rules, tables
from .faults import SyntaxFault
from .tokens import Stuck, Token, look

MOST_FAULTS = 20  # syntax errors that are reported for one file; more would not help
MOST_TOKENS = 250_000  # of one file, comments included; the largest known nets have a third of that
DEEPEST = 100  # levels of blocks and lists; each uses at least two states on the stack


def parse(source: Source, report: Report) -> Document | None:
    """The tree of a source, or None if it has syntax errors, which are added to the report."""
    at: int | None = 0
    if len(source.text) > LARGEST:
        detail = f"This text has {len(source.text)} characters; the limit is {LARGEST}."
        report.add(codes.TOO_MUCH, Span(source, 0, 0), detail)
        return None
    used = 0
    while at is not None:
        parser = Parser(source, used=used)
        try:
            fields = parser.run(at)
        except SyntaxFault as fault:
            if at and fault.code is codes.UNMATCHED_CLOSE:
                return None  # it closes the block that was skipped after an error
            report.add(fault.code, Span(source, fault.start, fault.end), fault.detail, *fault.related, hint=fault.hint)
            used = parser.used
            at = resumption(parser, fault) if len(report.diagnostics) < MOST_FAULTS else None
        else:
            if at:
                return None
            body = Message(tuple(fields), Span(source, 0, len(source.text)))
            return Document(body, tuple(parser.comments), source, parser.plain)
    return None


def resumption(parser: Parser, fault: SyntaxFault) -> int | None:
    """Where to resume parsing after an error, or None."""
    from . import mistakes

    return mistakes.resumption(parser.source.text, parser.values, fault)


@cache
def makers() -> list[Callable[..., Any] | None]:
    """The function of each rule, or None for a rule of one symbol."""
    return [rules.ACTIONS[rule.action] if rule.action else None for rule in tables.load().rules]


class Parser:
    """One run of the tables over one source: the stacks, and the comments found so far."""

    def __init__(self, source: Source, goal: str = "start", used: int = 0) -> None:
        self.source = source
        self.used = used  # tokens of this source so far, those of other runs included
        self.goal = goal
        self.comments: list[Comment] = []
        self.plain = True  # nothing but fields so far
        self.tables = tables.load()
        self.states = [self.tables.starts[goal]]
        self.values: list[Any] = []

    def run(self, at: int = 0, end_of_text: int = sys.maxsize) -> Any:
        """Parses from offset `at`; returns the list of fields of a file, or one expression."""
        text, states, values = self.source.text, self.states, self.values
        scan, actions, made_by = self.tables.scan, self.tables.actions, self.tables.rules
        make, simple_field, add_field = makers(), rules.simple_field, rules.add_field
        while True:
            match = scan[states[-1]](text, at, end_of_text)
            if match is None:
                raise self.stuck(at)
            kind = match.lastgroup or ""
            start, end = match.span(match.lastindex or 0)
            self.used += 1
            if self.used > MOST_TOKENS:
                raise self.too_many(start, end)
            if kind == "COMMENT":
                self.comments.append(Comment(text[start:end].rstrip("\r"), Span(self.source, start, end)))
                at = end
                continue
            if kind == "END":
                kind = "$END"
            while (action := actions[states[-1]].get(kind)) is not None and action < 0:
                rule = made_by[-1 - action]
                act = make[-1 - action]
                if act is add_field:  # the most frequent rule: `body: body entry`; the state and value are the body's
                    states.pop()
                    add_field(self, values[-2], values.pop())
                elif act:
                    first = len(values) - rule.length
                    made = act(self, *values[first:])
                    del states[first + 1 :], values[first:]
                    values.append(made)
                    states.append(actions[states[-1]][rule.makes])
                elif rule.makes in self.tables.starts:
                    return values[-1]
                else:  # a rule of one symbol: its value is that of the symbol
                    states[-1] = actions[states[-2]][rule.makes]
            if action is None:
                raise self.stuck(at)
            if kind == "FIELD":
                values.append(simple_field(self, text[start:end], start, end))
            else:
                values.append(Token(kind, text[start:end], start, end) if kind != "$END" else None)
                if len(states) > 2 * DEEPEST and (fault := self.too_deep()):
                    raise fault
            states.append(action)
            at = end

    @property
    def symbols(self) -> list[str]:
        """The symbols on the stack, parallel to `values`."""
        return [self.tables.symbols[state] for state in self.states[1:]]

    def stuck(self, at: int) -> SyntaxFault:
        """The syntax error at an offset. `mistakes` is imported here because only files with errors need it."""
        from . import mistakes

        text = self.source.text
        return mistakes.explain(Stuck(self.source, self.goal, self.symbols, self.values, look(text, at)))

    def too_deep(self) -> SyntaxFault | None:
        from . import mistakes

        return mistakes.too_deep(self.symbols, self.values, DEEPEST)

    def inner(self, start: int, end: int) -> Any:
        """The expression between two offsets."""
        parser = Parser(self.source, "interpolation", self.used)
        found = parser.run(start, end)
        self.used = parser.used
        return found

    def too_many(self, start: int, end: int) -> SyntaxFault:
        detail = f"The file has more than {MOST_TOKENS} tokens (values, names, signs and comments), which is the limit."
        return SyntaxFault(codes.TOO_MUCH, start, end, detail)
