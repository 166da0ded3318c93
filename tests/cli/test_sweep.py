"""`netdef sweep` and `netdef train --lr-find`: the settings that are varied, and the output."""

from __future__ import annotations

import json

import pytest

from netdef.cli import UsageError
from netdef.cli.sweep import best_of, line, ranges, table, values
from netdef.sweep.goal import Score
from netdef.sweep.space import Interval


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


def test_ranges_of_a_search():
    assert ranges(["a=1..3", "b=log(0.1..1)"]) == {"a": Interval(1, 3), "b": Interval(0.1, 1.0, True)}
    with pytest.raises(UsageError, match="twice"):
        ranges(["a=1..3", "a=4"])


def test_the_best_row_is_marked():
    rows = [{"run": "a", "loss": 2.0, "w": 3}, {"run": "b", "loss": 1.0, "w": 4}]
    assert table(rows, ("w",), rows[1]).splitlines() == [
        "  w  training loss",
        "  3              2",
        "* 4              1",
    ]


ACCURACY = Score("accuracy", upwards=True, tested=True)
TRIAL = {"run": "trial-003", "solver.base_lr": 0.01234, "act": "ReLU", "seed": 0, "trial": 3, "loss": 0.5}


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            None,
            "4/20  trial-003  base_lr 0.01234  act ReLU  training loss 0.5  test accuracy 0.9  best so far  "
            "about 1 min 5 s left",
        ),
        (100, "4/20  trial-003  base_lr 0.01234  act ReLU  test accuracy 0.9  best so far  about 1 min 5 s left"),
        (80, "4/20  trial-003  test accuracy 0.9  best so far  about 1 min 5 s left"),
        (60, "4/20  trial-003  test accuracy 0.9  about 1 min 5 s left"),
        (20, "4/20  test accuracy 0.9"),
    ],
)
def test_the_line_of_a_run_fits_the_terminal(width, shown):
    row = TRIAL | {"test accuracy": 0.9, "state": "finished"}
    assert line(row, "4/20", ACCURACY, ("solver.base_lr", "act"), True, 65.0, width) == shown


def test_the_line_of_a_run_that_was_ended_says_so():
    row = TRIAL | {"test accuracy": 0.9, "iterations": 40, "state": "pruned"}
    assert line(row, "4/20", ACCURACY, (), False, 0, None).endswith("pruned at iteration 40")
    row = {"run": "trial-003", "trial": 3, "state": "invalid", "why": "width is 0"}
    assert line(row, "4/20", ACCURACY, (), False, 0, None) == "4/20  trial-003  invalid: width is 0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", 3], "--trials requires --search"),
        (["--prune", "median"], "--prune requires --search"),
        (["--search", "random"], "requires ranges"),
        (["--search", "random", "--set", "solver.base_lr=log(0..1)"], "--set:1:20: error: Invalid range of a sweep"),
        (["--set", "solver.base_lr=0.1..0.2"], "--search random"),
        (["--seed", -1], "from 0 on"),
        (["--maximize", "a", "--minimize", "b"], "not allowed with"),
    ],
)
def test_wrong_arguments_of_a_search(netdef, good, words, message):
    done = netdef("sweep", good, *words)
    assert done.code == 2 and message in done.err


def test_a_search_writes_its_table_and_its_report(netdef, good, tmp_path):
    pytest.importorskip("optuna")
    pytest.importorskip("matplotlib")
    folder = tmp_path / "s"
    words = ["--search", "random", "--set", "solver.base_lr=log(0.01..1)", "--output", folder]
    done = netdef("sweep", good, *words, "--trials", 2)
    assert done.code == 0 and "best run: trial-00" in done.err, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["trial", "solver.base_lr"] and sum(line.startswith("*") for line in lines) == 1
    told = json.loads((folder / "sweep.json").read_text())
    assert told["search"] == {"search": "random", "trials": 2, "seed": 0, "prune": "none"}
    assert told["score"] == {"column": "loss", "upwards": False} and len(told["rows"]) == 2
    assert (folder / "sweep.png").exists()
    again = netdef("sweep", good, *words, "--trials", 2)
    assert again.out == done.out and "trial-000" not in again.err.replace("best run: trial-000", "")
    done = netdef("report", folder)
    assert done.code == 0, done.err
    html = (folder / "report.html").read_text()
    assert "random search with 2 trials" in html and '<tr class="best">' in html and "http" not in html
    assert netdef("sweep", good, *words, "--maximize", "acuracy").code == 1
