"""A small net with small data; once compiled, it is trained in a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

NET = """
name: "Tiny"
layer { name: "d" type: "HDF5Data" top: "x" top: "label" include { phase: TRAIN }
        hdf5_data_param { source: "train.txt" batch_size: 8 shuffle: true } }
layer { name: "d" type: "HDF5Data" top: "x" top: "label" include { phase: TEST }
        hdf5_data_param { source: "test.txt" batch_size: 5 } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "ip1" top: "ip1" batch_norm_param { scale_bias: true } }
layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.3 } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
solver { base_lr: 0.1 momentum: 0.9 weight_decay: 0.001 lr_policy: "step" gamma: 0.5 stepsize: 10 max_iter: 20
         display: 4         average_loss: 3 iter_size: 2 test_iter: 2 test_interval: 8 snapshot: 5 random_seed: 3 }
"""


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory):
    """Compiles programs once for all tests of a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETDEF_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the net, with its data in the same folder: three classes that can be separated."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 4)) * 2
    for name, n in (("train", 60), ("test", 15)):
        label = np.arange(n) % 3
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["x"] = (centers[label] + rng.normal(size=(n, 4))).astype(np.float32)
            file["label"] = label.astype(np.float32)
        (folder / f"{name}.txt").write_text(f"{name}.h5\n")
    path = folder / "tiny.net"
    path.write_text(NET)
    return path


def variant(tiny: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Writes the net with some of its text replaced, beside its data; returns the path."""
    text = tiny.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tiny.parent / f"{name}.net"
    path.write_text(text)
    return path
