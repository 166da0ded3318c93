"""Reading the records of a run as curves of metrics by iteration or by time.

A file that is being written, or was incomplete after a power failure, is read as far as possible: lines that are not
records are skipped and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..policies.base import Monitor
from ..training.run_folder import METRICS

LARGEST = 1e30  # of the values that are plotted
NO_CURVES = ("iteration", "phase", "net", "seconds", "bn_recalibrate")


@dataclass(frozen=True)
class Curve:
    """A metric over a run: iterations, seconds since the start (nan: unknown) and values (nan: not finite)."""

    iterations: tuple[float, ...]
    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        return any(math.isfinite(v) for v in self.values)


@dataclass(frozen=True)
class History:
    """All records of a run, in order, and the number of lines that are not records."""

    name: str
    folder: Path
    rows: tuple[dict[str, Any], ...]
    damaged: int = 0

    def of(self, phase: str, net: int = 0) -> list[dict[str, Any]]:
        """Returns the records of displays ("train") or of the tests of one net ("test")."""
        return [row for row in self.rows if row.get("phase") == phase and (row.get("net") or 0) == net]

    @property
    def test_nets(self) -> list[int]:
        """The indices of the nets that were tested."""
        return sorted({row.get("net") or 0 for row in self.rows if row.get("phase") == "test"})

    def curve(self, name: str, phase: str, net: int = 0) -> Curve:
        """Returns one metric over the run; empty if no record has it."""
        rows = [row for row in self.of(phase, net) if _is_number(row.get(name))]
        took = [row.get("seconds") for row in rows]
        return Curve(
            tuple(float(row["iteration"]) for row in rows),
            tuple(number(s) if _is_number(s) else math.nan for s in took),
            tuple(number(row[name]) for row in rows),
        )

    def names(self) -> list[str]:
        """Returns the names of all metrics, in the order of their first records."""
        found = {name: None for row in self.rows for name, value in row.items() if _is_number(value)}
        return [name for name in found if name not in NO_CURVES]


@dataclass(frozen=True)
class Best:
    """A metric of a run: its last value, its best value, and the iteration of the best."""

    name: str
    last: float
    best: float
    at: int


def read_run(path: str | Path) -> History:
    """Reads the records of a run, from its folder or its `metrics.jsonl`.

    Errors: NetdefError if the path does not exist, is not a run, or has no records yet."""
    given = Path(path)
    folder = given.parent if given.is_file() else given
    file = given if given.is_file() else given / METRICS
    if not given.exists():
        raise NetdefError(f"there is no run {given}; pass the folder that `netdef train` wrote.")
    if not file.exists():
        inside = sorted(p.parent.name for p in given.glob(f"*/{METRICS}"))
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        meant = f" It contains runs: {', '.join(inside[:3])}{more}." if inside else ""
        raise NetdefError(f"{given} is not a run: it has no {METRICS}.{meant}")
    rows, damaged = _records(file.read_text(encoding="utf-8", errors="replace").splitlines())
    if not rows:
        why = f"none of its {damaged} lines is a record" if damaged else "it is empty"
        raise NetdefError(
            f"{file} has no records yet: {why}; a record is written at each display and each test of the solver."
        )
    return History(_name(folder), folder, tuple(rows), damaged)


def read_runs(paths: Sequence[str | Path]) -> list[History]:
    """Reads several runs, with a unique name for each."""
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # folders with equal names: enough of their paths to be unique
        names = _apart([run.folder.absolute().parts for run in runs])
    return [History(name, run.folder, run.rows, run.damaged) for name, run in zip(names, runs, strict=True)]


def scores_of(history: History) -> list[Best]:
    """Returns the last and the best value of each metric, in training and in the tests of each net."""
    found = []
    for phase in ("train", "test"):
        for net in history.test_nets if phase == "test" else [0]:
            for name in history.names():
                if name in ("lr", "images_per_s") or name.startswith(("watch/", "top/")):
                    continue
                curve = history.curve(name, phase, net)
                if curve:
                    better = max if kind(name) == "accuracy" else min
                    best = better(v for v in curve.values if math.isfinite(v))
                    at = curve.iterations[curve.values.index(best)]
                    words = f"{phase} {net}" if net else phase
                    found.append(Best(f"{words} {name}", curve.values[-1], best, int(at)))
    return found


def kind(name: str) -> str:
    """Returns the kind of a metric, by its name: "accuracy" (more is better, 0 to 1), "rate" or "loss"."""
    if name == "lr":
        return "rate"
    return "accuracy" if Monitor(monitor=name).upwards else "loss"


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Returns running means: m = w m + (1 - w) x, divided by 1 - w^n, so that they are not biased at the start.

    Values that are not finite become nan and do not change the mean."""
    mean, count, found = 0.0, 0, []
    for value in values:
        if not math.isfinite(value):
            found.append(math.nan)
            continue
        mean, count = weight * mean + (1 - weight) * value, count + 1
        found.append(mean / (1 - weight**count) if weight else value)
    return found


def number(value: Any) -> float:
    """Converts a value of a record, where nan and infinity are strings; values that cannot be plotted become nan."""
    try:
        found = float(value)
    except OverflowError:
        return math.nan
    return found if abs(found) <= LARGEST else math.nan


def _records(lines: Iterable[str]) -> tuple[list[dict[str, Any]], int]:
    rows, damaged = [], 0
    for line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and _counts(row.get("iteration")):
            proper = {"seconds": _is_number, "net": _counts}
            rows.append({k: v for k, v in row.items() if k not in proper or proper[k](v)})
        else:
            damaged += 1
    return rows, damaged


def _counts(value: Any) -> bool:
    """Whether a value is a valid count: an integer from 0 on that a float represents exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(folder: Path) -> str:
    return folder.absolute().name or str(folder)


def _apart(paths: list[tuple[str, ...]]) -> list[str]:
    depth = next((d for d in range(1, max(map(len, paths)) + 1) if len({p[-d:] for p in paths}) == len(paths)), None)
    if depth is None:  # the same run, given twice
        return [f"{'/'.join(p[-1:])} ({i + 1})" for i, p in enumerate(paths)]
    return ["/".join(p[-depth:]) for p in paths]
