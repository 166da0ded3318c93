"""The values of expressions: what they are, how they are described and written, and the nodes that they come from.

A value is an int, float, bool, str, Word, tuple (a list) or Message.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from .. import codes
from ..diagnostics import Code, Related
from ..source import Span
from ..syntax import ListValue, Message, Scalar

LONGEST = 10_000  # characters of a text, elements of a list
BOOLEANS = {"true": True, "false": False, "True": True, "False": False}
NUMBERS = {"inf": math.inf, "nan": math.nan}


class Fault(Exception):
    """An expression or statement has no value: what is wrong, and where."""

    def __init__(self, code: Code, span: Span, detail: str, *related: Related, hint: str | None = None) -> None:
        super().__init__(code.summary)
        self.code, self.span, self.detail, self.related, self.hint = code, span, detail, related, hint


class TooMuch(Fault):
    """Going on would cost more; nothing catches it before the whole expansion ends."""


class Told(Fault):
    """There is no value because of a fault that was reported before."""


class Word(str):
    """A word that stands for itself, such as MAX."""


# The kind of a node by the type of its value, which is exact: a bool is no int here, nor a Word a str.
KINDS = {int: "int", float: "float", str: "string", Word: "name"}


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_list(value: Any) -> TypeGuard[tuple[Any, ...]]:
    """Messages are tuples too, and no lists."""
    return isinstance(value, tuple) and not isinstance(value, Message)


def written(value: Any) -> str:
    """A value as it stands in a text."""
    if type(value) is str:
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def describe(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Message):
        return "a block"
    if isinstance(value, tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Word):
        return f"the word {value}"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 30 else value[:27] + "..."}"'
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
        f"This is {describe(value)} inside a list; a field holds no lists of lists.",
    )
