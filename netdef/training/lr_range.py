"""The learning-rate range test: a run with a growing learning rate, and the learning rate that it suggests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..language.trust import Trust
from ..policies.exp import Exp
from .events import Display, Started
from .run import Options, run_nets
from .single_run import Diverged
from .solver_nets import nets_of
from .trial_runs import with_solver, without_tests


@dataclass(frozen=True)
class Rates:
    """The result of a range test: (learning rate, loss) of each iteration, and a suggested base_lr."""

    points: tuple[tuple[float, float], ...]
    suggestion: float | None  # None if the loss never fell
    diverged: float | None  # the learning rate at which the loss diverged
    folder: Path  # of the run


def lr_find(
    path: str | Path,
    lowest: float = 1e-6,
    highest: float = 10.0,
    iterations: int = 100,
    set: Mapping[str, Any] | None = None,
    weights: Any = None,
    output: str | Path | None = None,
    import_path: Sequence[str | Path] = (),
) -> Rates:
    """Trains with a learning rate that grows by the same factor in each iteration, and records the loss.

    Source: Smith 2017.  The suggestion is a third of the learning rate at which the smoothed loss falls fastest in
    one iteration.  Errors: as for `netdef.train`.
    """
    if not 0 < lowest < highest or iterations < 10:
        raise NetdefError(
            "lr_find requires 0 < lowest < highest and at least 10 iterations, not "
            f"{lowest:g}, {highest:g} and {iterations}."
        )
    policy = Exp(gamma=(highest / lowest) ** (1 / (iterations - 1)))
    fields = {
        "base_lr": lowest,
        "policy": policy,
        "max_iter": iterations,
        "display": 1,
        "warmup_iter": 0,
        "min_lr": 0.0,
    }
    nets = nets_of(path, set, Trust(python=True, folders=tuple(import_path)))
    nets = with_solver(without_tests(nets), **fields, rampup_interval=0, stages=())
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
        return "the loss diverged" if loss > 4 * max(min(first), 1e-3) and len(first) > 5 else ""

    diverged = None
    try:
        result = run_nets(nets, Options(weights, output=output, on_event=watch, enough=enough))
        diverged = points[-1][0] if result.iteration < iterations else None
    except Diverged:
        if not points:
            raise
        diverged = points[-1][0]
    return Rates(tuple(points), _suggestion(points), diverged, folder)


def _suggestion(points: list[tuple[float, float]]) -> float | None:
    """A third of the learning rate at which the smoothed loss falls fastest; None if it never falls."""
    smooth, mean = [], points[0][1]
    for _, loss in points:
        mean = 0.8 * mean + 0.2 * loss
        smooth.append(mean)
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    falls = [(smooth[i + 1] - smooth[i], i) for i in range(max(lowest, 1)) if i + 1 < len(smooth)]
    steepest, at = min(falls, default=(0.0, 0))
    return points[at][0] / 3 if steepest < 0 else None
