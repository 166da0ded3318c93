"""The runs in a folder: when each was started, whether it is running, what distinguishes it, and its scores.

    for run in netdef.runs("runs"):
        print(run.name, run.state, run.settings, run.score)
    netdef.runs("runs").plot()

A run is "running" while a process trains in its folder, "finished" if it ended by itself, "interrupted" if a signal
ended it, "died" if it ended in another way, as by an error or a lost machine, and "unknown" if it has no record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError, printable
from ..language.shown import Shown
from ..training.run_lock import holder
from ..training.saved_run import SavedRun, holds_run, written
from .curves import curves
from .runs import Best, kind, read_run, read_runs, scores_of

DEPTH = 3  # folders below the given one: a sweep is a folder of runs


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """One run; `began` is the time at which it was last started, in UTC, or empty."""

    name: str
    folder: Path
    began: str
    state: str
    iterations: int
    max_iter: int | None
    settings: dict[str, Any]
    scores: tuple[Best, ...]

    @property
    def score(self) -> Best | None:
        """The score to compare runs by: the first accuracy in a test, else the loss of a test, else of training."""
        tests = [s for s in self.scores if s.name.startswith("test ")]
        accuracies = [s for s in tests if kind(s.name.partition(" ")[2]) == "accuracy"]
        losses = [s for s in (*tests, *self.scores) if s.name.endswith(" loss")]
        return next(iter((*accuracies, *losses)), None)

    def plot(self, **options: Any) -> Any:
        """Returns a figure of its curves; `options` are those of `netdef.observe.curves`.  NetdefError if it has no
        records yet, and if matplotlib is not installed."""
        return curves([read_run(self.folder)], **options)

    def as_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return asdict(self) | {"folder": str(self.folder), "scores": [asdict(score) for score in self.scores]}

    def __repr__(self) -> str:
        score = f", {self.score.name} {self.score.last:.4g}" if self.score else ""
        return f"<Run {printable(str(self.folder))}: {self.state}, {self.iterations} iterations{score}>"


class Runs(list[Run], Shown):
    """The runs in a folder, the most recent first."""

    def plot(self, **options: Any) -> Any:
        """Returns a figure that compares the curves of the runs with records; `options` are those of
        `netdef.observe.curves`.  NetdefError if there is no such run, and if matplotlib is not installed."""
        folders = [run.folder for run in self if run.scores]
        if not folders:
            raise NetdefError(
                "none of the runs has a record to plot; a record is written at each display and each test."
            )
        return curves(read_runs(folders), **options)


def runs(folder: str | Path = "runs") -> Runs:
    """Returns the runs in a folder and in the folders inside it, the most recent first.

    Errors: NetdefError if the folder does not exist."""
    top = Path(folder)
    if not top.is_dir():
        wrong = "is a file, not a folder" if top.exists() else "does not exist"
        raise NetdefError(f"{top} {wrong}; name a folder of runs.")
    found = [_run(name, path) for name, path in runs_in(top).items()]
    return Runs(sorted(found, key=lambda run: run.began, reverse=True))


def runs_in(top: Path) -> dict[str, Path]:
    """Returns the folders of the runs in a folder, by the names that they have in a list."""
    name = lambda path: path.relative_to(top).as_posix() if path != top else path.absolute().name
    return {name(path): path for path in sorted(_folders(top))}


def _folders(top: Path) -> Iterable[Path]:
    """The folders of runs; the folders in a run are not searched."""
    for at, inside, _ in os.walk(top):
        path = Path(at)
        if holds_run(path):
            inside.clear()
            yield path
        elif len(path.relative_to(top).parts) >= DEPTH:
            inside.clear()


def _run(name: str, folder: Path) -> Run:
    saved = SavedRun(folder)
    try:
        history = read_run(folder)
        scores, rows = tuple(scores_of(history)), history.rows
    except NetdefError:  # it has no records yet
        scores, rows = (), ()
    last = saved.sittings[-1] if saved.sittings else {}
    done = [last.get("to"), *(row["iteration"] for row in rows)]
    most = saved.record.get("max_iter")
    return Run(
        name=name,
        folder=folder,
        began=saved.began,
        state=state_of(folder, last),
        iterations=max((n for n in done if isinstance(n, int)), default=0),
        max_iter=most if isinstance(most, int) else None,
        settings=saved.settings,
        scores=scores,
    )


def state_of(folder: Path, last: dict[str, Any]) -> str:
    """The state of a run, whose last start of the program is `last`."""
    if holder(folder) is not None:
        return "running"
    if not last:
        return "unknown"
    ended = last.get("ended")
    return "died" if ended is None else "interrupted" if ended == "interrupted" else "finished"


def table(found: Sequence[Run]) -> str:
    """Returns the runs as lines of text, with the settings in which they differ."""
    rows = cells(found)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def cells(found: Sequence[Run]) -> list[tuple[str, ...]]:
    """Returns the rows of the table of runs, with the heads of its columns first."""
    names = differing(found)
    rows = [("run", "started", "state", "iterations", "last score", "best", "settings")]
    for run in found:
        of = f" of {run.max_iter}" if run.max_iter and run.iterations != run.max_iter else ""
        score, named = run.score, {k: v for k, v in run.settings.items() if k in names}
        last, best = (f"{score.name} {score.last:.4g}", f"{score.best:.4g} at {score.at}") if score else ("", "")
        words = " ".join(f"{name}={written(value)}" for name, value in named.items())
        rows.append((run.name, local_time(run.began), run.state, f"{run.iterations}{of}", last, best, words))
    return [tuple(map(printable, row)) for row in rows]


def differing(found: Sequence[Run]) -> set[str]:
    """The settings that are not equal in all runs; of a single run, all."""
    known = [run for run in found if run.began]  # the settings of a run without a record are unknown
    names = {name for run in known for name in run.settings}
    absent = object()
    return {n for n in names if len(found) == 1 or len({str(run.settings.get(n, absent)) for run in known}) > 1}


def local_time(began: str) -> str:
    """A time of a record, in the time zone of this machine."""
    try:
        return f"{datetime.fromisoformat(began).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
