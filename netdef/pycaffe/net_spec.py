"""`caffe.NetSpec`, `layers as L` and `params as P`: nets defined in Python, as messages that print as prototxt.

    n = caffe.NetSpec()
    n.data, n.label = L.Data(batch_size=64, backend=P.Data.LMDB, source="train", ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    text = str(n.to_proto())

Source: BVLC/caffe python/caffe/net_spec.py for names and behavior.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..layers.base import LAYERS
from .errors import NoField, Unknown, WrongType
from .proto import caffe_pb2


class Top:
    """One output of a layer."""

    def __init__(self, fn: Function, n: int):
        self.fn, self.n = fn, n

    def to_proto(self) -> Any:
        """Returns the net that outputs this blob, as a NetParameter."""
        return to_proto(self)


class Function:
    """A layer with its inputs, without a name: `type_name`, `inputs`, and `params`, the fields that were given."""

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: dict[str, Any]):
        for i, given in enumerate(inputs):
            if not isinstance(given, Top):
                raise WrongType(f"{type_name} input {i} is not a Top (type is {type(given)})")
        self.type_name, self.inputs = type_name, inputs
        self.ntop = int(params.pop("ntop", 1))
        self.in_place = bool(params.pop("in_place", False))
        if self.in_place and (not inputs or self.ntop != 1):
            raise NetdefError(f"L.{type_name} with in_place=True requires an input and exactly one top")
        self.params = params
        self.tops = tuple(Top(self, i) for i in range(self.ntop))

    def layer(self, name: str, bottoms: list[str], tops: list[str]) -> Any:
        """Returns the layer as a LayerParameter."""
        made = caffe_pb2.LayerParameter(name=name, type=self.type_name, bottom=bottoms, top=tops)
        cls = LAYERS.get(self.type_name)
        block = made.DESCRIPTOR.fields_by_name.get(getattr(cls, "block", None) or "")
        for field, value in self.params.items():
            inside = block and not field.endswith("param") and field in block.message_type.fields_by_name
            _assign(getattr(made, block.name) if inside else made, field, value, f"L.{self.type_name}")
        return made


def _assign(message: Any, name: str, value: Any, where: str) -> None:
    """Sets a field of a message. Dicts become messages, and a single value of a repeated field a list."""
    fields = message.DESCRIPTOR.fields_by_name
    if name not in fields:
        raise NoField(f"{where} has no field `{name}`.{suggestion(name, fields)}")
    field = fields[name]
    if value is None:
        return
    many = isinstance(value, (list, tuple, np.ndarray))
    try:
        if field.message_type is not None:
            for one in value if many else [value]:
                inside = getattr(message, name).add() if field.is_repeated else getattr(message, name)
                if not field.is_repeated:
                    inside.SetInParent()  # an empty block is written too
                if isinstance(one, Mapping):
                    for key, item in one.items():
                        _assign(inside, key, item, where)
                else:
                    inside.CopyFrom(one)
        elif field.is_repeated:
            getattr(message, name).extend(_plain(one, field) for one in (value if many else [value]))
        else:
            setattr(message, name, _plain(value, field))
    except (TypeError, ValueError) as error:
        if isinstance(error, NetdefError):
            raise
        raise WrongType(f"{where}: `{name}` cannot be {value!r}: {error}") from None


def _plain(value: Any, field: Any) -> Any:
    """Returns a value as protobuf accepts it: not NumPy's numbers, and enum values as numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if field.enum_type is not None and isinstance(value, str):
        words = field.enum_type.values_by_name
        if value not in words:
            raise NoField(f"`{field.name}` must be one of {', '.join(words)}, not {value}.{suggestion(value, words)}")
        return words[value].number
    return value


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
            raise WrongType(f"n.{name} must be a layer, not {value!r}; with ntop=2, assign to two names")
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        if name not in self.tops:
            meant = suggestion(name, self.tops)
            raise Unknown(f"there is no top `{name}` yet{'.' if meant else ''}{meant}")
        return self.tops[name]

    def to_proto(self) -> Any:
        """Returns the net as a NetParameter; `str` of it is prototxt."""
        return _written(self.tops.values(), {id(top): name for name, top in self.tops.items()})


def to_proto(*tops: Top) -> Any:
    """Returns the net that outputs these tops, as a NetParameter; names are generated from the layer types."""
    return _written(tops, {})


def _written(wanted: Iterable[Top | Function], names: dict[int, str]) -> Any:
    layers: dict[int, Any] = {}
    counts: Counter[str] = Counter()

    def name_of(top: Top) -> str:
        while top.fn.in_place:
            top = top.fn.inputs[0]
        if id(top) not in names:
            names[id(top)] = own_name(top.fn)
        return names[id(top)]

    def own_name(function: Function) -> str:
        counts[function.type_name] += 1
        return f"{function.type_name}{counts[function.type_name]}"

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
            called = names.get(id(last.tops[0] if last.tops else last)) or own_name(last)
            layers[id(last)] = last.layer(called, [name_of(top) for top in last.inputs], tops)

    for one in wanted:
        write(one.fn if isinstance(one, Top) else one)
    return caffe_pb2.NetParameter(layer=layers.values())


class Layers:
    """`L.Convolution(bottom, ..., num_output=20)`: a function for each layer type."""

    def __getattr__(self, type: str) -> Any:
        if type.startswith("__"):
            raise AttributeError(type)
        if LAYERS.get(type) is None:
            meant = suggestion(type, LAYERS.names())
            raise NoField(f"there is no layer type `{type}`.{meant}")

        def make(*inputs: Top, **params: Any) -> Any:
            function = Function(type, inputs, params)
            return {0: function, 1: function.tops[0] if function.tops else None}.get(function.ntop, function.tops)

        return make


class Params:
    """`P.Pooling.MAX`: the numbers of enum values by name."""

    def __getattr__(self, type: str) -> Any:
        if type.startswith("__"):
            raise AttributeError(type)
        message = f"{type}Parameter"
        if message not in dir(caffe_pb2):
            cls = LAYERS.get(type)
            block = caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name.get(getattr(cls, "block", None) or "")
            if block is None:
                raise NoField(f"there is no layer type `{type}` with parameters.{suggestion(type, LAYERS.names())}")
            message = block.message_type.name
        return _Words(getattr(caffe_pb2, message))


class _Words:
    def __init__(self, message: Any):
        self._message = message

    def __getattr__(self, name: str) -> int:
        words = {value.name: value.number for each in self._message.DESCRIPTOR.enum_types for value in each.values}
        if name not in words:
            raise NoField(f"{self._message.DESCRIPTOR.name} has no word `{name}`.{suggestion(name, words)}")
        return words[name]


layers, params = Layers(), Params()
