"""Expressions to values: arithmetic, comparisons, lists and a few functions over our own tree.

Takes an expression and the names that it can see; gives an int, float, bool, str, Word, tuple (a list) or Message, or
raises `Fault` with the place of what is wrong.  Nothing of it is Python's `eval`, and every step is paid for from a
`Budget`, so that no expression takes long or makes much.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import codes
from ..diagnostics import Code, Related
from ..source import Source, Span
from ..spelling import did_you_mean
from ..syntax import (
    Binary,
    Call,
    Conditional,
    Index,
    Interpolation,
    Let,
    ListValue,
    Message,
    Reference,
    Scalar,
    Template,
    Text,
    Unary,
)

MOST_STEPS = 300_000  # of evaluation in one file; a net of a thousand layers takes about a tenth
MOST_FIELDS = 100_000  # that are written anew by templates and loops
LONGEST = 10_000  # characters of a text, elements of a list
LARGEST = 2**64  # whole numbers beyond are no sizes


class Fault(Exception):
    """An expression or statement has no value: what is wrong, and where."""

    def __init__(self, code: Code, span: Span, detail: str, *related: Related, hint: str | None = None) -> None:
        super().__init__(code.summary)
        self.code, self.span, self.detail, self.related, self.hint = code, span, detail, related, hint


class Word(str):
    """A word that stands for itself, such as MAX."""


class Budget:
    """What one file may still cost; `Fault` when it is used up."""

    def __init__(self) -> None:
        self.steps, self.fields = MOST_STEPS, MOST_FIELDS

    def step(self, span: Span, cost: int = 1) -> None:
        self.steps -= cost
        if self.steps < 0:
            raise TooMuch(codes.TOO_MUCH, span, f"Loops and expressions have taken {MOST_STEPS} steps.")

    def field(self, span: Span) -> None:
        self.fields -= 1
        if self.fields < 0:
            raise TooMuch(codes.TOO_MUCH, span, f"Loops and templates have made {MOST_FIELDS} fields.")


class TooMuch(Fault):
    """Going on would cost more; nothing catches it before the whole expansion ends."""


class Told(Fault):
    """There is no value because of a fault that was reported before."""


UNKNOWN = object()  # the value of a name whose expression was at fault


@dataclass(slots=True)
class Scope:
    """The names of a block, and those of the blocks around it; `places` tells where each was defined."""

    outer: Scope | None = None
    values: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, tuple[Template, Scope]] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    source: Source | None = None  # of an imported file
    body: Message | None = None

    def define(self, name: str, place: Span, value: Any = None, template: tuple[Template, Scope] | None = None) -> None:
        """Errors: a name that this block has already."""
        if name in self.places:
            earlier = self.places[name]
            if earlier == place and (template is None or self.templates.get(name, (None,))[0] is template[0]):
                return  # the same definition, imported twice
            detail = f"`{name}` is defined already."
            raise Fault(codes.DUPLICATE_NAME, place, detail, Related("first defined here", earlier))
        self.places[name] = place
        if template is None:
            self.values[name] = value
        else:
            self.templates[name] = template

    def template(self, name: str) -> tuple[Template, Scope] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.templates:
                return scope.templates[name]
            scope = scope.outer
        return None

    def value(self, name: str) -> tuple[Any] | None:
        """The value in a tuple of one, for it may be anything."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return (scope.values[name],)
            scope = scope.outer
        return None

    def later(self, name: str) -> Span | None:
        """Where a name is defined further down in one of these blocks."""
        scope: Scope | None = self
        while scope is not None:
            for item in scope.body.fields if scope.body else ():
                if isinstance(item, Let) and item.name == name:
                    return item.name_span
            scope = scope.outer
        return None

    def names(self) -> list[str]:
        return list(self.values) + (self.outer.names() if self.outer else [])


def evaluate(node: Any, scope: Scope, budget: Budget) -> Any:
    """The value of an expression."""
    budget.step(node.span)
    return KINDS[type(node)](node, scope, budget)


def scalar(node: Scalar, scope: Scope, budget: Budget) -> Any:
    if node.kind == "name":
        return BOOLEANS.get(str(node.value), Word(node.value))
    return node.value


BOOLEANS = {"true": True, "false": False, "True": True, "False": False}
NUMBERS = {"inf": math.inf, "nan": math.nan}


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
            codes.UNKNOWN_NAME, node.span, f"`{node.name}` is defined only below.", place, hint="move the `let` up"
        )
    hint = did_you_mean(node.name, scope.names()[:300]) or f'for a text, write "{node.name}"'
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
            detail = f"A text cannot hold {describe(value)}."
            raise Fault(codes.WRONG_PLACE_FOR_VALUE, part.span, detail)
        pieces.append(written(value))
    return checked("".join(pieces), node.span, budget)


def written(value: Any) -> str:
    """A value as it stands in a text."""
    if type(value) is str:
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def unary(node: Unary, scope: Scope, budget: Budget) -> Any:
    value = evaluate(node.operand, scope, budget)
    if node.operator == "not":
        return not condition(value, node.operand.span)
    if not is_number(value):
        raise Fault(codes.BAD_OPERATION, node.span, f"`-` takes a number, not {describe(value)}.")
    return -value


