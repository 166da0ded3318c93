"""`netdef plot`: the files that it writes, and its messages about invalid arguments."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("matplotlib")
ROWS = [
    {"iteration": 0, "phase": "train", "loss": 2.0, "lr": 0.1, "seconds": 1.0},
    {"iteration": 5, "phase": "train", "loss": 1.0, "lr": 0.1, "seconds": 2.0},
    {"iteration": 5, "phase": "test", "loss": 1.5, "lr": 0.1, "accuracy": 0.5, "seconds": 2.5},
]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder


def test_plot_writes_png_and_svg_beside_the_records(netdef, run):
    done = netdef("plot", run)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{run / 'curves.png'}\n{run / 'curves.svg'}\n"
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG" and "</svg>" in (run / "curves.svg").read_text()


def test_plot_writes_the_requested_file(netdef, run, tmp_path):
    done = netdef("plot", run, run, "-o", tmp_path / "two.svg", "--by", "time", "--metric", "loss", "--title", "Two")
    assert (done.code, done.out) == (0, f"{tmp_path / 'two.svg'}\n")


def test_plot_reports_damaged_lines(netdef, run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 1')
    done = netdef("plot", run)
    assert done.code == 0 and "skipped 1 damaged lines" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing"], 2, "the run missing does not exist"),
        (["."], 1, "is not a run: it has no metrics.jsonl. It contains runs: run"),
        (["run", "-o", "x.gif"], 2, "must end in .png, .svg or .pdf"),
        (["run", "-o", "no/x.png"], 2, "the folder no does not exist"),
        (["run", "--smooth", "1"], 2, "at least 0 and less than 1"),
        (["run", "--metric", "acuracy"], 2, "Did you mean `accuracy`?"),
    ],
)
def test_plot_reports_what_is_wrong(netdef, run, monkeypatch, words, code, said):
    monkeypatch.chdir(run.parent)
    done = netdef("plot", *words)
    assert done.code == code and said in done.err and done.out == ""
    assert len(done.err.splitlines()) == 1


def test_without_matplotlib_the_extra_is_named(netdef, run, monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = netdef("plot", run)
    assert done.code == 1 and "pip install matplotlib" in done.err and len(done.err.splitlines()) == 1


def test_a_sweep_is_plotted_and_plotted_again(netdef, good, tmp_path):
    done = netdef("sweep", good, "--set", "solver.base_lr=0.1,0.01", "--output", tmp_path / "s")
    assert done.code == 0, done.err
    first = (tmp_path / "s" / "sweep.svg").read_bytes()
    assert (tmp_path / "s" / "sweep.png").exists()
    (tmp_path / "s" / "sweep.svg").unlink()
    assert netdef("plot", tmp_path / "s").code == 0
    assert (tmp_path / "s" / "sweep.svg").read_bytes() == first
    assert netdef("plot", tmp_path / "s", tmp_path).code == 2


def test_lr_find_is_plotted_to_the_requested_file(netdef, good, tmp_path):
    words = ["train", good, "--max-iter", 12, "--output", tmp_path / "run", "--plot", tmp_path / "rates.svg"]
    assert netdef(*words).code == 2  # a run is drawn by `netdef plot`
    netdef(*words, "--lr-find")
    assert "</svg>" in (tmp_path / "rates.svg").read_text()
