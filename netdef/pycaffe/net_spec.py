"""`caffe.NetSpec`, `layers as L` and `params as P`: nets defined in Python and printed as prototxt.

    n = caffe.NetSpec()
    n.data, n.label = L.Data(batch_size=64, backend=P.Data.LMDB, source="train", ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    text = str(n.to_proto())

Source: BVLC/caffe python/caffe/net_spec.py for names and behavior. Unlike there, `to_proto` returns a string.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..language.errors import NetdefError
from ..language.printer import print_message
from ..language.source import NOWHERE
from ..language.spelling import suggestion
from ..language.syntax import Field, Message, Scalar, Value
from ..layers.base import LAYERS, Layer


class Word(str):
    """The name of an enum value, which is written without quotes."""


class Top:
    """One output of a layer."""

    def __init__(self, function: Function, number: int):
        self.fn, self.n = function, number

    def to_proto(self) -> str:
        """Returns the net that outputs this blob, as prototxt."""
        return to_proto(self)


class Function:
    """A layer with its inputs, without a name."""

    def __init__(self, type: str, inputs: tuple[Any, ...], fields: dict[str, Any]):
        for i, given in enumerate(inputs):
            if not isinstance(given, Top) or given.fn.ntop == 0:
                raise NetdefError(f"input {i} of L.{type} must be a top of another layer, not {given!r}")
        self.type, self.inputs = type, inputs
        self.ntop = int(fields.pop("ntop", 1))
        self.in_place = bool(fields.pop("in_place", False))
        if self.in_place and (not inputs or self.ntop != 1):
            raise NetdefError(f"L.{type} with in_place=True requires an input and exactly one top")
        self.fields = fields
        self.tops = tuple(Top(self, i) for i in range(self.ntop))

    def layer(self, name: str, bottoms: list[str], tops: list[str]) -> Field:
        """Returns the layer as a field of a net."""
        cls = LAYERS.get(self.type)
        assert cls is not None
        beside = {n: v for n, v in self.fields.items() if _is_beside(n, cls)}
        own = {n: v for n, v in self.fields.items() if n not in beside and n != "name"}
        head = {"name": self.fields.get("name", name), "type": self.type, "bottom": bottoms, "top": tops}
        block = {cls.block or f"{self.type.lower()}_param": own} if own else {}
        return Field("layer", _message(head | beside | block), NOWHERE, NOWHERE)


def _is_beside(name: str, cls: type[Layer]) -> bool:
    """Whether a field belongs to the layer itself rather than to the block of its type."""
    spec = cls.params().get(name)
    return name != "name" and (name.endswith("_param") or (spec is not None and spec.beside))


def _message(fields: Mapping[str, Any]) -> Message:
    made = [
        Field(name, _value(name, one), NOWHERE, NOWHERE)
        for name, value in fields.items()
        for one in (value if isinstance(value, (list, tuple, np.ndarray)) else [value])
        if one is not None
    ]
    return Message(tuple(made), NOWHERE)


def _value(name: str, value: Any) -> Value:
    if isinstance(value, Mapping):
        return _message(value)
    if isinstance(value, (Word, enum.Enum)):
        return Scalar("name", str(value if isinstance(value, Word) else value.name), NOWHERE)
    if isinstance(value, (bool, np.bool_)):
        return Scalar("name", "true" if value else "false", NOWHERE)
    if isinstance(value, (int, np.integer)):
        return Scalar("int", int(value), NOWHERE)
    if isinstance(value, (float, np.floating)):
        return Scalar("float", float(value), NOWHERE)
    if isinstance(value, str):
        return Scalar("string", value, NOWHERE)
    raise NetdefError(f"`{name}` must be a number, string, boolean, dict or a list of these, not {value!r}")


class NetSpec:
    """A net under construction. Each attribute that is set becomes a top (or a layer without tops) of this name."""

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Top | Function) -> None:
        self[name] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setitem__(self, name: str, value: Top | Function) -> None:
        if not isinstance(value, (Top, Function)):
            raise NetdefError(f"n.{name} must be a layer, not {value!r}; with ntop=2, assign to two names")
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        if name not in self.tops:
            meant = suggestion(name, self.tops)
            raise NetdefError(f"there is no top `{name}` yet{'.' if meant else ''}{meant}")
        return self.tops[name]

    def to_proto(self) -> str:
        """Returns the net as prototxt."""
        return _written(self.tops.values(), {id(top): name for name, top in self.tops.items()})


def to_proto(*tops: Top) -> str:
    """Returns the net that outputs these tops, as prototxt; names are generated from the layer types."""
    return _written(tops, {})


def _written(wanted: Iterable[Top | Function], names: dict[int, str]) -> str:
    layers: dict[int, Field] = {}
    counts: Counter[str] = Counter()

    def name_of(top: Top) -> str:
        return name_of(top.fn.inputs[0]) if top.fn.in_place else names.setdefault(id(top), own_name(top.fn, top.n))

    def own_name(function: Function, n: int) -> str:
        counts[function.type] += n == 0
        return f"{function.type}{counts[function.type]}" + (f"_{n}" if n else "")

    def write(function: Function) -> None:
        waiting = [function]
        while waiting:  # inputs first; not recursive, because nets may be deeper than Python's stack
            last = waiting[-1]
            missing = [top.fn for top in last.inputs if id(top.fn) not in layers]
            if missing:
                waiting += missing[::-1]
                continue
            waiting.pop()
            if id(last) in layers:
                continue
            tops = [name_of(top) for top in last.tops]
            called = names.get(id(last.tops[0] if last.tops else last)) or own_name(last, 0)
            layers[id(last)] = last.layer(called, [name_of(top) for top in last.inputs], tops)

    for one in wanted:
        write(one.fn if isinstance(one, Top) else one)
    return print_message(Message(tuple(layers.values()), NOWHERE))


class Layers:
    """`L.Convolution(bottom, ..., num_output=20)`: a function for each layer type."""

    def __getattr__(self, type: str) -> Any:
        if type.startswith("__"):
            raise AttributeError(type)
        if LAYERS.get(type) is None:
            meant = suggestion(type, LAYERS.names())
            raise NetdefError(f"there is no layer type `{type}`.{meant}")

        def make(*inputs: Top, **fields: Any) -> Any:
            function = Function(type, inputs, fields)
            return {0: function, 1: function.tops[0] if function.tops else None}.get(function.ntop, function.tops)

        return make


class Params:
    """`P.Pooling.MAX`: enum values by name."""

    def __getattr__(self, type: str) -> Any:
        if type.startswith("__"):
            raise AttributeError(type)
        return _Words()


class _Words:
    def __getattr__(self, name: str) -> Word:
        if name.startswith("__"):
            raise AttributeError(name)
        return Word(name)


layers, params = Layers(), Params()
