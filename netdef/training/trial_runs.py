"""Trial runs: a dry run of two iterations, and overfitting a few batches.

Each is an ordinary run with a modified solver, so its result also applies to the ordinary run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .events import Finished, OnEvent
from .solver_nets import Nets

OVERFIT = 0.01  # the batches count as overfit when the loss is at most this fraction of the first loss


def with_solver(nets: Nets, **fields: Any) -> Nets:
    """Returns the nets with other values of some solver fields."""
    return replace(nets, solver=nets.solver.replace(**fields))


def dry(nets: Nets) -> Nets:
    """Returns the nets for two iterations, each with a display, a test on one batch and a snapshot."""
    once = (1,) * len(nets.tests)
    return with_solver(nets, max_iter=2, display=1, test_interval=1, test_iter=once, test_offset=0, snapshot=1)


def kept_nothing(on_event: OnEvent | None) -> OnEvent | None:
    """The listener of a dry run, which is not told of weights at its end, because they are deleted."""
    if on_event is None:
        return None
    return lambda event: on_event(replace(event, snapshot=None) if isinstance(event, Finished) else event)


def without_tests(nets: Nets) -> Nets:
    """Returns the nets for training only, with displays but without tests and snapshots."""
    quiet = replace(nets, tests=())
    fields = {"test_interval": 0, "test_iter": (), "snapshot": 0, "snapshot_after_train": False, "average_loss": 1}
    return with_solver(quiet, early_stopping=None, snapshot_best=None, display=nets.solver.display or 20, **fields)


class Repeated:
    """A source that repeats the first few batches of another source."""

    def __init__(self, source: Any, count: int):
        self._batches = [next(source) for _ in range(count)]
        self._at = 0

    def __next__(self) -> Any:
        batch = self._batches[self._at % len(self._batches)]
        self._at += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Empty, because such a run saves no snapshots."""
        return {}


@dataclass
class Learning:
    """Observes the loss of a run that overfits a few batches."""

    batches: int
    first: float | None = None
    last: float = math.nan

    def see(self, loss: float) -> str:
        """Returns the reason to end the run once the batches are overfit, else an empty string."""
        self.first, self.last = loss if self.first is None else self.first, loss
        return f"the loss is {loss:.3g}" if loss <= OVERFIT * abs(self.first) else ""

    def verdict(self, iteration: int) -> str:
        """The message that reports the result of the run."""
        many = f"{self.batches} batches" if self.batches > 1 else "one batch"
        if self.first is not None and self.last <= OVERFIT * abs(self.first):
            return f"overfit {many} in {iteration} iterations (loss {self.last:.3g})"
        return (
            f"did NOT overfit {many}: after {iteration} iterations the loss is {self.last:.3g}; it was "
            f"{self.first or 0:.3g} at the start. A net that cannot fit so little data is broken: try another base_lr, "
            "check the labels, the scale of the input, frozen layers and dropout, or use `watch`."
        )
