"""Predictions and features on several devices: those of one device, for any number of rows."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
from netdef.inference.predict import Predictor

NET = """
layer {{ name: "d" type: "ArrayData" top: "x" top: "y" array_data_param {{ source: "rows.npz" batch_size: {batch} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param {{ num_output: 3 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
{more}
layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param {{ scale_bias: true }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }}
"""
FIXED = 'layer { name: "r" type: "Reshape" bottom: "conv" top: "conv" reshape_param { shape { dim: 5 dim: 27 } } }'


@pytest.fixture
def folder(tmp_path):
    """19 records."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=rng.normal(size=(19, 2, 5, 5)).astype(np.float32), y=np.arange(19) % 4)
    return tmp_path


def written(folder, batch, more=""):
    path = folder / "net.net"
    path.write_text(NET.format(batch=batch, more=more))
    return path


def found(path, devices):
    """Predictions for 7 rows, and features of all records, with the weights of the fillers."""
    model = netdef.compile(path)
    rows = np.load(path.parent / "rows.npz")["x"][:7]
    scores = [p.scores for p in netdef.predict(model, rows, devices=devices)]
    return np.stack(scores), netdef.features(model, ["ip", "conv", "y"], devices=devices)


@pytest.mark.parametrize(("batch", "more"), [(1, ""), (8, ""), (5, ""), (5, FIXED), (16, "")])
def test_the_results_are_those_of_one_device(eight, folder, batch, more):
    path = written(folder, batch, more)
    (scores, blobs), (same, others) = (eight(found, path, devices) for devices in (None, "all"))
    assert scores.shape == (7, 4)
    np.testing.assert_allclose(same, scores, rtol=1e-4, atol=1e-6)
    assert {name: len(rows) for name, rows in others.items()} == dict.fromkeys(("ip", "conv", "y"), 19)
    for name, rows in blobs.items():
        np.testing.assert_allclose(others[name], rows, rtol=1e-4, atol=1e-5, err_msg=name)


def places(path, devices):
    """How many devices have an input, a weight and a result."""
    model = netdef.compile(path)
    predictor = Predictor(model, None, devices=devices)
    own = [a.sharding.num_devices for a in model.arrays().values()]
    return own, [a.sharding.num_devices for a in predictor.model.arrays().values()]


def test_each_device_has_the_weights_and_the_given_model_stays_where_it_is(eight, folder):
    own, placed = eight(places, written(folder, 8), [1, 3])
    assert set(own) == {1} and set(placed) == {2}


def test_features_need_a_row_for_each_record(folder):
    model = netdef.compile(written(folder, 5))
    with pytest.raises(netdef.NetdefError, match="`loss` has the shape"):
        netdef.features(model, ["loss"])
