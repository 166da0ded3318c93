"""The reference of the manual, generated from the classes: the entries of `netdef explain` as pages of Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..inspect import explain
from ..inspect.explain import Entry, FieldText
from ..language import codes
from .text import cell, escaped, fenced, prose, table

MOST_INSIDE = 2  # fields of a block that are listed wherever it is used; larger ones have a section of their own
PAGED = {  # the kinds of the first entries of all families with a page
    *("layer type", "filler", "learning-rate policy", "solver type", "block", "statement", "template"),
    *("error", "warning", "note"),
}
STAGES = {
    "syntax": "Reading a file",
    "expansion": "Imports, constants, templates and loops",
    "meaning": "Layers, fields and the solver",
    "net": "Connections, shapes and weights",
    "checks": "Valid, but probably not intended",
}


@dataclass(frozen=True)
class Page:
    """A page of the site: its path, and its text in Markdown."""

    path: str
    text: str


def pages() -> Iterator[Page]:
    """Yields the pages about layers, blocks, solvers, policies, fillers, the language, templates and diagnostics."""
    families = explain.index()
    shared = _shared_blocks()
    layers = {head: found for head, found in families.items() if found[0].kind == "layer type"}
    yield Page("reference/layers/index.md", _layer_index(layers))
    for head, found in layers.items():
        yield Page(layer_page(head), _class_page(head, found, shared, "../"))
    for head, path in (
        ("Solver types", "solvers"),
        ("Learning-rate policies", "policies"),
        ("Fillers", "fillers"),
    ):
        yield Page(f"reference/{path}.md", _class_page(head, families[head], shared, ""))
    for entry in families["Blocks"]:
        title = {"layer": "Fields of every layer", "solver": "The solver block"}[entry.name]
        yield Page(f"reference/{entry.name}.md", f"# {title}\n\n{_class_section(entry, shared, '', titled=False)}")
    yield Page("reference/blocks.md", _blocks_page(shared))
    language = next(found for head, found in families.items() if head.startswith("The language"))
    yield Page("reference/constructs.md", _constructs(language))
    yield Page("reference/templates.md", _templates(families["Templates of the library"]))
    yield Page("reference/diagnostics.md", _diagnostics())
    for entry in _others():
        section = _class_section(entry, shared, "", titled=False)
        yield Page(_other_page(entry), f"# {escaped(entry.name)}\n\n{section}")


def _others() -> list[Entry]:
    """Returns the entries of families that have no page of their own, such as a library, with their whole text."""
    found = [
        entries for head, entries in explain.index().items() if entries[0].kind.partition(" of std/")[0] not in PAGED
    ]
    return [explain.find(entry.name)[0] for entries in found for entry in entries]


def _other_page(entry: Entry) -> str:
    return f"reference/{slug(entry.name)}.md"


def other_pages() -> list[str]:
    """Returns the paths of the pages of families that have no page of their own."""
    return [_other_page(entry) for entry in _others()]


def layer_page(heading: str) -> str:
    """Returns the path of the page of the layers under a heading of `netdef explain`."""
    return f"reference/layers/{slug(heading.partition(',')[0].partition(' (')[0])}.md"


def layer_pages() -> list[str]:
    """Returns the paths of the pages of all layers, in the order of the list."""
    return [layer_page(head) for head, found in explain.index().items() if found[0].kind == "layer type"]


def slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _layer_index(layers: dict[str, list[Entry]]) -> str:
    count = sum(map(len, layers.values()))
    lines = [
        "# Layers",
        "",
        f"All {count} layer types, by kind. `netdef explain NAME` shows the same text in a terminal. The fields that"
        " every layer has, such as `bottom` and `param`, are in [Fields of every layer](../layer.md).",
        "",
    ]
    for head, found in layers.items():
        page = layer_page(head).removeprefix("reference/layers/")
        rows = [(f"[`{e.name}`]({page}#{slug(e.name)})", cell(e.summary)) for e in found]
        lines += [f"## {escaped(head)}", "", table(("type", "meaning"), rows, "names")]
    return "\n".join(lines)


def _class_page(head: str, found: Iterable[Entry], shared: dict[FieldText, str], up: str) -> str:
    return f"# {escaped(head)}\n\n" + "\n".join(_class_section(entry, shared, up) for entry in found)


def _class_section(entry: Entry, shared: dict[FieldText, str], up: str, titled: bool = True) -> str:
    lines = [f"## {entry.name} {{ #{slug(entry.name)} }}", ""] if titled else []
    lines += [prose(entry.doc)]
    if entry.examples:
        lines += [fenced("\n\n".join(entry.examples), "protobuf")]
    if entry.fields:
        lines += [f"**Fields of `{entry.block} {{ }}`**" if entry.block else "**Fields**", ""]
        lines += [_fields(entry.fields, shared, up)]
    if entry.beside:
        lines += ["**Other fields of the layer**" if entry.fields else "**Fields of the layer**", ""]
        lines += [_fields(entry.beside, shared, up)]
    return "\n".join(lines)


def _shared_blocks() -> dict[FieldText, str]:
    """Returns the section of each block that fields of several classes have, by field without its default and text."""
    users: dict[FieldText, set[str]] = {}

    def inside(entry: Entry, fields: Iterable[FieldText]) -> None:
        for field in fields:
            if field.fields:
                users.setdefault(block_of(field), set()).add(entry.name)
                inside(entry, field.fields)

    for entry in explain.entries():
        inside(entry, (*entry.fields, *entry.beside))
    common = [field for field, names in users.items() if len(names) > 1 and len(field.fields) > MOST_INSIDE]
    common.sort(key=lambda field: field.name)
    seen: dict[str, int] = {}
    for field in common:
        seen[field.name] = seen.get(field.name, 0) + 1
    assert all(count == 1 for count in seen.values()), f"two shared blocks have the same name: {seen}"
    return {field: field.name for field in common}


def block_of(field: FieldText) -> FieldText:
    """Returns what fields with the same block have in common: its name and fields."""
    return FieldText(field.name, "", "", "", fields=field.fields)


def _fields(fields: Iterable[FieldText], shared: dict[FieldText, str], up: str) -> str:
    """Returns a table of fields: required ones first, then the tables of their blocks, then those without effect."""
    shown = sorted((f for f in fields if not f.inert), key=lambda f: f.default != "required")
    rows, inner = [], []
    for field in shown:
        kind = _type(field.type)
        if field.fields and (place := shared.get(block_of(field))):
            kind = f"[`{{ ... }}`]({up}blocks.md#{slug(place)})" + (", repeated" if "repeated" in field.type else "")
        elif field.fields:
            inner.append(f"**Fields of `{field.name} {{ }}`**\n\n{_fields(field.fields, shared, up)}")
        rows.append((f"`{field.name}`", kind, _default(field.default), cell(field.doc)))
    lines = [table(("field", "type", "default", "meaning"), rows, "fields")] if rows else []
    if names := [f"`{field.name}`" for field in fields if field.inert]:
        lines.append(f"Accepted for compatibility, without effect: {', '.join(names)}.\n")
    return "\n".join([*lines, *inner])


def _type(kind: str) -> str:
    """Returns the type of a field: `int`, or its words as a list."""
    words, comma, repeated = kind.partition(", repeated")
    if words == "filler { ... }":
        return "filler" + comma + repeated
    return " ".join(f"`{word}`" for word in words.split(" | ")) + comma + repeated


def _default(text: str) -> str:
    return text if text in ("required", "not set", "none") else f"`{text}`"


def _blocks_page(shared: dict[FieldText, str]) -> str:
    lines = ["# Blocks that several layers have", ""]
    for field, place in shared.items():
        lines += [f"## `{field.name}` {{ #{slug(place)} }}", "", _fields(field.fields, shared, "")]
    return "\n".join(lines)


def _constructs(found: Iterable[Entry]) -> str:
    lines = [
        "# Statements",
        "",
        "What the language adds to prototxt. [The language](grammar.md) has the complete rules.",
        "",
    ]
    for entry in found:
        lines += [f"## {entry.name}", "", prose(entry.doc or entry.summary)]
        lines += [fenced("\n\n".join(entry.examples), "protobuf")]
    return "\n".join(lines)


def _templates(found: Iterable[Entry]) -> str:
    lines = [
        "# Templates of the library",
        "",
        'A file that begins with `import "std/conv.net"` can use its templates.',
        "",
    ]
    by_file: dict[str, list[Entry]] = {}
    for entry in found:
        by_file.setdefault(entry.kind.removeprefix("template of "), []).append(entry)
    for file, entries in by_file.items():
        lines += [f"## {file} {{ #{slug(file)} }}", ""]
        for entry in entries:
            given = [(f.name, "" if f.default in ("", "required") else f": {f.default}") for f in entry.fields]
            head = f"template {entry.name}({', '.join(name + default for name, default in given)})"
            own = (
                "" if entry.summary.startswith("A template with the parameters") else prose(entry.doc or entry.summary)
            )
            lines += [f"### {entry.name} {{ #{slug(entry.name)} }}", "", own, fenced(_wrapped(head), "protobuf")]
    return "\n".join(lines)


def _wrapped(head: str) -> str:
    """Returns the head of a template, over several lines if it is long."""
    return "\n".join(textwrap.wrap(head, 100, subsequent_indent="    ", break_long_words=False))


def _diagnostics() -> str:
    lines = [
        "# Errors and warnings",
        "",
        "`netdef check FILE` reports them with line and column; `netdef explain CODE` shows the text of one in a"
        " terminal.",
        "",
    ]
    for stage in codes.STAGES:
        name = stage.__name__.rpartition(".")[2]
        lines += [f"## {STAGES[name]} {{ #{name} }}", ""]
        for code in sorted(codes.catalogue(stage).values(), key=lambda code: code.name):
            summary = escaped(code.summary).rstrip(".")
            lines += [
                f"### {code.name}",
                "",
                f"*{code.severity}*{{ .{code.severity} }} — {summary}.",
                "",
                prose(code.why),
            ]
            for head, body in (("wrong", code.wrong), ("right", code.right)):
                if body:
                    lines += [fenced(f"# {head}\n{body}", "protobuf")]
    return "\n".join(lines)
