"""Several runs of one program at once: the states are stacked, and the step is vmapped over them; the loop is the same.

Each run has its own seed (fillers, random numbers, order of the data), base learning rate and weight decay, and the
same results as if it were trained alone, up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.feed import Feed
from ..lazy import Array
from ..solvers.base import Precision
from ..training.compilation_cache import keep_compiled
from ..training.evaluation import refuse_inputs
from ..training.events import Display, Event, Finished, Tested
from ..training.loop import Run, RunStage, UnderWay, Work, run_to_end
from ..training.metrics import Recorder, plain
from ..training.prepare import RunSetup, Start, images, make_setup, plan_of, started
from ..training.resume import start_from
from ..training.run_folder import METRICS
from ..training.run_lock import locked
from ..training.run_record import RunRecord
from ..training.saved_run import write_net
from ..training.sizes import varies
from ..training.solver_nets import Nets
from ..training.step import GOOD, RunConstants, make_single, make_step
from ..training.trial_runs import with_solver
from .goal import Until

# Properties of a solver with which a run cannot train together with others: it may end early, has another step, tests
# other weights, writes more, or does not start from the fillers.
ALONE = ("early_stopping", "snapshot_best", "stages", "averages", "weights", "reuse", "debug_info", "bn_recalibrate")


def can_share(many: Sequence[Nets]) -> bool:
    """Whether runs can train together: during training, nothing is decided for each run separately."""
    solvers = [nets.solver for nets in many]
    return not any(varies(nets.train) for nets in many) and all(
        not any(getattr(solver, name) for name in ALONE)
        and not solver.policy.decides_alone
        and solver.precision is Precision.FLOAT
        for solver in solvers
    )


@dataclass
class Member:
    """One of the runs."""

    setup: RunSetup
    start: Start
    recorder: Recorder
    met: bool = False  # whether it met the goal


def train_batched(
    runs: Sequence[tuple[Nets, Path]], max_iter: int | None, goal: Until | None
) -> list[list[dict[str, Any]]]:
    """Trains runs that differ only in seed, base_lr and weight_decay; returns the records of each.

    After a non-finite loss, the weights of a run no longer change; its records have a loss of nan."""
    keep_compiled()
    refuse_inputs(runs[0][0].train, "trained")
    with ExitStack() as opened:
        for _, folder in runs:
            opened.enter_context(locked(folder))
        members = [_member(nets, folder) for nets, folder in runs]
        for member in members:
            opened.enter_context(closing(member.setup))
        work = _work(members, members[0].setup.solver.max_iter if max_iter is None else max_iter)
        states = _stacked([member.start.state for member in members])
        run = BatchedRuns(work=work, state=states, members=members, goal=goal)
        for member in members:
            member.setup.tell(started(member.setup, member.start, work, None, ()))
        run_to_end(run)
    if run.stop:
        raise KeyboardInterrupt
    return [member.recorder.history for member in members]


def _member(nets: Nets, folder: Path) -> Member:
    write_net(nets, folder)
    nets = with_solver(nets, snapshot=0)  # a batched run saves only its records
    setup = make_setup(nets, nets.solver.seed, folder, [RunRecord(nets, folder)])
    return Member(setup, start_from(setup, None), Recorder(folder / METRICS, 0))


def _work(members: Sequence[Member], end: int) -> Work:
    """The step of the first run, vmapped over all runs; `fixed` has the fixed arrays and the constants of each run."""
    setup = members[0].setup
    solver, net = setup.solver, setup.net
    step = jax.vmap(make_step(net, solver, setup.partition, jax.random.key(0)), in_axes=(0, 0, 1, None, 0))

    def batched(state: Any, fixed: Any, items: Any, records: Any = None) -> Any:
        arrays, constants = fixed
        return step(state, arrays, items, records, constants)

    return Work(
        plan=plan_of(setup, end),
        net=net,
        source=StackedFeeds([member.setup.feed for member in members]),
        iter_size=solver.iter_size,
        images=images(net, solver),
        stages=(RunStage(None, "", make_single(batched, net)),),
        steps_per_dispatch=1,
        fixed=(
            _stacked([member.start.fixed for member in members]),
            _stacked([_constants(member.setup) for member in members]),
        ),
    )


def _stacked(trees: Sequence[Any]) -> Any:
    """Stacks trees along a new leading axis of runs."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _constants(setup: RunSetup) -> RunConstants:
    solver = setup.solver
    return RunConstants(setup.key, jnp.float32(solver.base_lr or 0.0), jnp.float32(solver.weight_decay))


class StackedFeeds:
    """A source of {blob: (runs, batch, ...)}, with a feed for each run."""

    def __init__(self, feeds: Sequence[Feed]):
        self.feeds = feeds

    def __next__(self) -> dict[str, Array]:
        drawn = [next(feed) for feed in self.feeds]
        return {name: np.stack([batch[name] for batch in drawn]) for name in drawn[0]}

    def state(self) -> dict[str, Any]:
        """Empty, because such runs save no snapshots."""
        return {}


@dataclass(kw_only=True)
class BatchedRuns(Run):
    """Runs that train together in the loop; the metrics of each are recorded."""

    members: list[Member]
    goal: Until | None

    def emit(self, event: Event) -> None:
        """Does nothing, because these runs have no listeners for the events of the loop."""

    def read(self, done: UnderWay) -> None:
        metrics, show, piece, _, _ = done
        if not show:
            jax.block_until_ready(metrics.iteration)
            return
        got = jax.device_get(metrics)
        rate = self.clock.rate(piece.end) * self.work.images
        for i, member in enumerate(self.members):
            outputs = {name: plain(value[i]) for name, value in got.outputs.items()}
            event = Display(piece.end - 1, float(got.loss[i]), float(got.lr[i]), outputs, rate)
            member.recorder.add(event, self.clock.total())

    def test(self) -> None:
        with self.clock.paused():
            for i, member in enumerate(self.members):
                self._test(member, jax.tree.map(lambda leaf, i=i: leaf[i], (self.state, self.work.fixed[0])))
        if self.goal is not None and all(member.met for member in self.members):
            self.ended = "all runs met the goal"

    def _test(self, member: Member, arrays: Any) -> None:
        state, fixed = arrays
        setup = member.setup
        for n, evaluator in enumerate(setup.evaluators):
            before = time.perf_counter()
            scores = evaluator.test(setup.partition.weights(state.trained, fixed, state.kept), self.iteration)
            rate = scores.images / (time.perf_counter() - before)
            outputs = {name: plain(value) for name, value in scores.outputs.items()}
            loss = scores.loss if int(state.bad) == GOOD else math.nan
            lr = float(setup.solver.rate(jnp.int32(self.iteration), {}))
            event = Tested(self.iteration, n, loss, lr, outputs, rate, len(setup.evaluators))
            row = member.recorder.add(event, self.clock.total())
            member.met = member.met or (n == 0 and self.goal is not None and self.goal.met(row))

    def save(self) -> None:
        """Does nothing, because batched runs save no snapshots."""

    def end(self) -> None:
        """Runs the last test and reports the end, unless the runs were interrupted."""
        if self.stop:
            return
        if not self.ended and self.work.plan.test_at(self.iteration):
            self.test()
        why = "max_iter" if self.iteration == self.work.plan.end else self.ended
        for member in self.members:
            member.setup.tell(Finished(self.iteration, self.clock.total(), member.setup.folder, why=why))
            member.recorder.close()
