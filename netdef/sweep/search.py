"""Random and Bayesian search: the settings of each run are drawn from ranges, and hopeless runs may be ended early.

    space = {"solver.base_lr": Interval(0.001, 0.1, log=True), "width": Interval(16, 256)}
    found = search("model.net", space, "bayes", trials=30)

Optuna draws the settings and decides which runs are hopeless.  Its study is in the folder of the sweep, `study.log`: a
search that is started again continues the run that was interrupted, then draws the missing ones.  The settings of a
trial depend on the seed, its number and the trials before it, so an interrupted search ends as if it had not been.

A trial may be several runs with different seeds, of which the median counts.  The first run is compared with those of
other trials at the same iterations; after each run, the median of those so far is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..interop import snapshot
from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from ..language.trust import Trust
from ..lazy import need
from ..training.events import Display, Event, Tested
from ..training.run import Options
from ..training.run_folder import METRICS
from ..training.run_lock import locked
from ..training.solver_nets import Nets, nets_of
from ..training.trial_runs import with_solver
from .goal import DIVERGED, FINISHED, INVALID, PRUNED, Score, Until, score_of
from .one_run import Ended, Found, Job, Settings, keep, kept, row_of, train_alone
from .seeds import combined, median_of
from .space import Choice, Interval, Values, described, size
from .sweep import folder_of

STUDY = "study.log"
SEED = "solver.random_seed"
HOW, PRUNE = ("random", "bayes"), ("none", "median", "hyperband")
MOST_REPEATS = 200  # draws in a row without new settings, after which a search ends
SWEEP, ROW, SAME = "sweep", "row", "same as"  # attributes in the study: what is searched, a result, an equal trial


class _NoLock:
    """A lock of a study that does nothing, because the folder is locked; optuna's remains if the process is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@dataclass(frozen=True)
class Task:
    """What is searched: everything but the number of trials."""

    path: str | Path
    space: dict[str, Values]
    how: str
    seed: int
    prune: str
    score: Score
    folder: Path
    max_iter: int | None
    until: str | None
    fixed: Settings
    trust: Trust
    seeds: int = 1  # number of runs of each trial

    def told(self) -> dict[str, Any]:
        """The options of the search, which must be those of the study that it continues."""
        return {
            "ranges": described(self.space),
            "search": self.how,
            "seed": self.seed,
            "prune": self.prune,
            "score": f"{'max' if self.score.upwards else 'min'} {self.score.words}",
            "max_iter": self.max_iter,
            "until": self.until,
            "seeds": self.seeds,
            "settings": {name: str(value) for name, value in self.fixed.items()},
        }

    def nets(self, settings: Mapping[str, Any]) -> Nets:
        nets = nets_of(self.path, {**self.fixed, **settings}, self.trust)
        return with_solver(nets, test_after_train=True)


def search(
    path: str | Path,
    space: Mapping[str, Values],
    how: str = "random",
    trials: int = 20,
    *,
    seed: int = 0,
    seeds: int = 1,
    prune: str = "none",
    score: str | None = None,
    upwards: bool | None = None,
    output: str | Path | None = None,
    max_iter: int | None = None,
    until: str | None = None,
    set: Mapping[str, Any] | None = None,
    on_run: Callable[[dict[str, Any], int, int], Any] | None = None,
    on_start: Callable[[Score, int], Any] | None = None,
    on_event: Callable[[str, Event], Any] | None = None,
    import_path: Sequence[str | Path] = (),
) -> Found:
    """Trains a net with `trials` different settings of `space`, one after the other.

    `how`: "random", or "bayes" for settings near the best ones so far.  `prune`: "median" ends a run whose score is
    worse than the median of the earlier ones, after a fifth of its iterations; "hyperband" compares earlier.
    `seeds`: number of runs of each trial, with the solver's seed and those after it, of which the median counts.
    `score` is an output of the tests (default: the first accuracy, else the loss), `upwards` whether more is better.
    Each run is that of `netdef.train` with the same settings.  `on_run`, `on_start`, `on_event` are those of `sweep`.
    Errors: as for `netdef.train`, with the name of the run; CompileError for ranges that the net does not allow.
    """
    for name, value, known in (("search", how, HOW), ("prune", prune, PRUNE)):
        if value not in known:
            raise NetdefError(f"`{name}` is {value!r}; it must be one of {', '.join(known)}.")
    if trials < 1 or not space:
        raise NetdefError(f"a search needs at least one trial and one range, not {trials} and {len(space)}.")
    if seeds < 1:
        raise NetdefError(f"the number of seeds is {seeds}; it must be at least 1.")
    if seeds > 1 and (given := next((name for name in (SEED, SEED.partition(".")[2]) if name in space), None)):
        raise NetdefError(f"`{given}` is searched, but each trial has {seeds} seeds; remove one of them.")
    optuna: Any = need("optuna", "searching settings")
    trust, fixed = Trust(python=True, folders=tuple(import_path)), dict(set or {})
    nets = _checked(path, dict(space), fixed, trust)
    if prune != "none" and not (nets.solver.display or (nets.tests and nets.solver.test_interval)):
        raise NetdefError("hopeless runs are recognized by their tests or displays; set `test_interval` of the solver.")
    chosen = score_of(nets, score, upwards)
    folder = folder_of(path, output)
    task = Task(path, dict(space), how, seed, prune, chosen, folder, max_iter, until, fixed, trust, seeds)
    total = int(min(trials, size(list(space.values()))))
    with locked(folder):
        study = _study(optuna, task, nets)
        before = [old for old in study.trials if old.state.is_finished() and ROW in old.user_attrs][:total]
        rows = {old.number: old.user_attrs[ROW] for old in before}
        if on_start:
            on_start(chosen, len(rows))
        for done, row in enumerate(rows.values(), 1):
            if on_run:
                on_run(row, done, total)
        for number, row in _searched(optuna, study, task, rows, total, on_event):
            rows[number] = row
            if on_run:
                on_run(row, len(rows), total)
    return Found(tuple(rows[number] for number in sorted(rows)), folder, ("trial", *space), chosen)


