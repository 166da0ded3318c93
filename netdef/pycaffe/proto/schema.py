"""The descriptor of Caffe's messages: the fields in `caffe.proto`, and the fields that only netdef's layers have.

protobuf's own parser of .proto files is a program, so the few constructs of this file are parsed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from .own_fields import PACKAGE, add_own

Scope = FileDescriptorProto | DescriptorProto


def caffe_file() -> FileDescriptorProto:
    """Returns the descriptor of all messages."""
    text = Path(__file__).with_name("caffe.proto").read_text("utf-8")
    tokens = re.findall(r'"[^"]*"|[\w.+-]+|[{}=;\[\],]', re.sub("//.*", "", text))
    file = FileDescriptorProto(name="caffe.proto", package=PACKAGE, syntax="proto2")
    _read(iter(tokens), file)
    _resolve(file)
    add_own(file)
    return file


def _read(tokens: Iterator[str], into: Scope) -> None:
    """Reads the statements of a file or a message, up to the end or to `}`."""
    for word in tokens:
        if word == "}":
            return
        if word == "message":
            made = (into.message_type if isinstance(into, FileDescriptorProto) else into.nested_type).add()
            made.name, _ = next(tokens), next(tokens)
            _read(tokens, made)
        elif word == "enum":
            _read_enum(tokens, into.enum_type.add(name=next(tokens)))
        elif isinstance(into, FileDescriptorProto):  # syntax, package
            _statement(tokens)
        else:
            _add_field(into, [word, *_statement(tokens)])


def _statement(tokens: Iterator[str]) -> list[str]:
    return list(iter(lambda: next(tokens), ";"))


def _read_enum(tokens: Iterator[str], into: EnumDescriptorProto) -> None:
    next(tokens)
    while (name := next(tokens)) != "}":
        _, number = _statement(tokens)
        into.value.add(name=name, number=int(number))


def _add_field(into: DescriptorProto, words: list[str]) -> None:
    """Adds a field: `optional uint32 stride = 6 [default = 1]`."""
    label, kind, name, _, number, *options = words
    field = into.field.add(name=name, number=int(number), type_name=kind)
    field.label = FieldDescriptorProto.Label.Value(f"LABEL_{label.upper()}")
    for key, value in zip(options[1::4], options[3::4], strict=True):
        if key == "default":
            field.default_value = value.strip('"')
        elif key == "packed":
            field.options.packed = True


def _resolve(file: FileDescriptorProto) -> None:
    """Replaces the name of each field's type by the full name of a message or enum, or by the scalar type."""
    types: dict[str, FieldDescriptorProto.Type.ValueType] = {}

    def collect(scope: Scope, path: str) -> None:
        for each in scope.enum_type:
            types[f"{path}.{each.name}"] = FieldDescriptorProto.TYPE_ENUM
        for message in scope.message_type if isinstance(scope, FileDescriptorProto) else scope.nested_type:
            types[f"{path}.{message.name}"] = FieldDescriptorProto.TYPE_MESSAGE
            collect(message, f"{path}.{message.name}")

    def resolve(message: DescriptorProto, path: str) -> None:
        for field in message.field:
            near = (f"{path}.{field.type_name}", f".{PACKAGE}.{field.type_name}")
            full = next((name for name in near if name in types), None)
            if full is not None:
                field.type, field.type_name = types[full], full
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{field.type_name.upper()}")
                field.ClearField("type_name")
        for nested in message.nested_type:
            resolve(nested, f"{path}.{nested.name}")

    collect(file, f".{PACKAGE}")
    for message in file.message_type:
        resolve(message, f".{PACKAGE}.{message.name}")
