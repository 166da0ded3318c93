"""Values as they are written: numbers and quoted texts into Python values.

Takes the text of one token; gives its value, or raises `SyntaxFault` with the exact place of what is wrong in it.
"""

from __future__ import annotations

import math
import re

from . import codes
from .diagnostics import Code, Related

MOST_DIGITS = 320  # any float64 has fewer; int() of more takes quadratic time


class SyntaxFault(Exception):
    """The text cannot be read on: what is wrong, and where (offsets in the source)."""

    def __init__(
        self, code: Code, start: int, end: int, detail: str = "", *related: Related, hint: str | None = None
    ) -> None:
        super().__init__(code.summary)
        self.code, self.start, self.end, self.detail, self.related, self.hint = code, start, end, detail, related, hint


def number(text: str, at: int) -> int | float:
    """The value of a literal: decimal, hexadecimal, octal or float, with an `f` behind it and a minus before it or not."""
    if text.isdigit() and text[0] != "0" and len(text) <= MOST_DIGITS:
        return int(text)
    sign, digits = (-1, text[1:].lstrip()) if text[0] == "-" else (1, text)
    if len(digits) > MOST_DIGITS:
        raise SyntaxFault(
            codes.BAD_NUMBER, at, at + len(text), f"It has {len(digits)} digits, more than any number needs."
        )
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits, 16)
    if not digits.isdigit():
        return sign * float(digits.rstrip("fF"))
    if digits[0] == "0" and len(digits) > 1:
        if digits.strip("01234567"):
            detail = f"A leading 0 means octal, and {digits} is not an octal number."
            raise SyntaxFault(codes.BAD_NUMBER, at, at + len(text), detail, hint=f"write {digits.lstrip('0')}")
        return sign * int(digits, 8)
    return sign * int(digits)


def negative_word(word: str, start: int, end: int) -> float:
    """`-inf` and `-nan`, the only words that can be negative."""
    if word.lower() in ("inf", "infinity"):
        return -math.inf
    if word.lower() == "nan":
        return math.nan
    detail = f"`-{word}` is neither a number nor a word."
    raise SyntaxFault(codes.UNQUOTED_TEXT, start, end, detail, hint=f'for a text, write "-{word}"')


SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\?'\""}
ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\?'\"]))")
PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")


def string(text: str, at: int) -> str:
    """The value of one or several adjacent quoted texts, escapes resolved; bytes above 127 are read as UTF-8."""
    if "\\" not in text and text.count(text[0]) == 2 and text[-1] == text[0]:
        return text[1:-1]
    return "".join(unescape(piece[0][1:-1], at + piece.start() + 1) for piece in PIECE.finditer(text))


def unescape(text: str, at: int) -> str:
    """A quoted text without its quotes; octal and hexadecimal escapes are bytes, as in protobuf."""
    if "\\" not in text:
        return text
    parts: list[bytes] = []
    done = 0
    while (slash := text.find("\\", done)) >= 0:
        parts.append(text[done:slash].encode("utf-8", "surrogatepass"))
        match = ESCAPE.match(text, slash)
        code_point = int(match[3] or match[4] or "0", 16) if match else 0
        if not match or code_point > 0x10FFFF:
            raise bad_escape(text, slash, at)
        octal, hexadecimal, _, _, simple = match.groups()
        if simple:
            parts.append(SIMPLE[simple].encode())
        elif octal or hexadecimal:
            parts.append(bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)]))
        else:
            parts.append(chr(code_point).encode("utf-8", "surrogatepass"))
        done = match.end()
    parts.append(text[done:].encode("utf-8", "surrogatepass"))
    return decoded(b"".join(parts))


def decoded(raw: bytes) -> str:
    """UTF-8, or one character per byte where it is not."""
    for encoding, errors in (("utf-8", "strict"), ("utf-16", "surrogatepass")):
        try:
            if encoding == "utf-8":
                return raw.decode(encoding, errors)
            # a pair of \u surrogates is one character
            return raw.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def bad_escape(text: str, slash: int, at: int) -> SyntaxFault:
    shown = text[slash : slash + 2]
    detail = f"`{shown}` is not an escape; a backslash itself is written `\\\\`."
    hint = (
        "in paths, write / instead of \\"
        if text.count("\\") > 1 or ":" in text[:slash]
        else "write \\\\ for a backslash"
    )
    return SyntaxFault(codes.BAD_ESCAPE, at + slash, at + slash + len(shown), detail, hint=hint)
