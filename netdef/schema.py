"""Declarations of the fields of a block: type, default, bounds and meaning of each.

    class PoolingBlock(Block):
        kernel_size: int = param("Side of the window.", at_least=1)
        stride: int = param("Step of the window.", default=1, at_least=1)
        pool: PoolMethod = param("The reduction of each window.", default=PoolMethod.MAX)

`decode(PoolingBlock, message, report)` returns an instance for a parsed message. Errors go to the report, and the field
keeps its default, so later stages can continue. `netdef explain` and the reference use the same declarations.
If the name of a field is used by Python or a base class, it is declared with a trailing `_`: `type_` is `type` in the
file.
Types: int, float, bool, str, an Enum (by name or number), a Block (a message), `tuple[T, ...]` (repeated), `T | None`.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from .language import codes
from .language.diagnostics import Related, Report
from .language.source import Span
from .language.spelling import closest, nearest, suggestion
from .language.syntax import Field, ListValue, Message, Scalar, Value

MOST_COMPARED = 100  # unknown fields of a block that may be misspellings of a missing one; all of them are reported
REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "required"})()


@dataclass(frozen=True)
class Param:
    """One declared field. `type` is the type of an element. `beside` marks a field that is in the layer itself and not
    in its own block (`loss_param`); `inert` marks a field that is accepted for compatibility and ignored (`engine`)."""

    doc: str
    default: Any = REQUIRED
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()  # the allowed strings; if empty, any string
    word: str = ""  # an unquoted word that is allowed besides strings
    unit: str = ""
    beside: bool = False
    inert: bool = False
    name: str = ""
    type: Any = None
    repeated: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def kind(self) -> str:
        """The type of an element as it is shown to users: `int`, `MAX | AVE`, `"L2" | "L1"`, `{ ... }`."""
        written = " | ".join(f'"{word}"' for word in self.choices) or type_name(self.type)
        return f"{self.word} | {written}" if self.word else written

    def bounds(self) -> str:
        """The allowed range in words; empty if there is no limit."""
        words = [
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        ]
        return " and ".join(f"{word} {bound:g}" for word, bound in words if bound is not None)

    @cached_property
    def any_value(self) -> bool:
        """Whether every string, number or boolean of its type is allowed."""
        bounded = any(bound is not None for bound in (self.at_least, self.at_most, self.above, self.below))
        return self.type in (str, bool, float) and not (bounded or self.choices or self.word)

    def allows(self, value: float) -> bool:
        return not (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.at_most is not None and value > self.at_most)
            or (self.below is not None and value >= self.below)
        )


class Params(dict[str, Param]):
    """Declared fields by attribute, with what decoding needs of them for every block, computed once."""

    @cached_property
    def by_name(self) -> dict[str, tuple[str, Param]]:
        """(attribute, field) by the name in the file."""
        return {spec.name: (attribute, spec) for attribute, spec in self.items()}

    @cached_property
    def required(self) -> dict[str, Param]:
        return {attribute: spec for attribute, spec in self.items() if spec.required}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of fields that are not given; those of required fields, which `take` has reported, are None."""
        missing = {attribute: () if spec.repeated else None for attribute, spec in self.required.items()}
        return {attribute: spec.default for attribute, spec in self.items()} | missing


def param(doc: str, *, default: Any = REQUIRED, **facts: Any) -> Any:
    """Declares a field: its meaning, its default (required if there is none), its bounds or choices (see `Param`)."""
    return Param(doc, default, **facts)


