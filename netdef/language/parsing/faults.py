"""`SyntaxFault`, and the syntax errors that fields, expressions and literals have in common."""

from __future__ import annotations

import re

from .. import codes
from ..diagnostics import Code, Related
from .tokens import Ahead, Token

LONGEST = 200  # characters of the user's source in a message; no path or number is longer
GOOD_NUMBER = re.compile(r"-?\s*+(?:0[xX][0-9a-fA-F]++|(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?[fF]?)")


class SyntaxFault(Exception):
    """A syntax error: what is wrong, and where (offsets in the source)."""

    def __init__(
        self, code: Code, start: int, end: int, detail: str = "", *related: Related, hint: str | None = None
    ) -> None:
        super().__init__(code.summary)
        self.code, self.start, self.end, self.detail, self.related, self.hint = code, start, end, detail, related, hint


def shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def is_bad_number(ahead: Ahead) -> bool:
    return ahead.kind == "number" and not GOOD_NUMBER.fullmatch(ahead.text)


def bad_number(ahead: Ahead) -> SyntaxFault:
    start, end, shown = ahead.start, ahead.end, shortened(ahead.text, LONGEST)
    if shown[0] == "+":
        detail = f"A number cannot begin with a plus sign: `{shown}`."
        return SyntaxFault(codes.BAD_NUMBER, start, end, detail, hint=f"write {shown[1:].lstrip()}")
    detail = f"`{shown}` is not a number."
    return SyntaxFault(codes.BAD_NUMBER, start, end, detail, hint=f'for a string, write "{shown}"')


def missing_colon(name: Token, where: str, value: str = "VALUE") -> SyntaxFault:
    detail = f"A colon is missing after `{name.text}`, {where}."
    return SyntaxFault(codes.MISSING_COLON, name.start, name.end, detail, hint=f"write {name.text}: {shortened(value)}")


def unclosed_list(line: int, bracket: Token, *related: Related) -> SyntaxFault:
    detail = f"This list was opened at line {line} and is never closed."
    return SyntaxFault(codes.UNCLOSED_LIST, bracket.start, bracket.end, detail, *related, hint="close it with ]")


def stray(text: str, ahead: Ahead) -> SyntaxFault:
    """The error of a character that has no meaning at its place."""
    if text.startswith(("//", "/*"), ahead.start):
        detail = f"`{text[ahead.start : ahead.start + 2]}` does not begin a comment; `#` does."
        return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.start + 2, detail, hint="begin comments with #")
    shown = f"`{ahead.text}`" if ahead.text.isprintable() else f"The character U+{ord(ahead.text[0]):04X}"
    return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.end, f"{shown} has no meaning here.")
