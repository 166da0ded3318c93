"""What the parser passes to other modules: tokens for the rules, and the place of a syntax error for `mistakes`."""

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
    """A terminal that is not converted to a node."""

    kind: str
    text: str
    start: int
    end: int


class Parsing(Protocol):
    """The part of the parser that rules use."""

    source: Source
    plain: bool  # nothing but fields so far

    def inner(self, start: int, end: int) -> Any:
        """The expression between two offsets."""
        ...


class Ahead(NamedTuple):
    """The next token where the parser is stuck; `kind` is a group of the pattern AHEAD."""

    kind: str
    text: str
    start: int
    end: int


class Stuck(NamedTuple):
    """A place where no rule accepts the next token: the symbols on the stack with their values, and what is ahead."""

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
        """The index on the stack of the innermost open bracket."""
        return innermost(self.symbols)


def look(text: str, at: int) -> Ahead:
    """The next token after an offset, blanks and comments skipped."""
    start = BLANK.match(text, at).end()  # type: ignore[union-attr]
    match = AHEAD.match(text, start)
    assert match is not None and match.lastgroup
    return Ahead(match.lastgroup, match[0], start, match.end())


def innermost(symbols: list[str]) -> int | None:
    """The index on the stack of the innermost open bracket."""
    closed = 0
    for i in reversed(range(len(symbols))):
        # `<` and `>` after a sum are comparisons
        compares = symbols[i] in ("LANGLE", "RANGLE") and i > 0 and symbols[i - 1] == "sum"
        if symbols[i] in CLOSERS and not compares:
            closed += 1  # read, but not yet reduced to a block with its opener
        elif symbols[i] in OPENERS and not compares:
            if not closed:
                return i
            closed -= 1
    return None
