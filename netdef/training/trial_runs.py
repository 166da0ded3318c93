"""Trial runs: two steps of everything, learning a few batches by heart, and a sweep over learning rates.

Each is an ordinary run with another solver, so what it finds holds for the ordinary run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..policies.exp import Exp
from .solver_nets import Nets

LEARNT = 0.01  # of the first loss: what is left of it when a batch is known by heart


def with_solver(nets: Nets, **fields: Any) -> Nets:
    """The nets with another solver."""
    return replace(nets, solver=nets.solver.replace(**fields))


def dry(nets: Nets) -> Nets:
    """Two iterations, each shown, tested on one batch and saved."""
    once = (1,) * len(nets.tests)
    return with_solver(nets, max_iter=2, display=1, test_interval=1, test_iter=once, test_offset=0, snapshot=1)


def by_heart(nets: Nets) -> Nets:
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


@dataclass(frozen=True)
class Rates:
    """What a sweep over learning rates found: (rate, loss) of each iteration, and the rate to begin with."""

    points: tuple[tuple[float, float], ...]
    suggestion: float | None  # where the loss falls fastest; None if it never fell
    diverged: float | None  # the rate at which the loss left all bounds
    folder: Path  # of the run that was made for it


def lr_find(
    path: str | Path,
    lowest: float = 1e-6,
    highest: float = 10.0,
    iterations: int = 100,
    set: Mapping[str, Any] | None = None,
    weights: Any = None,
    output: str | Path | None = None,
) -> Rates:
    """Train with a learning rate that grows by the same factor in each iteration, and see where the loss falls.

    Source: Smith 2017.  The suggestion is a third of the rate at which the smoothed loss falls fastest per factor.
    Errors: as `netdef.train`.
    """
    from .events import Display, Started
    from .run import run_nets
    from .solver_nets import nets_of

    if not 0 < lowest < highest or iterations < 10:
        raise NetdefError("lr_find needs 0 < lowest < highest and at least 10 iterations.")
    policy = Exp(gamma=(highest / lowest) ** (1 / (iterations - 1)))
    fields = {
        "base_lr": lowest,
        "policy": policy,
        "max_iter": iterations,
        "display": 1,
        "warmup_iter": 0,
        "min_lr": 0.0,
    }
    nets = with_solver(by_heart(nets_of(path, set)), **fields, rampup_interval=0, stages=())
    points: list[tuple[float, float]] = []
    folder = Path()

    def watch(event: Any) -> None:
        nonlocal folder
        if isinstance(event, Started):
            folder = event.folder
        elif isinstance(event, Display):
            points.append((event.lr, event.loss))

    first: list[float] = []

    def enough(loss: float) -> str:
        first.append(loss)
        return "the loss left all bounds" if loss > 4 * max(min(first), 1e-3) and len(first) > 5 else ""

    diverged = None
    try:
        result = run_nets(nets, weights=weights, output=output, on_event=watch, enough=enough)
        diverged = points[-1][0] if result.iteration < iterations else None
    except NetdefError as error:
        if "iteration" not in str(error) or not points:
            raise
        diverged = points[-1][0]
    return Rates(tuple(points), _suggestion(points), diverged, folder)


def _suggestion(points: list[tuple[float, float]]) -> float | None:
    """A third of the rate at which the smoothed loss falls fastest."""
    smooth, mean = [], points[0][1]
    for _, loss in points:
        mean = 0.8 * mean + 0.2 * loss
        smooth.append(mean)
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    falls = [(smooth[i + 1] - smooth[i], i) for i in range(max(lowest, 1)) if i + 1 < len(smooth)]
    steepest, at = min(falls, default=(0.0, 0))
    return points[at][0] / 3 if steepest < 0 else None
