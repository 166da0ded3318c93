"""Modes and devices: JAX's default device, and the warning without an accelerator."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe

TEXT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def settings(monkeypatch):
    """Records updates of JAX's configuration without applying them."""
    given = {}
    monkeypatch.setattr(jax.config, "update", given.__setitem__)
    return given


def test_modes_on_a_machine_with_accelerators(settings, monkeypatch):
    gpus = [SimpleNamespace(platform="gpu", id=i) for i in range(2)]
    cpu = SimpleNamespace(platform="cpu", id=0)
    monkeypatch.setattr(jax, "devices", lambda kind=None: [cpu] if kind == "cpu" else gpus)
    caffe.set_mode_gpu()
    assert settings["jax_default_device"] is gpus[0]
    caffe.set_device(1)
    assert settings["jax_default_device"] is gpus[1]
    with pytest.raises(netdef.NetdefError, match="no device 2: JAX finds 2, numbered from 0"):
        caffe.set_device(2)
    caffe.set_mode_cpu()
    assert settings["jax_default_device"] is cpu


def test_without_any_the_cpu_computes(settings, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda kind=None: [SimpleNamespace(platform="cpu")])
    with pytest.warns(UserWarning, match="JAX finds no accelerator, so the CPU is used"):
        caffe.set_mode_gpu()
    caffe.set_device(0)
    assert settings == {}


def test_seeds(request):
    request.addfinalizer(lambda: caffe.set_random_seed(0))
    first = caffe.Net(TEXT, caffe.TEST).params["ip"][0].data
    caffe.set_random_seed(5)
    second, third = (caffe.Net(TEXT, caffe.TEST).params["ip"][0].data for _ in range(2))
    assert (second == third).all() and (first != second).any()


def test_a_solver_uses_the_seed_of_the_script_unless_its_file_has_one(request):
    request.addfinalizer(lambda: caffe.set_random_seed(0))
    text = """
    layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: [2, 3] }
            data_filler { type: "gaussian" } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
            inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }
    solver { base_lr: 0.1 lr_policy: "fixed" %s }
    """
    drawn = {}
    for seed in (0, 5, 6):
        caffe.set_random_seed(seed)
        for field in ("", "random_seed: 5", "random_seed: -1"):
            solver = caffe.get_solver(text % field)
            weights = solver.net.params["ip"][0].data.copy()
            solver.net.forward()
            drawn[seed, field] = np.concatenate([weights.ravel(), solver.net.blobs["data"].data.ravel()])
    assert all(np.array_equal(drawn[seed, ""], drawn[seed, "random_seed: -1"]) for seed in (0, 5, 6))
    assert all(np.array_equal(drawn[seed, "random_seed: 5"], drawn[5, ""]) for seed in (0, 5, 6))
    assert not np.isin(drawn[0, ""], drawn[5, ""]).any() and not np.isin(drawn[5, ""], drawn[6, ""]).any()


# Several solvers


@pytest.fixture
def alone():
    """Sets a single solver again."""
    yield
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(False)


@pytest.fixture
def solver_file(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.ones((4, 2), np.float32), y=np.ones((4, 3), np.float32))
    path = tmp_path / "solver.net"
    path.write_text(
        TEXT.replace('type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } }', DATA)
        + 'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }\n'
        + "solver { base_lr: 0.1 max_iter: 2 snapshot_after_train: false }\n"
    )
    return path


DATA = 'type: "ArrayData" top: "x" top: "t" array_data_param { source: "rows.npz" array: ["x", "y"] batch_size: 2 }'


def test_a_script_for_one_gpu(alone, solver_file):
    """It may say that its solver is the only one."""
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(True)
    solver = caffe.get_solver(str(solver_file))
    solver.step(1)
    assert solver.iter == 1


def test_one_of_several_solvers_names_the_command(alone, solver_file):
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    assert (caffe.solver_count(), caffe.solver_rank()) == (2, 1)
    with pytest.raises(netdef.NetdefError, match="this is solver 1 of 2.*`netdef train solver.prototxt --gpu 0,1`"):
        caffe.SGDSolver(str(solver_file))


def test_caffes_script_for_several_gpus_ends_with_one_error(capsys):
    """The first call of python/train.py in BVLC/caffe."""
    with pytest.raises(netdef.NetdefError, match="NCCL, which netdef does not have; `netdef train"):
        caffe.NCCL.new_uid()
    with pytest.raises(netdef.NetdefError, match="netdef train"):
        caffe.NCCL(None, "uid")
    caffe.init_log(0, True)
    caffe.log("Using devices [0, 1]")
    assert capsys.readouterr().err.endswith("] Using devices [0, 1]\n")
