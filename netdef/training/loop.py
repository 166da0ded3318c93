"""The training loop: pieces of iterations are dispatched in order, and their metrics are read back later.

The input of the loop is what it dispatches (`Work`) and what receives the results (a `Run`: one run, or several with
stacked states).  The device waits for the host only at tests and snapshots, which need results at once.  A non-finite
loss is detected at most two dispatches later; the step does not change the state after such an iteration.
"""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from ..graph import Net
from ..lazy import Array
from .events import Event, Notice, Stepped
from .placement import ONE, Placement
from .plan import Plan
from .prefetch import Batches, Piece
from .step import Metrics, State, Unpack
from .stopping import stopped_by_signals

IN_FLIGHT = 2  # dispatches that may be pending before the host waits for the oldest

Dispatch = Callable[..., tuple[State, Metrics]]  # (state, fixed, items, number of steps, records)


class RunStage(NamedTuple):
    """A part of a run with its own step."""

    until: int | None  # the first iteration of the next stage; None: until the end of the run
    notice: str  # reported when the stage begins, unless it is empty
    dispatch: Dispatch


@dataclass(frozen=True)
class Work:
    """What the loop dispatches: the steps of each stage, with the items of `source` as input."""

    plan: Plan
    net: Net  # what the steps compute: the net, or its part after cached layers
    source: Any  # an iterator of items with a `state()`: batches, or indices of records
    iter_size: int
    images: int  # of one iteration
    stages: tuple[RunStage, ...]
    steps_per_dispatch: int  # at most
    fixed: Any  # arrays that the steps do not change
    records: Any = None  # all records, or their features, if they are on the device
    unpack: Unpack | None = None  # converts an item to a batch, if items are not batches
    placement: Placement = ONE

    def batch(self, piece: Piece, i: int, micro: int) -> dict[str, Array]:
        """Returns one batch of a piece: {blob: array}."""
        item = jax.tree.map(lambda a: a[i][micro], piece.items)
        return dict(self.unpack(self.records, item) if self.unpack else item)


class UnderWay(NamedTuple):
    """A dispatched piece: its metrics, whether they are displayed, and what is displayed in addition."""

    metrics: Metrics
    show: bool
    piece: Piece
    extra: dict[str, Any]
    signals: Array | None = None  # those that any process has received; None if there is only one


class Clock:
    """Measures training time; the images per second do not include tests and snapshots."""

    def __init__(self) -> None:
        self.begun = self.mark = time.perf_counter()
        self.iteration = 0
        self.waiting = True  # for the first dispatch

    def total(self) -> float:
        return time.perf_counter() - self.begun

    def restart(self, iteration: int) -> None:
        self.mark, self.iteration, self.waiting = time.perf_counter(), iteration, False

    def rate(self, iteration: int) -> float:
        """Returns the iterations per second from the last restart to `iteration`, and restarts."""
        rate = (iteration - self.iteration) / max(time.perf_counter() - self.mark, 1e-9)
        self.restart(iteration)
        return rate

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.mark += time.perf_counter() - before


@dataclass(kw_only=True)
class Run(ABC):
    """The changing state of the loop, and the handlers of what it reads back."""

    work: Work
    state: Any  # a State, or several stacked
    iteration: int = 0
    position: dict[str, Any] = field(default_factory=dict)  # of the data after `iteration`
    signal: int = 0  # that ends the run; 0: none does
    received: int = 0  # a signal of this process that the others do not know yet
    effects: Mapping[int, str] = field(default_factory=dict)  # of signals: "snapshot", "none"
    asked: bool = False  # whether a signal has asked for a snapshot
    gone: BrokenPipeError | None = None  # of a listener whose output has no reader any more; it ends the run, too
    ended: str = ""  # why the run ends early; empty: it does not
    watch: Callable[[Any, Piece], dict[str, Any]] | None = None  # (run, piece) -> additional values of a display
    under_way: deque[UnderWay] = field(default_factory=deque)
    clock: Clock = field(default_factory=Clock)

    @property
    def stop(self) -> bool:
        """Whether the run was interrupted."""
        return bool(self.signal) or self.gone is not None

    def interrupt(self, number: int) -> None:
        """Ends the run because of a signal: after the current piece, or, with several processes, after the piece in
        which all of them know."""
        if self.work.placement.process[1] == 1:
            self.signal = number
        else:
            self.received = number

    def ask(self) -> None:
        """Saves a snapshot after the current piece, because of a signal."""
        self.asked = True

    @abstractmethod
    def emit(self, event: Event) -> None:
        """Reports an event of the loop."""

    @abstractmethod
    def read(self, done: UnderWay) -> None:
        """Waits for the metrics of the oldest piece, and displays them if `done.show`."""

    @abstractmethod
    def test(self) -> None:
        """Tests the state; called after all dispatches have been read.  May set `ended`."""

    @abstractmethod
    def save(self) -> None:
        """Saves the state; called after all dispatches have been read."""

    @abstractmethod
    def end(self) -> None:
        """Called after the last iteration, also of a run that ends early."""


def run_to_end(run: Run) -> None:
    """Trains until the end of the plan, or until the run is stopped.

    After SIGINT it returns; after another signal that ended the run, and its snapshot, the program ends with the exit
    code of the signal.  The error of a listener whose reader has gone is raised after the snapshot, too."""
    run.clock = Clock()
    work, plan = run.work, run.work.plan
    pieces = plan.pieces(run.iteration, work.steps_per_dispatch)
    batches = Batches(work.source, pieces, work.steps_per_dispatch, work.iter_size, work.placement)
    try:
        with stopped_by_signals(run.interrupt, run.effects, run.ask):
            for piece in batches:
                if plan.test_at(piece.begin):
                    _flush(run)
                    run.test()
                if run.stop or run.ended:
                    break
                _dispatch(run, piece)
                if (plan.snapshot_at(run.iteration) or run.asked) and not run.stop:
                    _flush(run)
                    run.asked = False
                    run.save()
            _flush(run)
            run.end()
    finally:
        batches.close()
    if run.gone:
        raise run.gone
    if run.signal not in (0, signal.SIGINT):
        raise SystemExit(128 + run.signal)


def _dispatch(run: Run, piece: Piece) -> None:
    """Dispatches a piece to the device; reads the results of earlier pieces."""
    work = run.work
    dispatch = _stage(run, piece.begin)
    show = work.plan.display_at(piece.end - 1)
    extra = run.watch(run, piece) if show and run.watch else {}
    run.state, metrics = dispatch(run.state, work.fixed, piece.items, np.int32(piece.end - piece.begin), work.records)
    if run.clock.waiting:
        run.clock.restart(piece.begin)  # the first dispatch returns after compilation
    run.under_way.append(UnderWay(metrics, show, piece, extra, work.placement.largest(run.received)))
    run.iteration, run.position = piece.end, piece.position
    run.emit(Stepped(run.iteration))
    while len(run.under_way) > IN_FLIGHT:
        _read(run)


def _read(run: Run) -> None:
    done = run.under_way.popleft()
    run.read(done)
    if done.signals is not None:
        run.signal = run.signal or int(done.signals)


def _stage(run: Run, iteration: int) -> Dispatch:
    """Returns the dispatch of the stage that contains an iteration; reports the stage if it begins here."""
    begin = 0
    for stage in run.work.stages:
        if stage.until is None or iteration < stage.until:
            if stage.notice and iteration == begin:
                run.emit(Notice(iteration, stage.notice))
            return stage.dispatch
        begin = stage.until
    return run.work.stages[-1].dispatch


def _flush(run: Run) -> None:
    while run.under_way:
        _read(run)