def type_name(of: Any) -> str:
    """A type as it is shown to users: `int`, `string`, `MAX | AVE`, `{ ... }`."""
    if isinstance(of, type) and issubclass(of, enum.Enum):
        return " | ".join(of.__members__)
    if isinstance(of, type) and issubclass(of, Block):
        return "{ ... }"
    return {str: "string"}.get(of, getattr(of, "__name__", str(of)))


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
class Block:
    """A message with declared fields; instances are frozen.

    `span` is its place in the source (None if created in Python), `spans[field]` the places of each given field.
    """

    selector: ClassVar[str | None] = None  # the field that `select` reads; not a declared field itself
    span: ClassVar[Span | None] = None
    spans: ClassVar[Mapping[str, tuple[Span, ...]]] = {}

    def __init__(self, **values: Any):
        declared = self.params()
        for name in values:
            if name not in declared:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
        for name, spec in declared.items():
            value = values.get(name, () if spec.repeated and spec.required else spec.default)
            if value is REQUIRED:
                raise TypeError(f"{type(self).__name__} requires {name!r}")
            self.__dict__[name] = tuple(value) if spec.repeated and isinstance(value, list) else value
        self.__dict__["spans"] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in self.params())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (f"{n}={getattr(self, n)!r}" for n, p in self.params().items() if getattr(self, n) != p.default)
        return f"{type(self).__name__}({', '.join(shown)})"

    def given(self, name: str) -> bool:
        """Whether the file gave this field (Caffe's has_...)."""
        return name in self.spans

    def span_of(self, name: str, i: int = 0) -> Span | None:
        """The place of value `i` of a field, or of the whole message if the field was not given."""
        places = self.spans.get(name, ())
        return places[min(i, len(places) - 1)] if places else self.span

    def replace(self, **values: Any) -> Self:
        """A copy with other values; replaced fields count as not given."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **values)
        made.__dict__["spans"] = {name: places for name, places in self.spans.items() if name not in values}
        return made

    @classmethod
    def params(cls) -> Params:
        """The declared fields by name, the fields of base classes first."""
        return _params(cls)

    @classmethod
    def select(cls, message: Message, report: Report) -> type[Self] | None:
        """The class that decodes this message: `cls`, or the class named by its `type` field; None if there is none."""
        return cls

    @classmethod
    def tolerated(cls) -> Iterable[str]:
        """Names that are valid in this kind of message but have no effect on this class; they cause a warning."""
        return ()

    @classmethod
    def refused(cls) -> Mapping[str, str]:
        """Names that look valid in this kind of message but are not, each with the reason."""
        return {}

    def verify(self, report: Report) -> None:
        """Reports what is wrong with the values together; called if each of them is right."""


@cache
def _params(cls: type[Block]) -> Params:
    found = Params()
    for base in reversed(cls.__mro__):
        for name in vars(base):
            found.pop(name, None)  # a subclass may replace a field by a constant
        found.update(_own_params(base))
    return found


@cache
def _own_params(cls: type) -> dict[str, Param]:
    """The fields that a class itself declares. Annotations are stored as strings and slow to evaluate, so only the
    annotations of fields are evaluated, and only once for each class."""
    declared = {name: value for name, value in vars(cls).items() if isinstance(value, Param)}
    texts = {name: cls.__annotations__[name] for name in declared}
    hints = typing.get_type_hints(type("", (), {"__annotations__": texts, "__module__": cls.__module__}))
    made = {}
    for name, value in declared.items():
        element, repeated = _element(hints[name])
        made[name] = replace(value, name=name.rstrip("_"), type=element, repeated=repeated)
    return made


def _element(hint: Any) -> tuple[Any, bool]:
    """(type of one element, whether repeated) of an annotation."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _element(next(a for a in typing.get_args(hint) if a is not type(None)))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


B = TypeVar("B", bound=Block)


def decode(cls: type[B], message: Message, report: Report) -> B | None:
    """An instance of `cls` (or of the class it selects) from a parsed message; errors go to the report."""
    chosen = cls.select(message, report)
    if chosen is None:
        return None
    errors = report.errors_met
    values, spans, rest = take(chosen.params(), message, report)
    if rest:
        tolerated, refused = chosen.tolerated(), chosen.refused()
        for field in rest:
            if field.name in refused:
                report.add(codes.UNKNOWN_FIELD, field.name_span, refused[field.name])
            elif field.name != chosen.selector:
                unknown_field(field, chosen.params().by_name, tolerated, report)
    made = build(chosen, values, spans, message.span)
    if report.errors_met == errors:
        made.verify(report)
    return made


