"""`bn_recalibrate`: tests and snapshots with statistics of batch normalization from N training batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.interop import snapshot

KINDS = {
    "bvlc": 'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.99 }',
    "nvidia": 'type: "BatchNorm" batch_norm_param { scale_bias: true moving_average_fraction: 0.99 }',
    "yjxiong": 'type: "BN" bn_param { dialect: YJXIONG slope_filler { value: 1 } momentum: 0.99 }',
    "happynear": 'type: "BN" bn_param { slope_filler { value: 1 } momentum: 0.99 }',
}
NET = """
layer {{ name: "d" type: "ArrayData" top: "x" top: "y"
        array_data_param {{ source: "d.npz" batch_size: 8 shuffle: false }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param {{ num_output: 4 bias_term: false weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "bn" bottom: "ip" top: "bn" {kind} }}
layer {{ name: "score" type: "InnerProduct" bottom: "bn" top: "score"
        inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "y" top: "loss" }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "score" bottom: "y" top: "accuracy" include {{ phase: TEST }} }}
solver {{ base_lr: 0.5 lr_policy: "fixed" max_iter: 4 test_interval: 2 random_seed: 3 display: 1 }}
"""


@pytest.fixture
def file(tmp_path: Path, request) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (32, 5)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=(x[:, 0] > 3).astype(np.float32))
    path = tmp_path / "n.net"
    path.write_text(NET.format(kind=KINDS[getattr(request, "param", "nvidia")]))
    return path


@pytest.mark.parametrize(("file", "kind"), [(kind, kind) for kind in KINDS], indirect=["file"])
def test_the_saved_statistics_are_those_of_the_training_data(file, kind, tmp_path):
    result = netdef.train(file, output=tmp_path / "run", set={"solver.bn_recalibrate": 4})
    saved = netdef.compile(netdef.load(file, "TEST"), weights=str(tmp_path / "run")).get_weights()
    rows = (np.load(tmp_path / "d.npz")["x"] @ saved["ip"][0].T).reshape(4, 8, 4)  # batches
    var = rows.var(1).mean(0)
    wanted = {
        "bvlc": lambda bn: [bn[0], bn[1] * 7 / 8, bn[2][0]],
        "nvidia": lambda bn: [bn[0], bn[1] * 7 / 8, 1.0],
        "yjxiong": lambda bn: [bn[2], bn[3], 1.0],
        "happynear": lambda bn: [bn[2], bn[3], 1.0],
    }[kind](saved["bn"])
    second = (1 / np.sqrt(rows.var(1) + 1e-5)).mean(0) if kind == "happynear" else var
    for found, value in zip(wanted, (rows.mean((0, 1)), second, 1.0), strict=True):
        np.testing.assert_allclose(np.ravel(found), value, rtol=2e-5, atol=1e-5)
    last = [row for row in result.history if row["phase"] == "test"][-1]
    assert last["bn_recalibrate"] == 4
    assert "bn_recalibrate" not in result.scores  # it is not measured
    assert not [s.name for s in netdef.runs(tmp_path)[0].scores if "bn_recalibrate" in s.name]
    assert json.loads((result.snapshot / "state.json").read_text())["bn_recalibrate"] == 4


def test_training_is_the_same_and_a_resumed_run_goes_on(file, tmp_path):
    plain = netdef.train(file, output=tmp_path / "a")
    set = {"solver.bn_recalibrate": 2, "solver.snapshot": 2}
    whole = netdef.train(file, output=tmp_path / "b", set=set)
    losses = lambda result: [row["loss"] for row in result.history if row["phase"] == "train"]
    assert losses(whole) == losses(plain)
    tests = lambda result: [row["loss"] for row in result.history if row["phase"] == "test"]
    assert tests(whole)[1:] != tests(plain)[1:]
    again = netdef.train(file, output=tmp_path / "b", set=set, resume=tmp_path / "b/iter_000002")
    assert losses(again) == losses(whole) and tests(again) == tests(whole)
    stats = [snapshot.load(tmp_path / f"{run}/iter_000004").arrays["bn.0"] for run in "ab"]
    np.testing.assert_array_equal(*stats)


def test_a_net_without_statistics_is_warned_of(file):
    file.write_text(file.read_text().replace(KINDS["nvidia"], 'type: "ReLU"'))
    found = netdef.load(file, set={"solver.bn_recalibrate": 2}).diagnostics
    assert [d.code for d in found] == ["no-effect"]
