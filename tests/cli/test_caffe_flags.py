"""`netdef train` with Caffe's flags: snapshots under Caffe's names, log files of glog, and effects of signals."""

from __future__ import annotations

import re
import signal

import numpy as np
import pytest

import netdef as package

NET = """
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {
        shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
"""
FIRST = 'net: "net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 4 display: 2 snapshot: 2\nsnapshot_prefix: "models/quick" test_iter: 2 test_interval: 2 %s'


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "first.prototxt").write_text(FIRST % "")
    (tmp_path / "second.prototxt").write_text(
        (FIRST % "snapshot_format: HDF5").replace("0.1", "0.01").replace("max_iter: 4", "max_iter: 6")
    )
    (tmp_path / "whole.prototxt").write_text((FIRST % "").replace("max_iter: 4", "max_iter: 6"))
    return tmp_path


def weights(path):
    net = package.compile(NET, weights=path)
    return np.concatenate([np.ravel(array) for array in net.get_weights()["ip"]])


def test_two_stages_of_a_script_for_caffe(files, netdef):
    """As in train_quick.sh: the second solver resumes from the state that the first one leaves."""
    assert netdef("train", "--solver=first.prototxt").code == 0
    for iteration in (2, 4):
        assert (files / f"models/quick_iter_{iteration}.caffemodel").is_file()
    done = netdef("train", "--solver=second.prototxt", "--snapshot=models/quick_iter_4.solverstate")
    assert done.code == 0 and "resuming at iteration 4" in done.out
    last = files / "models/quick_iter_6.caffemodel.h5"
    assert last.is_file() and (files / "models/quick_iter_6.solverstate.h5").is_file()
    assert np.abs(weights(last) - weights(files / "models/quick_iter_4.caffemodel")).max() > 0


def test_a_solver_without_caffes_flag_writes_only_its_run(files, netdef):
    assert netdef("train", "first.prototxt").code == 0
    assert not list(files.glob("**/*.caffemodel")) and (files / "models/quick/iter_000004").is_dir()


def test_a_file_that_cannot_be_written_does_not_end_the_run(files, netdef):
    (files / "models").write_text("a file")
    done = netdef("train", "--solver=first.prototxt", "--output=run")
    assert done.code == 0 and "models/quick_iter_2.solverstate and its weights cannot be written" in done.err
    assert (files / "run/iter_000004").is_dir()


def test_a_log_file_has_the_lines_of_caffe(files, netdef):
    (files / "log").mkdir()
    assert netdef("train", "--solver", "first.prototxt", "--log_dir", "log").code == 0
    (log,) = files.glob("log/caffe.*.log.INFO.*")
    assert (files / "log/caffe.INFO").resolve() == log.resolve()
    head, *lines = [line for line in log.read_text().splitlines() if not line.startswith(("Running", "Log line"))]
    assert head.startswith("Log file created at: ")
    assert all(re.match(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+:\d+\] ", line) for line in lines)
    text = "\n".join(line.split("] ", 1)[1] for line in lines)
    assert text.startswith("Solving first\n") and text.endswith("Optimization Done.")
    assert re.findall(r"Iteration (\d+), Testing net \(#0\)\n    Test net output #0: loss = [\d.e-]+", text) == [
        "0",
        "2",
        "4",
    ]
    assert re.findall(
        r"Iteration (\d+) \(.*\), loss = .*\n    Train net output #0: loss = .*\nIteration \d, lr = 0.1", text
    ) == ["0", "2"]
    assert "Snapshotting to models/quick/iter_000002" in text
    done = netdef("train", "--solver=first.prototxt", "--log_dir=missing")
    assert done.code == 2 and "missing" in done.err


@pytest.mark.parametrize(("number", "effect", "saved"), [("SIGINT", "none", [4]), ("SIGHUP", "snapshot", [1, 4])])
def test_effects_of_signals(files, number, effect, saved):
    solver = (FIRST % "").replace("snapshot: 2", "").replace("display: 2", "display: 1")
    (files / "solver.prototxt").write_text(solver.replace("test_interval: 2", "test_interval: 100"))
    before = signal.getsignal(signal.Signals[number])

    def send(event):
        if isinstance(event, package.training.events.Stepped) and event.iteration == 1:
            signal.raise_signal(signal.Signals[number])

    done = package.train("solver.prototxt", on_event=send, signals={signal.Signals[number]: effect})
    assert done.why == "max_iter" and done.iteration == 4
    assert [int(p.name[-6:]) for p in sorted(done.folder.glob("iter_*"))] == saved
    assert signal.getsignal(signal.Signals[number]) is before


def test_what_a_signal_cannot_do(files, netdef):
    done = netdef("train", "--solver=first.prototxt", "--sighup_effect=exit")
    assert done.code == 2 and "invalid choice: 'exit'" in done.err
    done = netdef("train", "--solver=first.prototxt", "--sighup_effect=none", "--hosts", "localhost:1", "--host", "0/2")
    assert done.code == 2 and "require a run in one process" in done.err
