"""The loop: pieces of iterations are dispatched one after the other, and what they showed is read back one piece later.

The device never waits for the host except where a number is needed at once: at a test and at a snapshot.  A bad loss is
noticed at most two dispatches later; by then the state has stood still since the iteration in which it happened.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ..data.feed import Feed
from ..graph import Net
from ..interop import snapshot
from ..language.errors import NetdefError
from ..lazy import Array
from ..model import Model
from ..solvers.base import Solver
from .diagnose import culprit
from .evaluation import Tester
from .events import Display, Event, Finished, Interrupted, Notice, Snapshotted, Stepped, Tested
from .metrics import Recorder, plain
from .monitors import Watched, drop_old, policy_after
from .params import Layout
from .plan import Plan
from .prefetch import Batches, Piece
from .step import BAD_LOSS, GOOD, Metrics, State, Unpack

IN_FLIGHT = 2  # dispatches that may be under way before the host waits for the oldest


Dispatch = Callable[..., tuple[State, Metrics]]


class UnderWay(NamedTuple):
    """A dispatched piece: what it shows, whether that is to be looked at, and what was looked at more closely."""

    metrics: Metrics
    show: bool
    piece: Piece
    extra: dict[str, Any]


@dataclass
class Run:
    """A run under way."""

    solver: Solver
    net: Net
    working: Net  # what the steps compute: the net, or what is left of it above cached layers
    model: Model
    layout: Layout
    fixed: tuple[Array, ...]
    state: State
    feed: Feed
    source: Any  # where batches are drawn from: the feed, or what stands before it
    testers: list[Tester]
    plan: Plan
    seed: int
    key: Array
    folder: Path
    on_event: Callable[[Event], Any]
    most: int = 1  # steps of one dispatch that the host allows
    k: int = 1  # steps of one dispatch at most
    # of each stage: the first iteration of the next one, what to say of it, its dispatch
    stages: list[tuple[int | None, str, Dispatch]] = field(default_factory=list)
    unpack: Unpack | None = None  # makes batches of what is drawn, if these are not batches
    table: Any = None  # the records, or their features, if they are on the device
    iteration: int = 0
    position: dict[str, Any] = field(default_factory=dict)  # of the data after `iteration`
    saved: Path | None = None
    stop: bool = False  # asked for from outside
    ended: str = ""  # why it is to end before the plan does
    recorder: Any = None  # a Recorder, once the folder is known
    enough: Callable[[float], str] | None = None  # shown every loss that is read back; says why the run may end
    watched: dict[str, Watched] = field(default_factory=dict)
    look_at: Callable[[Run, Piece], dict[str, Any]] | None = None  # more to show at a display
    under_way: deque[UnderWay] = field(default_factory=deque)
    clock: Clock = field(default_factory=lambda: Clock())

    @property
    def images(self) -> int:
        """Images of one iteration."""
        first = next((shape for name in self.net.inputs if (shape := self.net.blobs[name].shape)), None)
        if first is None:
            first = next((b.shape for b in self.net.blobs.values() if b.shape), (1,))
        return int(first[0] or 1) * self.solver.iter_size

    def emit(self, event: Event) -> None:
        if isinstance(event, (Display, Tested)):
            self.recorder.add(event, self.clock.total())
        self.on_event(event)

    def batch(self, piece: Piece, i: int, micro: int) -> dict[str, Array]:
        """One batch of a piece: {blob: array}."""
        item = jax.tree.map(lambda a: a[i][micro], piece.items)
        return dict(self.unpack(self.table, item) if self.unpack else item)

    def weights(self) -> dict[Any, Array]:
        """The arrays that are tested and given back, by owner: averages, where the solver makes them."""
        return self.layout.weights(self.state.ema or self.state.trained, self.fixed, self.state.kept)

    def described(self) -> dict[str, Any]:
        """What a snapshot says of its arrays."""
        name = lambda owner: [owner.layer, owner.index]
        return {
            "owners": {
                "trained": [name(t.owner) for t in self.layout.trained],
                "fixed": [name(o) for o in self.layout.fixed],
                "kept": [name(o) for o in self.layout.kept],
            },
            "layers": {n.name: [[name(o), list(w.shape)] for w, o in n.stored] for n in self.net.layers if n.stored},
        }

    def close(self) -> None:
        self.feed.close()
        for tester in self.testers:
            tester.close()


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
        """Iterations a second since the last restart."""
        return (iteration - self.iteration) / max(time.perf_counter() - self.mark, 1e-9)

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.mark += time.perf_counter() - before


def run_to_end(run: Run) -> tuple[str, Path | None]:
    """Train until the plan's end or until stopped; gives why it ended and the last snapshot."""
    run.clock = Clock()
    batches = Batches(run.source, run.plan.pieces(run.iteration, run.k), run.k, run.solver.iter_size)
    try:
        with _stopping(run):
            for piece in batches:
                if run.plan.test_at(piece.begin):
                    _test(run)
                if run.stop or run.ended:
                    break
                _dispatch(run, piece)
                if run.plan.snapshot_at(run.iteration) and not run.stop:
                    _snapshot(run)
            _flush(run)
            return _end(run)
    finally:
        batches.close()


