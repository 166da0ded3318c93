"""Trial runs: two steps of everything, and overfitting a few batches.

Each is an ordinary run with another solver, so what it finds holds for the ordinary run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .solver_nets import Nets

LEARNT = 0.01  # of the first loss: what is left of it when a batch is known by heart


def with_solver(nets: Nets, **fields: Any) -> Nets:
    """The nets with another solver."""
    return replace(nets, solver=nets.solver.replace(**fields))


def dry(nets: Nets) -> Nets:
    """Two iterations, each shown, tested on one batch and saved."""
    once = (1,) * len(nets.tests)
    return with_solver(nets, max_iter=2, display=1, test_interval=1, test_iter=once, test_offset=0, snapshot=1)


def without_tests(nets: Nets) -> Nets:
    """Training alone: no tests, no snapshots, a display now and then."""
    quiet = replace(nets, tests=())
    fields = {"test_interval": 0, "test_iter": (), "snapshot": 0, "snapshot_after_train": False, "average_loss": 1}
    return with_solver(quiet, early_stopping=None, snapshot_best=None, display=nets.solver.display or 20, **fields)


class Repeated:
    """A source of batches that gives the first few of another again and again."""

    def __init__(self, source: Any, count: int):
        self._batches = [next(source) for _ in range(count)]
        self._at = 0

    def __next__(self) -> Any:
        batch = self._batches[self._at % len(self._batches)]
        self._at += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Nothing: such a run takes no snapshots."""
        return {}


@dataclass
class Learning:
    """Watches the loss of a run that learns a few batches by heart."""

    batches: int
    first: float | None = None
    last: float = math.nan

    def see(self, loss: float) -> str:
        """Why the run may end: nothing is left to be learnt.  Empty before."""
        self.first, self.last = loss if self.first is None else self.first, loss
        return f"the loss is {loss:.3g}" if loss <= LEARNT * abs(self.first) else ""

    def verdict(self, iteration: int) -> str:
        """What the run has shown, in words."""
        many = f"{self.batches} batches" if self.batches > 1 else "one batch"
        if self.first is not None and self.last <= LEARNT * abs(self.first):
            return f"learnt: the net knows {many} by heart after {iteration} iterations (loss {self.last:.3g})"
        return (
            f"NOT learnt: after {iteration} iterations on {many} the loss is {self.last:.3g}, from "
            f"{self.first or 0:.3g} at first. A net that cannot learn so little has a fault: try another base_lr, look "
            "at the labels, the input's scale, frozen layers and dropout, or at `watch`."
        )
