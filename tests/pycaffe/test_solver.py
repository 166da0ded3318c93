"""Solvers step by step: the same results as `netdef.train` and Caffe, with arrays that a script can read and change."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe
from netdef.interop.solver_state import read_state
from netdef.language.errors import printable
from netdef.training.run import Result

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("solvers") / "solvers"
    shutil.copytree(GOLDEN, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


def assert_ends_there(run: str, net: caffe.Net) -> None:
    """Every parameter is within 2 % of its change during training, the tolerance of the recorded runs."""
    arrays = np.load(f"{run}.npz")
    for key in arrays.files:
        if key.startswith("final/"):
            layer, i = key.removeprefix("final/").split("/")
            moved = np.abs(arrays[key] - arrays[f"init/{layer}/{i}"]).max() + 1e-3
            assert np.abs(net.params[layer][int(i)].data - arrays[key]).max() <= 0.02 * moved, key


@pytest.mark.parametrize("run", ["adam", "nesterov_bn"])
def test_thirty_steps_end_where_caffe_ended(run, folder):
    solver = caffe.get_solver(f"{run}.solver.prototxt")
    assert type(solver) is getattr(caffe, f"{solver.param.type}Solver")
    solver.net.copy_from(f"{run}.init.caffemodel")
    wanted = np.load(f"{run}.npz")["losses"][:, 0]
    losses = []
    for _ in range(30):
        solver.step(1)
        losses.append(float(solver.net.blobs[solver.net.outputs[-1]].data))
    assert solver.iter == 30
    assert_ends_there(run, solver.net)
    if len(solver.net.outputs) == 1 and solver.param.iter_size == 1:
        np.testing.assert_allclose(losses, wanted, rtol=1e-3)


def test_on_from_caffes_state_and_from_ones_own(folder, capsys):
    solver = caffe.AdamSolver("adam.solver.prototxt")
    solver.restore("adam_iter_15.solverstate")
    assert solver.iter == 15
    solver.param.__dict__["snapshot_prefix"] = "mine"
    solver.step(5)
    state = solver.snapshot()
    assert state == Path("mine_iter_20.solverstate") and read_state(state).iteration == 20
    again = caffe.get_solver("adam.solver.prototxt")
    again.solve(state)
    assert again.iter == 30
    assert_ends_there("adam", again.net)


TEXT = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
solver { base_lr: 0.5 momentum: 0.9 lr_policy: "step" stepsize: 3 gamma: 0.1 max_iter: 6 display: 2 test_iter: 2
         test_interval: 3 average_loss: 2 iter_size: 2 weight_decay: 0.01 snapshot_prefix: "PREFIX" %s }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Result:
    path = tmp_path_factory.mktemp("run")
    return netdef.train(TEXT % "", output=path)


def test_what_train_does(trained, capsys):
    """The same values, including random data, and the same log lines as Caffe."""
    solver = caffe.SGDSolver(TEXT % "")
    solver.step(6)
    wanted = trained.model.get_weights()["ip"]
    for blob, want in zip(solver.net.params["ip"], wanted, strict=True):
        np.testing.assert_allclose(blob.data, want, rtol=1e-5, atol=1e-7)
    said = capsys.readouterr().err
    assert "Iteration 0, Testing net (#0)\n    Test net output #0: acc = " in said
    assert "Iteration 4, loss = " in said and "    Train net output #0: loss = " in said
    assert "Iteration 3, Testing net" in said and "Iteration 1," not in said


def test_a_script_looks_at_and_changes_what_is_trained():
    solver = caffe.get_solver(TEXT % "")
    held, test = solver.net.params["ip"][0].data, solver.test_nets[0]
    assert test.params["ip"][0].data is held
    before = held.copy()
    solver.step(1)
    np.testing.assert_allclose(before - held, solver.net.params["ip"][0].diff, atol=1e-7)
    held[...] = 0
    solver.net.params["ip"][1].data[...] = [0, 9]
    assert test.forward()["acc"] == 1
    solver.step(1)
    assert 0 < np.abs(held).max() < 1


def test_callbacks_and_the_learning_rate():
    solver, told = caffe.get_solver(TEXT % ""), []
    other = caffe.Net((TEXT % "").partition("solver {")[0], caffe.TEST)
    solver.share_weights(other)
    assert other.params["ip"][0] is solver.net.params["ip"][0]

    def on_gradients_ready():
        told.append((solver.iter, float(np.abs(solver.net.params["ip"][0].diff).max())))
        solver.net.params["ip"][0].diff[...] = 0

    solver.add_callback(lambda: told.append(solver.iter), on_gradients_ready)
    before = other.params["ip"][1].data.copy()
    solver.step(2)
    assert [told[0], told[1][0], told[2], told[3][0]] == [0, 0, 1, 1] and told[1][1] > 0
    assert np.abs(other.params["ip"][1].data - before).max() > 0
    assert solver.lr == pytest.approx(0.5)
    solver.step(1)
    assert solver.lr == pytest.approx(0.05)


def test_a_solve_saves_what_caffe_saves(tmp_path, capsys):
    text = (TEXT % "snapshot: 4 snapshot_format: HDF5").replace("PREFIX", printable(str(tmp_path / "né")))
    caffe.get_solver(text).solve()
    names = [f"né_iter_{n}.{kind}.h5" for n in (4, 6) for kind in ("caffemodel", "solverstate")]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    solver = caffe.get_solver(text)
    state = tmp_path / "né_iter_6.solverstate.h5"
    solver.restore(state)
    assert solver.iter == 6 and read_state(state).learned_net == str(tmp_path / names[2])


@pytest.mark.parametrize(
    ("more", "make", "told"),
    [
        ("", caffe.AdamSolver, "the type of this solver is SGD, not Adam; use get_solver"),
        ("recompute: AUTO", caffe.get_solver, "`recompute` is not supported by pycaffe solvers; use netdef.train"),
        ("ema: 0.9", caffe.get_solver, "`ema` is not supported by pycaffe solvers; use netdef.train"),
        ("precision: BF16", caffe.get_solver, "remove `precision`"),
    ],
)
def test_what_only_whole_runs_know(more, make, told):
    with pytest.raises(netdef.NetdefError, match=told):
        make(TEXT % more)


def test_states_that_do_not_fit(folder):
    solver = caffe.get_solver("sgd_inv.solver.prototxt")
    for path, told in (("adam_iter_15.solverstate", "histor"), ("none.solverstate", "solver state not found")):
        with pytest.raises(netdef.NetdefError, match=told):
            solver.restore(path)
    assert solver.iter == 0


def test_a_loss_that_is_not_a_number_ends_it():
    solver = caffe.get_solver(TEXT % "")
    solver.net.params["ip"][0].data[0] = np.nan
    with pytest.raises(netdef.NetdefError, match="the loss is nan at iteration 0"):
        solver.step(1)
