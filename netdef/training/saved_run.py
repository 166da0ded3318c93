"""A run on disk, which needs nothing else: `net.prototxt` is the net and the solver that were trained.

    net.prototxt        the solver and its nets as one file: settings applied, expanded
    source/             the files that the user wrote: the net, what it imports, the nets that a solver names
    run.json            settings, seed, fingerprints of the data, and each start of the program (see `run_record`)

Paths in the net are relative to the folder of the user's file.  `run.json` has this folder, absolute and relative to
the run, so a run may be moved, alone or with its project; where both are gone, paths are relative to the run.

`last_run` finds the most recent run of a file: among the runs in `runs`, in the working directory and beside the
default folder of its net, the one that began last.  A run whose record names another file is not one of its runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ..files import write_text_atomically
from ..interop import snapshot
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..language.expansion.imports import imported
from ..language.parsing.parser import parse
from ..language.source import ENDINGS, Source
from ..passes.solver_file import constants
from .run_folder import METRICS, NET, default_folder, family, number_of
from .run_record import RUN, read
from .solver_nets import Nets

SOURCE = "source"  # the folder of the user's files


def write_net(nets: Nets, folder: Path) -> None:
    """Writes the net that is trained, and its sources, to the folder of a run."""
    write_text_atomically(folder / NET, nets.text)
    for name, source in _named_sources(nets).items():
        write_text_atomically(folder / SOURCE / name, source.text)


def _named_sources(nets: Nets) -> dict[str, Source]:
    """The files of a run by their paths in `source/`: relative to the first one, or their names if elsewhere."""
    base = nets.file.parent if nets.file else Path()
    found: dict[str, Source] = {}
    for source in nets.sources:
        found[_inside(source.path, base, "net.net")] = source
        for name, other in imported(source, nets.trust).items():
            found.setdefault(_inside(other.path, base, name), other)
    return found


def _inside(path: Path | None, base: Path, name: str) -> str:
    if path is None:
        return name
    relative = PurePosixPath(Path(os.path.relpath(path, base)).as_posix())
    return relative.name if ".." in relative.parts or relative.is_absolute() else str(relative)


@dataclass(frozen=True)
class SavedRun:
    """The folder of a run, with its record."""

    folder: Path

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """`run.json`; empty if it is missing or damaged."""
        return read(self.folder / RUN)

    @property
    def settings(self) -> dict[str, Any]:
        """The constants and solver fields that were overridden."""
        found = self.record.get("settings")
        return dict(found) if isinstance(found, dict) else {}

    def settings_for(self, file: Path) -> dict[str, Any]:
        """The settings for a file: all if it is the file of the run, else those of constants that it has, because it
        may be another net for the same weights."""
        if _is_of(self, file):
            return self.settings
        document = parse(Source.read(file), Report())
        known = constants(document) if document else ()
        return {name: value for name, value in self.settings.items() if name in known}

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's file and the nets that it names, as recorded; the first one also relative to the run."""
        beside = [self.folder / name for name in _words(self.record.get("beside"))]
        return tuple(
            Path(name) for name in (*_words(self.record.get("file")), *_words(self.record.get("nets")), *beside)
        )

    @property
    def began(self) -> str:
        """When the run was last started, in a form that can be compared; empty if it is not known."""
        return str(self.sittings[-1].get("began", "")) if self.sittings else ""

    @property
    def written(self) -> int:
        """When its record was written, to order runs that began in the same second; 0 without a record."""
        path = self.folder / RUN
        return path.stat().st_mtime_ns if self.record and path.exists() else 0

    @property
    def sittings(self) -> list[dict[str, Any]]:
        """Each start of the program, in order."""
        found = self.record.get("sittings")
        return [s for s in found if isinstance(s, dict)] if isinstance(found, list) else []

    def snapshot(self) -> tuple[Path | None, list[str]]:
        """Returns the newest complete snapshot, and notes on damaged ones."""
        return snapshot.newest(self.folder)

    @property
    def main(self) -> Path:
        """The copy of the user's file; a run of an older version has only one of the net."""
        name = self.files[0].name if self.files else "net.net"
        copy = self.folder / SOURCE / name
        return copy if copy.is_file() else self.folder / NET

    @property
    def changed(self) -> bool | None:
        """Whether the user's files have changed since the run; None if they are gone."""
        file = next((path for path in self.files if path.suffix in ENDINGS and path.is_file()), None)
        if file is None:
            return None
        kept = self.folder / SOURCE
        copies = {path.relative_to(kept): path for path in kept.rglob("*") if path.is_file()} or {file.name: self.main}
        pairs = [(file.parent / name, copy) for name, copy in copies.items()]
        return any(there.is_file() and _text(there).strip() != _text(copy).strip() for there, copy in pairs)

    def net(self) -> tuple[Source, dict[str, Any]]:
        """Returns the net that was trained, and the settings that it needs; those are empty unless the run is of an
        older version, which saved the user's file.  NetdefError if there is no copy of it."""
        file = self.folder / NET
        if not file.is_file():
            raise NetdefError(f"{self.folder} has no {NET}, the net that was trained; name its file as well.")
        source = Source.read(file)
        if "folder" in self.record:
            return self._in_place(source), {}
        own = next((path for path in self.files if path.suffix in ENDINGS and path.is_file()), None)
        if own is not None and _text(own).strip() == source.text.strip():
            return Source.read(own), self.settings
        return self._in_place(source), self.settings

    def _in_place(self, source: Source) -> Source:
        """The source, with paths that are relative to the folder of the user's file.  Not if it has imports, because a
        record that somebody else wrote must not choose the folder that they may read."""
        document = parse(source, Report())
        words = [*_words(self.record.get("folder")), *(str(self.folder / w) for w in _words(self.record.get("up")))]
        places = [Path(word) for word in words] or [path.parent for path in self.files]
        place = next((path for path in places if path.is_dir()), None)
        if document is None or not document.plain or place is None:
            return source
        return Source(source.name, source.text, place / (self.files[0].name if self.files else NET))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _words(value: Any) -> list[str]:
    """The strings of a value of a record, which somebody may have edited."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str) and v and "\0" not in v]


def saved_run(path: str | Path) -> SavedRun:
    """Returns the run in a folder, or that of a snapshot.  NetdefError if there is none."""
    given = Path(path)
    folder = given.absolute().parent if snapshot.is_one(given) else given
    if not holds_run(folder):
        inside = sorted(p.name for p in given.glob("*") if holds_run(p)) if given.is_dir() else []
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        meant = f"; it contains runs: {', '.join(inside[:3])}{more}" if inside else ""
        raise NetdefError(f"{given} is not the folder of a run{meant}")
    return SavedRun(folder)


def written(value: Any) -> str:
    """A setting as it is written after `--set NAME=`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{','.join(map(written, value))}]" if isinstance(value, (list, tuple)) else str(value)


