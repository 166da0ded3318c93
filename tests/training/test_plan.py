"""The displays, tests and snapshots of a run, compared with Caffe's loop, one iteration at a time."""

from __future__ import annotations

import pytest

from netdef.solvers.sgd import SGD
from netdef.training.plan import Plan


def caffe(solver, end, tests):
    """The events of Solver::Step, in order."""
    events = []
    for i in range(end):
        if tests and solver.test_interval and i >= solver.test_offset:
            if (i - solver.test_offset) % solver.test_interval == 0 and (i > 0 or solver.test_initialization):
                events.append(("test", i))
        if solver.display and i % solver.display == 0:
            events.append(("display", i))
        if solver.snapshot and (i + 1) % solver.snapshot == 0:
            events.append(("snapshot", i + 1))
    return events


@pytest.mark.parametrize("most", [1, 3, 64])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"display": 4},
        {"display": 1},
        {"display": 5, "snapshot": 7, "test_interval": 6},
        {"test_interval": 6, "test_offset": 2, "test_initialization": False},
        {"test_interval": 6, "test_offset": 9},
    ],
)
def test_pieces_end_at_events(fields, most):
    solver, end = SGD(base_lr=0.1, **fields), 30
    plan = Plan(solver, end, tests=True)
    events, at = [], 0
    for begin, stop in plan.pieces(0, most):
        assert begin == at and 0 < stop - begin <= most
        events += [("test", begin)] * plan.test_at(begin)
        events += [("display", stop - 1)] * plan.display_at(stop - 1)
        events += [("snapshot", stop)] * plan.snapshot_at(stop)
        at = stop
    assert at == end
    assert events == caffe(solver, end, True)


def test_the_ends_of_pieces_do_not_depend_on_the_first_iteration():
    plan = Plan(SGD(base_lr=0.1, display=4, snapshot=5, test_interval=8), 40, tests=True)
    ends = {stop for _, stop in plan.pieces(0, 64)}
    for begin in range(1, 40):
        assert {stop for _, stop in plan.pieces(begin, 64)} == {stop for stop in ends if stop > begin}


def test_a_test_at_the_end_with_test_after_train():
    fields = {"base_lr": 0.1, "test_interval": 8, "test_initialization": False}
    tested = lambda plan: [i for i in range(plan.end + 1) if plan.test_at(i)]
    assert tested(Plan(SGD(**fields), 20, tests=True)) == [8, 16]
    assert tested(Plan(SGD(**fields, test_after_train=True), 20, tests=True)) == [8, 16, 20]
    assert tested(Plan(SGD(**fields, test_after_train=True), 20, tests=False)) == []
