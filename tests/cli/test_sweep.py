"""`netdef sweep` and `netdef train --lr-find`: the settings that are varied, and the output."""

from __future__ import annotations

import json

import pytest

from netdef.cli import UsageError
from netdef.cli.sweep import best_of, table, values


def test_values_are_lists_and_ranges():
    assert values(["width=16,32", "solver.base_lr=0.1", "depth=1..3", "bn=true,false", "name=a"]) == {
        "width": [16, 32],
        "solver.base_lr": [0.1],
        "depth": [1, 2, 3],
        "bn": [True, False],
        "name": ["a"],
    }
    with pytest.raises(UsageError, match="KEY=VALUE,VALUE"):
        values(["width"])


def test_the_table_has_settings_first():
    rows = [
        {"run": "a", "seed": 0, "loss": 0.123456, "w": 3, "reached": None},
        {"run": "b", "seed": 1, "w": 40, "loss": 2.0},
    ]
    assert table(rows, ("w", "seed")).splitlines() == [
        " w  seed  training loss  reached",
        " 3     0         0.1235        -",
        "40     1              2        -",
    ]


def test_a_sweep_trains_every_combination(netdef, good, tmp_path):
    done = netdef("sweep", good, "--set", "solver.base_lr=0.1,0.01", "--seeds", 2, "--output", tmp_path / "s", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert [(row["solver.base_lr"], row["seed"]) for row in rows] == [(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]
    assert json.loads((tmp_path / "s" / "sweep.json").read_text())["rows"] == rows


def test_lr_find_suggests_a_learning_rate_or_none(netdef, good, tmp_path):
    done = netdef("train", good, "--lr-find", "--max-iter", 12, "--output", tmp_path / "run")
    lines = done.out.splitlines()
    assert lines[0].startswith("lr 1e-06") and len(lines) >= 12
    assert lines[-1].startswith(("suggested base_lr: ", "the loss never decreased"))


def test_the_best_run_is_named():
    rows = [
        {"run": "a", "loss": 0.1, "test loss": 0.5, "test accuracy": 0.9, "reached": 40},
        {"run": "b", "loss": 0.2, "test loss": 0.4, "test accuracy": 0.8, "reached": None},
        {"run": "c", "loss": float("nan")},
    ]
    best = lambda rows: best_of(rows)[1]
    assert best(rows) == "a  goal reached at iteration 40" and best_of(rows)[0] is rows[0]
    without = lambda *names: [{k: v for k, v in row.items() if k not in names} for row in rows]
    assert best(without("reached")) == "a  test accuracy 0.9"
    assert best(without("reached", "test accuracy")) == "b  test loss 0.4"
    assert best(without("reached", "test accuracy", "test loss")) == "a  training loss 0.1"
    assert best_of([{"run": "c"}]) is None
