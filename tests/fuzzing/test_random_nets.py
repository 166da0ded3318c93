"""A few of the random nets that the fuzzing program draws, and what was found with it."""

from __future__ import annotations

import random

import pytest
from fuzzing import STAGES, check_net, stage_of
from random_nets import random_net


def test_random_nets_reach_every_stage_and_end_in_a_net_or_in_diagnostics():
    reached = {stage_of(check_net(random_net(random.Random(f"test {i}")))) for i in range(150)}
    assert reached >= set(STAGES) - {"parse", "check"}  # no text of the grammar fails there


@pytest.mark.parametrize(
    ("errors", "stage"),
    [
        (set(), "net"),
        ({"shape-mismatch", "unknown-field"}, "decode"),
        ({"shape-mismatch"}, "infer"),
        ({"unknown-bottom", "shape-mismatch"}, "connect"),
    ],
)
def test_the_earliest_stage_that_refuses_counts(errors, stage):
    assert stage_of(errors) == stage
