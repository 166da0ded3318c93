"""Reading the records of intact and damaged runs."""

from __future__ import annotations

import json
import math

import pytest

from netdef import NetdefError
from netdef.observe.runs import kind, read_run, read_runs, smoothed


def test_a_run_becomes_curves(a_run):
    run = read_run(a_run())
    assert run.names() == ["loss", "lr", "accuracy", "images_per_s"] and run.damaged == 0
    accuracy = run.curve("accuracy", "test")
    assert accuracy.iterations[:3] == (0, 50, 100) and accuracy.seconds[:2] == (1, 3.5)
    assert accuracy.values[1] == 5 / 6
    assert not run.curve("accuracy", "train")
    assert read_run(a_run("other") / "metrics.jsonl").name == "other"


def test_lines_that_are_not_records_are_counted_and_skipped(a_run):
    folder = a_run(displays=3)
    file = folder / "metrics.jsonl"
    file.write_text('[1]\n{"iteration": "x"}\n' + file.read_text() + '{"iteration": 30, "phase": "tra')
    run = read_run(folder)
    assert (len(run.rows), run.damaged) == (4, 3)


def test_values_that_are_not_finite_are_gaps(a_run):
    folder = a_run(displays=2, loss="nan")
    run = read_run(folder)
    assert all(math.isnan(v) for v in run.curve("loss", "train").values)
    assert not run.curve("loss", "train")  # nothing to plot
    assert "loss" in run.names()


def test_values_outside_the_range_of_an_axis_are_gaps_or_skipped(tmp_path):
    rows = [
        {"iteration": 0, "phase": "train", "loss": 1e300, "seconds": "soon", "net": "x"},
        {"iteration": 1, "phase": "train", "loss": 2**2000, "seconds": 3},
        {"iteration": 1e9, "phase": "train", "loss": 1},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(tmp_path)
    curve = run.curve("loss", "train")
    assert run.damaged == 1 and all(map(math.isnan, curve.values))
    assert math.isnan(curve.seconds[0]) and curve.seconds[1] == 3


def test_lists_and_strings_are_not_curves(tmp_path):
    row = {"iteration": 0, "phase": "test", "per_class": [0.5, 1.0], "why": "words", "ok": True, "loss": 1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row))
    assert read_run(tmp_path).names() == ["loss"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "missing", "there is no run"),
        (lambda folder: folder, "is not a run: it has no metrics.jsonl"),
        (lambda folder: (folder / "metrics.jsonl").write_text("") and None or folder, "it is empty"),
        (lambda folder: (folder / "metrics.jsonl").write_text("x\ny\n") and folder, "none of its 2 lines"),
    ],
    ids=["missing", "not a run", "empty", "damaged"],
)
def test_errors_have_one_line(make, words, tmp_path):
    with pytest.raises(NetdefError, match=words) as caught:
        read_run(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_error_for_a_folder_of_runs_names_them(a_run):
    folder = a_run("sweep/a").parent
    with pytest.raises(NetdefError, match="It contains runs: a"):
        read_run(folder)


def test_runs_with_equal_names_get_unique_names(a_run):
    one, two = a_run("x/run"), a_run("y/run")
    assert [run.name for run in read_runs([one, two])] == ["x/run", "y/run"]
    assert [run.name for run in read_runs([one, one])] == ["run (1)", "run (2)"]


def test_running_means():
    assert smoothed([1.0, 3.0, 5.0], 0) == [1, 3, 5]
    assert smoothed([1.0, 3.0], 0.5) == pytest.approx([1, (0.25 * 1 + 0.5 * 3) / 0.75])
    assert smoothed([2.0, math.nan, 2.0], 0.9)[::2] == pytest.approx([2, 2])
    assert math.isnan(smoothed([math.nan], 0.9)[0])


def test_kinds_of_metrics():
    assert [kind(n) for n in ("lr", "accuracy", "top5", "loss", "kl")] == [
        "rate",
        "accuracy",
        "accuracy",
        "loss",
        "loss",
    ]
