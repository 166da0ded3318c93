"""The page of a folder: its runs with their scores, and the curves of some of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..language.errors import NetdefError
from ..observe.listing import Run, differing, local_time, runs
from ..observe.runs import read_run
from ..training.saved_run import written
from .net_page import Fact
from .run_page import Line, lines_of, number


@dataclass(frozen=True)
class RunRow:
    """A run in the list."""

    name: str
    state: str
    began: str
    iterations: int
    max_iter: int | None
    score: str
    last: str
    best: str
    at: str
    settings: tuple[Fact, ...]


@dataclass(frozen=True)
class FolderPage:
    """The runs in a folder, the most recent first."""

    kind: str
    title: str
    folder: str
    runs: tuple[RunRow, ...]


@dataclass(frozen=True)
class RunLines:
    """All curves of a run."""

    run: str
    lines: tuple[Line, ...]


def folder_page(folder: Path) -> FolderPage:
    """Returns the page of a folder.  NetdefError if it does not exist."""
    found = runs(folder)
    names = differing(found)
    rows = tuple(_row(run, names) for run in found)
    return FolderPage("folder", folder.absolute().name or str(folder), str(folder), rows)


def _row(run: Run, names: set[str]) -> RunRow:
    score = run.score
    return RunRow(
        run.name,
        run.state,
        local_time(run.began),
        run.iterations,
        run.max_iter,
        score.name if score else "",
        number(score.last) if score else "",
        number(score.best) if score else "",
        f"{score.at:,}" if score else "",
        tuple(Fact(name, written(value)) for name, value in run.settings.items() if name in names),
    )


def curves_of(runs_by_name: dict[str, Path], chosen: Iterable[str]) -> tuple[RunLines, ...]:
    """Returns the curves of the chosen runs; names that no run has are ignored."""
    return tuple(RunLines(name, _lines(runs_by_name[name])) for name in dict.fromkeys(chosen) if name in runs_by_name)


def _lines(folder: Path) -> tuple[Line, ...]:
    try:
        history = read_run(folder)
    except NetdefError:  # it has no records yet
        return ()
    return tuple(line for name in history.names() for line in lines_of(history, name))
