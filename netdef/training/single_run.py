"""One run in the loop: its events, tests and snapshots, and the reactions of its solver to tests."""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._version import __version__
from ..forward import jit
from ..graph import Owner
from ..interop import snapshot
from ..language.errors import NetdefError
from ..lazy import Array
from .diagnose import Culprit, culprit
from .events import Display, Event, Finished, Interrupted, Notice, Snapshotted, Stepped, Tested
from .hosts import Peers
from .loop import Run, UnderWay
from .metrics import Recorder, plain
from .monitors import Watched, drop_old, policy_after
from .named_state import described, named_arrays
from .prefetch import Piece
from .prepare import RunSetup
from .profiling import Profile
from .recalibrate import MARK
from .saving import Attempt, Saving, on_host
from .step import BAD_LOSS, GOOD


class Diverged(NetdefError):
    """The loss or the gradient of an iteration is not finite."""


@dataclass(kw_only=True)
class SingleRun(Run):
    """A run of one net.  The setup is fixed; the other fields change, in addition to those that the loop changes."""

    setup: RunSetup
    recorder: Recorder
    saving: Saving
    monitors: dict[str, Watched]  # by the field of the solver
    enough: Callable[[float], str] | None = None  # called with each loss that is read back; returns why to end, or ""
    hopeless: Callable[[Display | Tested], str] | None = None  # called with each display and test, in the same way
    verdict: Callable[[int], str] | None = None  # the result of a trial run after n iterations
    profile: Profile | None = None
    peers: Peers | None = None  # the other processes
    first: int = 0  # the iteration at which it starts
    saved: Path | None = None  # the last snapshot
    saved_at: int | None = None  # its iteration
    estimated: tuple[int, dict[Owner, Array]] | None = None  # recalibrated statistics, and the iteration
    loss: float = float("nan")  # of the last iteration that was read

    @property
    def fixed(self) -> tuple[Array, ...]:
        """The parameters that are not trained."""
        return self.work.fixed

    def batch(self, piece: Piece, i: int, micro: int) -> dict[str, Array]:
        """One batch of a piece: {blob: array}."""
        return self.work.batch(piece, i, micro)

    @property
    def why(self) -> str:
        """Why the run ended."""
        return "interrupted" if self.stop else self.ended or "max_iter"

    @cached_property
    def _rate(self) -> Callable[..., Array]:
        """The learning rate as one program."""
        return jit(self.setup.solver.rate)

    def weights(self) -> dict[Owner, Array]:
        """The arrays that are tested and returned, by owner: moving averages if the solver averages weights."""
        return self.setup.partition.weights(self.state.ema or self.state.trained, self.fixed, self.state.kept)

    def tested_weights(self) -> dict[Owner, Array]:
        """`weights`, with recalibrated statistics of batch normalization if the solver asks for them."""
        return self.weights() | self._recalibrated()

    def _recalibrated(self) -> dict[Owner, Array]:
        """The statistics for the present weights, which are estimated once for a test and its snapshot."""
        if self.setup.recalibration is None:
            return {}
        if self.estimated is None or self.estimated[0] != self.iteration:
            with self.clock.paused():
                self.estimated = self.iteration, self.setup.recalibration(self.weights())
        return self.estimated[1]

    def emit(self, event: Event) -> None:
        if isinstance(event, (Display, Tested)):
            self._record(event)
        if self.profile and isinstance(event, Stepped):
            self.profile.after(event.iteration, self.state)
        try:
            self.setup.tell(event)
        except BrokenPipeError as error:
            if self.setup.placement.process[1] > 1:
                self.received = signal.SIGPIPE  # which the others have to know, too
            else:
                self.gone = self.gone or error
        if self.hopeless and isinstance(event, (Display, Tested)):
            self.ended = self.ended or self.hopeless(event)

    def _record(self, event: Display | Tested) -> None:
        """Records an event; a file that cannot be written is reported once, and ends the run with an error at its
        end."""
        failed_before = bool(self.recorder.failure)
        self.recorder.add(event, self.clock.total())
        if self.recorder.failure and not failed_before:
            text = f"{self.recorder.failure}; training continues, and the records are written as soon as possible"
            self.emit(Notice(self.iteration, text))

    def read(self, done: UnderWay) -> None:
        """Raises `Diverged` for a non-finite loss or gradient; else emits the display, if there is one."""
        self._take(wait=False)
        metrics, show, piece, extra, _ = done
        if not show:
            bad, iteration, loss = jax.device_get((metrics.bad, metrics.iteration, metrics.loss))
            if bad != GOOD:
                self._refuse(int(bad), int(iteration), float(loss), piece)
            self._see(float(loss))
            return
        got, values = jax.device_get((metrics, list(extra.values())))  # a list: jax sorts the keys of a dict
        if got.bad != GOOD:
            self._refuse(int(got.bad), int(got.iteration), float(got.loss), piece)
        iteration = int(got.iteration)
        rate = self.clock.rate(iteration) * self.work.images
        outputs = {name: plain(value) for name, value in got.outputs.items()}
        more = {name: plain(np.asarray(value)) for name, value in zip(extra, values, strict=True)}
        self._see(float(got.loss))
        self.emit(Display(iteration - 1, float(got.loss), float(got.lr), outputs, rate, more))

    def _see(self, loss: float) -> None:
        self.loss = loss
        self.ended = self.ended or (self.enough(loss) if self.enough else "")

    def _refuse(self, bad: int, iteration: int, loss: float, piece: Piece) -> None:
        """Raises `Diverged` for an iteration with a non-finite loss or gradient, naming the first non-finite value."""
        setup = self.setup
        self._take(wait=True)  # which may be the last good one
        shown = "not finite" if np.isfinite(loss) else loss  # finite: of a later batch of the same dispatch
        what = f"The loss is {shown}" if bad == BAD_LOSS else "The gradient is not finite"
        kept = f"The last good snapshot is {self.saved}." if self.saved else "No snapshot was saved before."
        batches = [self.batch(piece, iteration - piece.begin, i) for i in range(self.work.iter_size)]
        state, fixed, batches = setup.placement.gathered((self.state, self.fixed, batches))
        found = culprit(self.work.net, setup.partition, state, fixed, batches, setup.key)
        where, hint = found.text, "Try a smaller base_lr, clip_gradients, or rescaling the input."
        if found.layer:
            where += self._record_of(found, piece, iteration)
            hint = "This is a fault of the data, not of training: correct or remove this record."
        elif found.of_weights and iteration == self.first:
            hint = "The weights that the run starts from contain it: start from others."
        raise Diverged(f"{what} at iteration {iteration}. {where}. {kept} {hint}")

    def _record_of(self, found: Culprit, piece: Piece, iteration: int) -> str:
        """Names the record of a batch that has the first non-finite value, with its file."""
        reader, after = self.setup.feed.readers.get(found.layer), piece.position.get(found.layer)
        if reader is None or after is None:  # batches that are repeated have no position
            return f", in row {found.row} of the batch"
        batches_left = (piece.end - iteration) * self.work.iter_size - found.micro
        return f", in {reader.name_of(after['position'] - batches_left * reader.batch_size, found.row)}"

    def test(self) -> None:
        weights, seen = self.tested_weights(), []
        evaluators, recalibrated = self.setup.evaluators, self.setup.solver.bn_recalibrate
        positions = [evaluator.feed.state() for evaluator in evaluators]
        for i, evaluator in enumerate(evaluators):
            with self.clock.paused():
                before = time.perf_counter()
                scores = evaluator.test(weights, self.iteration)
                rate = scores.images / (time.perf_counter() - before)
            outputs = {name: plain(value) for name, value in scores.outputs.items()}
            lr = float(self._rate(self.state.iteration, self.state.policy))
            self.emit(Tested(self.iteration, i, scores.loss, lr, outputs, rate, len(evaluators), recalibrated))
            seen.append({"loss": scores.loss} | outputs)
        if seen:
            self._react(seen, positions)

    def _react(self, seen: list[dict[str, Any]], positions: list[Any]) -> None:
        """Reacts to the scores of a test as the solver specifies; `positions` are those of the test data before it."""
        value = lambda watched: float(seen[watched.monitor.test_net][watched.monitor.monitor])
        best = self.monitors.get("snapshot_best")
        if best is not None and self.iteration > 0 and best.monitor.better(value(best), best.best):
            self._save(name="best", positions=positions)  # from before the test, because a resumed run repeats it
        policy, before = self.setup.solver.policy, self.state.policy
        self.state = self.state._replace(policy=policy_after(policy, before, self.iteration, seen))
        if change := policy.change(before, self.state.policy):
            self.emit(Notice(self.iteration, change))
        for watched in self.monitors.values():
            watched.see(value(watched))
        if "early_stopping" in self.monitors:
            self.ended = self.ended or self.monitors["early_stopping"].over

    def save(self) -> None:
        self._save(last=self.iteration == self.work.plan.end)

    def _save(self, last: bool = False, name: str | None = None, positions: list[Any] | None = None) -> None:
        """Begins to save the state, and continues when the arrays are copied, or the last snapshot is complete."""
        self._take(wait=True)
        with self.clock.paused():
            self.saving.begin(self.iteration, bool(name), self._writer(name, positions))
        if last:
            self._take(wait=True, last=True)

    def _take(self, wait: bool, last: bool = False) -> None:
        """Reports the snapshot under way if it is complete or has failed, and waits for that if `wait`.  A failure ends
        the run only for the last snapshot."""
        with self.clock.paused():
            attempt = self.saving.take(wait)
        if attempt is None:
            return
        error = attempt.outcome.exception()
        if error is None:
            self._saved(attempt)
        elif not isinstance(error, NetdefError) or last or self.peers:  # which may have written their parts, or not
            raise error
        else:
            self.emit(Notice(self.iteration, f"{error}; training continues"))

    def _saved(self, attempt: Attempt) -> None:
        path = attempt.outcome.result()
        if not attempt.best:
            self.saved, self.saved_at = path, attempt.iteration
        self.emit(Snapshotted(attempt.iteration, path))

    def _writer(self, name: str | None, positions: list[Any] | None) -> Callable[[], Path]:
        """A function that writes a snapshot of the present state, whatever the state is then."""
        setup, iteration = self.setup, self.iteration
        facts = {
            "netdef": __version__,
            "iteration": iteration,
            "seed": setup.seed,
            "bn_recalibrate": setup.solver.bn_recalibrate,
            "position": self.position or setup.feed.state(),
            "test_positions": positions or [evaluator.feed.state() for evaluator in setup.evaluators],
            "sources": setup.feed.sources,
            "test_sources": [evaluator.feed.sources for evaluator in setup.evaluators],
            "watched": {field: watched.state() for field, watched in self.monitors.items()},
            **described(setup.net, setup.partition, setup.solver, self.state),
        }
        arrays = named_arrays(self.state, setup.partition, setup.solver)
        fixed = zip(setup.partition.fixed, self.fixed, strict=True)
        arrays |= {snapshot.array_name(owner): array for owner, array in fixed}
        arrays |= {f"{snapshot.array_name(owner)}/{MARK}": a for owner, a in self._recalibrated().items()}
        arrays = on_host(arrays)
        facts, keep = copy.deepcopy(facts), setup.solver.snapshot_keep
        decide, processes = (self.peers.decide if self.peers else self.saving.decide), setup.placement.process[1]

        def write() -> Path:
            path = snapshot.save(setup.folder, iteration, arrays, facts, setup.net.text, name, decide, processes)
            decide(lambda: drop_old(setup.folder, keep))
            return path

        return write

    def end(self) -> None:
        """The last snapshot and the last test."""
        plan, solver = self.work.plan, self.setup.solver
        has_last = solver.snapshot_after_train or self.stop or plan.snapshot_at(self.iteration)
        missing = lambda: has_last and self.saved_at != self.iteration
        if self.signal and missing():
            name = signal.Signals(self.signal).name
            text = f"{name}: saving a snapshot; a second signal ends the run at once, without it"
            self.emit(Notice(self.iteration, text))
        self._take(wait=True)
        if missing():
            self._save(last=True)
        if not (self.stop or self.ended) and plan.test_at(self.iteration):
            self.test()
        if self.stop:
            self.emit(Interrupted(self.iteration, self.saved, f"resume={str(self.setup.folder)!r}"))
        elif self.verdict:
            self.emit(Notice(self.iteration, self.verdict(self.iteration)))
        elif self.ended:
            self.emit(Notice(self.iteration, f"stopped early: {self.ended}"))
        for text in self.profile.report() if self.profile else ():
            self.emit(Notice(self.iteration, text))
        self.emit(Finished(self.iteration, self.clock.total(), self.setup.folder, self.saved, self.why))
        self.recorder.close()