def _dispatch(run: Run, piece: Piece) -> None:
    """Give a piece to the device; look at the pieces before it."""
    step = _stage(run, piece.begin)
    show = run.plan.display_at(piece.end - 1)
    extra = run.look_at(run, piece) if show and run.look_at else {}
    run.state, metrics = step(run.state, run.fixed, piece.items, np.int32(piece.end - piece.begin), run.table)
    if run.clock.waiting:
        run.clock.restart(piece.begin)  # the first dispatch returns when compiling is over
    run.under_way.append(UnderWay(metrics, show, piece, extra))
    run.iteration, run.position = piece.end, piece.position
    run.emit(Stepped(run.iteration))
    while len(run.under_way) > IN_FLIGHT:
        _look(run)


def _stage(run: Run, iteration: int) -> Dispatch:
    """The dispatch of the stage that an iteration is in; tells of a stage that begins here."""
    begin = 0
    for until, words, dispatch in run.stages:
        if until is None or iteration < until:
            if words and iteration == begin:
                run.emit(Notice(iteration, words))
            return dispatch
        begin = until
    return run.stages[-1][2]


def _look(run: Run) -> None:
    """Read the oldest metrics: refuse a bad loss, show what is to be shown."""
    metrics, show, piece, extra = run.under_way.popleft()
    if not show:
        bad, iteration, loss = jax.device_get((metrics.bad, metrics.iteration, metrics.loss))
        if bad != GOOD:
            _refuse(run, int(bad), int(iteration), float(loss), piece)
        _enough(run, float(loss))
        return
    got, values = jax.device_get((metrics, list(extra.values())))  # a list: jax sorts the keys of a dict
    if got.bad != GOOD:
        _refuse(run, int(got.bad), int(got.iteration), float(got.loss), piece)
    done = int(got.iteration)
    rate = run.clock.rate(done) * run.images
    run.clock.restart(done)
    outputs = {name: plain(value) for name, value in got.outputs.items()}
    more = {name: plain(np.asarray(value)) for name, value in zip(extra, values, strict=True)}
    _enough(run, float(got.loss))
    run.emit(Display(done - 1, float(got.loss), float(got.lr), outputs, rate, more))


def _enough(run: Run, loss: float) -> None:
    run.ended = run.ended or (run.enough(loss) if run.enough else "")


def _flush(run: Run) -> None:
    while run.under_way:
        _look(run)


def _refuse(run: Run, bad: int, iteration: int, loss: float, piece: Piece) -> None:
    """Stop at an iteration whose loss or gradient is not finite, with the first layer that went bad."""
    what = f"the loss is {loss}" if bad == BAD_LOSS else "the gradient is not finite"
    kept = f"the last good snapshot is {run.saved}" if run.saved else "no snapshot was taken before"
    batches = [run.batch(piece, iteration - piece.begin, i) for i in range(run.solver.iter_size)]
    where = culprit(run.working, run.layout, run.state, run.fixed, batches, run.key)
    raise NetdefError(
        f"iteration {iteration}: {what}; {where}. Training stopped, and {kept}. A smaller base_lr, clip_gradients, or "
        "a look at the input's scale most often helps."
    )


