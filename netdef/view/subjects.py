"""What a page shows, while it changes on disk: a file, a run or a folder.

A subject has a `version`, which is cheap and changes with its files, and a `page`, which is built when the version has
changed.  Requests of several browsers come from several threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..compiler import Phases, load_phases, remaining_nets
from ..language.errors import NetdefError
from ..language.trust import UNTRUSTED, Trust
from ..observe.facts import judged_of, nets_of_run
from ..observe.listing import runs_in
from ..training.run_folder import METRICS
from ..training.run_lock import holder
from ..training.run_record import RUN
from .folder_page import folder_page
from .net_page import NetPage, net_page, sources_of
from .run_page import Judged, judged_page, last_snapshot, run_page


class Subject(Protocol):
    """What `server` needs of a subject."""

    def version(self) -> str: ...

    def page(self) -> Any: ...


@dataclass
class FileSubject:
    """A net or solver.  While the file has errors, its page has the last diagrams without errors, or else those of what
    can be read of it."""

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust = UNTRUSTED
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    files: frozenset[Path] = frozenset()
    seen: str = ""
    last: NetPage | None = None
    good: NetPage | None = None

    def version(self) -> str:
        return " ".join(_stamp(path) for path in sorted({self.path, *self.files}))

    def page(self) -> NetPage:
        with self.lock:
            now = self.version()
            if self.last is None or now != self.seen:
                self.last, self.seen = self._read(), now  # read again if it imports a file that was not known
            return self.last

    def _read(self) -> NetPage:
        try:
            loaded = load_phases(self.path, set=dict(self.settings), trust=self.trust)
            if not (loaded.nets or self.good):
                loaded = replace(loaded, nets=remaining_nets(self.path, dict(self.settings), self.trust))
        except NetdefError as error:
            before = self.good or NetPage("net", self.path.stem, str(self.path), (), (), {})
            return replace(before, faults=(), error=str(error), stale=before.drawn)
        self.files = frozenset(sources_of(loaded)) | {self.path}
        found = net_page(str(self.path), loaded)
        if found.drawn and not found.partial:
            self.good = found
        elif self.good:
            found = replace(self.good, faults=found.faults, stale=True)
        return found


@dataclass
class RunSubject:
    """A run.  Its last snapshot is tested in a thread, once it is asked for."""

    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    judged: Judged | None = None
    tested: str = ""  # the snapshot that was the last one when `judged` was made
    working: str = ""  # the same for the test in progress

    def version(self) -> str:
        stamps = [_stamp(self.folder / name) for name in (METRICS, RUN)]
        return " ".join([*stamps, last_snapshot(self.folder), str(holder(self.folder)), self.working])

    def page(self) -> Any:
        return run_page(self.folder)

    def net(self) -> NetPage:
        """The net of the run."""
        nets, notes = nets_of_run(self.folder)
        if nets is None:
            return NetPage("net", self.folder.name, "", (), (), {}, error="; ".join(notes))
        both = (nets.train, *nets.tests[:1])
        return net_page(str(nets.file or self.folder), Phases(both, nets.train.diagnostics))

    def judge(self, started: bool = False) -> dict[str, Any]:
        """Returns the results of the last test, and which snapshot is being tested; `started` starts a test."""
        with self.lock:
            last = last_snapshot(self.folder)
            if started and last and last != self.tested and not self.working:
                self.working = last
                threading.Thread(target=self._test, daemon=True).start()
            return {"working": self.working, "tested": self.tested, "judged": self.judged}

    def _test(self) -> None:
        try:
            found, notes = judged_of(self.folder)
            judged = judged_page(found, notes)
        except NetdefError as error:
            judged = Judged("", notes=(str(error),))
        except Exception as error:  # a page must not wait for a thread that has ended
            judged = Judged("", notes=(f"The test failed: {type(error).__name__}: {error}",))
        with self.lock:
            self.judged, self.tested, self.working = judged, self.working, ""


@dataclass
class FolderSubject:
    """A folder of runs."""

    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    opened: dict[str, RunSubject] = field(default_factory=dict)

    def version(self) -> str:
        try:
            found = runs_in(self.folder)
        except NetdefError:
            return ""
        stamp = lambda path: f"{_stamp(path / METRICS)} {_stamp(path / RUN)} {holder(path)}"
        return " ".join(f"{name} {stamp(path)}" for name, path in found.items())

    def page(self) -> Any:
        return folder_page(self.folder)

    def run(self, name: str) -> RunSubject | None:
        """The run with a name of the list; None for any other name."""
        with self.lock:
            folder = self.opened[name].folder if name in self.opened else runs_in(self.folder).get(name)
            return None if folder is None else self.opened.setdefault(name, RunSubject(folder))


def _stamp(path: Path) -> str:
    """When a file was changed, and its size; empty if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return "-"
    return f"{found.st_mtime_ns}/{found.st_size}/{found.st_ino}"
