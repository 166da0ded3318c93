"""Reactions of a run to its tests: the `plateau` policy, the best snapshot, early stopping."""

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
from .detections import reported


@dataclass
class Watched:
    """A monitor and its state: the best value so far, and the number of tests since then."""

    monitor: Monitor
    best: float | None = None
    waited: int = 0

    def see(self, value: float) -> bool:
        """Records a value; returns whether it is better than all values before."""
        better = self.monitor.better(value, self.best)
        self.best, self.waited = (value, 0) if better else (self.best, self.waited + 1)
        return better

    @property
    def over(self) -> str:
        """Why the run should stop early; empty if it should not."""
        if self.best is not None and self.monitor.reached(self.best):
            return f"{self.monitor.monitor} reached {self.best:.6g}"
        if self.waited >= self.monitor.patience:
            best = "was nan" if self.best is None else f"did not improve on {self.best:.6g}"
            return f"{self.monitor.monitor} {best} in {self.waited} tests"
        return ""

    def state(self) -> list[Any]:
        return [self.best, self.waited]

    def restore(self, state: Sequence[Any]) -> None:
        self.best, self.waited = state


def watches(solver: Solver, tests: Sequence[Net]) -> dict[str, Watched]:
    """The monitors of a solver by field.  NetdefError if one monitors an output that no test reports."""
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
            f"`{field}` monitors test net {monitor.test_net}, but the number of test nets is {len(tests)}; set "
            "`test_interval`, and add a data layer with `include { phase: TEST }`."
        )
    names = list(dict.fromkeys(["loss", *reported(tests[monitor.test_net])]))
    if monitor.monitor not in names:
        meant = suggestion(monitor.monitor, names)
        raise NetdefError(f"`{field}` monitors `{monitor.monitor}`, but the test reports {', '.join(names)}.{meant}")


def policy_after(policy: Policy, state: Mapping[str, Any], iteration: int, scores: Sequence[Mapping[str, Any]]) -> Any:
    """Returns the policy's state after a test; `scores` has those of every test net."""
    return policy.tested(state, iteration, scores[policy.monitor.test_net if policy.monitor else 0])


def drop_old(folder: Any, keep: int) -> None:
    """Removes all snapshots of a run except the last `keep`; 0 keeps all."""
    if keep:
        for path in snapshot.found(folder)[keep:]:
            shutil.rmtree(path, ignore_errors=True)
