"""Sweeps: one net with several settings and seeds, as a table.

    found = sweep("model.net", {"width": [16, 32], "solver.base_lr": [0.1, 0.01]}, seeds=3)
    found.rows        # a dict for each run: its settings, the last loss, the scores of the last test, "reached"

Runs that differ only in seed, base learning rate and weight decay have the same program, so they train together: their
states are stacked and the step is vmapped over them.  Each run has its own folder with `metrics.jsonl` and
`result.json`; when a sweep is started again, it continues with the runs that have no result.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_text_atomically
from ..interop import snapshot
from ..language.errors import NetdefError
from ..language.trust import Trust
from ..training.run import Options, run_nets
from ..training.run_lock import locked
from ..training.solver_nets import Nets, nets_of
from ..training.trial_runs import with_solver
from .batched_runs import can_share, train_batched
from .goal import Until

TOGETHER = ("solver.base_lr", "solver.weight_decay", "solver.random_seed")  # settings that do not change the program
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


def sweep(
    path: str | Path,
    vary: Mapping[str, Iterable[Any]],
    seeds: int = 1,
    output: str | Path | None = None,
    max_iter: int | None = None,
    until: str | None = None,
    set: Mapping[str, Any] | None = None,
    on_run: Callable[[dict[str, Any], int, int], Any] | None = None,
    import_path: Sequence[str | Path] = (),
) -> Found:
    """Trains a net with every combination of the values in `vary`, each with `seeds` consecutive seeds, starting with
    the solver's.

    A run ends at the first test that meets `until`.  `on_run(row, done, all)` is called after each run.
    Errors: as for `netdef.train`, with the name of the run that failed; the results of other runs are kept.
    """
    goal = Until.read(until) if until else None
    folder = Path(output) if output is not None else Path("runs") / f"{_stem(path)}-sweep"
    trust = Trust(python=True, folders=tuple(import_path))
    jobs = _jobs(path, vary, seeds, folder, dict(set or {}), trust)
    rows: dict[str, dict[str, Any]] = {}

    def done(job: Job, row: dict[str, Any]) -> None:
        rows[job.name] = row
        if on_run:
            on_run(row, len(rows), len(jobs))

    for job in jobs:
        if (kept := _kept(job, max_iter, until)) is not None:
            done(job, kept)
    with locked(folder):
        for group in _groups([job for job in jobs if job.name not in rows]):
            for job, row in _train(path, group, max_iter, goal, set or {}, trust):
                told = {"settings": job.settings, "max_iter": max_iter, "until": until, "row": row}
                write_text_atomically(job.folder / RESULT, json.dumps(told, default=str))
                done(job, row)
    return Found(tuple(rows[job.name] for job in jobs), folder, (*vary, *(["seed"] if seeds > 1 else [])))


def _stem(path: str | Path) -> str:
    text = str(path)
    return Path(text).stem if len(text) < 256 and "{" not in text else "net"


def _jobs(
    path: Any, vary: Mapping[str, Iterable[Any]], seeds: int, folder: Path, fixed: Settings, trust: Trust
) -> list[Job]:
    if seeds < 1:
        raise NetdefError(f"the number of seeds is {seeds}; it must be at least 1.")
    values = {name: list(many) for name, many in vary.items()}
    first = nets_of(path, fixed | {name: many[0] for name, many in values.items() if many}, trust).solver.seed
    made = []
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        for seed in range(first, first + seeds):
            words = [f"{name.removeprefix('solver.')}={value}" for name, value in chosen.items()]
            name = ",".join([*words, *([f"seed={seed}"] if seeds > 1 or not words else [])])
            settings = chosen | {"solver.random_seed": seed} if seeds > 1 else chosen
            made.append(Job(name, settings, seed, folder / re.sub(r"[^\w.,=+-]", "_", name)))
    return made


def _kept(job: Job, max_iter: int | None, until: str | None) -> dict[str, Any] | None:
    """The row of a run that finished earlier with the same settings; None if there is none."""
    try:
        told = json.loads((job.folder / RESULT).read_text())
        same = [told["settings"], told["max_iter"], told["until"]] == [_plain(job.settings), max_iter, until]
        return told["row"] if same else None
    except (OSError, ValueError, KeyError):
        return None


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Groups of jobs that can train together, because only settings in `TOGETHER` differ."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        rest = {name: value for name, value in job.settings.items() if name not in TOGETHER}
        groups.setdefault(json.dumps(rest, default=str, sort_keys=True), []).append(job)
    return list(groups.values())


def _train(
    path: Any, group: list[Job], max_iter: int | None, goal: Until | None, fixed: Mapping[str, Any], trust: Trust
) -> Iterable[tuple[Job, dict[str, Any]]]:
    """Trains a group, together if possible; yields each job with its row."""
    judged = lambda job: with_solver(nets_of(path, {**fixed, **job.settings}, trust), test_after_train=True)
    nets = {job.name: judged(job) for job in group}
    if len(group) > 1 and can_share([nets[job.name] for job in group]):
        histories = train_batched([(nets[job.name], job.folder) for job in group], max_iter, goal)
        for job, history in zip(group, histories, strict=True):
            yield job, row_of(job, history, goal)
        return
    for job in group:
        yield job, row_of(job, _alone(nets[job.name], job, max_iter, goal), goal)


def _alone(nets: Nets, job: Job, max_iter: int | None, goal: Until | None) -> list[dict[str, Any]]:
    if goal is not None:
        nets = with_solver(nets, early_stopping=goal.monitor())
    try:
        begun = bool(snapshot.found(job.folder))
        result = run_nets(nets, Options(resume=begun, max_iter=max_iter, output=job.folder))
    except NetdefError as error:
        raise NetdefError(f"run {job.name}: {error}") from error
    if result.why == "interrupted":  # has a snapshot, but no result
        raise KeyboardInterrupt
    return result.history


def row_of(job: Job, history: Sequence[Mapping[str, Any]], goal: Until | None) -> dict[str, Any]:
    """The row of a run in the table: its settings, then its results."""
    row: dict[str, Any] = {"run": job.name, **job.settings, "seed": job.seed}
    row.pop("solver.random_seed", None)
    train = [r for r in history if r["phase"] == "train"]
    tests = [r for r in history if r["phase"] == "test" and not r.get("net")]
    if train:
        row["loss"] = train[-1]["loss"]
    if tests:
        skip = ("phase", "lr", "images_per_s", "seconds", "net")
        row |= {f"test {k}": v for k, v in tests[-1].items() if k not in (*skip, "iteration")}
    row["iterations"] = max((r["iteration"] for r in history), default=0)
    if goal is not None:
        row["reached"] = next((r["iteration"] for r in tests if goal.met(r)), None)
    return row
