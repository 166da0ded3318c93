"""Parses source text to a tree with the LALR tables of `grammar/netdef.lark`.

Returns a `Document`, or None with the syntax errors in the report. The meaning of fields is left to later stages.

The loop in `Parser.run` is a standard LALR parser: read a token in the mode of the current state, reduce rules while
the table says so, shift the token. Each rule is a function in `rules`, found by the rule's alias in the grammar; it
accepts the values of the rule's symbols and returns the value of the whole. Fused terminals (a whole `name: value`)
become nodes immediately. Each `${...}` inside a string is parsed by a separate run on the same source.
"""

from __future__ import annotations

import sys
from typing import Any

from .. import codes
from ..diagnostics import Report
from ..source import Source, Span
from ..syntax import Comment, Document, Message
from . import rules, tables
from .faults import SyntaxFault
from .tokens import Stuck, Token, look

MOST_FAULTS = 20  # syntax errors that are reported for one file; more would not help
DEEPEST = 100  # levels of blocks and lists; each uses at least two states on the stack


def parse(source: Source, report: Report) -> Document | None:
    """The tree of a source, or None if it has syntax errors, which are added to the report."""
    at: int | None = 0
    while at is not None:
        parser = Parser(source)
        try:
            fields = parser.run(at)
        except SyntaxFault as fault:
            if at and fault.code is codes.UNMATCHED_CLOSE:
                return None  # it closes the block that was skipped after an error
            report.add(fault.code, Span(source, fault.start, fault.end), fault.detail, *fault.related, hint=fault.hint)
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


class Parser:
    """One run of the tables over one source: the stacks, and the comments found so far."""

    def __init__(self, source: Source, goal: str = "start") -> None:
        self.source = source
        self.goal = goal
        self.comments: list[Comment] = []
        self.plain = True  # nothing but fields so far
        self.tables = tables.load()
        self.states = [self.tables.starts[goal]]
        self.values: list[Any] = []

    def run(self, at: int = 0, end_of_text: int = sys.maxsize) -> Any:
        """Parses from offset `at`; returns the list of fields of a file, or one expression."""
        text, states, values = self.source.text, self.states, self.values
        scan, modes = self.tables.scan, self.tables.modes
        actions, made_by = self.tables.actions, self.tables.rules
        make = [rules.ACTIONS[rule.action] if rule.action else None for rule in made_by]
        while True:
            match = scan[modes[states[-1]]](text, at, end_of_text)
            if match is None:
                raise self.stuck(at)
            kind = match.lastgroup or ""
            start, end = match.span(kind)
            if kind == "COMMENT":
                self.comments.append(Comment(match[kind].rstrip("\r"), Span(self.source, start, end)))
                at = end
                continue
            if kind == "END":
                kind = "$END"
            while (action := actions[states[-1]].get(kind)) is not None and action < 0:
                rule = made_by[-1 - action]
                if act := make[-1 - action]:
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
                values.append(rules.simple_field(self, match[kind], start, end))
            else:
                values.append(Token(kind, match[kind], start, end) if kind != "$END" else None)
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
        return Parser(self.source, "interpolation").run(start, end)