def _test(run: Run) -> None:
    _flush(run)
    weights, seen = run.weights(), []
    positions = [tester.feed.state() for tester in run.testers]
    for i, tester in enumerate(run.testers):
        with run.clock.paused():
            before = time.perf_counter()
            scores = tester.test(weights, run.iteration)
            rate = scores.images / (time.perf_counter() - before)
        outputs = {name: plain(value) for name, value in scores.outputs.items()}
        lr = float(run.solver.rate(run.state.iteration, run.state.policy))
        run.emit(Tested(run.iteration, i, scores.loss, lr, outputs, rate, len(run.testers)))
        seen.append({"loss": scores.loss} | outputs)
    if seen:
        _react(run, seen, positions)


def _react(run: Run, seen: list[dict[str, Any]], positions: list[Any]) -> None:
    """What the solver wants done on the scores of a test; `positions` are those of its data before it."""
    value = lambda watched: float(seen[watched.monitor.test_net][watched.monitor.monitor])
    best = run.watched.get("snapshot_best")
    if best is not None and run.iteration > 0 and best.monitor.better(value(best), best.best):
        _snapshot(run, name="best", positions=positions)  # as before the test, which a resumed run makes again
    before = run.state.policy
    run.state = run.state._replace(policy=policy_after(run.solver.policy, before, run.iteration, seen))
    if "step" in before and int(run.state.policy["step"]) > int(before["step"]):
        run.emit(Notice(run.iteration, "a plateau: the learning rate falls"))
    for watched in run.watched.values():
        watched.see(value(watched))
    if "early_stopping" in run.watched:
        run.ended = run.watched["early_stopping"].over


def _snapshot(run: Run, last: bool = False, name: str | None = None, positions: list[Any] | None = None) -> None:
    """Save the state; a disk that refuses is told of, and ends the run only where it is the last snapshot."""
    _flush(run)
    with run.clock.paused():
        state: dict[str, Any] = {
            "netdef": _version(),
            "iteration": run.iteration,
            "seed": run.seed,
            "solver": run.solver.type,
            "position": run.position or run.feed.state(),
            "test_positions": positions or [tester.feed.state() for tester in run.testers],
            "watched": {field_name: watched.state() for field_name, watched in run.watched.items()},
            **run.described(),
        }
        try:
            path = snapshot.save(run.folder, run.iteration, _arrays(run), state, run.net.text, name)
            run.saved = run.saved if name else path
            drop_old(run.folder, run.solver.snapshot_keep)
        except NetdefError as error:
            if last:
                raise
            run.emit(Notice(run.iteration, f"{error}; training goes on"))
            return
    run.emit(Snapshotted(run.iteration, path))


def _arrays(run: Run) -> dict[str, Any]:
    got = jax.device_get(run.state)
    named = {f"state.{i}": leaf for i, leaf in enumerate(jax.tree.leaves(got))}
    for group, arrays in (
        ("trained", got.ema or got.trained),
        ("kept", got.kept),
        ("fixed", jax.device_get(run.fixed)),
    ):
        named |= {f"{group}.{i}": array for i, array in enumerate(arrays)}
    return named


def _version() -> str:
    from .._version import __version__

    return __version__


def _end(run: Run) -> tuple[str, Path | None]:
    """The last snapshot and the last test."""
    saved_now = run.saved is not None and run.plan.snapshot_at(run.iteration)
    if (run.solver.snapshot_after_train or run.stop) and not saved_now:
        _snapshot(run, last=True)
    if not (run.stop or run.ended) and run.plan.test_at(run.iteration):
        _test(run)
    why = "interrupted" if run.stop else run.ended or "max_iter"
    if run.stop:
        run.emit(Interrupted(run.iteration, run.saved, f"resume={str(run.folder)!r}"))
    elif run.ended:
        run.emit(Notice(run.iteration, f"stopped early: {run.ended}"))
    run.emit(Finished(run.iteration, run.clock.total(), run.folder, run.saved, why))
    return why, run.saved


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


__all__ = ["Recorder", "Run", "run_to_end"]
