"""What the runs of a sweep aim at: the goal at which one ends, `accuracy>=0.9`, and the score that compares them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..policies.base import Monitor
from ..training.detections import reported
from ..training.solver_nets import Nets

FINISHED, DIVERGED, INVALID = "finished", "diverged", "invalid"  # states of a run
PRUNED = "pruned"  # the state of one that was ended because it was hopeless


@dataclass(frozen=True)
class Until:
    """A goal such as `accuracy>=0.9`; the iteration of the first test that meets it is the run's `reached`."""

    output: str
    value: float
    upwards: bool

    @classmethod
    def read(cls, text: str) -> Until:
        """Parses a goal.  NetdefError if the string is not one."""
        found = re.fullmatch(r"\s*([^<>=\s]+)\s*(>=|<=)\s*(\S+)\s*", text)
        try:
            assert found is not None
            return cls(found[1], float(found[3]), found[2] == ">=")
        except (AssertionError, ValueError):
            raise NetdefError(f'"{text}" is not a goal; examples: accuracy>=0.9, loss<=0.1.') from None

    def met(self, row: Mapping[str, Any]) -> bool:
        """Whether the record of a test meets the goal."""
        value = row.get(self.output)
        return isinstance(value, (int, float)) and (value >= self.value if self.upwards else value <= self.value)

    def monitor(self) -> Monitor:
        """The goal as a monitor for the solver's early stopping."""
        mode = "max" if self.upwards else "min"
        return Monitor(monitor=self.output, target=self.value, mode=mode, patience=1_000_000_000)


@dataclass(frozen=True)
class Score:
    """The number by which runs are compared: an output of the first test net, or the loss of training."""

    output: str
    upwards: bool  # whether more is better
    tested: bool

    @property
    def column(self) -> str:
        """Its name in the table of a sweep."""
        return f"test {self.output}" if self.tested else self.output

    @property
    def words(self) -> str:
        """Its name for users."""
        return "goal reached at iteration" if self.is_reached else self.column if self.tested else "training loss"

    @property
    def is_reached(self) -> bool:
        """Whether it is the iteration that met the goal."""
        return self.column == "reached"

    def of(self, row: Mapping[str, Any]) -> float | None:
        """The score of a row; None if the run has none, or one that is not finite."""
        value = row.get(self.column)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(value)

    def best(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The best row, the first in case of ties; None if no row has a score.  Runs that were ended before their last
        iteration as hopeless do not count."""
        known = [row for row in rows if self.of(row) is not None and row.get("state") != PRUNED]
        return (max if self.upwards else min)(known, key=lambda row: self.of(row) or 0.0) if known else None


REACHED = Score("reached", upwards=False, tested=False)


def score_of(nets: Nets, name: str | None = None, upwards: bool | None = None) -> Score:
    """The score that a sweep compares: `name`, or the first accuracy of the tests, their loss, or that of training.

    NetdefError if the runs do not report it."""
    outputs = list(dict.fromkeys([*(reported(nets.tests[0]) if nets.tests else ()), "loss"]))
    if name is None:
        name = next((output for output in outputs if Monitor(monitor=output).upwards), "loss")
    if name not in outputs:
        where = "the test reports" if nets.tests else "the solver has no tests, so there is only"
        raise NetdefError(f"a run has no score `{name}`; {where} {', '.join(outputs)}.{suggestion(name, outputs)}")
    return Score(name, Monitor(monitor=name).upwards if upwards is None else upwards, bool(nets.tests))
