"""HDF5Output: several batches in one file, in a jitted and in a differentiated net; a path that cannot be written."""

from __future__ import annotations

import h5py
import jax
import numpy as np
import pytest
from flax import nnx

import netdef
from netdef.language.errors import printable

NET = """force_backward: true
layer {{ name: "in" type: "Input" top: "x" top: "y" input_param {{ shape {{ dim: 2 dim: 3 }} shape {{ dim: 2 }} }} }}
layer {{ name: "keep" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param {{ file_name: "{path}" }} }}
layer {{ name: "loss" type: "Reduction" bottom: "x" top: "loss" loss_weight: 1 }}"""
X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([5, 7])


def test_batches_follow_one_another_with_four_axes(tmp_path):
    path = tmp_path / "out.h5"
    path.write_text("what an earlier run left")
    model = netdef.compile(NET.format(path=printable(str(path))), phase="TRAIN")
    call = nnx.jit(lambda m, x, y: m(x=x, y=y))
    call(model, X, Y)
    call(model, X + 10, Y)
    jax.grad(lambda x: model.loss(x=x, y=Y))(X + 20)
    jax.effects_barrier()
    with h5py.File(path) as file:
        assert file["data"].shape == (6, 3, 1, 1) and file["label"].shape == (6, 1, 1, 1)
        assert file["data"][:, 0, 0, 0].tolist() == [0, 3, 10, 13, 20, 23]
        assert file["label"][:].ravel().tolist() == [5, 7] * 3


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    model = netdef.compile(NET.format(path=printable(str(tmp_path / "nowhere" / "out.h5"))), phase="TRAIN")
    with pytest.raises(Exception, match="nowhere/out.h5: layer `keep` cannot write"):
        model(x=X, y=Y)
        jax.effects_barrier()


def test_batch_sizes_must_be_equal():
    text = NET.format(path="out.h5").replace("shape { dim: 2 } }", "shape { dim: 3 } }")
    with pytest.raises(netdef.CompileError, match="data is 2x3 and label is 3"):
        netdef.load(text)
