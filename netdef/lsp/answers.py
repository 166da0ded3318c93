"""Completion and hover: the names that are valid at the cursor, and the meaning of the word there."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..fillers import Filler
from ..fillers.base import FILLERS
from ..inspect import explain
from ..language.expansion.functions import FUNCTIONS
from ..language.expansion.imports import LIBRARY
from ..language.syntax import Document, Import, Let, Parameter, Template
from ..layers.base import LAYERS
from ..registry import Registry
from ..schema import Block, Param, type_name
from ..shape import show
from ..solvers.base import POLICIES, SOLVERS
from .context import START, Context, Index, context, fields
from .page import Page

MADE = re.compile(r"""\btop\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)')""")
DEFINED = re.compile(r"\blet\s+(\w+)\s*:|\bfor\s+(\w+)\s+in\b")
HEAD = re.compile(r"\btemplate\s+\w+\s*\(([^)]*)")
ARGUMENT = re.compile(r"(?:^|,)\s*([A-Za-z_]\w*)")
BLOBS = ("bottom", "top")  # fields whose values are blobs
BLOB_ARGUMENTS = ("bottom", "shortcut", "branch")  # usual names of template arguments that are blobs
KEYWORDS = {
    "import": 'import "std/conv.net"',
    "let": "let width: 64",
    "template": "template block(name, bottom) { ... }",
    "for": "for i in range(3) { ... }",
    "if": "if width > 32 { ... } else { ... }",
}


@dataclass(frozen=True)
class Item:
    """A completion: `kind` is field, value, type, blob, template, argument, constant, function, file or keyword."""

    label: str
    kind: str
    detail: str = ""
    doc: str = ""
    text: str = ""  # the inserted text, if it is not the label


def complete(page: Page, text: str, offset: int, index: Index = START) -> tuple[Context, list[Item]]:
    """Returns the names that are valid at `offset` of `text`, which may have an index; `page` is its last state that
    could be compiled."""
    at = context(text, offset, index)
    if at.expression:
        return at, list(_in_scope(page, text[: at.start]))
    if at.field is not None:
        return at, [_written(item, at) for item in _values(page, at, text[: at.start])]
    if at.quoted:
        return at, []
    used = templates(page)
    if at.around and at.around[-1].name in used:
        template = used[at.around[-1].name]
        return at, [_argument(p) for p in template.parameters if p.name not in at.given - {at.word}]
    return at, [
        *_names(page, at),
        *(Item(t.name, "template", signature(t), comment(t), f"{t.name} {{ ") for t in used.values()),
    ]


def _in_scope(page: Page, before: str) -> Iterable[Item]:
    """Yields the constants, loop variables and arguments defined earlier, and functions."""
    named = {m[1] or m[2]: "" for m in DEFINED.finditer(before)}
    head = HEAD.findall(before)
    named |= {m[1]: "argument" for m in ARGUMENT.finditer(head[-1] if head else "")}
    if page.document is not None:
        named |= {let.name: f"let {let.name}: {let.value.span.text}" for let in _lets(page, page.document)}
    yield from (Item(name, "constant", detail) for name, detail in named.items())
    yield from (
        Item(name, "function", (f.__doc__ or "").partition("\n")[0], "", f"{name}(") for name, f in FUNCTIONS.items()
    )


def _lets(page: Page, document: Document) -> Iterable[Let]:
    """Yields the constants of the top level, including imported ones."""
    for item in document.body.fields:
        if isinstance(item, Let):
            yield item
        elif isinstance(item, Import):
            yield from imported_lets(page, item)


def imported_lets(page: Page, statement: Import) -> Sequence[Let]:
    """Returns the constants of an imported file."""
    found = page.imported.get(statement.path)
    return found.lets if found else ()


