"""`import "FILE"`: finds the file, reads it once, and imports its names.

Given the Import statements of one expansion, it adds the constants and templates of each file to the importing scope.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from .. import codes
from ..diagnostics import Report
from ..errors import NetdefError
from ..parsing.parser import parse
from ..source import Source, Span
from ..spelling import did_you_mean
from ..syntax import Document, Field, Import
from ..trust import Trust
from .scope import Scope
from .values import Fault

MOST_FILES = 100
LONGEST_NAME = 4096  # characters, as in Linux
LIBRARY = Path(__file__).parents[2] / "std"


class Importer:
    """The files that one expansion has imported."""

    def __init__(
        self,
        main: Source,
        report: Report,
        load: Callable[[Path], Source],
        definitions: Callable[[Document], Scope],
        trust: Trust,
    ) -> None:
        self.main, self.report, self.load, self.definitions, self.trust = main, report, load, definitions, trust
        self.done: dict[Path, Scope] = {}
        self.named: dict[tuple[Path | None, str], Scope] = {}  # the same, by the importing file and the name in it
        self.open: list[Path] = [main.path.resolve()] if main.path else []
        self.failed = False  # if True, some names may be missing for this reason

    def take(self, statement: Import, scope: Scope, allowed: bool) -> None:
        """Adds the names that the file defines to a scope."""
        if not allowed:
            detail = "An import is allowed only at the top level of the file, outside all blocks."
            raise Fault(codes.BAD_IMPORT, statement.span, detail)
        try:
            found = self.scope_of(statement)
        except Fault:
            self.failed = True
            raise
        own = {name: place for name, place in found.places.items() if place.source is found.source}
        for name, place in own.items():
            template = found.templates.get(name)
            scope.define(name, place, found.values.get(name), template)

    def scope_of(self, statement: Import) -> Scope:
        key = statement.span.source.path, statement.path
        if key not in self.named:
            self.named[key] = self._read(statement)
        return self.named[key]

    def _read(self, statement: Import) -> Scope:
        path = find(statement, self.main.path, self.trust)
        resolved = path.resolve()
        if resolved in self.done:
            return self.done[resolved]
        if resolved in self.open:
            circle = " -> ".join(p.name for p in [*self.open[self.open.index(resolved) :], resolved])
            raise Fault(codes.BAD_IMPORT, statement.path_span, f"Circular import: {circle}.")
        if len(self.done) + len(self.open) > MOST_FILES:
            raise Fault(codes.BAD_IMPORT, statement.path_span, f"This imports more than {MOST_FILES} files.")
        try:
            source = self.load(path)
        except NetdefError as error:
            raise Fault(codes.BAD_IMPORT, statement.path_span, f"{error}.") from None
        document = parse(source, self.report)
        self.open.append(resolved)
        scope = self.definitions(document) if document else Scope()
        self.open.pop()
        self.failed |= document is None
        if document:
            self.warn_of_fields(document, statement)
        scope.source = source
        self.done[resolved] = scope
        return scope

    def warn_of_fields(self, document: Document, statement: Import) -> None:
        fields = [field for field in document.body.fields if isinstance(field, Field)]
        if fields:
            name, first = document.source.name, fields[0].name
            plural = "" if len(fields) == 1 else "s"
            detail = f"{name} has {len(fields)} field{plural} that an import ignores; the first is `{first}`."
            span = fields[0].name_span
            place = Span(span.source, span.start, span.end, statement.span)
            self.report.add(codes.NOT_IMPORTED, place, detail)


def find(statement: Import, main: Path | None, trust: Trust) -> Path:
    """The file of an import: in the library, in the folder of the importing file, in the working directory, or in a
    folder of `trust`. It must be inside one of `roots`; `main` is the file that was asked for, which imports it itself
    or through others. Raises Fault."""
    name = statement.path
    if len(name) > LONGEST_NAME:
        detail = f"This name of a file has {len(name)} characters; the limit is {LONGEST_NAME}."
        raise Fault(codes.BAD_IMPORT, statement.path_span, detail)
    if name.startswith("std/"):
        return in_library(statement)
    origin = statement.span.source.path
    folders = [*([origin.parent] if origin else []), Path(), *map(Path, trust.folders)]
    allowed = roots(main, trust)
    beside, *_ = places = [folder / name for folder in folders]
    for path in places:
        try:
            if name and inside(path, allowed) and path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have
            break
    if name and "\0" not in name and not inside(beside, allowed):
        # Whether the file exists is not said, and it is not opened, because its lines would appear in diagnostics.
        detail = (
            f"`{name}` is outside the folders from which this file may import: {', '.join(map(str, allowed))} and std/."
        )
        hint = "move it into one of them, or allow its folder with --import-path FOLDER"
        raise Fault(codes.BAD_IMPORT, statement.path_span, detail, hint=hint)
    near = [p.name for p in folders[0].glob("*") if p.suffix in (".net", ".prototxt")]
    more = "".join(f", nor in {folder}" for folder in trust.folders)
    detail = f"`{name}` was not found, neither in the folder of this file nor in the working directory{more}."
    raise Fault(codes.BAD_IMPORT, statement.path_span, detail, hint=did_you_mean(name, near))


def in_library(statement: Import) -> Path:
    name = statement.path
    path = LIBRARY / name.removeprefix("std/")
    try:
        if path.is_file() and LIBRARY in path.resolve().parents:
            return path
    except (OSError, ValueError):  # a name that no file can have
        pass
    have = sorted(f"std/{p.relative_to(LIBRARY).as_posix()}" for p in LIBRARY.rglob("*.net"))
    detail = f"The library has no file `{name}`."
    hint = did_you_mean(name, have) or (f"the library has {', '.join(have)}" if have else None)
    raise Fault(codes.BAD_IMPORT, statement.path_span, detail, hint=hint)


def roots(main: Path | None, trust: Trust) -> tuple[Path, ...]:
    """The folders below which imported files must be, without symbolic links: the folder of the file that was asked
    for, the working directory, and those of `trust`. A working directory of / is not meant: it would allow all files,
    and an editor or a service often has it by accident."""
    here = Path(os.path.realpath(""))
    found = [Path(os.path.realpath(main)).parent] if main else []
    found += [here] if here != here.parent else []
    return tuple(dict.fromkeys([*found, *(Path(os.path.realpath(folder)) for folder in trust.folders)]))


def inside(path: Path, allowed: Iterable[Path]) -> bool:
    """Whether a path is below one of some folders, after symbolic links have been followed."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in allowed)


def imported(main: Source, trust: Trust) -> dict[str, Source]:
    """The files that a file imports, directly or through others, by the names under which they are imported; without
    those of the library, and without those that cannot be read."""
    waiting, found = [main], {}
    while waiting:
        document = parse(waiting.pop(), Report())
        for item in document.body.fields if document and not document.plain else ():
            if not isinstance(item, Import) or item.path.startswith("std/") or item.path in found:
                continue
            try:
                found[item.path] = Source.read(find(item, main.path, trust))
            except (Fault, NetdefError):
                continue
            waiting.append(found[item.path])
    return found
