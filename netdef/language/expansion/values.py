"""The values of expressions: their types, how they are described and written, and their conversion to and from nodes.

A value is an int, float, bool, str, Word, tuple (a list) or Message.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from .. import codes
from ..diagnostics import Code, Related
from ..source import Span
from ..syntax import ListValue, Message, Scalar

LONGEST = 10_000  # characters of a string, elements of a list
BOOLEANS = {"true": True, "false": False, "True": True, "False": False}
NUMBERS = {"inf": math.inf, "nan": math.nan}


class Fault(Exception):
    """An error in an expression or statement: what is wrong, and where."""

    def __init__(self, code: Code, span: Span, detail: str, *related: Related, hint: str | None = None) -> None:
        super().__init__(code.summary)
        self.code, self.span, self.detail, self.related, self.hint = code, span, detail, related, hint


class TooMuch(Fault):
    """A limit is exceeded; this ends the whole expansion."""


class Told(Fault):
    """There is no value because of an error that has already been reported."""


class Unread(Fault):
    """A folder that an expression names cannot be read."""


class Word(str):
    """A word that is its own value, such as MAX."""


# The kind of a node by the exact type of its value: here a bool is not an int, nor a Word a str.
KINDS = {int: "int", float: "float", str: "string", Word: "name"}


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_list(value: Any) -> TypeGuard[tuple[Any, ...]]:
    """Whether a value is a list; a Message is a tuple too, but not a list."""
    return isinstance(value, tuple) and not isinstance(value, Message)


def written(value: Any) -> str:
    """A value as it is inserted into a string."""
    if type(value) is str:
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def describe(value: Any) -> str:
    """A value in words, for messages."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Message):
        return "a block"
    if isinstance(value, tuple):
        return f"a list of {len(value)} element{'' if len(value) == 1 else 's'}" if value else "an empty list"
    if isinstance(value, Word):
        return f"the word {value}"
    if isinstance(value, str):
        return f'the string "{value if len(value) <= 30 else value[:27] + "..."}"'
    return f"the number {written(value)}"


def evaluated(value: Any) -> Any:
    """The value of a plain node, for expressions."""
    if type(value) is Scalar and value.kind != "name":
        return value.value
    if isinstance(value, ListValue):
        return tuple(evaluated(item) for item in value.items)
    if isinstance(value, Message):
        return value
    return BOOLEANS.get(str(value.value), Word(value.value))


def node(value: Any, span: Span) -> Any:
    """The plain node of one value."""
    kind = KINDS.get(type(value))
    if kind is not None:
        return Scalar(kind, str(value) if kind == "name" else value, span)
    if isinstance(value, Message):
        return value
    if isinstance(value, bool):
        return Scalar("name", "true" if value else "false", span)
    raise Fault(
        codes.WRONG_PLACE_FOR_VALUE,
        span,
        f"There is {describe(value)} inside a list, but the value of a field cannot be a list of lists.",
    )
