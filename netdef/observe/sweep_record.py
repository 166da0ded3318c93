"""The record of a sweep, `sweep.json`: its rows, what was varied, and the score that compares the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..training.run_folder import METRICS
from .runs import History, kind, number, read_run

SWEEP, RESULT = "sweep.json", "result.json"


@dataclass(frozen=True)
class Score:
    """The value to compare: a column of the rows, its label, and whether larger values are better."""

    column: str
    label: str
    upwards: bool = False
    is_reached: bool = False  # whether it is the iteration that reached the goal


@dataclass(frozen=True)
class Swept:
    """The rows of a sweep, the varied settings, the goal, and the histories of the runs that have one."""

    name: str
    rows: tuple[Mapping[str, Any], ...]
    settings: tuple[str, ...]  # with more than one value
    goal: str
    histories: Mapping[str, History]
    search: Mapping[str, Any]  # the options of a search; empty for a grid
    score: Score | None  # None: no run has a score

    @property
    def title(self) -> str:
        return self.name.removesuffix("-sweep")

    @property
    def seeds(self) -> int:
        """The number of runs of each trial of a search, of which a row has the medians."""
        found = self.search.get("seeds", 1)
        return found if isinstance(found, int) else 1

    def value(self, row: Mapping[str, Any]) -> float:
        """The score of a row; nan if it has none."""
        return value_of(row, self.score.column) if self.score else math.nan

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best run; None if no run has a score.  Runs that were ended as hopeless do not count."""
        known = [row for row in self.rows if math.isfinite(self.value(row)) and row.get("state") != "pruned"]
        return (max if self.score and self.score.upwards else min)(known, key=self.value) if known else None


def value_of(row: Mapping[str, Any], column: str) -> float:
    """A number of a row; nan if it is not one."""
    try:
        return number(row.get(column))
    except (TypeError, ValueError):
        return math.nan


def read_sweep(folder: str | Path) -> Swept:
    """Reads a sweep from its folder.  NetdefError if its table is damaged or empty."""
    folder = Path(folder)
    try:
        told = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        rows = tuple({k: _simple(v) for k, v in row.items()} for row in told["rows"] if isinstance(row, dict))
        goal = str(told.get("until") or "")
        given = told.get("score")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NetdefError(f"{folder / SWEEP} is not a valid table of a sweep ({error}); run the sweep again.") from None
    if not rows:
        raise NetdefError(f"{folder / SWEEP} has no runs.")
    names = list(rows[0])
    settings = names[names.index("run") + 1 : names.index("seed")] if {"run", "seed"} <= set(names) else []
    varied = tuple(s for s in settings if len({str(row.get(s)) for row in rows}) > 1)
    search = told.get("search")
    return Swept(
        folder.absolute().name,
        rows,
        varied,
        goal,
        dict(_histories(folder)),
        search if isinstance(search, dict) else {},
        _score(rows, goal, given if isinstance(given, dict) else {}),
    )


def _simple(value: Any) -> Any:
    """Returns a value that an axis can show: a number that is not extreme, a boolean, or else a string."""
    if value is None or isinstance(value, (bool, str)):
        return value
    return value if isinstance(value, (int, float)) and (value == 0 or 1e-15 < abs(value) < 1e15) else str(value)


def _histories(folder: Path) -> Iterable[tuple[str, History]]:
    for result in sorted(folder.glob(f"*/{RESULT}")):
        try:
            name = json.loads(result.read_text(encoding="utf-8"))["row"]["run"]
            yield name, read_run(result.with_name(METRICS))
        except (OSError, ValueError, KeyError, TypeError, NetdefError):
            continue  # its row is in the table anyway


def _score(rows: Iterable[Mapping[str, Any]], goal: str, given: Mapping[str, Any]) -> Score | None:
    """The score that the sweep names; in the files of older versions the goal if there is one, else the test accuracy,
    else a loss."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    tests = [name for name in columns if name.startswith("test ") and kind(name) == "accuracy"]
    named = [given["column"]] if isinstance(given.get("column"), str) else []
    found = next((name for name in (*named, "reached", *tests, "test loss", "loss") if name in columns), None)
    if found is None:
        return None
    upwards = bool(given.get("upwards")) if found in named else kind(found) == "accuracy"
    if found == "reached":
        return Score(found, f"iterations to {_shown(goal)}", is_reached=True)
    return Score(found, "final training loss" if found == "loss" else f"final {found}", upwards)


def _shown(goal: str) -> str:
    return goal.replace(">=", " ≥ ").replace("<=", " ≤ ") or "the goal"


def axes_of(sweep: Swept) -> tuple[str, tuple[str, ...]]:
    """Returns the setting of the horizontal axis (numeric if possible, with the most values) and the others."""
    if not sweep.settings:
        return "seed", ()
    values = {s: {str(row.get(s)) for row in sweep.rows} for s in sweep.settings}
    across = max(sweep.settings, key=lambda s: (is_numeric(sweep.rows, s), len(values[s])))
    return across, tuple(s for s in sweep.settings if s != across)


def is_numeric(rows: Iterable[Mapping[str, Any]], setting: str) -> bool:
    """Whether all values of a setting are numbers."""
    return all(isinstance(row.get(setting), (int, float)) and not isinstance(row.get(setting), bool) for row in rows)


def is_wide(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis suits these values."""
    return min(values) > 0 and max(values) > 20 * min(values)


def shown(value: Any) -> str:
    """A value in a figure or a table."""
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
