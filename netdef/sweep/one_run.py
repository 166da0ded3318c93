"""One run of a sweep: how it is trained, its row in the table, and its result on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..files import write_text_atomically
from ..interop import snapshot
from ..language.errors import NetdefError
from ..training.metrics import NOT_MEASURED, read_rows
from ..training.run import Options, run_nets
from ..training.run_folder import METRICS
from ..training.single_run import Diverged
from ..training.solver_nets import Nets
from ..training.trial_runs import with_solver
from .goal import Score, Until

RESULT = "result.json"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    name: str
    settings: Settings
    seed: int
    folder: Path


@dataclass(frozen=True)
class Found:
    """The result of a sweep: a row for each run, in the order of the settings, and the folder of the sweep."""

    rows: tuple[dict[str, Any], ...]
    folder: Path
    settings: tuple[str, ...]  # names of the varied settings
    score: Score  # what compares the runs

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best row; None if no run has a score."""
        return self.score.best(self.rows)


def kept(job: Job, max_iter: int | None, until: str | None) -> dict[str, Any] | None:
    """The row of a run that finished earlier with the same settings; None if there is none."""
    try:
        told = json.loads((job.folder / RESULT).read_text())
        same = [told["settings"], told["max_iter"], told["until"]] == [_plain(job.settings), max_iter, until]
        return told["row"] if same else None
    except (OSError, ValueError, KeyError):
        return None


def keep(job: Job, max_iter: int | None, until: str | None, row: Mapping[str, Any]) -> None:
    """Writes the row of a finished run."""
    told = {"settings": job.settings, "max_iter": max_iter, "until": until, "row": row}
    write_text_atomically(job.folder / RESULT, json.dumps(told, default=str))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


@dataclass(frozen=True)
class Ended:
    """The records of a run, and why it ended."""

    history: list[dict[str, Any]]
    why: str


def train_alone(nets: Nets, job: Job, goal: Until | None, options: Options) -> Ended:
    """Trains one run, or continues it.  A run whose loss is not finite has a last record with a loss of nan.

    Errors: those of `netdef.train`, with the name of the run; KeyboardInterrupt if a signal ended it."""
    if goal is not None:
        nets = with_solver(nets, early_stopping=goal.monitor())
    try:
        begun = bool(snapshot.found(job.folder))
        result = run_nets(nets, replace(options, resume=begun, output=job.folder))
    except Diverged:
        history = read_rows(job.folder / METRICS)
        last = max((row["iteration"] for row in history), default=0)
        return Ended([*history, {"iteration": last, "phase": "train", "loss": math.nan}], "diverged")
    except NetdefError as error:
        raise NetdefError(f"run {job.name}: {error}") from error
    if result.why == "interrupted":  # has a snapshot, but no result
        raise KeyboardInterrupt
    return Ended(result.history, result.why)


def row_of(job: Job, history: Sequence[Mapping[str, Any]], goal: Until | None) -> dict[str, Any]:
    """The row of a run in the table: its settings, then its results."""
    row: dict[str, Any] = {"run": job.name, **job.settings, "seed": job.seed}
    row.pop("solver.random_seed", None)
    train = [r for r in history if r["phase"] == "train"]
    tests = [r for r in history if r["phase"] == "test" and not r.get("net")]
    if train:
        row["loss"] = train[-1]["loss"]
    if tests:
        row |= {f"test {k}": v for k, v in tests[-1].items() if k not in NOT_MEASURED}
    row["iterations"] = max((r["iteration"] for r in history), default=0)
    if goal is not None:
        row["reached"] = next((r["iteration"] for r in tests if goal.met(r)), None)
    return row
