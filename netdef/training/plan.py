"""The schedule of a run: the iterations of its displays, tests and snapshots, and the pieces between them.

The display of iteration i shows the loss before its update; a test at i, and a snapshot at i, use the weights after i
updates. Source: BVLC/caffe src/caffe/solver.cpp, Solver::Step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..solvers.base import Solver


@dataclass(frozen=True)
class Plan:
    """The schedule of a run that ends after `end` updates."""

    solver: Solver
    end: int
    tests: bool  # whether there are test nets
    breaks: tuple[int, ...] = ()  # first iterations of the stages after the first

    def test_at(self, iteration: int) -> bool:
        """Whether there is a test before update `iteration` (from 0)."""
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
        """The end of the piece that begins at `iteration`: the next event, `max_steps` iterations, or the end."""
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
        """Yields (first iteration, last iteration + 1) of each piece."""
        while begin < self.end:
            stop = self.stop_after(begin, max_steps)
            yield begin, stop
            begin = stop