def _names(page: Page, at: Context) -> Iterable[Item]:
    found = fields(at, page.is_solver, page.solver)
    for name, spec in found.items():
        if spec.repeated or name not in at.given - {at.word}:
            yield _field(spec)
    if page.is_solver and not at.around:
        yield from (Item(n, "field", "string", "", f'{n}: "') for n in ("type", "lr_policy"))
        return
    if not at.around:
        yield Item("layer", "field", "{ ... }", "One layer of the net.", "layer { ")
        yield Item("solver", "field", "{ ... }", "How the net is trained.", "solver { ")
        yield from (Item(word, "keyword", example) for word, example in KEYWORDS.items())
        return
    first = at.around[0]
    if first.name in ("layer", "layers") and len(at.around) == 1:
        cls = LAYERS.get(first.type or "")
        blocks = [cls.block] if cls else sorted({c.block for _, c in LAYERS if c.block})
        yield Item("type", "field", "string", "The layer type.", 'type: "')
        yield from (Item(b, "field", "{ ... }", "", f"{b} {{ ") for b in blocks if b and b not in at.given)
    elif at.around[-1].name.endswith("filler") or first.name == "solver":
        yield Item("type", "field", "string", "", 'type: "')
        if first.name == "solver" and len(at.around) == 1:
            yield Item("lr_policy", "field", "string", "The formula of the learning rate.", 'lr_policy: "')


def _field(spec: Param) -> Item:
    of = spec.type
    block = isinstance(of, type) and issubclass(of, Block)
    start = " { " if block else ': "' if of is str else ": "
    detail = "filler { ... }" if block and issubclass(of, Filler) else type_name(of)
    default = explain.show_default(spec)
    return Item(spec.name, "field", f"{detail}, default {default}", spec.doc, spec.name + start)


def _argument(parameter: Parameter) -> Item:
    default = parameter.default.span.text if parameter.default is not None else ""
    return Item(parameter.name, "argument", f"default {default}" if default else "required", "", f"{parameter.name}: ")


def _values(page: Page, at: Context, before: str) -> Iterable[Item]:
    """Yields the possible values of a field that is a file, a blob, a type, an enum or a boolean."""
    inside = at.around[-1].name if at.around else ""
    if at.field == "import":
        return _files(page)
    if at.field in BLOBS or (at.field in BLOB_ARGUMENTS and inside in templates(page)):
        return _blobs(page, before)
    if (registry := _registry(at.field, inside)) is not None:
        return _classes(registry, at.word)
    spec = fields(at, page.is_solver, page.solver).get(at.field or "")
    return _words(spec) if spec is not None else ()


def _classes(registry: Registry[Any], word: str) -> Iterable[Item]:
    """Yields the classes of a registry; also those of another library if the word begins with its name, which takes
    longer."""
    for name, cls in registry:
        yield Item(name, "type", (cls.__doc__ or "").strip().partition("\n")[0])
    for start in registry.starts:
        names = registry.names_of(start) if word.startswith(start) else [start]
        yield from (Item(name, "type", "of another library") for name in names)


def _files(page: Page) -> Iterable[Item]:
    """Yields the files of the standard library and of this folder."""
    beside = page.source.path.parent.glob("*.net") if page.source.path else ()
    return (Item(name, "file") for name in [*library(), *sorted(path.name for path in beside)])


def _blobs(page: Page, before: str) -> Iterable[Item]:
    """Yields the tops that precede the cursor, then the other blobs of the nets, with their shapes."""
    shapes = {name: show(blob.shape) for net in page.nets for name, blob in net.blobs.items()}
    names = dict.fromkeys([a or b for a, b in MADE.findall(before)] + list(shapes))
    return (Item(name, "blob", shapes.get(name, "")) for name in names if "$" not in name)


def _registry(field: str | None, inside: str) -> Registry[Any] | None:
    """Returns the classes that are the possible values of `type`, `lr_policy` and so on."""
    if field == "lr_policy":
        return POLICIES
    if field not in ("type", "solver_type"):
        return None
    return LAYERS if inside in ("layer", "layers") else FILLERS if inside.endswith("filler") else SOLVERS


