"""Explanations of layer types, fields, fillers, solvers, policies, diagnostics, statements and templates.

They are generated from the code: the docstring of a layer's class, the declarations that decode its fields, and the
`Code` of a diagnostic.  `find(name)` returns the entries with this name, `index()` all entries by family, and
`text(entry)` an entry as text.  jax is never imported.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ..fillers import Filler
from ..fillers.base import FILLERS
from ..language import codes
from ..language.diagnostics import Code
from ..language.spelling import suggestion
from ..layers.base import LAYERS, Layer
from ..policies.base import POLICIES, Policy
from ..registry import Registry
from ..schema import Block, Param
from ..solvers.base import SOLVERS, Solver
from . import explain_optax
from .explain_language import CONSTRUCTS, Text, templates

WIDTH = 110  # columns of running text


@dataclass(frozen=True)
class Family:
    """One registry: the kind of its entries, their heading in the list, and the base class with their common fields."""

    kind: str
    heading: str
    registry: Registry[Any]
    base: type[Block]


FAMILIES = (
    Family("layer type", "", LAYERS, Layer),  # layers are listed by file
    Family("filler", "Fillers", FILLERS, Filler),
    Family("learning-rate policy", "Learning-rate policies", POLICIES, Policy),
    Family("solver type", "Solver types", SOLVERS, Solver),
)


@dataclass(frozen=True)
class FieldText:
    """One field as it is shown to users; `fields` are the fields of its block, if it is one."""

    name: str
    type: str
    default: str  # "required" if there is no default
    doc: str
    inert: bool = False  # accepted for compatibility; has no effect
    fields: tuple[FieldText, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One thing that can be explained.  `fields` are in the block `block`, the fields `beside` in the layer itself."""

    name: str
    kind: str
    summary: str
    doc: str = ""
    family: str = ""
    block: str = ""
    fields: tuple[FieldText, ...] = ()
    beside: tuple[FieldText, ...] = ()
    examples: tuple[str, ...] = ()


OPTAX = Entry(
    "optax",
    "library",
    "Its optimizers are solver types, its schedules policies; `netdef explain optax` lists them",
    family="Optimizers and schedules of optax",
)


def find(name: str) -> list[Entry]:
    """Returns the entries with this name, ignoring case if none matches exactly, or else the fields with this name."""
    found = [e for e in entries() if e.name == name] or [e for e in entries() if e.name.lower() == name.lower()]
    found += [e for e in entries() if e.block == name and e not in found]
    found = [replace(e, doc=explain_optax.listing()) if e is OPTAX else e for e in found]
    return found or list(_made_entries(name)) or list(_field_entries(name))


def _made_entries(name: str) -> Iterator[Entry]:
    """Yields the classes of another library with this name, which no list contains."""
    for family in FAMILIES:
        if (cls := family.registry.get(name)) is not None:
            yield _class_entry(family, family.heading, name, cls)


def refused(name: str) -> str:
    """Returns why a name of another library is not explained; empty for other names."""
    return explain_optax.refused(name)


def suggested(name: str) -> str:
    """Returns a sentence that suggests the correct spelling of a name, or an empty string."""
    names = [e.name for e in entries()] + sorted({field.name for _, field in _all_fields()})
    return suggestion(name, names, "{}", 3)


def index() -> dict[str, list[Entry]]:
    """Returns all entries by family, in the order of the list."""
    families: dict[str, list[Entry]] = {}
    for entry in entries():
        families.setdefault(entry.family, []).append(entry)
    return families


@cache
def entries() -> tuple[Entry, ...]:
    """Returns all entries except those of single fields."""
    return tuple(_entries())


