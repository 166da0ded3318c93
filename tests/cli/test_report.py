"""`netdef report`: the report of a finished run, and of damaged, empty and missing ones."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
import small_detector

from netdef.cli import main
from netdef.view.subjects import RunSubject

pytest.importorskip("matplotlib")
CLASSES = """
name: "Signs"
layer {{ name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param {{ source: "{list}" batch_size: 6 }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "y" top: "accuracy" include {{ phase: TEST }} }}
solver {{ base_lr: 0.5 lr_policy: "fixed" max_iter: 20 display: 5 test_iter: 1 test_interval: 10 random_seed: 7 }}
"""
ROWS = [
    {"iteration": 0, "phase": "train", "loss": 2.0, "lr": 0.1, "seconds": 1.0},
    {"iteration": 5, "phase": "test", "loss": 1.5, "lr": 0.1, "accuracy": 0.5, "seconds": 2.5},
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; its net classifies numbers as negative or positive."""
    h5py = pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("report")
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"] = [[-3.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]]
        file["y"] = [0, 0, 0, 1, 1, 1]
    (folder / "d.txt").write_text("d.h5\n")
    (folder / "signs.net").write_text(CLASSES.format(list="d.txt"))
    assert main(["train", str(folder / "signs.net"), "--output", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with metrics.jsonl and nothing else."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder


def text_of(path: Path) -> str:
    """Returns the text of a page without markup."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", path.read_text(), flags=re.S).split())


def test_a_finished_run(netdef, finished):
    done = netdef("report", finished)
    assert (done.code, done.out, done.err) == (0, f"{finished / 'report.html'}\n", "")
    words = text_of(finished / "report.html")
    assert "Run run: 20 iterations in" in words and ", finished" in words
    assert "6 of 6 records (100.00%) are classified correctly with the weights of iter_000020" in words
    assert "test accuracy 1 1" in words and "seed 7" in words
    assert "ip InnerProduct ip 6x2 4" in words  # one input, two outputs and their biases
    assert not [p.name for p in finished.iterdir() if p.name.startswith(".report")]


def test_no_test_leaves_the_confusion_out_and_the_folder_as_it_is(netdef, finished, tmp_path):
    before = sorted(p.name for p in finished.iterdir())
    done = netdef("report", finished, "--no-test", "--output", tmp_path / "signs.html")
    assert (done.code, done.out) == (0, f"{tmp_path / 'signs.html'}\n")
    assert "classified correctly" not in text_of(tmp_path / "signs.html")
    assert sorted(p.name for p in finished.iterdir()) == before


def test_a_report_is_written_over_the_last_one(netdef, run):
    (run / "report.html").write_text("old")
    assert netdef("report", run).code == 0
    assert text_of(run / "report.html").startswith("run: run report")


def test_without_its_net_the_page_says_so(netdef, run):
    assert netdef("report", run).code == 0
    words = text_of(run / "report.html")
    assert "there is no copy of the net in" in words and "test accuracy 0.5 0.5 5" in words


def test_a_damaged_run(netdef, finished, tmp_path):
    """The report contains everything that can be read, and names what cannot be read."""
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken, ignore=shutil.ignore_patterns("report.html"))
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 25, "phase": "tr')
    (broken / "run.json").write_text("[")
    (broken / "net.prototxt").write_text("layer { <b>")
    done = netdef("report", broken)
    assert (done.code, done.err) == (0, "")
    words = text_of(broken / "report.html")
    assert "damaged lines of metrics.jsonl that were skipped: 1" in words and "Not recorded." in words
    assert "layer { &lt;b&gt;" in words and "test accuracy 1 1" in words


def test_a_non_finite_loss_is_reported(netdef, run):
    last = {"iteration": 10, "phase": "train", "loss": "nan", "lr": 0.1, "seconds": 3.0}
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, last]))
    assert netdef("report", run).code == 0
    assert "train loss not finite 2 0" in text_of(run / "report.html")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing"], 2, "the run missing does not exist; name a folder that `netdef train` wrote"),
        (["run/metrics.jsonl"], 2, "the run run/metrics.jsonl does not exist"),
        (["."], 1, "is not a run: it has no metrics.jsonl. It contains runs: begun, noise, run"),
        (["empty"], 1, "is not a run: it has no metrics.jsonl"),
        (["begun"], 1, "has no records yet: it is empty"),
        (["noise"], 1, "has no records yet: none of its 2 lines is a record"),
        (["run", "-o", "no/x.html"], 2, "the folder no does not exist"),
        (["run", "--plugin", "not_there"], 2, "not_there"),
    ],
)
def test_errors_are_reported_in_one_line(netdef, run, monkeypatch, words, code, said):
    monkeypatch.chdir(run.parent)
    for name, records in (("empty", None), ("begun", ""), ("noise", "no\nrecords\n")):
        Path(name).mkdir()
        if records is not None:
            Path(name, "metrics.jsonl").write_text(records)
    done = netdef("report", *words)
    assert (done.code, done.out) == (code, "") and said in done.err and len(done.err.splitlines()) == 1
    assert not list(run.parent.rglob("*.html"))


def test_without_matplotlib_the_extra_is_named(netdef, run, monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = netdef("report", run)
    assert done.code == 1 and "pip install matplotlib" in done.err and len(done.err.splitlines()) == 1
    assert not (run / "report.html").exists()


def test_a_detector_has_its_worst_images_in_the_report(netdef, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_detector.write_data(tmp_path)
    (tmp_path / "ssd.net").write_text(small_detector.trained_by(solver="base_lr: 0"))
    assert main(["train", "ssd.net", "--output", "run"]) == 0
    assert netdef("report", "run").code == 0
    words = text_of(tmp_path / "run" / "report.html")
    assert "11 of 12 objects (91.67%) in 6 images are found with the weights of iter_000002" in words
    assert "with 1 false detection, at" in words and "confusion" not in words
    assert "record 1. missed: class 1 record 4. false: class 1" in words  # the worst first
    assert (tmp_path / "run" / "report.html").read_text().count("data:image/png") == 2


def test_the_page_of_a_run_has_the_same_confusion_matrix(finished):
    subject = RunSubject(finished)
    assert subject.judge()["judged"] is None
    assert subject.judge(started=True)["working"] == "iter_000020"
    end = time.monotonic() + 60
    while subject.judge(started=True)["working"] and time.monotonic() < end:  # one test at a time, and only one
        time.sleep(0.05)
    found = subject.judge()
    assert found["tested"] == "iter_000020" and found["judged"].counts == ((3, 0), (0, 3))
    assert found["judged"].words == "6 of 6 records (100.00%) are classified correctly."
    assert subject.net().diagrams[0].layers[1].name == "ip"
