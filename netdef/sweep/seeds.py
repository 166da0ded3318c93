"""The runs of one trial with several seeds: their medians, which are the row of the trial."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..policies.base import Monitor
from .goal import DIVERGED, FINISHED, PRUNED, Score

DESCRIPTION = ("run", "seed", "iterations", "state")  # columns that are not results
Row = Mapping[str, Any]


def median_of(rows: Sequence[Row], score: Score) -> float | None:
    """The median score of runs; None if it is that of a run without a score, which is worse than all others."""
    return _median([score.of(row) if row["state"] == FINISHED else None for row in rows], score.upwards)


def combined(rows: Sequence[Row], settings: Mapping[str, Any], score: Score) -> dict[str, Any]:
    """The results of the runs of a trial, which have the same settings: the median of each column, the lowest and the
    highest score, and the number of runs.  A trial has diverged if most of its runs have."""
    made: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name in DESCRIPTION or name in settings:
            continue
        upwards = score.upwards if name == score.column else Monitor(monitor=name.removeprefix("test ")).upwards
        made[name] = _median([_number(row.get(name)) if row["state"] != DIVERGED else None for row in rows], upwards)
    scored = [row for row in rows if row["state"] != DIVERGED]
    if values := [value for row in scored if (value := score.of(row)) is not None]:
        made |= {"lowest": min(values), "highest": max(values)}
    state = PRUNED if rows[-1]["state"] == PRUNED else FINISHED if made.get(score.column) is not None else DIVERGED
    return made | {"seeds": len(rows), "iterations": max(row["iterations"] for row in rows), "state": state}


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _median(values: Sequence[float | None], upwards: bool) -> float | None:
    worst = -math.inf if upwards else math.inf
    found = statistics.median([worst if value is None else value for value in values])
    return found if math.isfinite(found) else None
