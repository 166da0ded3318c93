"""The output of a sweep: a line for each run, the table, and the best run."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..language.errors import printable
from ..policies.base import Monitor

if TYPE_CHECKING:
    from ..sweep.goal import Score
    from ..training.events import Event

MARK = "*"  # of the best run
STATES = ("pruned", "diverged", "invalid")  # of runs that have no final score
NARROW = 55  # columns of a terminal for a bar
Row = Mapping[str, Any]


class Lines:
    """Prints a line for each run on stderr, unless it is quiet, and keeps the table in the folder up to date, so that
    a sweep in progress, or one that was killed, can be plotted. On a terminal, a bar shows the run in progress."""

    def __init__(self, settings: Sequence[str], write: Callable[[Sequence[Row], Score], Any], quiet: bool):
        self.settings, self.write, self.quiet = settings, write, quiet
        self.rows: list[Row] = []
        self.before, self.began = 0, time.monotonic()
        self.score: Score | None = None
        self.bar: Bar | None = None

    def __enter__(self) -> Lines:
        if not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self.bar = Bar(sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()

    def start(self, score: Score, before: int) -> None:
        """Begins to measure time; `before` runs were finished earlier."""
        self.score, self.before, self.began = score, before, time.monotonic()

    def event(self, name: str, event: Event) -> None:
        """Shows how far the run in progress is."""
        if self.bar:
            self.bar.show(name, event)

    def __call__(self, row: Row, done: int, total: int) -> None:
        assert self.score is not None
        self.rows.append(row)
        if done <= self.before:
            return
        self.write(self.rows, self.score)
        if self.quiet:
            return
        spent = time.monotonic() - self.began
        left = spent / (done - self.before) * (total - done) if spent > 1 else 0.0
        is_best = len(self.rows) > 1 and self.score.best(self.rows) is row
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
        text = printable(line(row, f"{done}/{total}", self.score, self.settings, is_best, left, width))
        if self.bar:
            self.bar.print(text)
        else:
            print(text, file=sys.stderr, flush=True)


class Bar:
    """A bar below the lines, with the iterations and the loss of the run in progress."""

    def __init__(self, stream: TextIO):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column

        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        loss = TextColumn("{task.fields[loss]}", table_column=Column(no_wrap=True))
        bars = [BarColumn(bar_width=None)] if self.console.width >= NARROW else []
        done = MofNCompleteColumn(table_column=Column(no_wrap=True))
        self.progress = Progress(name, done, *bars, loss, console=self.console, transient=True, expand=True)
        self.task: Any = None

    def show(self, name: str, event: Event) -> None:
        """Shows an event of a run."""
        from ..training import events

        if isinstance(event, events.Started):
            self.progress.start()
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(name, total=event.max_iter, completed=event.iteration, loss="compiling")
        elif isinstance(event, events.Stepped) and self.task is not None:
            self.progress.update(self.task, completed=event.iteration)
        elif isinstance(event, events.Display) and self.task is not None:
            self.progress.update(self.task, completed=event.iteration, loss=f"loss {event.loss:.4g}")

    def print(self, text: str) -> None:
        """Prints a line above the bar."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Removes the bar."""
        self.progress.stop()


def line(
    row: Row, done: str, score: Score, settings: Sequence[str], is_best: bool, left: float, width: int | None
) -> str:
    """The line of one run; in a narrow terminal the less important parts are left out."""
    from ..training.progress import duration

    state = row.get("state")
    parts = [(done, 0), (str(row["run"]), 1)]
    if "trial" in row:  # in a grid, the settings are the name of the run
        words = (f"{name.removeprefix('solver.')} {shown(row[name])}" for name in settings if name in row)
        parts += [(text, 3)] if (text := "  ".join(words)) else []
    if not score.is_reached and score.column != "loss" and "loss" in row:
        parts.append((f"training loss {shown(row['loss'])}", 4))
    if state in STATES:
        at = f" at iteration {row['iterations']}" if "iterations" in row else f": {row.get('why', '')}"
        at = f" after {row['seeds']} of its runs" if row.get("seeds", 1) > 1 else at
        parts.append((f"{state}{at}", 0))
    elif score.column in row:
        parts.append((f"{score.words} {shown(row[score.column])}", 0))
        if row.get("seeds", 1) > 1 and "lowest" in row:
            parts.append((f"{shown(row['lowest'])} to {shown(row['highest'])}", 3))
    parts += [("best so far", 2)] if is_best else []
    parts += [(f"about {f'{left:.0f} s' if left < 60 else duration(left)} left", 2)] if left else []
    while width is not None and sum(len(text) + 2 for text, _ in parts) - 2 > width and parts[-1:]:
        least = max(parts, key=lambda part: part[1])
        if not least[1]:
            break
        parts.remove(least)
    return "  ".join(text for text, _ in parts)


def best_of(rows: Sequence[Row], score: Score | None = None) -> tuple[Row, str] | None:
    """Returns the best run, and its name and score in words; None if no run has a score.

    Without a score, or if no run has it: the run that reached the goal first, or else that with the best first accuracy
    of the tests, the best test loss, or the best training loss."""
    if score is not None and (best := score.best(rows)) is not None:
        return best, f"{best['run']}  {score.words} {shown(best[score.column])}"
    names = list(dict.fromkeys(name for row in rows for name in row))
    ranked = [*(n for n in names if n == "reached"), *(n for n in names if _is_score(n)), "test loss", "loss"]
    for name in ranked:
        known = [row for row in rows if isinstance(row.get(name), (int, float)) and math.isfinite(row[name])]
        if known:
            best = (max if _is_score(name) else min)(known, key=lambda row: row[name])
            words = {"reached": "goal reached at iteration", "loss": "training loss"}.get(name, name)
            return best, f"{best['run']}  {words} {shown(best[name])}"
    return None


def _is_score(name: str) -> bool:
    """Whether a column is a score of the tests of which more is better."""
    return name.startswith("test ") and Monitor(monitor=name.removeprefix("test ")).upwards


def table(rows: Sequence[Row], settings: Sequence[str], best: Row | None = None) -> str:
    """Formats rows as a table: settings first, numbers with four digits; the best one is marked."""
    skipped = (*settings, "run", "seed", "trial", "why")
    names = [*settings, *(n for row in rows for n in row if n not in skipped)]
    columns = list(dict.fromkeys(name for name in names if any(name in row for row in rows)))
    heads = ["training loss" if name == "loss" else name for name in columns]
    cells = [heads, *([shown(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    if best is None:
        return "\n".join(lines)
    return "\n".join(f"{MARK if i and rows[i - 1] is best else ' '} {line}" for i, line in enumerate(lines))


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def contents(
    rows: Sequence[Row], folder: Path, score: Score, until: str | None, search: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The contents of `sweep.json`."""
    best = best_of(rows, score)
    return {
        "folder": str(folder),
        "until": until,
        "score": {"column": score.column, "upwards": score.upwards},
        "best": best[0]["run"] if best else None,
        "search": search,
        "rows": rows,
    }
