"""Adds to Caffe's messages the fields that only netdef's layers, fillers and solvers have.

They are those of the schema: a block becomes a message, an enum an enum, and the number of a field depends only on its
name, so that a binary file remains readable when other fields are added.
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass, field

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from ...fillers.base import FILLERS, Filler
from ...layers.base import LAYERS
from ...policies.base import POLICIES
from ...schema import Block, Param
from ...solvers.base import SOLVERS

PACKAGE = "caffe"
FIRST, NUMBERS = 1_000_000, 100_000_000  # of own fields: above those of the forks, and below protobuf's limit of 2**29
SCALARS = {bool: "bool", int: "int64", float: "float", str: "string"}


def add_own(file: FileDescriptorProto) -> None:
    """Adds all fields of netdef that the file does not have."""
    addition = _Addition({message.name: message for message in file.message_type}, file)
    for _, layer in LAYERS:
        addition.layer(layer)
    for registry in (SOLVERS, POLICIES):
        for _, cls in registry:
            addition.block(cls, addition.messages["SolverParameter"])


def message_name(field: str) -> str:
    """Returns the name of the message or enum of a field: `PriorBoxParameter` for `prior_box_param`."""
    words = "".join(word[:1].upper() + word[1:] for word in field.removesuffix("_param").split("_"))
    return f"{words}Parameter" if field.endswith("_param") else words


@dataclass(frozen=True)
class _Addition:
    messages: dict[str, DescriptorProto]
    file: FileDescriptorProto
    seen: set[tuple[type[Block], str]] = field(default_factory=set)

    def layer(self, cls: type[Block]) -> None:
        """Adds the fields of a layer class: those beside its block, the block, and the fields in it."""
        into = self.messages["LayerParameter"]
        own = []
        for spec in cls.params().values():
            if spec.beside:
                self.spec(spec, into)
            else:
                own.append(spec)
        block = getattr(cls, "block", None)
        if block is not None:
            inside = self.message(block, into, False)
            for spec in own:
                self.spec(spec, inside)

    def block(self, cls: type[Block], into: DescriptorProto) -> None:
        """Adds the fields of a block to its message."""
        if (cls, into.name) in self.seen:
            return
        self.seen.add((cls, into.name))
        for spec in cls.params().values():
            self.spec(spec, into)
        if issubclass(cls, Filler):
            for _, filler in FILLERS:
                self.block(filler, into)

    def spec(self, spec: Param, into: DescriptorProto) -> None:
        """Adds one field of the schema; of a field that exists, the fields of its message that do not."""
        if isinstance(spec.type, type) and issubclass(spec.type, Block):
            self.block(spec.type, self.message(spec.name, into, spec.repeated))
        elif _find(into, spec.name) is None:
            made = _added(into, spec.name, spec.repeated)
            if isinstance(spec.type, type) and issubclass(spec.type, enum.Enum):
                _declare(into, made, spec.type)
            else:
                made.type = FieldDescriptorProto.Type.Value(f"TYPE_{SCALARS[spec.type].upper()}")
            if not spec.repeated and (default := _default(spec)):
                made.default_value = default

    def message(self, name: str, into: DescriptorProto, repeated: bool) -> DescriptorProto:
        """Returns the message of a field, both of which are created if they do not exist."""
        found = _find(into, name)
        if found is None:
            found = _added(into, name, repeated)
            kind = "FillerParameter" if name.endswith("_filler") else message_name(name)
            found.type, found.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
        kind = found.type_name.rpartition(".")[2]
        if kind not in self.messages:
            self.messages[kind] = self.file.message_type.add(name=kind)
        return self.messages[kind]


def _find(message: DescriptorProto, name: str) -> FieldDescriptorProto | None:
    return next((each for each in message.field if each.name == name), None)


def _added(into: DescriptorProto, name: str, repeated: bool) -> FieldDescriptorProto:
    number = FIRST + zlib.crc32(name.encode()) % NUMBERS
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    return into.field.add(name=name, number=number, label=label)


def _declare(into: DescriptorProto, field: FieldDescriptorProto, words: type[enum.Enum]) -> None:
    """Declares an enum, in a message of its own because a message cannot have two enums with a common word."""
    scope = into
    if {value.name for each in into.enum_type for value in each.value} & set(words.__members__):
        scope = into.nested_type.add(name=f"{message_name(field.name)}Words")
    declared = scope.enum_type.add(name=message_name(field.name))
    for number, (word, member) in enumerate(words.__members__.items()):
        declared.value.add(name=word, number=member.value if isinstance(member.value, int) else number)
    path = into.name if scope is into else f"{into.name}.{scope.name}"
    field.type, field.type_name = FieldDescriptorProto.TYPE_ENUM, f".{PACKAGE}.{path}.{declared.name}"


def _default(spec: Param) -> str:
    """Returns the default as protobuf writes it; empty if there is none."""
    value = spec.default
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float, str)) else ""