def _entries() -> Iterator[Entry]:
    for family in FAMILIES:
        found = [(family.heading or _heading(cls), name, cls) for name, cls in family.registry]
        for heading, name, cls in sorted(found, key=lambda row: row[:2]):
            yield _class_entry(family, heading, name, cls)
    yield OPTAX
    yield _block_entry("layer", Layer, _summary(Layer).partition(";")[0])
    yield _block_entry("solver", Solver, _summary(Solver))
    for text in CONSTRUCTS:
        yield _language_entry(text, "The language (see grammar/SPEC.md)")
    for text in templates():
        yield _language_entry(text, "Templates of the library")
    for name, code in sorted(codes.catalogue().items()):
        yield _code_entry(name, code)


def _heading(cls: type[Layer]) -> str:
    """Returns the heading under which a layer is listed: the start of the docstring of its file."""
    if cls.is_data:
        return "Layers that read data"
    module = importlib.import_module(cls.__module__)
    first = (module.__doc__ or cls.__module__).strip().splitlines()[0]
    return first.partition(":")[0].rstrip(".")


def _class_entry(family: Family, heading: str, name: str, cls: type[Block]) -> Entry:
    declared, common = cls.params(), family.base.params()
    doc = inspect.cleandoc(cls.__doc__ or "")
    if name != getattr(cls, "type", name):
        doc += f"\n\n{name} is another name for {cls.type}."  # type: ignore[attr-defined]
    return Entry(
        name,
        family.kind,
        _summary(cls),
        doc,
        heading,
        getattr(cls, "block", None) or "",
        tuple(_field(p) for n, p in declared.items() if not p.beside and n not in common),
        tuple(_field(p) for n, p in declared.items() if p.beside and n not in common),
        tuple(example.text for example in getattr(cls, "examples", ())),
    )


def _block_entry(name: str, cls: type[Block], summary: str) -> Entry:
    fields = tuple(_field(spec) for spec in cls.params().values())
    return Entry(name, "block", summary, inspect.cleandoc(cls.__doc__ or ""), "Blocks", name, fields)


def _code_entry(name: str, code: Code) -> Entry:
    examples = [f"# {head}\n{body.rstrip()}" for head, body in (("wrong", code.wrong), ("right", code.right)) if body]
    return Entry(name, code.severity, code.summary, code.why, "Diagnostics", examples=tuple(examples))


def _language_entry(text: Text, family: str) -> Entry:
    fields = tuple(FieldText(name, "", default, "") for name, default in text.parameters)
    return Entry(text.name, text.kind, text.summary, text.doc, family, fields=fields, examples=(text.example,))


def _summary(cls: type) -> str:
    """Returns the first sentence of a docstring."""
    first = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    sentence = first.partition(".  ")[0]
    return sentence if sentence.endswith("...") else sentence.rstrip(".")


def _field(spec: Param) -> FieldText:
    of = spec.type
    holds = isinstance(of, type) and issubclass(of, Block) and not issubclass(of, Filler)
    inner = tuple(map(_field, _own_first(of))) if holds else ()
    words = [spec.doc.strip()]
    if bounds := spec.bounds():
        words.append(bounds[0].upper() + bounds[1:] + (f" {spec.unit}" if spec.unit else "") + ".")
    elif spec.unit:
        words.append(f"In {spec.unit}.")
    if spec.inert:
        words.append("Accepted for compatibility; has no effect.")
    kind = "filler { ... }" if isinstance(of, type) and issubclass(of, Filler) else spec.kind
    kind += ", repeated" if spec.repeated else ""
    return FieldText(spec.name, kind, show_default(spec), " ".join(words), spec.inert, inner)


def _own_first(block: type[Block]) -> list[Param]:
    """The fields of a block: its own, which are those of Caffe, before those of its bases, which are those of forks."""
    bases = [cls.__dict__.get("__annotations__", {}) for cls in block.__mro__]
    place = lambda name: next((i for i, names in enumerate(bases) if name in names), len(bases))
    return [spec for name, spec in sorted(block.params().items(), key=lambda item: place(item[0]))]


def show_default(spec: Param) -> str:
    """Returns a default as it would be written in a file, or `required` or `not set` if there is none."""
    if spec.required:
        return "required"
    return show_value(spec.default)