def _words(spec: Param) -> Iterable[Item]:
    """Yields the unquoted words that are values of a field."""
    of = spec.type
    words = of.__members__ if isinstance(of, type) and issubclass(of, enum.Enum) else ()
    return (Item(word, "value", "", spec.doc) for word in (("true", "false") if of is bool else words))


def _written(item: Item, at: Context) -> Item:
    """Returns the item with quotes, if it is a string and the cursor is not between quotes."""
    return item if item.kind == "value" or at.quoted else replace(item, text=f'"{item.label}"')


# Templates


def templates(page: Page) -> Mapping[str, Template]:
    """Returns the templates at the top level of a page, including imported ones."""
    return page.templates


def signature(template: Template) -> str:
    """Returns the head of a template: `conv(name, bottom, kernel: 3)`."""
    words = (p.name + (f": {p.default.span.text}" if p.default is not None else "") for p in template.parameters)
    return f"{template.name}({', '.join(words)})"


def comment(template: Template) -> str:
    """Returns the comment directly above a template."""
    lines: list[str] = []
    source, number = template.span.source, template.span.line - 1
    while number and source.line(number).startswith("#"):
        lines.insert(0, source.line(number)[1:].removeprefix(" "))
        number -= 1
    return "\n".join(lines)


# Hover


def hover(page: Page, text: str, offset: int, index: Index = START) -> tuple[Context, str] | None:
    """Returns (the word at `offset`, its meaning as Markdown), or None."""
    at = context(text, offset, index)
    if not at.word:
        return None
    said = _meaning(page, at)
    return (at, said) if said else None


def _meaning(page: Page, at: Context) -> str:
    if at.expression:
        return _constant(page, at.word)
    if at.field in ("bottom", "top") or (at.field and any(at.word in net.blobs for net in page.nets)):
        return _blob(page, at.word)
    if at.field == "type" or at.field == "lr_policy":
        return "\n\n".join(f"```text\n{explain.text(entry).rstrip()}\n```" for entry in explain.find(at.word)[:1])
    if at.field is not None:
        return ""
    if (template := templates(page).get(at.word)) is not None:
        return f"```netdef\ntemplate {signature(template)}\n```\n\n{comment(template)}"
    if (spec := fields(at, page.is_solver, page.solver).get(at.word)) is not None:
        bounds = f"  {spec.bounds().capitalize()}." if spec.bounds() else ""
        return f"`{spec.name}`: {type_name(spec.type)}, default {explain.show_default(spec)}\n\n{spec.doc}{bounds}"
    owner = next((cls for _, cls in LAYERS if cls.block == at.word), None)
    if owner is not None and at.around and at.around[0].name == "layer":
        return f"Fields of the layer type {owner.type}."
    return _constant(page, at.word)


def _blob(page: Page, name: str) -> str:
    lines = []
    for net in page.nets:
        if name in net.blobs:
            producers = [
                f"`{node.name}` ({node.type})" for node in net.layers if any(v.name == name for v in node.tops)
            ]
            lines.append(f"{net.phase.name}: **{show(net.blobs[name].shape)}** by {', '.join(producers)}")
    bare = {line.partition(": ")[2] for line in lines}
    return f"blob `{name}`\n\n" + (bare.pop() if len(bare) == 1 else "  \n".join(lines)) if lines else ""


def _constant(page: Page, name: str) -> str:
    if page.document is None:
        return ""
    lets = [let for let in _lets(page, page.document) if let.name == name]
    return f"```netdef\nlet {name}: {lets[-1].value.span.text}\n```" if lets else ""


def library() -> list[str]:
    """Returns the files of the standard library, as named in `import`."""
    return sorted(f"std/{path.name}" for path in Path(LIBRARY).glob("*.net"))
