"""Converts literals, numbers and quoted strings, to Python values.

Given the source of one token, returns its value, or raises `SyntaxFault` with the exact place of the error in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache

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
# Octal and hexadecimal escapes are bytes; \u and \U are characters: surrogates only in pairs, nothing above U+10FFFF.
FORM = (
    r"\\(?:[0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|U(?!0000[dD][89a-fA-F])(?:000[0-9a-fA-F]|0010)[0-9a-fA-F]{4}"
    r"|[abfnrtv\\?'\"])"
)
ESCAPE = re.compile(FORM.encode())
GOOD, ANY = re.compile(FORM), re.compile(rf"{FORM}|\\")
# The repetitions are possessive: otherwise each character takes memory until the end of the match.
PIECE = re.compile(r"\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|'[^'\\]*+(?:\\.[^'\\]*+)*+'")


def string(text: str, at: int) -> str:
    """The value of one or several adjacent quoted strings, with escapes resolved; bytes above 127 are UTF-8."""
    if "\\" not in text and text.count(text[0]) == 2 and text[-1] == text[0]:
        return text[1:-1]
    return "".join(unescape(piece[0][1:-1], at + piece.start() + 1) for piece in PIECE.finditer(text))


def unescape(text: str, at: int) -> str:
    """The contents of a string with escapes resolved; octal and hexadecimal escapes are bytes, as in protobuf."""
    if "\\" not in text:
        return text
    if "\\" in GOOD.sub("", text):
        bad = next(found.start() for found in ANY.finditer(text) if found[0] == "\\")
        raise bad_escape(text, bad, at)
    return decoded(ESCAPE.sub(lambda found: meaning(found[0]), text.encode(errors="surrogatepass")))


@lru_cache(1000)  # a text may have millions of escapes
def meaning(escape: bytes) -> bytes:
    """What a valid escape stands for, in UTF-8."""
    kind, digits = chr(escape[1]), escape[2:]
    if kind in SIMPLE:
        return SIMPLE[kind].encode()
    if kind.isdigit():
        return bytes([int(escape[1:], 8) & 255])
    if kind in "xX":
        return bytes([int(digits, 16)])
    high, _, low = digits.partition(b"\\u")
    if low:  # a surrogate pair: a character beyond U+FFFF
        return chr(0x10000 + (int(high, 16) - 0xD800 << 10) + (int(low, 16) - 0xDC00)).encode()
    return chr(int(high, 16)).encode()


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
