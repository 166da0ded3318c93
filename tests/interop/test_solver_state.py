"""netdef resumes runs of Caffe and ends with the same weights as Caffe, and Caffe can read netdef's states."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.cli import main
from netdef.interop import read_weights
from netdef.interop.caffe_proto import messages
from netdef.interop.solver_state import export_snapshot, per_array, read_state, write_state

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"
RUNS = ("sgd_inv", "adam", "nesterov_bn", "adadelta_bn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("states") / "solvers"
    shutil.copytree(GOLDEN, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("NETDEF_CACHE", str(path / "cache"))
        yield path


def assert_ends_there(run, result):
    """Every parameter is within 2 % of its change during training, the tolerance of the recorded runs."""
    arrays = np.load(f"{run}.npz")
    got = result.model.get_weights()
    assert result.iteration == 30
    for key in arrays.files:
        if key.startswith("final/"):
            layer, i = key.removeprefix("final/").split("/")
            moved = np.abs(arrays[key] - arrays[f"init/{layer}/{i}"]).max() + 1e-3
            assert np.abs(got[layer][int(i)] - arrays[key]).max() <= 0.02 * moved, key


@pytest.mark.parametrize("run", RUNS)
def test_resumed_from_caffe(run, folder):
    assert_ends_there(
        run, netdef.train(f"{run}.solver.prototxt", resume=f"{run}_iter_15.solverstate", output=f"a_{run}")
    )


def test_resumed_on_the_command_line_by_caffes_flag(folder, capsys):
    assert (
        main(["train", "--solver", "adam.solver.prototxt", "--snapshot", "adam_iter_15.solverstate", "--output", "cli"])
        == 0
    )
    assert "iteration     30" in capsys.readouterr().out
    arrays, got = np.load("adam.npz"), read_weights("cli")
    for key in arrays.files:
        if key.startswith("final/"):
            layer, i = key.removeprefix("final/").split("/")
            np.testing.assert_allclose(got[layer][int(i)], arrays[key], rtol=1e-3, atol=1e-5)
    assert main(["train", "sgd_fixed.solver.prototxt", "--resume", "adam_iter_15.solverstate", "--output", "no"]) == 1
    assert "8 histories, but solver SGD keeps 1 for each of the net's 4" in capsys.readouterr().err


@pytest.mark.parametrize(("run", "ending"), [("sgd_inv", "solverstate"), ("adadelta_bn", "solverstate.h5")])
def test_ours_is_what_caffe_writes(run, ending, folder):
    first = netdef.train(
        f"{run}.solver.prototxt",
        weights=f"{run}.init.caffemodel",
        max_iter=15,
        output=f"b_{run}",
        set={"solver.snapshot": 15},
    )
    export_snapshot(first.snapshot, Path(f"ours_{run}.{ending}"))
    ours, caffes = read_state(f"ours_{run}.{ending}"), read_state(f"{run}_iter_15.solverstate")
    assert (ours.iteration, ours.current_step) == (caffes.iteration, caffes.current_step) == (15, 0)
    for a, b in zip(ours.history, caffes.history, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.read(), b.read(), rtol=1e-3, atol=1e-6)
    assert_ends_there(run, netdef.train(f"{run}.solver.prototxt", resume=f"ours_{run}.{ending}", output=f"c_{run}"))


def test_the_binary_form_is_a_solver_state(tmp_path):
    history = [np.float32([[1, 2]]), np.float32(3)]
    write_state(tmp_path / "s.solverstate", 7, history, "s.caffemodel", 2)
    sent = messages().SolverState.FromString((tmp_path / "s.solverstate").read_bytes())
    assert (sent.iter, sent.learned_net, sent.current_step) == (7, "s.caffemodel", 2)
    assert [list(b.shape.dim) for b in sent.history] == [[1, 2], []] and list(sent.history[1].data) == [3]
    for ending in ("solverstate", "solverstate.h5"):
        write_state(tmp_path / f"t.{ending}", 7, history, "s.caffemodel", 2)
        read = read_state(tmp_path / f"t.{ending}")
        assert (read.iteration, read.learned_net, read.current_step) == (7, "s.caffemodel", 2)
        assert all((a.read() == b).all() and a.shape == b.shape for a, b in zip(read.history, history, strict=True))


def test_histories_per_array():
    assert {t: per_array(t) for t in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")} == {
        "SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2,
    }  # fmt: skip


def test_another_solver_or_net_is_refused(folder):
    refused = [
        ("adam", "sgd_inv", "histor"),
        ("sgd_fixed", "adam", "8 histories, but solver SGD keeps 1 for each of the net's 4"),
    ]
    for net, state, told in refused:
        with pytest.raises(netdef.NetdefError, match=told if net == "sgd_fixed" else "net"):
            netdef.train(f"{net}.solver.prototxt", resume=f"{state}_iter_15.solverstate", output="refused")


def test_weights_that_are_not_beside_it(folder, tmp_path, monkeypatch):
    shutil.copy("adam_iter_15.solverstate", tmp_path / "x.solverstate")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(netdef.NetdefError, match="put adam_iter_15.caffemodel into the same folder"):
        netdef.train(folder / "adam.solver.prototxt", resume=tmp_path / "x.solverstate", output="missing")
    with pytest.raises(netdef.NetdefError, match="solver state not found"):
        netdef.train(folder / "adam.solver.prototxt", resume=tmp_path / "none.solverstate", output="missing")
    with pytest.raises(netdef.NetdefError, match="not a .solverstate"):
        read_state(folder / "adam_iter_15.caffemodel")
