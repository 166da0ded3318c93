"""Preparation of a run before its first iteration: nets, arrays, data, and the compiled steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ..data.device import on_device
from ..data.feed import Feed
from ..data.mesh import AXIS
from ..data.stamps import fingerprint
from ..graph import Net
from ..lazy import Array
from ..model import Model
from ..passes.freeze import frozen
from ..passes.precision import in_half
from ..passes.recompute import recomputed
from ..shape import count
from ..solvers.base import Precision, Solver, Stage
from .evaluation import Evaluator
from .events import Event, OnEvent, Started
from .features import cache, prefix_of
from .loop import RunStage, Work
from .monitors import Watched
from .params import Partition, arrays_of, copies, partition_of
from .placement import ONE, Placement, batched, in_words, refuse_carried, with_classes
from .plan import Plan
from .recalibrate import Recalibration
from .run_record import device
from .sizes import ITERATIONS, Sizes, sizes_of, varies, varying
from .solver_nets import Nets
from .step import State, Unpack, initial, loops_well, make_run, make_single, make_step
from .tables import check_tables

LONG_STEP = {"cpu": 2e8, "gpu": 2e10, "tpu": 2e10}  # multiply-adds of a step that is long enough for its own dispatch
MOST_STEPS = 64  # of one dispatch
MOST_BYTES = 64 << 20  # of the batches of one dispatch
MOST_RECORDS = {"cpu": 256 << 20, "gpu": 4 << 30}  # bytes of a data set that is kept on the device, at most


@dataclass(frozen=True)
class RunSetup:
    """The fixed parts of a run.  The model has the initial arrays; the feed advances."""

    name: str
    solver: Solver
    net: Net
    tests: tuple[Net, ...]
    model: Model
    partition: Partition
    feed: Feed
    evaluators: tuple[Evaluator, ...]
    seed: int
    key: Array
    folder: Path
    listeners: tuple[OnEvent, ...] = ()
    placement: Placement = ONE
    recalibration: Recalibration | None = None
    sizes: Sizes | None = None  # of the images, if they change

    def tell(self, event: Event) -> None:
        """Calls each listener with an event; then raises the first of their errors."""
        errors: list[Exception] = []
        for listener in self.listeners:
            try:
                listener(event)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def close(self) -> None:
        self.feed.close()
        for evaluator in self.evaluators:
            evaluator.close()
        if self.recalibration:
            self.recalibration.close()


@dataclass(frozen=True)
class Start:
    """The start of a run: its arrays and position, and notes on their origin."""

    state: State
    fixed: tuple[Array, ...]
    iteration: int = 0
    position: dict[str, Any] = field(default_factory=dict)  # of the data; the feed is at it
    monitors: dict[str, Watched] = field(default_factory=dict)
    untouched: tuple[str, ...] = ()  # layers with parameters that the given weights do not contain
    notes: tuple[str, ...] = ()


def make_setup(
    nets: Nets, seed: int, folder: Path, listeners: Sequence[OnEvent] = (), placement: Placement = ONE
) -> RunSetup:
    """The nets of a solver with initial arrays and open data."""
    solver = nets.solver
    half = "bfloat16" if solver.precision is Precision.BF16 else ""
    prepared = lambda net: in_half(net, half) if half else net
    net, tests = prepared(frozen(nets.train, solver.freeze)), tuple(map(prepared, nets.tests))
    placement = with_classes(placement, net)
    model, net = Model(net, seed, shardings=placement.shardings), recomputed(net, solver.recompute)
    fed = varying(net, ITERATIONS * solver.iter_size * placement.batches) if varies(net) else net
    batches, feed = solver.test_iter or (0,) * len(tests), Feed(fed, seed=seed, process=placement.share)
    refuse_carried(net, placement)
    evaluators = tuple(Evaluator(test, n, seed, net, placement) for test, n in zip(tests, batches, strict=False))
    check_tables(feed, [evaluator.feed for evaluator in evaluators])
    return RunSetup(
        name=nets.name,
        solver=solver,
        net=net,
        tests=tests,
        model=model,
        partition=partition_of(net),
        feed=feed,
        evaluators=evaluators,
        seed=seed,
        key=jax.random.fold_in(jax.random.key(seed), 0),
        folder=folder,
        listeners=tuple(listeners),
        placement=batched(placement, feed),
        recalibration=Recalibration(net, solver.bn_recalibrate, seed, placement) if solver.bn_recalibrate else None,
        sizes=sizes_of(nets, lambda net: recomputed(prepared(frozen(net, solver.freeze)), solver.recompute)),
    )


def first_state(solver: Solver, model: Model, partition: Partition, placement: Placement = ONE) -> State:
    """The state of a new run; with copies of the model's arrays, because the step donates those of its state."""
    trained = copies(arrays_of(model, tuple(t.owner for t in partition.trained)))
    put = lambda state: placement.put_state(state, partition)
    return initial(solver, trained, copies(arrays_of(model, partition.kept)), put, partition=partition)


