"""`netdef train` and `netdef test`: their output, the files they write, and their exit codes."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netdef.language.errors import printable


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, good_text: str) -> tuple[Path, Path, str]:
    """A net that was trained for two iterations: its file, the folder of the run, and stdout."""
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "good.net"
    path.write_text(good_text.replace("display: 1", "display: 1 test_iter: 3 test_interval: 2"))
    command = [sys.executable, "-m", "netdef", "train", str(path), "--output", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return path, folder / "run", done.stdout


def test_training_shows_its_progress(trained):
    _, run, shown = trained
    lines = [line for line in shown.splitlines() if "warning:" not in line]
    assert lines[0] == printable(f"Good: 8 parameters, 2 iterations, batch size 4, on cpu, output in {run}")
    assert lines[1].startswith("iteration      0  test: loss ")
    assert lines[2].startswith("iteration      0  loss 0.6931  lr 0.1  ")  # two classes, and weights of 0
    assert lines[-1].startswith("done: 2 iterations in ")


def test_training_leaves_metrics_and_a_snapshot(trained):
    _, run, _ = trained
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows if row["phase"] == "train"] == [0, 1]
    assert (run / "iter_000002").is_dir()


def test_testing_a_run(trained, netdef):
    path, run, _ = trained
    done = netdef("test", path, "--run", run, "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert (told["batches"], told["images"], told["weights"]) == (3, 12, str(run / "iter_000002"))
    assert 0 < told["outputs"]["loss"] < 0.7
    assert json.loads(netdef("test", path, "--run", run, "--iterations", 5, "--json").out)["batches"] == 5


def test_testing_in_words(trained, netdef):
    path, run, _ = trained
    first, last = netdef("test", path, "--run", run).out.splitlines()
    assert first.startswith("loss: 0.")
    assert last.startswith("12 images in ")


def test_testing_needs_weights(trained, netdef, tmp_path, monkeypatch):
    path, _, _ = trained
    monkeypatch.chdir(tmp_path)
    for words in ([], ["--run", tmp_path]):
        done = netdef("test", path, *words)
        assert done.code == 2 and "no complete snapshot" in done.err
    assert netdef("test", path, "--weights", "none.caffemodel").code == 2
    assert netdef("test", path, "--iterations", "many").code == 2


def test_testing_with_the_one_before_a_damaged_snapshot_says_so(trained, netdef, tmp_path):
    path, run, _ = trained
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(copy / "iter_000002", copy / "iter_000009")
    (copy / "iter_000009" / "state.json").write_text("{}")
    done = netdef("test", path, "--run", copy)
    assert done.code == 0 and "iter_000002" in done.out
    assert done.err.startswith(f"warning: snapshot {printable(str(copy / 'iter_000009'))} is damaged (state.json")


def test_resuming_goes_on(trained, netdef, tmp_path):
    path, run, _ = trained
    run = shutil.copytree(run, tmp_path / "run")  # other tests count what is in the first one
    done = netdef("train", path, "--output", run, "--resume", "--max-iter", 3)
    assert done.code == 0
    assert f"resuming at iteration 2 from {printable(str(run / 'iter_000002'))}" in done.out
    assert (run / "iter_000003").is_dir()


def test_set_changes_the_solver(netdef, good, tmp_path):
    done = netdef("train", good, "--output", tmp_path / "run", "--set", "solver.base_lr=0.5", "--max-iter", "1")
    assert done.code == 0
    assert "lr 0.5 " in done.out


def test_a_dry_run_keeps_nothing(netdef, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = netdef("train", good, "--dry-run", "--watch")
    assert done.code == 0
    assert "    ip " in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["good.net"]


def test_overfitting(netdef, good, tmp_path):
    words = ["train", good, "--overfit", 1, "--output", tmp_path / "run"]
    done = netdef(*words, "--max-iter", 5)
    assert done.code == 1
    assert "did NOT overfit one batch" in done.out
    done = netdef(*words, "--max-iter", 500, "--set", "solver.base_lr=2")
    assert done.code == 0
    assert "overfit one batch in" in done.out


def test_stages_choose_the_net_that_is_trained(netdef, good, tmp_path):
    good.write_text(
        good.read_text().replace('type: "InnerProduct"', 'type: "InnerProduct" include { stage: "on" min_level: 1 }')
    )
    assert netdef("train", good, "--dry-run").code == 2
    assert netdef("train", good, "--dry-run", "--stage", "on", "--level", 1).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "FILE is missing"),
        (["none.net"], 2, "the file none.net does not exist"),
        (["{bad}"], 2, "[unknown-field]"),
        (["{good}", "--max-iter", "-3"], 2, "expected a positive integer"),
        (["{good}", "--weights", "none.caffemodel"], 2, "the weight file none.caffemodel does not exist"),
        (["{good}", "--resume", "none"], 2, "the snapshot none does not exist"),
        (["{good}", "--weights", "a", "--resume"], 2, "not allowed with"),
        (["{good}", "--set", "base_lr"], 2, "--set expects KEY=VALUE"),
        (["{good}", "--output", "{good}"], 1, "is a file"),
        (["{good}", "--resume", "--output", "{folder}"], 1, "no snapshot"),
    ],
)
def test_mistakes_end_with_one_line(netdef, good, bad, tmp_path, words, code, said):
    names = {"good": good, "bad": bad, "folder": tmp_path}
    done = netdef("train", *(str(word).format(**names) for word in words))
    assert done.code == code
    assert said in done.err


def test_a_net_without_a_solver(netdef, good):
    good.write_text(good.read_text().partition("solver {")[0])
    done = netdef("train", good)
    assert done.code == 2
    assert "has no solver" in done.err


def test_a_solver_file_with_caffes_flags(netdef, good, tmp_path):
    net, _, solver = good.read_text().partition("solver {")
    good.write_text(net)
    (tmp_path / "solver.prototxt").write_text(f'net: "good.net"\n{solver.strip().removesuffix("}")}')
    done = netdef("train", f"--solver={tmp_path / 'solver.prototxt'}", "--gpu", "all", "--output", tmp_path / "run")
    assert done.code == 0
    assert "note: JAX finds no GPU; --gpu all selects CPU devices" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gpu", "0;1"], "--gpu 0;1: expected the indices of devices, as in --gpu 0,1, or `all`"),
        (["--gpu", "0", "--devices", "1"], "--devices divides the batch, --gpu gives the whole batch to each device"),
        (["--devices", "some"], "expected a positive integer, not 'some'"),
    ],
)
def test_options_for_devices_that_are_wrong(netdef, good, options, words):
    done = netdef("train", good, *options)
    assert done.code == 2
    assert words in done.err


def test_more_devices_than_there_are(netdef, good, tmp_path):
    done = netdef("train", good, "--devices", 64, "--output", tmp_path / "run")
    assert done.code == 1
    assert "the run is for 64 devices, but JAX finds" in done.err


def test_a_loss_that_is_not_finite_fails_the_run(netdef, good, tmp_path):
    good.write_text(
        good.read_text().replace("shape { dim: 4 } }", 'shape { dim: 4 } data_filler { type: "gaussian" } }')
    )
    done = netdef("train", good, "--output", tmp_path / "run", "--set", "solver.base_lr=1e38", "--max-iter", 20)
    assert done.code == 1
    assert done.err.startswith("netdef: error: ")
    assert "iteration" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="requires POSIX signals")
def test_ctrl_c_saves_and_says_how_to_go_on(good, tmp_path):
    command = [sys.executable, "-m", "netdef", "train", str(good), "--output", "run", "--max-iter", "100000000"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        metrics = tmp_path / "run" / "metrics.jsonl"
        deadline = time.monotonic() + 60
        seen = lambda: metrics.exists() and metrics.stat().st_size
        while not seen() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "; saved run/iter_" in out
    again = f"netdef train {shlex.quote(str(good))} --max-iter 100000000 --output run --resume"
    assert out.endswith(f"\nresume with: {again}\n")
