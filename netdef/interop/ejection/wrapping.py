"""Wraps statements over several lines, as Python formatters do."""

from __future__ import annotations

WIDEST = 120
OPENING, CLOSING = "([{", ")]}"


def wrapped(start: str, expression: str, indent: int) -> str:
    """Returns `start` and an expression, in one line if it fits after `indent` columns. Otherwise the line is broken at
    the expression's last bracket, with the contents in one line or one argument per line. Lines after the first include
    their indentation."""
    if indent + len(start) + len(expression) <= WIDEST:
        return start + expression
    opened = _opening(expression)
    if opened is None:
        return f"{start}(\n{_within(expression, indent)}\n{' ' * indent})"
    head, inner, close = expression[: opened + 1], expression[opened + 1 : -1], expression[-1]
    return f"{start}{head}\n{_within(inner, indent)}\n{' ' * indent}{close}"


def _within(inner: str, indent: int) -> str:
    deeper = " " * (indent + 4)
    if len(deeper) + len(inner) <= WIDEST:
        return deeper + inner
    arguments = _arguments(inner)
    if len(arguments) == 1:
        return deeper + inner
    return "\n".join(f"{deeper}{wrapped('', part, indent + 4)}," for part in arguments)


def _opening(expression: str) -> int | None:
    """Returns the position of the bracket that the last character closes; None if that is not a bracket, or if the
    expression is a sum or product."""
    if not expression or expression[-1] not in CLOSING:
        return None
    depth = 0
    for at in range(len(expression) - 1, -1, -1):
        depth += (expression[at] in CLOSING) - (expression[at] in OPENING)
        if depth == 0:
            return None if " " in expression[:at] else at
    return None


def _arguments(inner: str) -> list[str]:
    """Splits at the commas outside brackets."""
    found, depth, start = [], 0, 0
    for at, letter in enumerate(inner):
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth == 0:
            found.append(inner[start:at].strip())
            start = at + 1
    return [*found, inner[start:].strip()]
