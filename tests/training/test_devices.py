"""Runs on several devices: the result of one device, or Caffe's, and what is said about it."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_net import variant

import netdef

SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW", "LAMB", "Lion")
OPTIONS = (
    {"iter_size": 1, "clip_gradients": 0.1},
    {"ema": 0.9},
    {"clip_adaptive": 0.1, "regularization_type": "L1"},
    {"larc": "true"},
    {"clip_value": 0.01, "debug_info": "true"},
)


def trained(path, folder, devices=None, **fields):
    """(losses, {layer: arrays}, the other events as text) of a short run."""
    few = {"max_iter": 3, "display": 1, "average_loss": 1, "test_interval": 0, "snapshot": 0, **fields}
    seen = []
    result = netdef.train(
        path,
        output=Path(folder) / "run",
        devices=devices,
        set={f"solver.{name}": value for name, value in few.items()},
        on_event=seen.append,
    )
    losses = [record["loss"] for record in result.history]
    weights = {name: [np.asarray(a) for a in arrays] for name, arrays in result.model.get_weights().items()}
    return np.asarray(losses), weights, seen[0]


def both(path, folder, devices, **fields):
    """Losses and weights of one device and of several."""
    return [trained(path, Path(folder) / name, n, **fields)[:2] for name, n in (("one", None), ("several", devices))]


def assert_same(one, several):
    """Equality up to the order of sums; of the arrays, those of the last layer: a bias before BatchNorm has a gradient
    of 0, the rounding errors of which some solvers divide by their size."""
    np.testing.assert_allclose(several[0], one[0], rtol=2e-6)
    for a, b in zip(one[1]["ip2"], several[1]["ip2"], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", range(len(SOLVERS)), ids=SOLVERS)
def test_the_result_is_that_of_one_device(eight, tiny, tmp_path, number):
    fields = OPTIONS[number % len(OPTIONS)]
    rate = {} if SOLVERS[number] in ("SGD", "Nesterov", "AdaDelta") else {"base_lr": 0.01}
    assert_same(*eight(both, tiny, tmp_path, 8, type=SOLVERS[number], **rate, **fields))


def test_several_iterations_of_one_dispatch(eight, tiny, tmp_path):
    assert_same(*eight(both, tiny, tmp_path, 4, display=0, max_iter=9, average_loss=9, snapshot=0))


def test_records_are_on_the_devices_or_read_in_batches(eight, tiny, tmp_path):
    """Augmented data and runs shorter than two epochs are read by the host; other data are on the device."""
    short = eight(both, tiny, tmp_path / "short", 8, iter_size=1)
    assert_same(*short)
    assert_same(*eight(both, tiny, tmp_path / "long", 8, iter_size=1, max_iter=40, display=13))


# Caffe's meaning: the batch of the file on each device


PLAIN = (
    ('layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.3 } }', ""),
    ("shuffle: true", "shuffle: false"),
)


def without_statistics(tiny):
    """The net without random numbers and BatchNorm."""
    bn = 'layer { name: "bn" type: "BatchNorm" bottom: "ip1" top: "ip1" batch_norm_param { scale_bias: true } }'
    return variant(tiny, "plain", *PLAIN, (bn, ""))


def test_each_device_has_the_batch_of_the_file(eight, tiny, tmp_path):
    """The mean of the gradients of 3 devices is that of one device which accumulates 3 batches."""
    plain = without_statistics(tiny)
    fields = {"weight_decay": 0.01, "max_iter": 6}  # sums are clipped with iter_size, means with several devices
    one = eight(trained, plain, tmp_path / "one", None, iter_size=3, clip_gradients=0.6, **fields)
    three = eight(trained, plain, tmp_path / "three", [0, 2, 1], iter_size=1, clip_gradients=0.2, **fields)
    assert_same(one, three)
    assert three[2].batch == 24
    assert three[2].divided == "batch 8 on each of 3 devices: 24 an iteration, with statistics of their own"


def test_statistics_are_those_of_the_first_device_and_its_records(eight, tiny, tmp_path):
    """Device 0 of 2 reads every second record, as in Caffe; its running statistics are saved."""
    with h5py.File(tiny.parent / "train.h5") as file:
        x, label = file["x"][:], file["label"][:]
    for name, rows in (("train", slice(None)), ("half", slice(None, None, 2))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"], file["label"] = x[rows], label[rows]
        (tmp_path / f"{name}.txt").write_text(f"{name}.h5\n")
    text = tiny.read_text().replace('"test.txt"', '"train.txt"')
    for old, new in PLAIN:
        text = text.replace(old, new)
    (tmp_path / "two.net").write_text(text)
    (tmp_path / "alone.net").write_text(text.replace('"train.txt"', '"half.txt"'))
    alone = eight(trained, tmp_path / "alone.net", tmp_path / "a", None, iter_size=1, max_iter=1)
    two = eight(trained, tmp_path / "two.net", tmp_path / "t", [0, 1], iter_size=1, max_iter=1)
    for a, b in zip(alone[1]["bn"][:3], two[1]["bn"][:3], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6)
    assert two[0][0] != pytest.approx(alone[0][0], rel=1e-3)  # the loss is the mean of both devices


def test_devices_that_share_a_batch_can_have_statistics_of_their_own(eight, tiny, tmp_path):
    """As groups of BatchNorm, which have the statistics of a part of the batch."""
    plain = variant(tiny, "apart", *PLAIN)
    groups = variant(
        tiny,
        "groups",
        *PLAIN,
        ("batch_size: 5", "batch_size: 4"),
        ("scale_bias: true", "scale_bias: true stats_batch_size: 4"),
    )
    one = eight(trained, groups, tmp_path / "one", None)
    two = eight(trained, plain, tmp_path / "two", 2, **{"mesh.statistics": "DEVICE"})
    assert_same(one, two)


def test_the_batches_of_all_devices_can_have_common_statistics(eight, tiny, tmp_path):
    large = variant(tiny, "large", *PLAIN, ("batch_size: 8", "batch_size: 16"))
    one = eight(trained, large, tmp_path / "one", None)
    two = eight(trained, variant(tiny, "small", *PLAIN), tmp_path / "two", [0, 1], **{"mesh.statistics": "GLOBAL"})
    assert_same(one, two)
    assert two[2].divided == "batch 8 on each of 2 devices, 2 times: 32 an iteration"


# What is said


def test_random_data_are_not_divided_and_the_run_says_so(eight, tmp_path):
    net = """
    layer { name: "x" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 8 dim: 3 } shape { dim: 8 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
    solver { base_lr: 0.1 max_iter: 2 snapshot_after_train: false }
    """
    (tmp_path / "random.net").write_text(net)
    words = "no layer reads records: each of 2 devices computes the whole batch of 8"
    assert eight(trained, tmp_path / "random.net", tmp_path / "run", 2)[2].divided == words


def test_a_batch_that_devices_cannot_divide(eight, tiny, tmp_path):
    words = "layer `d`: 3 devices cannot divide a batch of 8 evenly; set its batch size to 6 or 9"
    for rules in ({}, {"mesh.statistics": "DEVICE"}):
        with pytest.raises(netdef.NetdefError, match=re.escape(words)):
            eight(trained, tiny, tmp_path / "run", 3, **rules)


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (2, "the run is for 2 devices, but JAX finds 1 cpu device; to try several on one CPU, set XLA_FLAGS="),
        (0, "the run is for 0 devices, but JAX finds 1 cpu device."),
        ([0, 1], "the run is for the devices 0,1, but JAX finds 1 cpu device, counted from 0."),
        ([], "the run is for the devices of an empty list, but"),
        ("some", 'devices: expected a number, "all" or a list of indices, not "some"'),
    ],
)
def test_devices_that_do_not_exist(tiny, tmp_path, devices, words):
    with pytest.raises(netdef.NetdefError, match=re.escape(words)):
        netdef.train(tiny, output=tmp_path / "run", devices=devices)
    assert not (tmp_path / "run").exists()


def test_carried_states_need_common_statistics(eight, tmp_path):
    net = """
    layer { name: "x" type: "ArrayData" top: "x" top: "cont" top: "y"
            array_data_param { source: "rows.npz" batch_size: 4 } }
    layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h" recurrent_param { num_output: 3 } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }
    solver { base_lr: 0.1 max_iter: 2 snapshot_after_train: false }
    """
    np.savez(tmp_path / "rows.npz", x=np.ones((8, 2, 5)), cont=np.ones((8, 2)), y=np.ones((8, 2, 3)))
    (tmp_path / "lstm.net").write_text(net)
    with pytest.raises(netdef.NetdefError, match="layer `lstm` carries a state from batch to batch for each row"):
        eight(trained, tmp_path / "lstm.net", tmp_path / "run", [0, 1])
