"""`--set NAME=VALUE`: overrides constants of the top level of a file and fields of its solver.

The settings map names to Python values, or to strings as written on a command line. Such strings are converted only in
this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import codes
from ..diagnostics import Diagnostic, Report
from ..parsing.parser import parse
from ..source import Source, Span
from ..spelling import asked, did_you_mean
from ..syntax import Field, ListValue, Message, Scalar
from .values import NUMBERS, Fault, Word, evaluated, is_list, is_number, node, written

SOLVER = "solver."
BEFORE = "value: "  # turns a setting into a field, so the parser can read its value


def converted(name: str, setting: Any, old: Any) -> Any:
    """Converts a setting to a value of the language; a string becomes a number, word or list unless it replaces a
    string.

    Raises Fault for a string that replaces a number but is an invalid number, such as 1_000."""
    if isinstance(setting, (list, tuple)):
        return tuple(converted(name, item, None) for item in setting)
    if not isinstance(setting, str):
        return setting if isinstance(setting, (bool, int, float)) else str(setting)
    if isinstance(old, str) and not isinstance(old, Word):
        return setting
    value, faults = read(setting)
    if is_number(old) and faults and faults[0].kind is codes.BAD_NUMBER:
        raise Fault(codes.BAD_NUMBER, place_of(name, setting), faults[0].detail, hint=faults[0].hint)
    return value


def read(text: str) -> tuple[Any, tuple[Diagnostic, ...]]:
    """The value of a string if it is a valid value, else the string itself, and the syntax errors."""
    report = Report()
    document = parse(Source("--set", BEFORE + text), report)
    if document is None or not document.plain or len(document.body.fields) != 1:
        return text, report.in_order()
    value = evaluated(document.body.fields[0].value)
    if isinstance(value, Message):
        return text, ()
    return NUMBERS.get(value, value) if isinstance(value, Word) else value, ()


def place_of(name: str, setting: Any) -> Span:
    """The span of the value in `NAME=VALUE`."""
    source = Source("--set", f"{name}={written_value(setting)}")
    return Span(source, len(name) + 1, len(source.text))


def written_value(value: Any) -> str:
    return ",".join(map(written, value)) if isinstance(value, (list, tuple)) else written(value)


def report_unknown(settings: Mapping[str, Any], known: list[str], fields: Iterable[Field], report: Report) -> None:
    """Reports each setting that has no `let` at the top level.  A field of the solver is `solver.NAME`."""
    inside = (field.value.fields for field in fields if field.name == "solver" and isinstance(field.value, Message))
    of_solver = {field.name for block in inside for field in block}
    for name, value in settings.items():
        if name.startswith(SOLVER) or name in known:
            continue
        detail = f"The file has no `let {name}` at its top level."
        meant = asked(f"{SOLVER}{name}") if name in of_solver else did_you_mean(name, [*known])
        hint = meant or (f"it has {', '.join(known[:8])}" if known else None)
        report.add(codes.UNKNOWN_SETTING, Span(place_of(name, value).source, 0, len(name)), detail, hint=hint)


def override_solver(fields: Iterable[Field], settings: Mapping[str, Any], report: Report) -> list[Field]:
    """The fields with each `solver.NAME` of the settings set in the solver block, or in the solver file itself."""
    out = list(fields)
    changes = {name.removeprefix(SOLVER): value for name, value in settings.items() if name.startswith(SOLVER)}
    if not changes:
        return out
    at = next((i for i, field in enumerate(out) if field.name == "solver" and isinstance(field.value, Message)), None)
    if at is None and not any(field.name in ("layer", "layers", "input") for field in out):
        return overridden(out, changes, SOLVER, report)
    if at is None:
        source = Source("--set", " ".join(f"{SOLVER}{name}={written_value(value)}" for name, value in changes.items()))
        out.append(empty_block("solver", Span(source, 0, len(source.text))))
        at = len(out) - 1
    block = out[at].value
    assert isinstance(block, Message)
    inner = overridden(list(block.fields), changes, SOLVER, report)
    out[at] = out[at]._replace(value=Message(tuple(inner), block.span))
    return out


def overridden(fields: list[Field], changes: Mapping[str, Any], prefix: str, report: Report) -> list[Field]:
    """The fields of a block with the changed ones, `NAME` or `BLOCK.NAME`, after the others.

    `prefix` precedes the names on the command line."""
    for path, setting in changes.items():
        name, _, rest = path.partition(".")
        old = [field for field in fields if field.name == name]
        if rest and (not old or isinstance(old[-1].value, Message)):
            place = place_of(prefix + path, setting)
            block = old[-1] if old else empty_block(name, place._replace(start=0))
            assert isinstance(block.value, Message)
            inner = overridden(list(block.value.fields), {rest: setting}, f"{prefix}{name}.", report)
            made = block._replace(value=Message(tuple(inner), block.value.span))
            fields = [made if field is block else field for field in fields] if old else [*fields, made]
            continue
        try:
            new = new_field(prefix + path, name, setting, old[-1].value if old else None)
        except Fault as fault:
            report.add(fault.code, fault.span, fault.detail, *fault.related, hint=fault.hint)
            continue
        fields = [field for field in fields if field.name != name] + [new]
    return fields


def empty_block(name: str, place: Span) -> Field:
    """A field with an empty block, for settings inside it."""
    return Field(name, Message((), place), place, place)


def new_field(path: str, name: str, setting: Any, old: Any) -> Field:
    """A field with the span of the setting."""
    value = converted(path, setting, evaluated(old) if isinstance(old, Scalar) else None)
    place = place_of(path, setting)
    made = ListValue(tuple(node(item, place) for item in value), place) if is_list(value) else node(value, place)
    return Field(name, made, place._replace(start=0, end=len(path)), place._replace(start=0))