def binary(node: Binary, scope: Scope, budget: Budget) -> Any:
    # A long sum is a deep tree on its left side: walk down there without recursion.
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
    """`left operator right`, where the two go together."""
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
    if sign == "*" and isinstance(left, (str, tuple)) and isinstance(right, int) and not isinstance(right, bool):
        if size(left) * max(right, 1) > LONGEST:
            raise Fault(codes.TOO_MUCH, node.span, f"A text or list can be at most {LONGEST} long.")
        return checked(left * right, node.span, budget)
    detail = f"`{sign}` cannot join {describe(left)} and {describe(right)}."
    hint = (
        "write str(...) around the number" if sign == "+" and isinstance(left, str) != isinstance(right, str) else None
    )
    raise Fault(codes.BAD_OPERATION, node.span, detail, hint=hint)


def arithmetic(node: Binary, left: Any, right: Any, budget: Budget) -> Any:
    whole = isinstance(left, int) and isinstance(right, int)
    if node.operator == "**" and whole and abs(right) * math.log2(abs(left) + 1) > 1000:
        raise Fault(codes.TOO_MUCH, node.span, f"{left} ** {right} is too large a number.")
    try:
        value = ARITHMETIC[node.operator](left, right)
    except ZeroDivisionError:
        raise Fault(codes.BAD_OPERATION, node.right.span, "This is 0, and nothing can be divided by it.") from None
    except OverflowError:
        raise Fault(codes.TOO_MUCH, node.span, "This is too large a number.") from None
    if isinstance(value, complex):
        raise Fault(codes.BAD_OPERATION, node.span, f"{left} ** {right} is no real number.")
    if isinstance(value, float) and math.isinf(value) and math.isfinite(left) and math.isfinite(right):
        raise Fault(codes.TOO_MUCH, node.span, "This is too large a number.")
    return checked(value, node.span, budget)


def checked(value: Any, span: Span, budget: Budget) -> Any:
    """A value, if it is not too large; large ones cost more."""
    if isinstance(value, int):
        if abs(value) > LARGEST:
            number = f"{value:.3g}" if abs(value) < 2**1023 else "This"
            raise Fault(codes.TOO_MUCH, span, f"{number} is too large for a whole number; at most 2 ** 64 can be.")
        return value
    if isinstance(value, float):
        return value
    if (length := size(value)) > LONGEST:
        raise Fault(codes.TOO_MUCH, span, f"This is {length} long; at most {LONGEST} can be.")
    budget.step(span, length // 20)
    return value


def size(value: Any) -> int:
    """Characters of a text; elements of a list, and of the lists in it."""
    if isinstance(value, tuple) and not isinstance(value, Message):
        return len(value) + sum(size(item) for item in value if isinstance(item, tuple))
    return len(value) if isinstance(value, str) else 1


def conditional(node: Conditional, scope: Scope, budget: Budget) -> Any:
    test = condition(evaluate(node.test, scope, budget), node.test.span)
    return evaluate(node.yes if test else node.no, scope, budget)


def condition(value: Any, span: Span) -> bool:
    """True or false; 1 and 0 are taken for them, as in protobuf."""
    if isinstance(value, bool) or isinstance(value, int) and value in (0, 1):
        return bool(value)
    hint = "compare it with something, as in x > 0" if is_number(value) else None
    raise Fault(codes.BAD_CONDITION, span, f"This is {describe(value)}, not true or false.", hint=hint)


def index(node: Index, scope: Scope, budget: Budget) -> Any:
    chain = [node]
    while isinstance(chain[-1].value, Index):
        chain.append(chain[-1].value)
    value = evaluate(chain[-1].value, scope, budget)
    for part in reversed(chain):
        at = evaluate(part.index, scope, budget)
        if isinstance(value, Message) or not isinstance(value, (str, tuple)):
            raise Fault(codes.BAD_INDEX, part.value.span, f"This is {describe(value)}, which has no elements.")
        if not isinstance(at, int) or isinstance(at, bool):
            raise Fault(codes.BAD_INDEX, part.index.span, f"An index is a whole number, not {describe(at)}.")
        if not -len(value) <= at < len(value):
            what = "text" if isinstance(value, str) else "list"
            last = f"the last is {len(value) - 1}" if value else "it is empty"
            raise Fault(
                codes.BAD_INDEX, part.index.span, f"The {what} has {len(value)} elements; {last}, this is {at}."
            )
        value = value[at]
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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


def call(node: Call, scope: Scope, budget: Budget) -> Any:
    from .functions import FUNCTIONS

    if node.function not in FUNCTIONS:
        detail = f"There is no function `{node.function}`."
        hint = did_you_mean(node.function, FUNCTIONS) or f"there are {', '.join(FUNCTIONS)}"
        raise Fault(codes.UNKNOWN_FUNCTION, node.name_span, detail, hint=hint)
    arguments = [evaluate(argument, scope, budget) for argument in node.arguments]
    return checked(FUNCTIONS[node.function](node, arguments), node.span, budget)


KINDS: dict[type, Callable[..., Any]] = {
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