def build(
    cls: type[B], values: dict[str, Any], spans: dict[str, tuple[Span, ...]], span: Span | None, **facts: Any
) -> B:
    """An instance from decoded values; missing required fields, which `take` has reported, are None.
    `facts` are attributes of the class that are not fields of the file."""
    made = object.__new__(cls)
    attributes = made.__dict__
    attributes.update(cls.params().defaults)
    attributes.update(values)
    attributes.update(facts)
    attributes["span"], attributes["spans"] = span, spans
    return made


def take(
    params: Params, message: Message, report: Report, owner: Span | None = None
) -> tuple[dict[str, Any], dict[str, tuple[Span, ...]], list[Field]]:
    """Decodes the fields of `message` that `params` declares: (values, spans, fields that are not declared)."""
    values: dict[str, Any] = {}
    spans: dict[str, tuple[Span, ...]] = {}
    repeated: dict[str, tuple[list[Any], list[Span]]] = {}
    first: dict[str, Field] = {}
    rest = []
    by_name = params.by_name
    for field in message.fields:
        found = by_name.get(field.name)
        if found is None:
            rest.append(field)
            continue
        name, spec = found
        value = field.value
        items = value.items if type(value) is ListValue else (value,)
        if spec.repeated:
            if name not in first:
                first[name], repeated[name] = field, ([], [])
            known, where = repeated[name]
            for item in items:
                if (one := _value(spec, item, report)) is not None:
                    known.append(one)
                where.append(item.span)
            continue
        made = [_value(spec, item, report) for item in items]
        if name in first or len(items) != 1:
            _given_twice(field, first.get(name), report)
        elif made[0] is not None:
            values[name], spans[name] = made[0], (items[0].span,)
        first.setdefault(name, field)
    for name, (known, where) in repeated.items():
        values[name], spans[name] = tuple(known), tuple(where)
    for name, spec in params.required.items():
        if name not in first and not any(nearest(field.name, [spec.name]) for field in rest[:MOST_COMPARED]):
            report.add(
                codes.MISSING_FIELD,
                owner or message.span,
                f"`{spec.name}` is required here: {_lower_first(spec.doc)}",
            )
    return values, spans, rest


def unknown_field(field: Field, known: Iterable[str], tolerated: Iterable[str], report: Report) -> None:
    """Reports an undeclared field: a warning if it is tolerated here, else an error that suggests similar names."""
    if field.name in tolerated:
        report.add(codes.NO_EFFECT, field.name_span, f"`{field.name}` has no effect here.")
        return
    known = list(known)
    report.add(
        codes.UNKNOWN_FIELD,
        field.name_span,
        f"there is no field `{field.name}` here.{suggestion(field.name, known, most=3)}",
        hint=closest(field.name, known),
    )


def _given_twice(field: Field, before: Field | None, report: Report) -> None:
    related = (Related("first given here", before.span),) if before else ()
    report.add(codes.GIVEN_TWICE, field.span, f"`{field.name}` must have exactly one value.", *related)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _value(spec: Param, value: Value, report: Report) -> Any:
    """One element converted to its declared type, or None after an error was reported."""
    of = spec.type
    convert = _SCALARS.get(of)
    if spec.any_value and type(value) is Scalar and (made := convert(value)) is not None:  # pyright: ignore
        return made
    if convert is None and issubclass(of, Block):
        if isinstance(value, Message):
            return decode(of, value, report)
        return _wrong_type(spec, value, "a block, `{ ... }`", report)
    if not isinstance(value, Scalar):
        return _wrong_type(spec, value, _words(of), report)
    if convert is None:
        return _enum(spec, value, report)
    if spec.word and value.kind == "name" and value.value == spec.word:
        return spec.word
    made = convert(value)
    if made is None:
        return _wrong_type(spec, value, f"{spec.word} or {_words(of)}" if spec.word else _words(of), report)
    if of is int and not -(2**63) <= made < 2**64:
        report.add(codes.OUT_OF_RANGE, value.span, f"`{spec.name}` is {made:g}; it must fit into 64 bits.")
        return None
    if of in (int, float) and not spec.allows(made):
        report.add(codes.OUT_OF_RANGE, value.span, f"`{spec.name}` is {made:g}; it must be {spec.bounds()}.")
        return None
    if spec.choices and made not in spec.choices:
        words = " or ".join(f'"{word}"' for word in spec.choices)
        report.add(codes.WRONG_ENUM, value.span, f'`{spec.name}` must be {words}, not "{made}".')
        return None
    return made


