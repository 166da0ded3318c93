"""Statements broken over lines as formatters of Python do."""

from __future__ import annotations

WIDEST = 120
OPENING, CLOSING = "([{", ")]}"


def wrapped(start: str, expression: str, indent: int) -> str:
    """`start` and an expression, in one line where it fits behind `indent` columns; else broken at its last bracket:
    what that holds in one line, or an argument a line.  Lines after the first have their indentation."""
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
    """Where the bracket opens that the last character closes; None where it closes none, or where the expression is
    a sum or product of several."""
    if not expression or expression[-1] not in CLOSING:
        return None
    depth = 0
    for at in range(len(expression) - 1, -1, -1):
        depth += (expression[at] in CLOSING) - (expression[at] in OPENING)
        if depth == 0:
            return None if " " in expression[:at] else at
    return None


def _arguments(inner: str) -> list[str]:
    """The parts between commas that stand in no bracket."""
    found, depth, start = [], 0, 0
    for at, letter in enumerate(inner):
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth == 0:
            found.append(inner[start:at].strip())
            start = at + 1
    return [*found, inner[start:].strip()]