def holds_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / METRICS).exists() or (folder / RUN).exists() or bool(snapshot.found(folder))


def last_run(file: str | Path, nets: Nets | None = None) -> SavedRun | None:
    """Returns the most recent run of a file that has a snapshot; None if there is none.  `nets`, if known, are those of
    the file: runs without a record are found by their name."""
    found = {run.folder.absolute(): run for run in _candidates(nets) if run.record}
    mine = {place: run for place, run in found.items() if _is_of(run, Path(file))}
    base = default_folder(nets) if nets else None
    for folder in family(base) if base else ():
        run = SavedRun(folder)
        if not any(path.exists() for path in run.files):
            mine.setdefault(folder.absolute(), run)
    order = lambda run: (run.began, run.written, number_of(run.folder, base) if base else 0)
    return next((run for run in sorted(mine.values(), key=order, reverse=True) if snapshot.found(run.folder)), None)


def _candidates(nets: Nets | None) -> Iterable[SavedRun]:
    places = [Path("runs"), Path(), *([default_folder(nets).parent] if nets else [])]
    return (SavedRun(record.parent) for place in dict.fromkeys(places) for record in sorted(place.glob(f"*/{RUN}")))


def _is_of(run: SavedRun, file: Path) -> bool:
    return any(path.exists() and file.exists() and path.samefile(file) for path in run.files)
