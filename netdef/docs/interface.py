"""The reference of commands, from their help, and of the Python interface, from signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Any

from .reference import Page, slug
from .text import cell, fenced, prose, table

PACKAGE = __name__.partition(".")[0]
MODULES = ("", "data", "interop")  # modules whose `__all__` is public
METHODS = ("Model", "Feed", "Layer", "DataLayer", "Reader", "Prediction")  # classes whose methods are shown
LINE = 88  # columns of a signature


def commands(helps: Mapping[str, tuple[str, str]]) -> Iterator[Page]:
    """Yields a page for each command and their list; `helps` maps a command to its line in the list and its help."""
    rows = [(f"[`netdef {name}`]({slug(name)}.md)", cell(line)) for name, (line, _) in helps.items()]
    head = "# Commands\n\n`netdef COMMAND --help` shows the text of these pages in a terminal.\n\n"
    codes = (
        "\n## Exit codes\n\n0: success. 1: the run failed. 2: the file or the arguments are wrong. 128 + n: ended by"
        " signal n, 130 by Ctrl-C.\n"
    )
    yield Page("reference/commands/index.md", head + table(("command", "meaning"), rows, "names") + codes)
    for name, (_, text) in helps.items():
        yield Page(f"reference/commands/{slug(name)}.md", f"# netdef {name}\n\n{_help(text)}")


def _help(text: str) -> str:
    """Returns a help text: its usage and its options as in a terminal, and its description as text with commands."""
    usage, _, rest = text.partition("\n\n")
    description, heading, options = re.split(
        r"^((?:positional arguments|options|actions):\n)", rest, maxsplit=1, flags=re.M
    )
    usage = fenced(usage.removeprefix("usage: "), "text")
    return f"{prose(description)}\n## Usage\n\n{usage}\n## Arguments\n\n{fenced(heading + options, 'text')}"


def python() -> Page:
    """Returns the page about all public names of the Python interface."""
    lines = ["# Python interface", ""]
    for name in MODULES:
        module = importlib.import_module(f"{PACKAGE}.{name}".rstrip("."))
        lines += [f"## {module.__name__} {{ #{slug(module.__name__)} }}", "", prose(_first(module)), ""]
        for public in sorted(module.__all__, key=lambda word: (word[0].isupper(), word)):
            lines += _entry(module, public)
    return Page("reference/python.md", "\n".join(lines))


def _first(module: ModuleType) -> str:
    """Returns the first paragraph of a module's docstring."""
    return inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0]


def _entry(module: ModuleType, name: str) -> list[str]:
    thing = getattr(module, name)
    if isinstance(thing, ModuleType):
        return []
    lines = [f"### {name} {{ #{slug(f'{module.__name__} {name}')} }}", "", _shown(f"{module.__name__}.{name}", thing)]
    lines.append(prose(_doc(thing)))
    if name in METHODS:
        for method, function in vars(thing).items():
            doc = inspect.getdoc(function) if callable(function) or isinstance(function, property) else None
            if doc and (not method.startswith("_") or method == "__call__"):
                called = function.fget if isinstance(function, property) else function
                lines += [f"#### {name}.{method.strip('_')}", "", _shown(method, called, own=True), prose(doc)]
    return lines


def _doc(thing: Any) -> str:
    doc = inspect.getdoc(thing) or ""
    return "" if doc.startswith(f"{getattr(thing, '__name__', '')}(") else doc  # a dataclass repeats its fields


def _shown(name: str, thing: Any, own: bool = False) -> str:
    """Returns the signature of a function or a class, over several lines if it is long."""
    if isinstance(thing, type) and issubclass(thing, Exception | Enum):
        return fenced(f"class {name}", "python")
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    parameters = [p for p in signature.parameters.values() if not (own and p.name == "self")]
    if parameters[:1] and parameters[0].name in ("args", "kwargs", "values") and isinstance(thing, type):
        return fenced(f"class {name}", "python")
    text = _plain(str(signature.replace(parameters=parameters)))
    if len(name + text) > LINE:
        inner, _, result = text.rpartition(")")
        text = "(\n    " + ",\n    ".join(_split(inner[1:])) + f",\n){result}"
    return fenced(name + text, "python")


def _plain(signature: str) -> str:
    """Returns a signature without quotes around annotations and without the paths of modules."""
    signature = re.sub(r": '([^']*)'", r": \1", signature)
    signature = re.sub(r"-> '([^']*)'", r"-> \1", signature)
    signature = re.sub(r"<factory>", "...", signature)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", signature)


def _split(parameters: str) -> list[str]:
    """Splits at the commas that are not inside brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(parameters):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            parts.append(parameters[start:i].strip())
            start = i + 1
    return [*parts, parameters[start:].strip()]