class Data(NamedTuple):
    """What the steps compute and their input: the net (without cached layers), and the source of its items."""

    net: Net
    source: Any
    unpack: Unpack | None = None
    records: Any = None
    notice: str = ""  # to report to the user


def make_work(setup: RunSetup, start: Start, end: int, max_steps: int = MOST_STEPS) -> tuple[Work, str]:
    """Returns the steps of a run of `end` updates, at most `max_steps` per dispatch, and a notice (may be empty)."""
    solver, data = setup.solver, _data(setup, start)
    steps = min(max_steps, _steps_per_dispatch(data.net, solver))
    steps = steps if steps > 1 and loops_well(data.net) and not setup.sizes else 1
    work = Work(
        plan=plan_of(setup, end),
        net=data.net,
        source=data.source,
        iter_size=solver.iter_size,
        images=_images(setup),
        stages=_stages(setup, data, start.state, make_run if steps > 1 else make_single),
        steps_per_dispatch=steps,
        fixed=start.fixed,
        records=data.records,
        unpack=data.unpack,
        placement=setup.placement,
    )
    if setup.sizes:
        return work, f"images are of {setup.sizes}; one of these sizes is drawn every {ITERATIONS} iterations"
    return work, data.notice


def plan_of(setup: RunSetup, end: int) -> Plan:
    """The displays, tests and snapshots of a run of `end` updates."""
    return Plan(setup.solver, end, bool(setup.evaluators), tuple(s.until for s in setup.solver.stages if s.until))


def images(net: Net, solver: Solver) -> int:
    """The number of images of one iteration."""
    first = next((shape for name in net.inputs if (shape := net.blobs[name].shape)), None)
    if first is None:
        first = next((b.shape for b in net.blobs.values() if b.shape), (1,))
    return int(first[0] or 1) * solver.iter_size


def _images(setup: RunSetup) -> int:
    """The number of images of one iteration on all devices."""
    each = images(setup.net, setup.solver)
    return each * setup.placement.count if setup.placement.apart else each


def _data(setup: RunSetup, start: Start) -> Data:
    """Cached features of frozen layers, or the records on the device, if possible and worthwhile; else the feed."""
    feed = setup.feed
    if setup.placement.process[1] > 1 or setup.sizes or not _many_rounds(feed, setup.solver):
        return Data(setup.net, feed)
    budget = MOST_RECORDS.get(jax.default_backend(), MOST_RECORDS["gpu"])
    return _features(setup, start, budget) or _resident(setup, budget) or Data(setup.net, feed)


def _many_rounds(feed: Feed, solver: Solver) -> bool:
    """Whether the run reads the data at least twice.  Depends only on the file, so that a resumed run does the same."""
    drawn = solver.max_iter * solver.iter_size * (feed.batch_size or 0)
    return bool(feed.size) and drawn >= 2 * (feed.size or 0)


