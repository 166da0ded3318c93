"""Converts literals, numbers and quoted strings, to Python values.

Given the source of one token, returns its value, or raises `SyntaxFault` with the exact place of the error in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from .. import codes
from .faults import SyntaxFault

MOST_DIGITS = 320  # any float64 has fewer; int() of more takes quadratic time
LARGEST = 2**1023  # integers below it can be converted to float64
SAFE = 300  # an integer of so many decimal digits is below it


def number(text: str, at: int) -> int | float:
    """The value of a decimal, hexadecimal, octal or float literal, with an optional minus sign or suffix `f`."""
    if text.isdigit() and text[0] != "0" and len(text) <= SAFE:
        return int(text)
    sign, digits = (-1, text[1:].lstrip()) if text[0] == "-" else (1, text)
    if len(digits) > MOST_DIGITS:
        raise SyntaxFault(
            codes.BAD_NUMBER, at, at + len(text), f"This number has {len(digits)} digits; the limit is {MOST_DIGITS}."
        )
    if digits[:2] not in ("0x", "0X") and not digits.isdigit():
        return sign * float(digits.rstrip("fF"))
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" and len(digits) > 1 else 10
    if base == 8 and digits.strip("01234567"):
        detail = f"A leading 0 means octal, and {digits} is not an octal number."
        raise SyntaxFault(codes.BAD_NUMBER, at, at + len(text), detail, hint=f"write {digits.lstrip('0')}")
    value = int(digits, base)
    if value >= LARGEST:
        raise SyntaxFault(
            codes.BAD_NUMBER, at, at + len(text), "This number is too large for a float64; the limit is 1.8e308."
        )
    return sign * value


def negative_word(word: str, start: int, end: int) -> float:
    """The value of `-inf` or `-nan`, the only words that can be negative."""
    if word.lower() in ("inf", "infinity"):
        return -math.inf
    if word.lower() == "nan":
        return math.nan
    detail = f"`-{word}` is neither a number nor a word."
    raise SyntaxFault(codes.UNQUOTED_TEXT, start, end, detail, hint=f'for a string, write "-{word}"')


INSIDE = re.compile(r"\$\$\{|\$\{(?P<code>(?:[^{}\"'\\\n]|\"[^\"\\\n]*\"|'[^'\\\n]*')*+)(?P<close>\})?")


def cut(text: str, start: int, end: int) -> Iterator[tuple[str | None, int, int]]:
    """Splits the contents of a string at each `${...}`: (text, start, end), where text is None for an expression."""
    done = start
    for match in INSIDE.finditer(text, start, end):
        if match["code"] is None:
            continue  # $${ means ${
        if match["close"] is None:
            at, begins = match.end(), match.start()
            detail = "This `${` has no closing `}` in its string."
            if at == end or text[at] in "\"'\\":
                detail += " Strings inside `${...}` need the other kind of quotes."
            raise SyntaxFault(
                codes.UNCLOSED_INTERPOLATION, begins, begins + 2, detail, hint="write $${ for a literal ${"
            )
        yield text[done : match.start()], done, match.start()
        yield None, *match.span("code")
        done = match.end()
    yield text[done:end], done, end


SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\?'\""}
ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})"
    r"|u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|[uU](?P<point>(?<=u)[0-9a-fA-F]{4}|(?<=U)[0-9a-fA-F]{8})|(?P<simple>[abfnrtv\\?'\"]))"
)
PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")


def string(text: str, at: int) -> str:
    """The value of one or several adjacent quoted strings, with escapes resolved; bytes above 127 are UTF-8."""
    if "\\" not in text and text.count(text[0]) == 2 and text[-1] == text[0]:
        return text[1:-1]
    return "".join(unescape(piece[0][1:-1], at + piece.start() + 1) for piece in PIECE.finditer(text))


def unescape(text: str, at: int) -> str:
    """The contents of a string with escapes resolved; octal and hexadecimal escapes are bytes, as in protobuf."""
    if "\\" not in text:
        return text
    parts: list[bytes] = []
    done = 0
    while (slash := text.find("\\", done)) >= 0:
        parts.append(text[done:slash].encode())
        match = ESCAPE.match(text, slash)
        if match is None:
            raise bad_escape(text, slash, at)
        if match["octal"]:
            parts.append(bytes([int(match["octal"], 8) & 255]))
        elif match["hex"]:
            parts.append(bytes([int(match["hex"], 16)]))
        elif match["simple"]:
            parts.append(SIMPLE[match["simple"]].encode())
        elif match["high"]:  # a surrogate pair: a character beyond U+FFFF
            high, low = int(match["high"], 16), int(match["low"], 16)
            parts.append(chr(0x10000 + (high - 0xD800 << 10) + (low - 0xDC00)).encode())
        else:
            point = int(match["point"], 16)
            if point > 0x10FFFF or 0xD800 <= point < 0xE000:
                raise bad_escape(text, slash, at)
            parts.append(chr(point).encode())
        done = match.end()
    parts.append(text[done:].encode())
    return decoded(b"".join(parts))


def outside_code(text: str, at: int) -> str:
    """A part of a string outside its `${...}`, with escapes resolved and `$${` replaced by `${`."""
    return unescape(text, at).replace("$${", "${")


def decoded(raw: bytes) -> str:
    """Decodes UTF-8; an invalid byte becomes the character with this code, as in Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "surrogateescape")
        return "".join(chr(ord(c) - 0xDC00) if "\udc80" <= c <= "\udcff" else c for c in text)


def bad_escape(text: str, slash: int, at: int) -> SyntaxFault:
    shown = text[slash : slash + 2]
    needs = {"x": "one or two hexadecimal digits", "u": "four hexadecimal digits", "U": "eight hexadecimal digits"}
    detail = f"`{shown}` is not an escape; a backslash itself is written `\\\\`."
    if shown[-1] in needs:
        detail = f"`{shown}` must be followed by {needs[shown[-1]]} of a valid character."
    hint = (
        "in paths, write / instead of \\"
        if text.count("\\") > 1 or ":" in text[:slash]
        else "write \\\\ for a backslash"
    )
    return SyntaxFault(codes.BAD_ESCAPE, at + slash, at + slash + len(shown), detail, hint=hint)
