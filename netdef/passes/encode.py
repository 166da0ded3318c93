"""Encodes typed blocks to a tree: the inverse of `decode`.

Returns plain fields that `print_message` prints as prototxt. A field is left out if it has its default and was not
given.
"""

from __future__ import annotations

import enum
from typing import Any

from ..language.source import NOWHERE
from ..language.syntax import Field, Message, Scalar, Value
from ..layers.base import Layer
from ..schema import Block, Param


def encode_layer(layer: Layer) -> Field:
    """`layer { ... }` as a user would write it: the fields of every layer, then its own block."""
    beside = {name: spec for name, spec in layer.params().items() if spec.beside}
    own = {name: spec for name, spec in layer.params().items() if not spec.beside}
    common = _fields(layer, {name: beside[name] for name in ("name",)})
    rest = _fields(layer, {name: spec for name, spec in beside.items() if name != "name"})
    inner = _fields(layer, own)
    block = [_field(layer.block, Message(tuple(inner), NOWHERE))] if layer.block and inner else []
    return _field("layer", Message((*common, _field("type", _scalar(layer.type)), *rest, *block), NOWHERE))


def encode(block: Block) -> Message:
    """The message of a block: a filler, a param."""
    kind = [_field(block.selector, _scalar(getattr(block, block.selector)))] if block.selector else []
    return Message((*kind, *_fields(block, block.params())), NOWHERE)


def _fields(block: Block, params: dict[str, Param]) -> list[Field]:
    made = []
    for name, spec in params.items():
        value = getattr(block, name)
        if value is None or (not block.given(name) and value == spec.default):
            continue
        values = value if spec.repeated else (value,)
        word = lambda v, spec=spec: isinstance(v, str) and v == spec.word
        made.extend(_field(spec.name, Scalar("name", v, NOWHERE) if word(v) else _value(v)) for v in values)
    return made


def _value(value: Any) -> Value:
    return encode(value) if isinstance(value, Block) else _scalar(value)


def _field(name: str, value: Value) -> Field:
    return Field(name, value, NOWHERE, NOWHERE)


def _scalar(value: Any) -> Scalar:
    if isinstance(value, enum.Enum):
        return Scalar("name", value.name, NOWHERE)
    if isinstance(value, bool):
        return Scalar("name", "true" if value else "false", NOWHERE)
    kind = {int: "int", float: "float", str: "string"}[type(value)]
    return Scalar(kind, value, NOWHERE)
