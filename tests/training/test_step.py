"""The order of operations before a solver's update, on one linear layer with a known gradient."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
from netdef.solvers.sgd import SGD
from netdef.training.step import clipped


def data(folder, rows):
    """A net with the loss (w x) for each row in turn, so that the gradient of w is the row."""
    import h5py

    with h5py.File(folder / "d.h5", "w") as file:
        file["x"] = np.asarray(rows, np.float32)
    (folder / "d.txt").write_text("d.h5\n")
    net = (
        'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "d.txt" batch_size: 1 } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" param { lr_mult: 2 decay_mult: 3 }'
        "        inner_product_param { num_output: 1 bias_term: false } }"
        'layer { name: "l" type: "Reduction" bottom: "ip" top: "l" loss_weight: 1 }'
    )
    path = folder / "linear.net"
    path.write_text(net + "solver { base_lr: 0.1 max_iter: 1 snapshot_after_train: false }")
    return path


def trained(path, start, **fields):
    settings = {f"solver.{name}": value for name, value in fields.items()}
    result = netdef.train(
        path, weights={"ip": [np.asarray([start], np.float32)]}, output=path.parent / "run", set=settings
    )
    return result.model.get_weights()["ip"][0][0]


@pytest.mark.parametrize(
    ("fields", "gradient"),
    [
        ({}, [3, 4]),
        ({"iter_size": 2}, [3, 4]),  # the mean of two equal gradients
        ({"clip_gradients": 6}, [3, 4]),  # a norm of 5
        ({"clip_gradients": 2.5}, [1.5, 2]),
        ({"clip_gradients": 6, "iter_size": 2}, [1.8, 2.4]),  # the sum has norm 10: clipped before it is divided
        ({"weight_decay": 0.1}, [3 + 0.3 * 1, 4 - 0.3 * 2]),
        ({"weight_decay": 0.1, "regularization_type": "L1"}, [3 + 0.3, 4 - 0.3]),
        ({"weight_decay": 0.1, "clip_gradients": 2.5}, [1.5 + 0.3, 2 - 0.6]),  # decay is not clipped
        ({"clip_value": 3.5}, [3, 3.5]),
        ({"larc": "true", "larc_eta": 0.5}, np.array([3, 4]) * 0.5 * 5**0.5 / 5 / 2),  # instead of lr_mult
        ({"local_lr_auto": "true", "local_gw_ratio": 0.5}, np.array([3, 4]) * 0.5 * 5**0.5 / 5 / 2),
    ],
)
def test_order(tmp_path, fields, gradient):
    start = np.array([1.0, -2.0])
    got = trained(data(tmp_path, [[3, 4], [3, 4]]), start, **fields)
    np.testing.assert_allclose(got, start - 0.1 * 2 * np.asarray(gradient), rtol=1e-5)


def test_larc_with_clip_never_increases_the_learning_rate(tmp_path):
    path = data(tmp_path, [[3, 4]])
    slow = trained(path, [1, -2], larc="true", larc_policy="clip", larc_eta=0.01)
    np.testing.assert_allclose(slow, np.array([1, -2]) - 0.01 * 5**0.5 / 5 * np.array([3, 4]), rtol=1e-5)
    fast = trained(path, [1, -2], larc="true", larc_policy="clip", larc_eta=100)
    np.testing.assert_allclose(fast, np.array([1, -2]) - 0.1 * np.array([3, 4]), rtol=1e-5)


def test_adaptive_clipping_is_per_unit():
    weights = (np.float32([[3, 4], [0.3, 0.4]]),)  # norms 5 and 0.5
    grads = (np.float32([[0.3, 0.4], [0.3, 0.4]]),)
    got = clipped(SGD(base_lr=1, clip_adaptive=0.5), grads, weights)[0]
    np.testing.assert_allclose(got, [[0.3, 0.4], [0.15, 0.2]], rtol=1e-5)
