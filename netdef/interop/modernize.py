"""Rewrites an old net or solver in Caffe's current format, keeping its comments, for `netdef convert`.

V0 and V1 layers become `layer`s (see `passes.upgrade`), `input` and its shapes become an Input layer, `solver_type`
becomes `type`, and the three `param { lr_mult: 0 }` that older versions of BatchNorm required are removed.
Source: BVLC/caffe src/caffe/util/upgrade_proto.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..language.formatter import format
from ..language.parsing.parser import parse
from ..language.source import Source, Span
from ..language.syntax import Document, Field, If, ListValue, Message, Scalar, Value
from ..passes.upgrade import upgrade

_SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
_INPUT = ("input", "input_dim", "input_shape")


def modernized(source: Source) -> tuple[str, list[str]]:
    """Returns the source text in the current format, and notes on the changes. Raises CompileError on syntax errors."""
    report = Report()
    document = parse(source, report)
    report.stop_on_errors()
    assert document is not None  # otherwise there was an error
    _refuse_old_in_statements(document)
    body, notes = _upgraded(document.body, report)
    report.stop_on_errors()
    if not notes:
        return format(document), []
    return format(document._replace(body=body)), notes


def _refuse_old_in_statements(document: Document) -> None:
    """NetdefError for old layers in statements, or statements in old layers: only their expansion can be upgraded."""
    if document.plain:
        return
    at_top = {id(field) for field in document.body.all("layers")}
    for item, around in _all_items(document.body.fields, ()):
        statement = next((one for one in (item, *around) if not isinstance(one, Field)), None)
        old = next((one for one in (item, *around) if isinstance(one, Field) and one.name == "layers"), None)
        if statement and old and (id(old) not in at_top or not isinstance(item, Field)):
            word = statement.span.text.split(None, 1)[0]
            raise NetdefError(
                f"{old.span}: an old `layers` block together with `{word}` cannot be converted; "
                "write the file out with `netdef expand FILE -o NEW`, and convert NEW"
            )


def _all_items(items: Iterable[Any], around: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each field and statement of a file, with the fields and statements around it."""
    for item in items:
        yield item, around
        blocks = (getattr(item, name, None) for name in ("value", "body", "then", "otherwise"))
        for block in blocks:
            if isinstance(block, Message):
                yield from _all_items(block.fields, (item, *around))
            elif isinstance(block, If):
                yield from _all_items([block], around)


def _upgraded(body: Message, report: Report) -> tuple[Message, list[str]]:
    notes = []
    old = [f.value for f in body.all("layers") if isinstance(f.value, Message)]
    if old:
        v0 = sum(message.get("layer") is not None for message in old)
        ages = [f"{n} of {age}" for n, age in ((v0, "V0"), (len(old) - v0, "V1")) if n]
        notes.append(f"layers in an old format ({' and '.join(ages)}) converted to `layer`")
        body = _named_first(upgrade(body, report))
    for change in (_input_layer, _solver_type, _bare_statistics):
        body, note = change(body)
        notes += [note] if note else []
    return body, notes


_HEAD = ("name", "type", "bottom", "top")


def _named_first(body: Message) -> Message:
    """Moves name, type, bottoms and tops to the front of each layer, because V0 has them at the end."""
    place = lambda field: _HEAD.index(field.name) if field.name in _HEAD else len(_HEAD)
    layers = {id(f): f.value for f in body.all("layer") if isinstance(f.value, Message)}
    plain = {at: m for at, m in layers.items() if all(isinstance(f, Field) for f in m.fields)}
    ordered = {at: m._replace(fields=tuple(sorted(m.fields, key=place))) for at, m in plain.items()}
    fields = (f._replace(value=ordered[id(f)]) if id(f) in ordered else f for f in body.fields)
    return body._replace(fields=tuple(fields))


def _input_layer(body: Message) -> tuple[Message, str]:
    """Converts `input` and its shapes to an Input layer at the position of the first of these fields."""
    names = _values(body.all("input"))
    shapes = [f.value for f in body.all("input_shape")]
    dims = _values(body.all("input_dim"))
    if not names or not (shapes or dims):
        return body, ""
    if not shapes:
        shapes = [_message("dim", dims[i : i + 4]) for i in range(0, len(dims), 4)]
    first = body.get("input")
    assert first is not None
    given = {id(f) for name in _INPUT for f in body.all(name)}
    at = next(f for f in body.fields if id(f) in given).span
    inner = Message(tuple(Field("shape", shape, at, at) for shape in shapes), at)
    layer = Message(
        (
            _text_field("name", "input", at),
            _text_field("type", "Input", at),
            *(Field("top", name, name.span, name.span) for name in names),
            Field("input_param", inner, at, at),
        ),
        at,
    )
    fields: list[Any] = []
    for field in body.fields:
        if id(field) in given:
            fields += [Field("layer", layer, at, at)] if field.span == at else []
        else:
            fields.append(field)
    return body._replace(fields=tuple(fields)), "`input` converted to a layer of type Input"


def _values(fields: Iterable[Field]) -> list[Value]:
    return [v for f in fields for v in (f.value.items if isinstance(f.value, ListValue) else (f.value,))]


def _message(name: str, values: list[Value]) -> Message:
    return Message(tuple(Field(name, v, v.span, v.span) for v in values), values[0].span)


def _text_field(name: str, text: str, span: Span) -> Field:
    return Field(name, Scalar("string", text, span), span, span)


def _solver_type(body: Message) -> tuple[Message, str]:
    """Converts `solver_type: ADAM`, or its number, to `type: "Adam"`."""
    old = body.get("solver_type")
    if old is None or not isinstance(old.value, Scalar) or body.get("type") is not None:
        return body, ""
    by_word = {name.upper(): name for name in _SOLVERS} | {i: name for i, name in enumerate(_SOLVERS)}
    today = by_word.get(old.value.value)  # type: ignore[call-overload]
    if today is None:
        return body, ""
    new = old._replace(name="type", value=Scalar("string", today, old.value.span))
    fields = tuple(new if f is old else f for f in body.fields)
    return body._replace(fields=fields), f'`solver_type` converted to `type: "{today}"`'


def _bare_statistics(body: Message) -> tuple[Message, str]:
    """Removes the three `param`s of each BatchNorm, because they are the default."""
    count, fields = 0, []
    for field in body.fields:
        if isinstance(field, Field) and field.name == "layer" and _frozen_params(field.value):
            count += 1
            params = {id(f) for f in field.value.all("param")}
            kept = tuple(f for f in field.value.fields if id(f) not in params)
            field = field._replace(value=field.value._replace(fields=kept))
        fields.append(field)
    if not count:
        return body, ""
    return body._replace(fields=tuple(fields)), f"`param {{ lr_mult: 0 }}` removed from BatchNorm ({count} times)"


def _frozen_params(layer: Value) -> TypeGuard[Message]:
    if not isinstance(layer, Message):
        return False
    kind, params = layer.get("type"), layer.all("param")
    if kind is None or not isinstance(kind.value, Scalar) or kind.value.value != "BatchNorm" or len(params) != 3:
        return False
    zero = lambda f: isinstance(f.value, Scalar) and f.value.value == 0
    return all(
        isinstance(p.value, Message)
        and all(isinstance(f, Field) and f.name in ("lr_mult", "decay_mult") and zero(f) for f in p.value.fields)
        for p in params
    )
