"""Prints a plain tree as prototxt that Caffe reads: for `netdef expand`, and for the nets that are saved with a run.

Lists become repeated fields, which every version of protobuf reads.
"""

from __future__ import annotations

import math
from typing import Any

from .syntax import Field, ListValue, Message

WIDTH = 80  # columns; a block of values that fits is printed on one line
INDENT = "  "


def print_message(message: Message) -> str:
    """The fields of a message as text."""
    lines: list[str] = []
    add_fields(message, 0, lines)
    return "".join(f"{line}\n" for line in lines)


def add_fields(message: Message, depth: int, lines: list[str]) -> None:
    for field in flat(message):
        margin = INDENT * depth
        if not isinstance(field.value, Message):
            lines.append(f"{margin}{field.name}: {scalar(field.value)}")
        elif (line := in_one_line(field, margin)) is not None:
            lines.append(line)
        else:
            lines.append(f"{margin}{field.name} {{")
            add_fields(field.value, depth + 1, lines)
            lines.append(f"{margin}}}")


def flat(message: Message) -> list[Field]:
    """The fields, with each list replaced by one field per element."""
    fields = []
    for field in message.fields:
        if type(field.value) is ListValue:
            fields += [field._replace(value=value) for value in field.value.items]
        else:
            fields.append(field)
    return fields


def in_one_line(field: Field, margin: str) -> str | None:
    """`name { a: 1 b: 2 }` for a block of values that fits on a line, else None; a layer is never on one line."""
    assert isinstance(field.value, Message)
    fields = flat(field.value)
    if not fields:
        return f"{margin}{field.name} {{}}"
    if (
        field.name in ("layer", "layers")
        or len(fields) > WIDTH
        or any(isinstance(inner.value, Message) for inner in fields)
    ):
        return None
    line = f"{margin}{field.name} {{ {' '.join(f'{inner.name}: {scalar(inner.value)}' for inner in fields)} }}"
    return line if len(line) <= WIDTH else None


def scalar(node: Any) -> str:
    """A value as text."""
    if node.kind == "string":
        return quoted(node.value)
    if node.kind != "float":
        return str(node.value)
    return repr(node.value) if math.isfinite(node.value) else str(node.value)


ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """A string in double quotes. Control characters become octal escapes, and so does the `$` of `${`, which netdef
    would expand."""
    if text.isprintable() and not any(sign in text for sign in ("\\", '"', "${")):
        return f'"{text}"'
    escaped = "".join(ESCAPES.get(c) or (f"\\{ord(c):03o}" if ord(c) < 32 or ord(c) == 127 else c) for c in text)
    return f'"{escaped}"'.replace("${", "\\044{")