def show_value(value: Any) -> str:
    """Returns a value of a field as it would be written in a file."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return ", ".join(show_value(v) for v in value) or "none"
    if isinstance(value, Filler):
        given = {n: own for n, p in value.params().items() if (own := getattr(value, n)) != p.default}
        return " ".join([value.type, *(f"{name} {show_value(own)}" for name, own in given.items())])
    return "{ }" if isinstance(value, Block) else str(value)


# Fields by name


def _all_fields() -> Iterator[tuple[Entry, FieldText]]:
    def inside(entry: Entry, fields: Iterable[FieldText]) -> Iterator[tuple[Entry, FieldText]]:
        for field in fields:
            yield entry, field
            yield from inside(entry, field.fields)

    for entry in entries():
        yield from inside(entry, (*entry.fields, *entry.beside))


def _field_entries(name: str) -> Iterator[Entry]:
    """Yields an entry for each distinct field with this name, with the types and blocks that have it."""
    users: dict[FieldText, list[str]] = {}
    for entry, field in _all_fields():
        if field.name == name and entry.name not in users.setdefault(field, []):
            users[field].append(entry.name)
    for field, names in users.items():
        yield Entry(name, "field", field.doc, f"A field of {', '.join(names)}.", fields=(field,))


# Text


def text(entry: Entry) -> str:
    """Returns an entry as text: documentation, a table of fields, and examples."""
    parts = [f"{entry.name}  ({entry.kind})"]
    if entry.kind in ("error", "warning", "note"):
        parts.append(textwrap.indent(entry.summary, "  "))
    if entry.doc:
        parts.append(textwrap.indent("\n".join(map(_wrapped, entry.doc.splitlines())), "  "))
    if entry.fields:
        what = "parameters" if entry.kind.startswith("template") else "fields"
        heading = f"fields of {entry.block} {{ }}" if entry.block else what if entry.kind != "field" else ""
        parts.append("\n".join([*([heading] if heading else []), *_table(entry.fields)]))
    if entry.beside:
        parts.append("\n".join(["other fields of the layer" if entry.fields else "fields", *_table(entry.beside)]))
    if entry.examples:
        word = "example" if len(entry.examples) == 1 else "examples"
        parts.append("\n".join([word, *(textwrap.indent(example, "  ") + "\n" for example in entry.examples)]).rstrip())
    return "\n\n".join(parts) + "\n"


def listing() -> str:
    """Returns the names and first sentences of all entries, by family."""
    lines = []
    for family, found in index().items():
        width = max(len(e.name) for e in found) + 2
        lines.append(family)
        lines += [f"  {e.name:<{width}}{e.summary}" for e in found]
        lines.append("")
    return "\n".join(lines)


def _wrapped(line: str) -> str:
    """Returns a line, over several lines if it is long; in a table these begin at its last column."""
    columns = re.match(r" *(?:\S+ {2,})?", line)
    hanging = " " * len(columns[0]) if columns else ""
    return textwrap.fill(line, WIDTH - 2, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _table(fields: tuple[FieldText, ...], indent: str = "  ") -> list[str]:
    """Columns for name, type, default and meaning; required fields come first, fields without effect last."""
    width = lambda most, texts: min(max(map(len, texts)), most)
    names = width(24, [f.name for f in fields])
    types = width(16, [f.type for f in fields])
    defaults = width(12, [f.default for f in fields])
    column = len(indent) + names + types + defaults + 6
    lines = []
    for f in sorted(fields, key=lambda f: (f.default != "required", f.inert)):
        head = f"{indent}{f.name:<{names}}  {f.type:<{types}}  {f.default:<{defaults}}  "
        words = textwrap.wrap(f.doc, max(WIDTH - column, 30), break_long_words=False) or [""]
        # If a cell is wider than its column (a long enum), the meaning starts on the next line.
        lines.append((head + words.pop(0)).rstrip() if len(head) == column else head.rstrip())
        lines += [" " * column + line for line in words]
        if f.fields:
            lines += _table(f.fields, indent + "    ")
    return lines
