"""The records of a run, read for looking at: curves of numbers over iterations or seconds.

A file that is written to at this moment, or was when the power failed, is read as far as it can be: lines that are no
records are left out and counted.
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

LARGEST = 1e30  # of the numbers that are drawn
NO_CURVES = ("iteration", "phase", "net", "seconds")


@dataclass(frozen=True)
class Curve:
    """A number over a run: iterations, seconds since the start (nan: unknown) and values (nan: not finite)."""

    iterations: tuple[float, ...]
    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        return any(math.isfinite(v) for v in self.values)


@dataclass(frozen=True)
class History:
    """All records of a run, in their order, and how many lines of its file were none."""

    name: str
    folder: Path
    rows: tuple[dict[str, Any], ...]
    damaged: int = 0

    def of(self, phase: str, net: int = 0) -> list[dict[str, Any]]:
        """The records of the displays ("train") or of the tests of one net ("test")."""
        return [row for row in self.rows if row.get("phase") == phase and (row.get("net") or 0) == net]

    @property
    def test_nets(self) -> list[int]:
        """Numbers of the nets that were tested."""
        return sorted({row.get("net") or 0 for row in self.rows if row.get("phase") == "test"})

    def curve(self, name: str, phase: str, net: int = 0) -> Curve:
        """One number over the run; empty if no record has it."""
        rows = [row for row in self.of(phase, net) if _is_number(row.get(name))]
        took = [row.get("seconds") for row in rows]
        return Curve(
            tuple(float(row["iteration"]) for row in rows),
            tuple(number(s) if _is_number(s) else math.nan for s in took),
            tuple(number(row[name]) for row in rows),
        )

    def names(self) -> list[str]:
        """Every number that can be drawn, in the order of its first record."""
        found = {name: None for row in self.rows for name, value in row.items() if _is_number(value)}
        return [name for name in found if name not in NO_CURVES]


def read_run(path: str | Path) -> History:
    """The records of a run: of its folder, or of its `metrics.jsonl`.

    Errors: NetdefError if there is nothing, no run, or no record yet."""
    given = Path(path)
    folder = given.parent if given.is_file() else given
    file = given if given.is_file() else given / METRICS
    if not given.exists():
        raise NetdefError(f"there is no run {given}; name the folder that `netdef train` wrote.")
    if not file.exists():
        inside = sorted(p.parent.name for p in given.glob(f"*/{METRICS}"))
        meant = f" It holds runs, though: {', '.join(inside[:3])}{' ...' if len(inside) > 3 else ''}." if inside else ""
        raise NetdefError(f"{given} is no run: it has no {METRICS}.{meant}")
    rows, damaged = _records(file.read_text(encoding="utf-8", errors="replace").splitlines())
    if not rows:
        why = f"none of its {damaged} lines is a record" if damaged else "it is empty"
        raise NetdefError(
            f"{file} shows nothing yet: {why}; a record is written at each display and each test of the solver."
        )
    return History(_name(folder), folder, tuple(rows), damaged)


def read_runs(paths: Sequence[str | Path]) -> list[History]:
    """Several runs, under names that tell them apart."""
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # two folders of one name: as much of their paths as differs
        names = _apart([run.folder.absolute().parts for run in runs])
    return [History(name, run.folder, run.rows, run.damaged) for name, run in zip(names, runs, strict=True)]


def kind(name: str) -> str:
    """What a number is, by its name: "accuracy" (more is better, 0 to 1), "rate" or "loss"."""
    if name == "lr":
        return "rate"
    return "accuracy" if Monitor(monitor=name).upwards else "loss"


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Running means: m = w m + (1 - w) x, divided by 1 - w^n so that the first value counts in full.

    Values that are not finite stay as they are and leave the mean alone."""
    mean, count, found = 0.0, 0, []
    for value in values:
        if not math.isfinite(value):
            found.append(math.nan)
            continue
        mean, count = weight * mean + (1 - weight) * value, count + 1
        found.append(mean / (1 - weight**count) if weight else value)
    return found


def number(value: Any) -> float:
    """A number as it stands in a record, where nan and infinity are text; what cannot be drawn is nan."""
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
    """Whether a value counts something: a whole number from 0 on, of a size that a float holds exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(folder: Path) -> str:
    return folder.absolute().name or str(folder)


def _apart(paths: list[tuple[str, ...]]) -> list[str]:
    depth = next((d for d in range(1, max(map(len, paths)) + 1) if len({p[-d:] for p in paths}) == len(paths)), None)
    if depth is None:  # one run that was named twice
        return [f"{'/'.join(p[-1:])} ({i + 1})" for i, p in enumerate(paths)]
    return ["/".join(p[-depth:]) for p in paths]
