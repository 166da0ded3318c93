"""Several runs of one program at once: their states stacked, the step vmapped over them.

Each run has its own seed (fillers, random numbers, order of the data), base learning rate and weight decay, and ends
with the numbers that it would have alone, up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.feed import Feed
from ..model import Model
from ..passes.freeze import frozen
from ..solvers.base import Solver
from ..training.compilation_cache import keep_compiled
from ..training.evaluation import Tester, refuse_inputs
from ..training.events import Display, Finished, Started, Tested
from ..training.metrics import Recorder, plain
from ..training.params import Layout, arrays_of, layout
from ..training.plan import Plan
from ..training.prepare import first_state
from ..training.run_folder import METRICS, NET
from ..training.run_record import Diary, device
from ..training.solver_nets import Nets
from ..training.step import Own, make_step

if TYPE_CHECKING:
    from .sweep import Until


@dataclass
class Member:
    """One of the runs."""

    nets: Nets
    feed: Feed
    testers: list[Tester]
    recorder: Recorder
    diary: Diary
    met: bool = False


def can_share(many: Sequence[Nets]) -> bool:
    """Whether runs need nothing that is decided for each on its own while they go on."""
    alone = ("early_stopping", "snapshot_best", "stages", "ema", "weights", "reuse", "debug_info")
    return all(
        not any(getattr(nets.solver, name) for name in alone)
        and nets.solver.policy.name != "plateau"
        and nets.solver.precision.value == 0
        for nets in many
    )


def train_together(
    runs: Sequence[tuple[Nets, Path]], max_iter: int | None, goal: Until | None
) -> list[list[dict[str, Any]]]:
    """Train runs whose nets and solvers agree but for seed, base_lr and weight_decay; gives the records of each.

    A run whose loss is not finite stands still from there on, and its records say so."""
    keep_compiled()
    first = runs[0][0]
    solver, net = first.solver, frozen(first.train, first.solver.freeze)
    refuse_inputs(net, "trained")
    end = solver.max_iter if max_iter is None else max_iter
    members = [_member(nets, folder) for nets, folder in runs]
    parts = layout(net)
    models = [Model(frozen(nets.train, nets.solver.freeze), nets.solver.seed) for nets, _ in runs]
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    state = stack([first_state(nets.solver, model, parts) for (nets, _), model in zip(runs, models, strict=True)])
    fixed = stack([arrays_of(model, parts.fixed) for model in models])
    own = stack([_own(nets.solver) for nets, _ in runs])
    step = jax.vmap(make_step(net, solver, parts, jax.random.key(0)), in_axes=(0, 0, 0, None, 0))
    dispatch = jax.jit(step, donate_argnums=0)
    plan = Plan(solver, end, bool(members[0].testers))
    begun = mark = time.perf_counter()
    parameters = sum(int(a.size) for a in (*state.trained, *fixed)) // len(members)
    for member in members:
        member.diary(_started(member, parameters, end))
    done, shown, images = 0, 0, _images(members[0])
    try:
        for iteration in range(end):
            if plan.test_at(iteration):
                _test(members, parts, state, fixed, iteration, goal, begun)
                if goal is not None and all(member.met for member in members):
                    break
            done = iteration + 1
            state, metrics = dispatch(state, fixed, _batches(members, solver.iter_size), None, own)
            if plan.display_at(iteration):
                got = jax.device_get(metrics)
                rate = (done - shown) * images / (time.perf_counter() - mark)
                mark, shown = time.perf_counter(), done
                for i, member in enumerate(members):
                    outputs = {name: plain(np.asarray(value[i])) for name, value in got.outputs.items()}
                    event = Display(iteration, float(got.loss[i]), float(got.lr[i]), outputs, rate)
                    member.recorder.add(event, time.perf_counter() - begun)
        else:
            if plan.test_at(end):
                _test(members, parts, state, fixed, end, goal, begun)
        for member in members:
            why = "max_iter" if done == end else "the goal was met"
            folder = member.recorder.path.parent
            member.diary(Finished(done, time.perf_counter() - begun, folder, why=why))
    finally:
        for member in members:
            member.feed.close()
            for tester in member.testers:
                tester.close()
    return [member.recorder.history for member in members]


def _member(nets: Nets, folder: Path) -> Member:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NET).write_text(nets.train.text)
    (folder / METRICS).unlink(missing_ok=True)
    seed = nets.solver.seed
    batches = nets.solver.test_iter or (0,) * len(nets.tests)
    testers = [Tester(test, n, seed, nets.train) for test, n in zip(nets.tests, batches, strict=False)]
    return Member(nets, Feed(nets.train, seed=seed), testers, Recorder(folder / METRICS, 0), Diary(nets, folder))


def _images(member: Member) -> int:
    """Images of one iteration."""
    return (member.feed.batch_size or 1) * member.nets.solver.iter_size


def _started(member: Member, parameters: int, end: int) -> Started:
    nets = member.nets
    return Started(
        name=nets.name,
        folder=member.recorder.path.parent,
        iteration=0,
        max_iter=end,
        seed=nets.solver.seed,
        batch=_images(member),
        parameters=parameters,
        device=device(),
    )


def _own(solver: Solver) -> Own:
    key = jax.random.fold_in(jax.random.key(solver.seed), 0)
    return Own(key, jnp.float32(solver.base_lr or 0.0), jnp.float32(solver.weight_decay))


def _batches(members: Sequence[Member], iter_size: int) -> Any:
    """{blob: (runs, iter_size, batch, ...)}."""
    drawn = [[next(member.feed) for _ in range(iter_size)] for member in members]
    return {name: np.stack([np.stack([b[name] for b in batches]) for batches in drawn]) for name in drawn[0][0]}


def _test(
    members: Sequence[Member],
    parts: Layout,
    state: Any,
    fixed: Any,
    iteration: int,
    goal: Until | None,
    begun: float,
) -> None:
    for i, member in enumerate(members):
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], (state.trained, fixed, state.kept))
        solver = member.nets.solver
        for n, tester in enumerate(member.testers):
            before = time.perf_counter()
            scores = tester.test(parts.weights(*mine), iteration)
            rate = scores.images / (time.perf_counter() - before)
            outputs = {name: plain(value) for name, value in scores.outputs.items()}
            loss = scores.loss if int(state.bad[i]) == 0 else math.nan
            lr = float(solver.rate(jnp.int32(iteration), {}))
            row = member.recorder.add(
                Tested(iteration, n, loss, lr, outputs, rate, len(member.testers)), time.perf_counter() - begun
            )
            member.met = member.met or (n == 0 and goal is not None and goal.met(row))
