"""When what happens: at which iterations a run shows, tests and saves, and into which pieces that cuts it.

Iteration i is shown with the loss before its update; a test at i, and a snapshot at i, are of the weights after i
updates. Source: BVLC/caffe src/caffe/solver.cpp, Solver::Step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..solvers.base import Solver


@dataclass(frozen=True)
class Plan:
    """The events of a run that ends after `end` updates."""

    solver: Solver
    end: int
    tests: bool  # whether there is anything to test
    breaks: tuple[int, ...] = ()  # where a stage of the run begins

    def test_at(self, iteration: int) -> bool:
        """Whether there is a test before update `iteration` (counted from 0)."""
        if self.tests and self.solver.test_after_train and iteration == self.end:
            return True
        interval, offset = self.solver.test_interval, self.solver.test_offset
        if not (self.tests and interval) or iteration < offset or (iteration - offset) % interval:
            return False
        return iteration > 0 or self.solver.test_initialization

    def display_at(self, iteration: int) -> bool:
        return bool(self.solver.display) and iteration % self.solver.display == 0

    def snapshot_at(self, iteration: int) -> bool:
        """Whether there is a snapshot after `iteration` updates."""
        return bool(self.solver.snapshot) and iteration > 0 and iteration % self.solver.snapshot == 0

    def stop_after(self, iteration: int, max_steps: int) -> int:
        """Where the piece that begins at `iteration` ends: at the next event, after `max_steps`, or at the end."""
        stops = [self.end, iteration + max_steps, *(b for b in self.breaks if b > iteration)]
        if self.solver.display:
            stops.append(-(-iteration // self.solver.display) * self.solver.display + 1)
        if self.solver.snapshot:
            stops.append((iteration // self.solver.snapshot + 1) * self.solver.snapshot)
        if self.tests and self.solver.test_interval:
            interval, offset = self.solver.test_interval, self.solver.test_offset
            stops.append((max(iteration - offset, -1) // interval + 1) * interval + offset)
        return min(stops)

    def pieces(self, begin: int, max_steps: int) -> Iterator[tuple[int, int]]:
        """(first iteration, one past the last) of each piece."""
        while begin < self.end:
            stop = self.stop_after(begin, max_steps)
            yield begin, stop
            begin = stop
