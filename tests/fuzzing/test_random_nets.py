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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            'layer { name: "x" type: "Input" top: "x" input_param { shape { } } }'
            'layer { name: "c" type: "Concat" bottom: "x" top: "c" concat_param { per_fla_fuse: true } }',
            {"shape-mismatch"},
        )
    ],
)
def test_what_the_fuzzing_found_stays_a_diagnostic(text, found):
    assert check_net(text) == found
