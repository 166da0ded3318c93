"""`--set NAME=VALUE`: values from outside the file, for constants of its top level and for fields of its solver.

Takes a mapping of names to Python values (or texts, from a command line); gives values, or fields put in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import codes
from ..diagnostics import Report
from ..source import Source, Span
from ..spelling import did_you_mean
from ..syntax import Field, ListValue, Message, Scalar
from .evaluate import Word, written

SOLVER = "solver."


def converted(setting: Any, old: Any) -> Any:
    """A setting as a value of the language; a text becomes a number, word or list unless it replaces a text."""
    if isinstance(setting, (list, tuple)):
        return tuple(converted(item, None) for item in setting)
    if not isinstance(setting, str):
        return setting if isinstance(setting, (bool, int, float)) else str(setting)
    if isinstance(old, str) and not isinstance(old, Word):
        return setting
    value = parsed(setting)
    return setting if value is None else value


def parsed(text: str) -> Any:
    """The value that a text is when it is read as one, or None."""
    from ..parsing.parser import parse
    from .expander import evaluated

    document = parse(Source("--set", f"value: {text}"), Report())
    if document is None or not document.plain or len(document.body.fields) != 1:
        return None
    value = evaluated(document.body.fields[0].value)
    return None if isinstance(value, Message) else value


def report_unknown(settings: Mapping[str, Any], known: list[str], report: Report) -> None:
    """Adds a diagnostic for each setting that no `let` of the top level takes."""
    for name, value in settings.items():
        if name.startswith(SOLVER) or name in known:
            continue
        source = Source("--set", f"{name}={value}")
        detail = f"The file's top level has no `let {name}`."
        hint = did_you_mean(name, [*known]) or (f"it has {', '.join(known[:8])}" if known else None)
        report.add(codes.UNKNOWN_SETTING, Span(source, 0, len(name)), detail, hint=hint)


def override_solver(fields: Iterable[Field], settings: Mapping[str, Any], report: Report) -> list[Field]:
    """The fields with each `solver.NAME` of the settings put into the solver block, or into a solver file itself."""
    out = list(fields)
    changes = {name.removeprefix(SOLVER): value for name, value in settings.items() if name.startswith(SOLVER)}
    if not changes:
        return out
    at = next((i for i, field in enumerate(out) if field.name == "solver" and isinstance(field.value, Message)), None)
    if at is None and not any(field.name in ("layer", "layers", "input") for field in out):
        return overridden(out, changes)
    if at is None:
        source = Source("--set", " ".join(f"solver.{name}={written_value(value)}" for name, value in changes.items()))
        whole = Span(source, 0, len(source.text))
        out.append(Field("solver", Message((), whole), whole, whole))
        at = len(out) - 1
    block = out[at].value
    assert isinstance(block, Message)
    out[at] = out[at]._replace(value=Message(tuple(overridden(list(block.fields), changes)), block.span))
    return out


def overridden(fields: list[Field], changes: Mapping[str, Any]) -> list[Field]:
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        old = [field for field in fields if field.name == name]
        if rest and (not old or isinstance(old[-1].value, Message)):
            block = old[-1] if old else empty_block(name, rest, value)
            inner = Message(tuple(overridden(list(block.value.fields), {rest: value})), block.value.span)  # pyright: ignore[reportAttributeAccessIssue]
            made = block._replace(value=inner)
            fields = [made if field is block else field for field in fields] if old else [*fields, made]
            continue
        new = new_field(path, name, value, old[-1].value if old else None)
        fields = [field for field in fields if field.name != name] + [new]
    return fields


def empty_block(name: str, rest: str, setting: Any) -> Any:
    """A field that holds a message, for a setting inside it; its place is the setting itself."""
    source = Source("--set", f"solver.{name}.{rest}={written_value(setting)}")
    whole = Span(source, 0, len(source.text))
    return Field(name, Message((), whole), whole, whole)


def new_field(path: str, name: str, setting: Any, old: Any) -> Field:
    """A field whose place is the setting itself."""
    was = old.value if isinstance(old, Scalar) and old.kind == "string" else None
    value = converted(setting, was)
    source = Source("--set", f"solver.{path}={written_value(setting)}")
    at = len(SOLVER) + len(path) + 1
    place = Span(source, at, len(source.text))
    return Field(name, scalar(value, place), Span(source, 0, at - 1), Span(source, 0, len(source.text)))


def scalar(value: Any, span: Span) -> Any:
    from .expander import node

    return ListValue(tuple(node(item, span) for item in value), span) if isinstance(value, tuple) else node(value, span)


def written_value(value: Any) -> str:
    return ",".join(map(written, value)) if isinstance(value, (list, tuple)) else written(value)
