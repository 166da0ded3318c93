"""What a run does on seeing a test: the rate of a plateau, the best snapshot, stopping early."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import Net
from ..interop import snapshot
from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..policies.base import Monitor, Policy
from ..solvers.base import Solver
from .step import shown_outputs


@dataclass
class Watched:
    """A monitor and what it has seen: the best value, and how many tests have passed since."""

    monitor: Monitor
    best: float | None = None
    waited: int = 0

    def see(self, value: float) -> bool:
        """Take a value; gives whether it is better than all before."""
        better = self.monitor.better(value, self.best)
        self.best, self.waited = (value, 0) if better else (self.best, self.waited + 1)
        return better

    @property
    def over(self) -> str:
        """Why there is nothing to wait for any more; empty if there is."""
        if self.best is not None and self.monitor.reached(self.best):
            return f"{self.monitor.monitor} has reached {self.best:.6g}"
        if self.waited >= self.monitor.patience:
            best = "was never a number" if self.best is None else f"has not become better than {self.best:.6g}"
            return f"{self.monitor.monitor} {best} in {self.waited} tests"
        return ""

    def state(self) -> list[Any]:
        return [self.best, self.waited]

    def restore(self, state: Sequence[Any]) -> None:
        self.best, self.waited = state


def watches(solver: Solver, tests: Sequence[Net]) -> dict[str, Watched]:
    """The monitors of a solver by the field that has them.  NetdefError for one that watches what no test shows."""
    made = {}
    for field in ("early_stopping", "snapshot_best"):
        monitor = getattr(solver, field)
        if monitor is not None:
            _check(field, monitor, tests)
            made[field] = Watched(monitor)
    if solver.policy.monitor is not None:
        _check(solver.policy.name, solver.policy.monitor, tests)
    return made


def _check(field: str, monitor: Monitor, tests: Sequence[Net]) -> None:
    if monitor.test_net >= len(tests):
        raise NetdefError(
            f"`{field}` watches test net {monitor.test_net}, and there are {len(tests)}; give `test_interval`, and a "
            "layer with `include { phase: TEST }` that reads the test data."
        )
    names = ["loss", *shown_outputs(tests[monitor.test_net])]
    if monitor.monitor not in names:
        meant = suggestion(monitor.monitor, names)
        raise NetdefError(f"`{field}` watches `{monitor.monitor}`; the test shows {', '.join(names)}.{meant}")


def policy_after(policy: Policy, state: Mapping[str, Any], iteration: int, scores: Sequence[Mapping[str, Any]]) -> Any:
    """The policy's state with the scores of every test net seen."""
    return policy.tested(state, iteration, scores[policy.monitor.test_net if policy.monitor else 0])


def drop_old(folder: Any, keep: int) -> None:
    """Remove all snapshots of a run but the last few; 0 keeps all."""
    if keep:
        for path in snapshot.found(folder)[keep:]:
            shutil.rmtree(path, ignore_errors=True)
