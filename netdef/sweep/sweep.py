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
from functools import partial
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..language.trust import Trust
from ..training.events import Event
from ..training.run import Options
from ..training.run_lock import locked
from ..training.solver_nets import Nets, nets_of
from ..training.trial_runs import with_solver
from .batched_runs import can_share, train_batched
from .goal import REACHED, Score, Until, score_of
from .one_run import Found, Job, Settings, keep, kept, row_of, train_alone

TOGETHER = ("solver.base_lr", "solver.weight_decay", "solver.random_seed")  # settings that do not change the program


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
    *,
    score: str | None = None,
    upwards: bool | None = None,
    on_start: Callable[[Score, int], Any] | None = None,
    on_event: Callable[[str, Event], Any] | None = None,
) -> Found:
    """Trains a net with every combination of the values in `vary`, each with `seeds` consecutive seeds, starting with
    the solver's.

    A run ends at the first test that meets `until`.  `on_run(row, done, all)` is called after each run.  `score` is the
    output of the tests that compares the runs (default: the iteration that met `until`, or else the first accuracy, or
    else the loss), `upwards` whether more is better.  `on_start(score, done)` is called before the first run, with the
    number of runs that were finished earlier; `on_event(name, event)` with the events of runs that are trained alone.
    Errors: as for `netdef.train`, with the name of the run that failed; the results of other runs are kept.
    """
    goal = Until.read(until) if until else None
    folder = folder_of(path, output)
    trust = Trust(python=True, folders=tuple(import_path))
    jobs, nets = _jobs(path, vary, seeds, folder, dict(set or {}), trust)
    chosen = REACHED if goal and score is None else score_of(nets, score, upwards)
    rows: dict[str, dict[str, Any]] = {}

    def done(job: Job, row: dict[str, Any]) -> None:
        rows[job.name] = row
        if on_run:
            on_run(row, len(rows), len(jobs))

    before = [(job, row) for job in jobs if (row := kept(job, max_iter, until)) is not None]
    if on_start:
        on_start(chosen, len(before))
    for job, row in before:
        done(job, row)
    with locked(folder):
        nets_for = lambda job: nets_of(path, {**(set or {}), **job.settings}, trust)
        for group in _groups([job for job in jobs if job.name not in rows]):
            for job, row in _train(group, nets_for, max_iter, goal, on_event):
                keep(job, max_iter, until, row)
                done(job, row)
    return Found(tuple(rows[job.name] for job in jobs), folder, (*vary, *(["seed"] if seeds > 1 else [])), chosen)


def folder_of(path: str | Path, output: str | Path | None) -> Path:
    """The folder of a sweep: `output`, or the one of this net in `runs`."""
    text = str(path)
    stem = Path(text).stem if len(text) < 256 and "{" not in text else "net"
    return Path(output) if output is not None else Path("runs") / f"{stem}-sweep"


def _jobs(
    path: Any, vary: Mapping[str, Iterable[Any]], seeds: int, folder: Path, fixed: Settings, trust: Trust
) -> tuple[list[Job], Nets]:
    """The runs, and the nets of the first one."""
    if seeds < 1:
        raise NetdefError(f"the number of seeds is {seeds}; it must be at least 1.")
    values = {name: _once(list(many)) for name, many in vary.items()}
    nets = nets_of(path, fixed | {name: many[0] for name, many in values.items() if many}, trust)
    first = nets.solver.seed
    made = []
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        for seed in range(first, first + seeds):
            words = [f"{name.removeprefix('solver.')}={value}" for name, value in chosen.items()]
            name = ",".join([*words, *([f"seed={seed}"] if seeds > 1 or not words else [])])
            settings = chosen | {"solver.random_seed": seed} if seeds > 1 else chosen
            made.append(Job(name, settings, seed, folder / re.sub(r"[^\w.,=+-]", "_", name)))
    return made, nets


def _once(values: list[Any]) -> list[Any]:
    """The values, each once; they may be lists."""
    return [value for i, value in enumerate(values) if value not in values[:i]]


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Groups of jobs that can train together, because only settings in `TOGETHER` differ."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        rest = {name: value for name, value in job.settings.items() if name not in TOGETHER}
        groups.setdefault(json.dumps(rest, default=str, sort_keys=True), []).append(job)
    return list(groups.values())


def _train(
    group: list[Job],
    nets_for: Callable[[Job], Nets],
    max_iter: int | None,
    goal: Until | None,
    on_event: Callable[[str, Event], Any] | None,
) -> Iterable[tuple[Job, dict[str, Any]]]:
    """Trains a group, together if possible; yields each job with its row."""
    nets = {job.name: with_solver(nets_for(job), test_after_train=True) for job in group}
    if len(group) > 1 and can_share([nets[job.name] for job in group]):
        histories = train_batched([(nets[job.name], job.folder) for job in group], max_iter, goal)
        for job, history in zip(group, histories, strict=True):
            yield job, row_of(job, history, goal)
        return
    for job in group:
        options = Options(max_iter=max_iter, on_event=partial(on_event, job.name) if on_event else None)
        yield job, row_of(job, train_alone(nets[job.name], job, goal, options).history, goal)
