"""The loop: pieces of iterations are dispatched one after the other, and what they showed is read back one piece later.

The loop is given what it dispatches (`Work`) and what receives the results (a `Run`: one run, or several whose states
are stacked).  The device never waits for the host except where a number is needed at once: at a test and at a snapshot.
A bad loss is noticed at most two dispatches later; by then the state has stood still since the iteration in which it
happened.
"""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from ..graph import Net
from ..lazy import Array
from .events import Event, Notice, Stepped
from .plan import Plan
from .prefetch import Batches, Piece
from .step import Metrics, State, Unpack

IN_FLIGHT = 2  # dispatches that may be under way before the host waits for the oldest

Dispatch = Callable[..., tuple[State, Metrics]]  # (state, fixed, items, number of steps, records)


class RunStage(NamedTuple):
    """A stretch of a run that has steps of its own."""

    until: int | None  # the first iteration of the next stage; None: the rest of the run
    notice: str  # reported when the stage begins; empty: nothing
    dispatch: Dispatch


@dataclass(frozen=True)
class Work:
    """What the loop dispatches: the steps of each stage, over the items of `source`."""

    plan: Plan
    net: Net  # what the steps compute: the net, or what is left of it above cached layers
    source: Any  # an iterator of items with a `state()`: batches, or the numbers of records
    iter_size: int
    images: int  # of one iteration
    stages: tuple[RunStage, ...]
    steps_per_dispatch: int  # at most
    fixed: Any  # arrays that the steps only read
    records: Any = None  # all records, or their features, if they are on the device
    unpack: Unpack | None = None  # makes the batch of an item, if items are not batches

    def batch(self, piece: Piece, i: int, micro: int) -> dict[str, Array]:
        """One batch of a piece: {blob: array}."""
        item = jax.tree.map(lambda a: a[i][micro], piece.items)
        return dict(self.unpack(self.records, item) if self.unpack else item)


class UnderWay(NamedTuple):
    """A dispatched piece: its metrics, whether they are displayed, and what else is displayed with them."""

    metrics: Metrics
    show: bool
    piece: Piece
    extra: dict[str, Any]


class Clock:
    """Seconds of training: tests and snapshots are left out of the images per second."""

    def __init__(self) -> None:
        self.begun = self.mark = time.perf_counter()
        self.iteration = 0
        self.waiting = True  # for the first dispatch

    def total(self) -> float:
        return time.perf_counter() - self.begun

    def restart(self, iteration: int) -> None:
        self.mark, self.iteration, self.waiting = time.perf_counter(), iteration, False

    def rate(self, iteration: int) -> float:
        """Iterations a second since the last restart, at `iteration`; restarts."""
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
    """What moves while the loop works, and what is done with what it reads back."""

    work: Work
    state: Any  # a State, or several stacked
    iteration: int = 0
    position: dict[str, Any] = field(default_factory=dict)  # of the data after `iteration`
    stop: bool = False  # asked for from outside
    ended: str = ""  # why it is to end before the plan does
    watch: Callable[[Any, Piece], dict[str, Any]] | None = None  # (run, piece) -> more to show at a display
    under_way: deque[UnderWay] = field(default_factory=deque)
    clock: Clock = field(default_factory=Clock)

    @abstractmethod
    def emit(self, event: Event) -> None:
        """Report an event of the loop."""

    @abstractmethod
    def read(self, done: UnderWay) -> None:
        """Take the metrics of the oldest piece: wait for them, and show them if they are to be shown."""

    @abstractmethod
    def test(self) -> None:
        """Test the state; every dispatch has been read.  May set `ended`."""

    @abstractmethod
    def save(self) -> None:
        """Save the state; every dispatch has been read."""

    @abstractmethod
    def end(self) -> None:
        """Do what is done after the last iteration, whichever it was."""


def run_to_end(run: Run) -> None:
    """Train until the plan's end or until stopped."""
    run.clock = Clock()
    work, plan = run.work, run.work.plan
    pieces = plan.pieces(run.iteration, work.steps_per_dispatch)
    batches = Batches(work.source, pieces, work.steps_per_dispatch, work.iter_size)
    try:
        with _stopping(run):
            for piece in batches:
                if plan.test_at(piece.begin):
                    _flush(run)
                    run.test()
                if run.stop or run.ended:
                    break
                _dispatch(run, piece)
                if plan.snapshot_at(run.iteration) and not run.stop:
                    _flush(run)
                    run.save()
            _flush(run)
            run.end()
    finally:
        batches.close()


def _dispatch(run: Run, piece: Piece) -> None:
    """Give a piece to the device; read the pieces before it."""
    work = run.work
    dispatch = _stage(run, piece.begin)
    show = work.plan.display_at(piece.end - 1)
    extra = run.watch(run, piece) if show and run.watch else {}
    run.state, metrics = dispatch(run.state, work.fixed, piece.items, np.int32(piece.end - piece.begin), work.records)
    if run.clock.waiting:
        run.clock.restart(piece.begin)  # the first dispatch returns when compiling is over
    run.under_way.append(UnderWay(metrics, show, piece, extra))
    run.iteration, run.position = piece.end, piece.position
    run.emit(Stepped(run.iteration))
    while len(run.under_way) > IN_FLIGHT:
        run.read(run.under_way.popleft())


def _stage(run: Run, iteration: int) -> Dispatch:
    """The dispatch of the stage that an iteration is in; reports a stage that begins here."""
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
        run.read(run.under_way.popleft())


@contextmanager
def _stopping(run: Run) -> Iterator[None]:
    """The first SIGINT lets the piece under way end; the second stops at once.  Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        run.stop = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