def _enum(spec: Param, value: Scalar, report: Report) -> Any:
    members = spec.type.__members__
    if value.kind == "name" and value.value in members:
        return members[value.value]
    if value.kind == "int":
        found = [m for m in members.values() if m.value == value.value]
        if found:
            return found[0]
    if value.kind == "string" and value.value in members:
        return _wrong_type(spec, value, f"one of the unquoted words {', '.join(members)}", report, f"{value.value}")
    written = str(value.value)
    meant = suggestion(written, members, "{}")
    report.add(
        codes.WRONG_ENUM,
        value.span,
        f"`{spec.name}` must be one of {', '.join(members)}, not {written}.{meant}",
        hint=closest(written, members),
    )
    return None


def _wrong_type(spec: Param, value: Value, wanted: str, report: Report, hint: str | None = None) -> None:
    if isinstance(value, Scalar):
        kind = {"int": "an integer", "float": "a number", "string": "a string", "name": "a word"}[value.kind]
        found = value.span.text + (f" ({kind})" if "${" in value.span.text else "")
    else:
        found = "a block" if isinstance(value, Message) else "a list"
    if hint is None and isinstance(value, Scalar) and value.kind == "string" and spec.type in (int, float, bool):
        unquoted = str(value.value)
        hint = unquoted if _SCALARS[spec.type](_bare(unquoted, value.span)) is not None else None
    if hint is None and isinstance(value, Scalar) and value.kind == "name" and spec.type is str:
        hint = f'"{value.value}"'
    report.add(codes.WRONG_TYPE, value.span, f"`{spec.name}` expects {wanted}, not {found}.", hint=hint)


def _bare(text: str, span: Span) -> Scalar:
    for kind, convert in (("int", int), ("float", float)):
        try:
            return Scalar(kind, convert(text), span)
        except ValueError:
            pass
    return Scalar("name", text, span)


def _int(value: Scalar) -> int | None:
    return value.value if value.kind == "int" else None  # type: ignore[return-value]


def _float(value: Scalar) -> float | None:
    if value.kind in ("int", "float"):
        return float(value.value)
    if value.kind == "name" and str(value.value).lower() in ("inf", "infinity", "nan", "-inf", "-infinity", "-nan"):
        return float(value.value)
    return None


def _bool(value: Scalar) -> bool | None:
    if value.kind == "name":
        return {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}.get(str(value.value))
    return bool(value.value) if value.kind == "int" and value.value in (0, 1) else None


def _str(value: Scalar) -> str | None:
    return str(value.value) if value.kind == "string" or is_text(value) else None


def is_text(value: Value) -> bool:
    """Whether a value is a string, or an unquoted word of a setting (`--set solver.type=Adam`), because there the shell
    removes quotes."""
    return isinstance(value, Scalar) and (
        value.kind == "string" or (value.kind == "name" and value.span.source.name == "--set")
    )


_SCALARS = {int: _int, float: _float, bool: _bool, str: _str}


def _words(of: Any) -> str:
    return {int: "an integer", float: "a number", bool: "true or false", str: "a quoted string"}.get(
        of, f"one of {type_name(of)}"
    )
