"""What the parser passes on: tokens to the rules, and the place where it is stuck to the functions that explain why."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

from ..source import Source

BLOCKS = {"OPEN_BRACE": "}", "LBRACE": "}", "OPEN_ANGLE": ">", "LANGLE": ">"}
OPENERS = BLOCKS | {"LBRACKET": "]", "LPAREN": ")", "DOLLAR": "}"}
CLOSERS = {"RBRACE", "RANGLE", "RBRACKET", "RPAREN"}
BLANK = re.compile(r"(?:\s+|#[^\n]*)*+", re.ASCII)
AHEAD = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')|(?P<quote>["'])|(?P<number>[+\-]?\s*+\.?\d[\w.]*+)"""
    r"""|(?P<word>[A-Za-z_]\w*+)|(?P<sign>.)|(?P<end>\Z)""",
    re.ASCII | re.DOTALL,
)


class Token(NamedTuple):
    """A terminal that is not a node by itself."""

    kind: str
    text: str
    start: int
    end: int


class Parsing(Protocol):
    """What a rule sees of the parser that applies it."""

    source: Source
    plain: bool  # nothing but fields so far

    def inner(self, start: int, end: int) -> Any:
        """The expression between two offsets."""
        ...


class Ahead(NamedTuple):
    """What follows where the parser is stuck; `kind` is a group of the pattern AHEAD."""

    kind: str
    text: str
    start: int
    end: int


class Stuck(NamedTuple):
    """Where no rule can take the next token: the symbols on the stack with their values, and what is ahead."""

    source: Source
    goal: str  # "start" for a file, "interpolation" for an expression inside a string
    symbols: list[str]
    values: list[Any]
    ahead: Ahead

    @property
    def last(self) -> str:
        """The symbol that was read last."""
        return self.symbols[-1] if self.symbols else ""

    @property
    def opener(self) -> int | None:
        """The place on the stack of the innermost bracket that is open."""
        return innermost(self.symbols)


def look(text: str, at: int) -> Ahead:
    """What follows an offset, behind blanks and comments."""
    start = BLANK.match(text, at).end()  # type: ignore[union-attr]
    match = AHEAD.match(text, start)
    assert match is not None and match.lastgroup
    return Ahead(match.lastgroup, match[0], start, match.end())


def innermost(symbols: list[str]) -> int | None:
    """The place on the stack of the bracket that is open."""
    closed = 0
    for i in reversed(range(len(symbols))):
        # `<` and `>` may also be comparisons, where they stand behind a sum
        compares = symbols[i] in ("LANGLE", "RANGLE") and i > 0 and symbols[i - 1] == "sum"
        if symbols[i] in CLOSERS and not compares:
            closed += 1  # read, but not yet made one block with its opener
        elif symbols[i] in OPENERS and not compares:
            if not closed:
                return i
            closed -= 1
    return None
