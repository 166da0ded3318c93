"""`netdef runs`: a table of runs, with their states, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import netdef as library
from netdef.training.run_lock import locked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def write(name: str, began: str, accuracies: list[float], ended: str | None, **settings: object) -> None:
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        rows = [{"iteration": 10 * i, "phase": "test", "loss": 1.0, "accuracy": a} for i, a in enumerate(accuracies)]
        (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sitting = {"began": began, "from": 0} | ({"to": 20, "ended": ended} if ended else {})
        (path / "run.json").write_text(json.dumps({"max_iter": 20, "settings": settings, "sittings": [sitting]}))

    write("a", "2026-01-01T10:00:00Z", [0.1, 0.9, 0.8], "max_iter", width=8, same=1)
    write("b", "2026-01-03T10:00:00Z", [0.2], None, width=16, same=1)
    write("sweep/c", "2026-01-02T10:00:00Z", [], "interrupted", same=1)
    (tmp_path / "runs/d").mkdir()
    (tmp_path / "runs/d/metrics.jsonl").write_text("")
    return tmp_path / "runs"


def test_the_table_has_the_most_recent_run_first(netdef, folder):
    head, *rows = netdef("runs", folder).out.splitlines()
    assert head.split() == ["run", "started", "state", "iterations", "last", "score", "best", "settings"]
    assert [row.split()[0] for row in rows] == ["b", "sweep/c", "a", "d"]
    states = ["died", "interrupted", "finished", "unknown"]
    assert all(state in row for state, row in zip(states, rows, strict=True))
    assert "test accuracy 0.8  0.9 at 10  width=8" in rows[2] and "same" not in "".join(rows)
    assert "0 of 20" in rows[0] and " 20 " in rows[2]


def test_a_run_in_progress(folder):
    with locked(folder / "b"):
        assert library.runs(folder)[0].state == "running"
    assert library.runs(folder)[0].state == "died"


def test_as_json_and_in_python(netdef, folder):
    found = json.loads(netdef("runs", folder, "--json").out)
    assert [one["name"] for one in found] == ["b", "sweep/c", "a", "d"]
    assert found[2]["settings"] == {"width": 8, "same": 1}
    assert {"name": "test accuracy", "last": 0.8, "best": 0.9, "at": 10} in found[2]["scores"]
    score = library.runs(folder)[2].score
    assert score is not None and (score.best, score.last) == (0.9, 0.8)


def test_the_folder_of_one_run(netdef, folder):
    assert "width=8 same=1" in netdef("runs", folder / "a").out


def test_a_folder_without_runs(netdef, tmp_path):
    assert netdef("runs", tmp_path).out == f"there are no runs in {tmp_path}\n"
    assert "none does not exist; name a folder of runs" in netdef("runs", tmp_path / "none").err
    (tmp_path / "a.net").write_text("")
    done = netdef("runs", tmp_path / "a.net")
    assert done.code == 2 and "a.net is a file, not a folder; name a folder of runs" in done.err
    with pytest.raises(library.NetdefError, match="none does not exist"):
        library.runs(tmp_path / "none")


def test_completion_in_python_knows_all_names():
    assert {"compile", "train", "predict", "deploy", "runs", "data"} <= set(dir(library))