def _checked(path: str | Path, space: dict[str, Values], fixed: Settings, trust: Trust) -> Nets:
    """The nets with the first values.  CompileError if one of the first and last values of a setting is invalid."""
    ends = {name: (v.low, v.high) if isinstance(v, Interval) else v.values for name, v in space.items()}
    first = fixed | {name: values[0] for name, values in ends.items()}
    for name, values in ends.items():
        for value in values[1:]:
            nets_of(path, first | {name: value}, trust)
    return nets_of(path, first, trust)


def _searched(
    optuna: Any,
    study: Any,
    task: Task,
    rows: Mapping[int, Mapping[str, Any]],
    total: int,
    on_event: Callable[[str, Event], Any] | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Trains until there are `total` rows, which the caller adds to `rows`, or no new settings are drawn any more.
    Yields the number of each trial with its row."""
    states = optuna.trial.TrialState
    begun = [optuna.trial.Trial(study, old._trial_id) for old in study.trials if old.state == states.RUNNING]
    repeats = 0
    while len(rows) < total and repeats < MOST_REPEATS:
        trial = begun.pop(0) if begun else _asked(optuna, study, task)
        settings = {name: _setting(values, trial.params[name]) for name, values in task.space.items()}
        same = next((n for n, row in rows.items() if all(row[name] == settings[name] for name in settings)), None)
        if same is not None:  # it would have the same result
            trial.set_user_attr(SAME, same)
            _tell(study, states, trial, task.score, rows[same])
            repeats += 1
            continue
        repeats = 0
        row = _row(study, trial, task, settings, on_event)
        trial.set_user_attr(ROW, row)
        _tell(study, states, trial, task.score, row)
        yield trial.number, row


def _setting(values: Values, drawn: Any) -> Any:
    return values.rounded(drawn) if isinstance(values, Interval) else drawn


def _tell(study: Any, states: Any, trial: Any, score: Score, row: Mapping[str, Any]) -> None:
    """Ends a trial.  A run without a score counts as pruned, which is worse than every finished run."""
    value = score.of(row) if row["state"] == FINISHED else None
    study.tell(trial, value, states.COMPLETE if value is not None else states.PRUNED)


def _row(
    study: Any, trial: Any, task: Task, settings: Settings, on_event: Callable[[str, Event], Any] | None
) -> dict[str, Any]:
    """Trains the runs of a trial, or continues them, and returns its row."""
    name = f"trial-{trial.number:03d}"
    try:
        nets = task.nets(settings)
    except CompileError as error:  # a combination that the net does not allow
        return {"run": name, **settings, "seed": None, "trial": trial.number, "state": INVALID, "why": str(error)}
    judge = _Judge(trial, task.score, _end(task, nets), set(study.trials[trial.number].intermediate_values))
    first = nets.solver.seed
    if task.seeds == 1:
        job = Job(name, settings, first, task.folder / name)
        row = _trained(nets, job, task, judge.of_event, on_event)
        keep(job, task.max_iter, task.until, row := _with_trial(row, trial.number))
        return row
    rows: list[dict[str, Any]] = []
    for seed in range(first, first + task.seeds):
        named = f"{name},seed={seed}"
        job = Job(named, settings | {SEED: seed}, seed, task.folder / named)
        row = kept(job, task.max_iter, task.until)
        if row is None:
            row = _trained(task.nets(job.settings), job, task, None if rows else judge.of_event, on_event)
            keep(job, task.max_iter, task.until, row)
        rows.append(row)
        if row["state"] == PRUNED or len(rows) < task.seeds and judge.is_hopeless(rows):
            rows[-1] = row | {"state": PRUNED}
            break
    return {"run": name, **settings, "seed": first, "trial": trial.number, **combined(rows, settings, task.score)}


def _end(task: Task, nets: Nets) -> int:
    return nets.solver.max_iter if task.max_iter is None else task.max_iter


def _trained(
    nets: Nets,
    job: Job,
    task: Task,
    judge: Callable[[Event], str] | None,
    on_event: Callable[[str, Event], Any] | None,
) -> dict[str, Any]:
    """Trains one run, or continues it, and returns its row."""
    goal = Until.read(task.until) if task.until else None
    if not snapshot.found(job.folder):  # a run of this trial that was killed before its first snapshot is repeated
        (job.folder / METRICS).unlink(missing_ok=True)
    told = partial(on_event, job.name) if on_event else None
    ended = train_alone(nets, job, goal, Options(max_iter=task.max_iter, hopeless=judge, on_event=told))
    return {**row_of(job, ended.history, goal), "state": _state(ended)}


def _with_trial(row: dict[str, Any], number: int) -> dict[str, Any]:
    """The row with the number of the trial after the seed, because the settings are before it."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        made[name] = value
        if name == "seed":
            made["trial"] = number
    return made


def _state(ended: Ended) -> str:
    return {PRUNED: PRUNED, DIVERGED: DIVERGED}.get(ended.why, FINISHED)


@dataclass
class _Judge:
    """Reports the scores of a trial, each at a step, and tells whether the trial is hopeless.  The steps of the first
    run are its iterations; each other run has one step at its end, because its iterations are not comparable."""

    trial: Any
    score: Score
    end: int  # iterations of a run
    reported: set[int]

    def of_event(self, event: Event) -> str:
        """Returns a reason if an event of the first run shows that the trial is hopeless."""
        value = _value(event, self.score)
        if value is None or event.iteration in self.reported or event.iteration == 0:
            return ""  # a resumed run repeats the events after its snapshot
        self._report(value, event.iteration)
        return PRUNED if event.iteration < self.end and self.trial.should_prune() else ""

    def is_hopeless(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Returns whether the median of the runs so far shows that the trial is hopeless."""
        step, value = self.end * len(rows), median_of(rows, self.score)
        if value is not None and step not in self.reported:
            self._report(value, step)
        return self.trial.should_prune()

    def _report(self, value: float, step: int) -> None:
        self.reported.add(step)
        self.trial.report(value, step)


def _value(event: Event, score: Score) -> float | None:
    """The score of an event; None if it is of another kind."""
    if not isinstance(event, Tested if score.tested else Display) or getattr(event, "net", 0):
        return None
    value = event.loss if score.output == "loss" else event.outputs.get(score.output)
    return value if isinstance(value, float) and math.isfinite(value) else None


def _study(optuna: Any, task: Task, nets: Nets) -> Any:
    """The study in the folder, which is created if necessary.  NetdefError if it is that of another search."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = task.folder / STUDY
    journal = optuna.storages.journal
    try:
        backend = journal.JournalFileBackend(str(path), lock_obj=_NoLock())
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            pruner=_pruner(optuna, task, nets),
            study_name=SWEEP,
            direction="maximize" if task.score.upwards else "minimize",
            load_if_exists=True,
        )
        before = study.user_attrs.get(SWEEP)
        before = None if before is None else {"seeds": 1} | before  # older versions had one
    except OSError:
        raise
    except Exception as error:  # optuna parses the file without checks
        raise NetdefError(f"{path} is damaged ({error}); delete it, or choose another folder.") from error
    if before is None:
        study.set_user_attr(SWEEP, task.told())
        return study
    for name, value in task.told().items():
        if before.get(name) != value:
            raise NetdefError(
                f"{task.folder} has another search: its {name} is {_shown(before.get(name))}, now it is "
                f"{_shown(value)}; choose another folder with --output, or delete this one."
            )
    return study


def _shown(value: Any) -> str:
    return " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _asked(optuna: Any, study: Any, task: Task) -> Any:
    """A new trial, with the settings that optuna draws.  Each trial has random numbers of its own, so that it does not
    matter whether the trials before it were trained by the same process."""
    seed = int(np.random.SeedSequence([task.seed, len(study.trials)]).generate_state(1)[0])
    samplers = optuna.samplers
    study.sampler = (samplers.RandomSampler if task.how == "random" else samplers.TPESampler)(seed=seed)
    return study.ask({name: _distribution(optuna.distributions, values) for name, values in task.space.items()})


def _distribution(distributions: Any, values: Values) -> Any:
    if isinstance(values, Choice):
        return distributions.CategoricalDistribution(values.values)
    kind = distributions.IntDistribution if values.of_integers else distributions.FloatDistribution
    return kind(values.low, values.high, log=values.log)


def _pruner(optuna: Any, task: Task, nets: Nets) -> Any:
    """The pruner; its steps are iterations."""
    solver, end = nets.solver, _end(task, nets)
    if task.prune == "median":
        return optuna.pruners.MedianPruner(n_warmup_steps=end // 5)
    if task.prune == "hyperband":
        between = solver.test_interval if task.score.tested else solver.display
        return optuna.pruners.HyperbandPruner(min_resource=max(between, 1), max_resource=max(end * task.seeds, 1))
    return optuna.pruners.NopPruner()
