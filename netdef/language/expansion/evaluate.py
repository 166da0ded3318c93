"""Evaluates expressions: arithmetic, comparisons, lists and a few functions.

Given an expression and the scope of its names, returns an int, float, bool, str, Word, tuple (a list) or Message, or
raises `Fault` with the place of the error. It walks our own syntax tree, without Python's `eval`, and every step counts
against a `Budget`, which limits time and memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from .. import codes
from ..diagnostics import Related
from ..source import Span
from ..spelling import did_you_mean
from ..syntax import (
    Binary,
    Call,
    Conditional,
    Index,
    Interpolation,
    ListValue,
    Reference,
    Scalar,
    Text,
    Unary,
)
from .functions import FUNCTIONS, PURE, READING
from .scope import UNKNOWN, Budget, Scope
from .values import BOOLEANS, LONGEST, NUMBERS, Fault, Told, Word, describe, is_list, is_number, is_whole, written

LARGEST = 2**64  # no size or count is larger
READING_COST = 3000  # steps of a function that reads a folder: a file can read 100 of them


def evaluate(node: Any, scope: Scope, budget: Budget) -> Any:
    """The value of an expression."""
    budget.step(node.span)
    return EVALUATORS[type(node)](node, scope, budget)


def scalar(node: Scalar, scope: Scope, budget: Budget) -> Any:
    if node.kind == "name":
        return BOOLEANS.get(str(node.value), Word(node.value))
    return node.value


def reference(node: Reference, scope: Scope, budget: Budget) -> Any:
    found = scope.value(node.name)
    if found is not None:
        if found[0] is UNKNOWN:
            raise Told(codes.UNKNOWN_NAME, node.span, "")
        return found[0]
    if node.name in BOOLEANS or node.name in NUMBERS:
        return (BOOLEANS | NUMBERS)[node.name]
    if node.name.isupper():
        return Word(node.name)
    detail = f"No `let`, loop or template defines `{node.name}` here."
    if below := scope.later(node.name):
        place = Related("defined here", below)
        raise Fault(
            codes.UNKNOWN_NAME, node.span, f"`{node.name}` is defined only later.", place, hint="move the `let` up"
        )
    hint = did_you_mean(node.name, scope.names()[:300]) or f'for a string, write "{node.name}"'
    raise Fault(codes.UNKNOWN_NAME, node.span, detail, hint=hint)


def list_value(node: ListValue, scope: Scope, budget: Budget) -> tuple:
    return checked(tuple(evaluate(item, scope, budget) for item in node.items), node.span, budget)


def interpolation(node: Interpolation, scope: Scope, budget: Budget) -> Any:
    return evaluate(node.expression, scope, budget)


def text(node: Text, scope: Scope, budget: Budget) -> str:
    pieces = []
    for part in node.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        value = evaluate(part, scope, budget)
        if isinstance(value, tuple):
            detail = f"A string cannot contain {describe(value)}."
            raise Fault(codes.WRONG_PLACE_FOR_VALUE, part.span, detail)
        pieces.append(written(value))
    return checked("".join(pieces), node.span, budget)


def unary(node: Unary, scope: Scope, budget: Budget) -> Any:
    value = evaluate(node.operand, scope, budget)
    if node.operator == "not":
        return not condition(value, node.operand.span)
    if not is_number(value):
        raise Fault(codes.BAD_OPERATION, node.span, f"`-` does not work on {describe(value)}.")
    return -value


def binary(node: Binary, scope: Scope, budget: Budget) -> Any:
    # A long sum is a tree that is deep on its left side: descend without recursion.
    spine = [node]
    while isinstance(spine[-1].left, Binary):
        spine.append(spine[-1].left)
        budget.step(node.span)
    value = evaluate(spine[-1].left, scope, budget)
    for part in reversed(spine):
        if part.operator in ("and", "or"):
            if condition(value, part.left.span) == (part.operator == "and"):
                value = condition(evaluate(part.right, scope, budget), part.right.span)
        else:
            value = combined(part, value, evaluate(part.right, scope, budget), budget)
    return value


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def combined(node: Binary, left: Any, right: Any, budget: Budget) -> Any:
    """The value of `left operator right`. Raises Fault if the operator does not work on them."""
    sign = node.operator
    if sign in ("==", "!="):
        budget.step(node.span, min(size(left), size(right)))
        return (left == right and isinstance(left, bool) == isinstance(right, bool)) == (sign == "==")
    numbers = is_number(left) and is_number(right)
    texts = isinstance(left, str) and isinstance(right, str)
    if sign in COMPARISONS and (numbers or texts):
        return COMPARISONS[sign](left, right)
    if numbers and sign in ARITHMETIC:
        return arithmetic(node, left, right, budget)
    if sign == "+" and texts:
        return checked(str(left) + str(right), node.span, budget)
    if sign == "+" and isinstance(left, tuple) and isinstance(right, tuple):
        return checked((*left, *right), node.span, budget)
    if sign == "*" and isinstance(left, (str, tuple)) and is_whole(right):
        if size(left) * max(right, 1) > LONGEST:
            raise Fault(codes.TOO_MUCH, node.span, f"The length of a string or list is limited to {LONGEST}.")
        return checked(left * right, node.span, budget)
    detail = f"`{sign}` does not work on {describe(left)} and {describe(right)}."
    hint = (
        "convert the other value with str(...)"
        if sign == "+" and isinstance(left, str) != isinstance(right, str)
        else None
    )
    raise Fault(codes.BAD_OPERATION, node.span, detail, hint=hint)


def arithmetic(node: Binary, left: Any, right: Any, budget: Budget) -> Any:
    whole = isinstance(left, int) and isinstance(right, int)
    if node.operator == "**" and whole and abs(right) * math.log2(abs(left) + 1) > 1000:
        raise Fault(codes.TOO_MUCH, node.span, f"{left} ** {right} is too large.")
    try:
        value = ARITHMETIC[node.operator](left, right)
    except ZeroDivisionError:
        raise Fault(codes.BAD_OPERATION, node.right.span, "Division by zero.") from None
    except OverflowError:
        raise Fault(codes.TOO_MUCH, node.span, "The result is too large for a float64.") from None
    if isinstance(value, complex):
        raise Fault(codes.BAD_OPERATION, node.span, f"({left}) ** {right} is not a real number.")
    if isinstance(value, float) and math.isinf(value) and math.isfinite(left) and math.isfinite(right):
        raise Fault(codes.TOO_MUCH, node.span, "The result is too large for a float64.")
    return checked(value, node.span, budget)


def checked(value: Any, span: Span, budget: Budget) -> Any:
    """Returns a value unless it is too large; large values cost more steps."""
    if isinstance(value, int):
        if abs(value) > LARGEST:
            number = f"{value:.3g}" if abs(value) < 2**1023 else "The result"
            raise Fault(codes.TOO_MUCH, span, f"{number} is too large for an integer; the limit is 2 ** 64.")
        return value
    if isinstance(value, float):
        return value
    if (length := size(value)) > LONGEST:
        raise Fault(codes.TOO_MUCH, span, f"The length of this string or list is {length}; the limit is {LONGEST}.")
    budget.step(span, length // 20)
    return value


def size(value: Any) -> int:
    """The number of characters of a string, or of elements of a list and of the lists in it."""
    if is_list(value):
        return len(value) + sum(size(item) for item in value if isinstance(item, tuple))
    return len(value) if isinstance(value, str) else 1


def conditional(node: Conditional, scope: Scope, budget: Budget) -> Any:
    test = condition(evaluate(node.test, scope, budget), node.test.span)
    return evaluate(node.yes if test else node.no, scope, budget)


def condition(value: Any, span: Span) -> bool:
    """Converts a condition to a bool; 1 and 0 are accepted as true and false, as in protobuf."""
    if isinstance(value, bool) or isinstance(value, int) and value in (0, 1):
        return bool(value)
    hint = "write a comparison, such as x > 0" if is_number(value) else None
    raise Fault(codes.BAD_CONDITION, span, f"A condition must be true or false, not {describe(value)}.", hint=hint)


def index(node: Index, scope: Scope, budget: Budget) -> Any:
    chain = [node]
    while isinstance(chain[-1].value, Index):
        chain.append(chain[-1].value)
    value = evaluate(chain[-1].value, scope, budget)
    for part in reversed(chain):
        at = evaluate(part.index, scope, budget)
        if not isinstance(value, str) and not is_list(value):
            raise Fault(codes.BAD_INDEX, part.value.span, f"Indexing does not work on {describe(value)}.")
        if not is_whole(at):
            raise Fault(codes.BAD_INDEX, part.index.span, f"An index must be an integer, not {describe(at)}.")
        if not -len(value) <= at < len(value):
            what, elements = ("string", "characters") if isinstance(value, str) else ("list", "elements")
            detail = f"The index is {at}, but the {what} is empty."
            if n := len(value):
                detail = f"The index is {at}, but the {what} has {n} {elements}; it must be from {-n} to {n - 1}."
            raise Fault(codes.BAD_INDEX, part.index.span, detail)
        value = value[at]
    return value


def call(node: Call, scope: Scope, budget: Budget) -> Any:
    if node.function not in FUNCTIONS:
        detail = f"There is no function `{node.function}`."
        hint = did_you_mean(node.function, FUNCTIONS) or f"the functions are {', '.join(FUNCTIONS)}"
        raise Fault(codes.UNKNOWN_FUNCTION, node.name_span, detail, hint=hint)
    arguments = [evaluate(argument, scope, budget) for argument in node.arguments]
    if node.function in READING:
        budget.step(node.span, READING_COST)
        return checked(READING[node.function](node, arguments, budget.folder), node.span, budget)
    return checked(PURE[node.function](node, arguments), node.span, budget)


EVALUATORS: dict[type, Callable[..., Any]] = {
    Scalar: scalar,
    ListValue: list_value,
    Reference: reference,
    Unary: unary,
    Binary: binary,
    Conditional: conditional,
    Index: index,
    Call: call,
    Text: text,
    Interpolation: interpolation,
}