def _features(setup: RunSetup, start: Start, budget: int) -> Data | None:
    """The net without its first frozen layers, and their outputs for every record."""
    split = prefix_of(setup.net) if setup.solver.cache_frozen else None
    if split is None:
        return None
    state = start.state
    weights = setup.partition.weights(state.ema or state.trained, start.fixed, state.kept)
    made = cache(setup.net, split, setup.feed, weights, budget, setup.placement)
    if made is None:
        return None
    net, source = made
    size = sum(rows.nbytes for rows in source.table.values())
    first, last = split.prefix[0].name, split.prefix[-1].name
    what = f"outputs cached for {setup.feed.size} records ({size / 1e6:.1f} MB)"
    notice = f"layers `{first}` to `{last}` are frozen: {what}"
    return Data(net, source, source.make, source.table, notice)


def _resident(setup: RunSetup, budget: int) -> Data | None:
    """The records on the device; None if they do not fit."""
    resident = on_device(setup.feed, budget, setup.placement.everywhere)
    return Data(setup.net, resident, resident.make, resident.table) if resident else None


def _stages(setup: RunSetup, data: Data, state: State, dispatch_of: Any) -> tuple[RunStage, ...]:
    """The stages of a run; a single one if the solver has no `stages`."""
    solver, partition, placement = setup.solver, setup.partition, setup.placement
    made, axis = [], AXIS if placement.apart else ""
    placed = None if placement.mesh is None else (placement.of_state(state, partition), placement.everywhere)
    for number, stage in enumerate(solver.stages or (Stage(),), start=1):
        trained = {t.owner for t in partition_of(frozen(data.net, stage.freeze)).trained}
        active = tuple(t.owner in trained for t in partition.trained)
        still = len({t.owner.layer for t in partition.trained} - {owner.layer for owner in trained})
        notice = f"stage {number}: {still} layers frozen" if solver.stages else ""

        def of(net: Net, freeze: Any = stage.freeze, active: Any = active) -> Any:
            here = frozen(net, freeze)
            step = make_step(here, solver, partition, setup.key, active, data.unpack, axis)
            return dispatch_of(placement.step(step), here, placed)

        items = lambda state, fixed, items, *more: items
        dispatch = setup.sizes.choose(of, items) if setup.sizes else of(data.net)
        made.append(RunStage(stage.until, notice, dispatch))
    return tuple(made)


def _steps_per_dispatch(net: Net, solver: Solver) -> int:
    """The number of steps per dispatch; 1 for long steps.  Depends only on the net, so that results do not vary."""
    work = (
        3
        * solver.iter_size
        * sum(
            node.layer.multiply_adds([net.shapes[v] for v in node.bottoms], [net.shapes[v] for v in node.tops])  # type: ignore[misc]
            for node in net.layers
        )
    )
    size = 4 * solver.iter_size * sum(int(np.prod(net.blobs[name].shape or ())) for name in net.inputs)
    long = LONG_STEP.get(jax.default_backend(), 2e10)
    return int(max(1, min(MOST_STEPS, long // max(work, 1), MOST_BYTES // max(size, 1))))


def started(setup: RunSetup, start: Start, work: Work, resumed_from: Path | None, warnings: Sequence[str]) -> Started:
    """The first event of a run."""
    sizes = [weight.shape for _, weight in setup.net.owned if weight.kind == "param"]
    return Started(
        name=setup.name,
        folder=setup.folder,
        iteration=start.iteration,
        max_iter=work.plan.end,
        seed=setup.seed,
        batch=work.images,
        parameters=sum(map(count, sizes)),
        device=device(),
        devices=setup.placement.count,
        divided=in_words(setup.placement, work.images, work.iter_size),
        resumed_from=resumed_from,
        untouched=start.untouched,
        warnings=tuple(warnings),
        data=_fingerprints(setup),
    )


def _fingerprints(setup: RunSetup) -> dict[str, Any]:
    """The fingerprints of the data of each layer, in training and in each test."""
    of = lambda feed: {name: fingerprint(found) for name, found in feed.sources.items()}
    tests = {f"test {i}" if i else "test": of(evaluator.feed) for i, evaluator in enumerate(setup.evaluators)}
    return {"train": of(setup.feed), **tests}
