"""The functions of expressions: range, len, min, max, round, int, float, str and classes.

Each accepts its Call and the values of the arguments, and returns a value or raises `Fault` at the call. `classes`
reads the names in a folder, so it also accepts the folder to which paths of the file are relative.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import codes
from ..syntax import Call
from .folders import find, subfolders
from .values import LONGEST, Fault, Unread, describe, is_list, is_number, is_whole, written


def fault(node: Call, expected: str, arguments: list[Any]) -> Fault:
    given = ", ".join(describe(argument) for argument in arguments[:4]) or "no arguments"
    detail = f"`{node.function}` expects {expected}, but got {given}."
    return Fault(codes.BAD_CALL, node.span, detail)


def range_of(node: Call, arguments: list[Any]) -> tuple[int, ...]:
    """range(stop), range(start, stop) or range(start, stop, step): the integers from start up to, but not including,
    stop."""
    if not 1 <= len(arguments) <= 3 or not all(map(is_whole, arguments)) or len(arguments) == 3 and not arguments[2]:
        raise fault(node, "one to three integers and a step other than 0", arguments)
    numbers = range(*arguments)
    if numbers and max(abs(numbers[0] - numbers[-1]) // abs(numbers.step), 0) >= LONGEST:
        detail = f"This list has more than {LONGEST} elements."
        raise Fault(codes.TOO_MUCH, node.span, detail)
    return tuple(numbers)


def len_of(node: Call, arguments: list[Any]) -> int:
    if len(arguments) != 1 or not (isinstance(arguments[0], str) or is_list(arguments[0])):
        raise fault(node, "one list or string", arguments)
    return len(arguments[0])


def least(node: Call, arguments: list[Any]) -> Any:
    return min(numbers_of(node, arguments))


def most(node: Call, arguments: list[Any]) -> Any:
    return max(numbers_of(node, arguments))


def numbers_of(node: Call, arguments: list[Any]) -> list[Any]:
    single = arguments[0] if len(arguments) == 1 else None
    numbers = list(single) if is_list(single) else arguments
    if not numbers or not all(map(is_number, numbers)):
        raise fault(node, "numbers or one list of numbers", arguments)
    return numbers


def round_of(node: Call, arguments: list[Any]) -> int | float:
    """The nearest integer, halves to even; or the number rounded to the given number of decimals."""
    expected = "a finite number and optionally the number of decimals"
    if not 1 <= len(arguments) <= 2 or not is_number(arguments[0]) or not all(map(is_whole, arguments[1:])):
        raise fault(node, expected, arguments)
    if not math.isfinite(arguments[0]) or arguments[1:] and abs(arguments[1]) > 300:
        raise fault(node, expected, arguments)
    return round(*arguments)


def int_of(node: Call, arguments: list[Any]) -> int:
    """A number without its fraction, or the integer in a string."""
    value: Any = arguments[0] if len(arguments) == 1 else None
    if is_number(value) and math.isfinite(value) or isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and len(value) < 30 and value.strip().lstrip("+-").isdecimal():
        return int(value)
    raise fault(node, "one finite number or a string that contains an integer", arguments)


def float_of(node: Call, arguments: list[Any]) -> float:
    value: Any = arguments[0] if len(arguments) == 1 else None
    if is_number(value) or isinstance(value, str) and len(value) < 400:
        try:
            return float(value)
        except ValueError:
            pass
    raise fault(node, "one number or a string that contains a number", arguments)


def str_of(node: Call, arguments: list[Any]) -> str:
    if len(arguments) != 1 or isinstance(arguments[0], tuple):
        raise fault(node, "one number, string, word or boolean", arguments)
    return written(arguments[0])


def classes_of(node: Call, arguments: list[Any], folder: Path | None) -> int:
    """The number of classes in a folder of images: its subfolders, as ImageFolder counts them."""
    if len(arguments) != 1 or not isinstance(arguments[0], str) or not arguments[0]:
        raise fault(node, "the path of a folder, as a string,", arguments)
    path = find(arguments[0], folder)
    try:
        count = len(subfolders(path))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "the path is not valid"
        detail = f"The classes of {describe(arguments[0])} cannot be counted: {reason}."
    else:
        detail = f"The folder of {describe(arguments[0])} has no subfolders, which would be its classes."
        if count:
            return count
    hint = "paths are relative to the net's file or the working directory; a number can be given with --set instead"
    raise Unread(codes.BAD_CALL, node.span, detail, hint=hint)


PURE: dict[str, Callable[[Call, list[Any]], Any]] = {
    "range": range_of,
    "len": len_of,
    "min": least,
    "max": most,
    "round": round_of,
    "int": int_of,
    "float": float_of,
    "str": str_of,
}
READING: dict[str, Callable[[Call, list[Any], Path | None], Any]] = {"classes": classes_of}
FUNCTIONS: dict[str, Callable[..., Any]] = PURE | READING
