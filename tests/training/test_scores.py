"""Scores of tests: each record counts once, and the same weights have one score, wherever and however it is computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_net import variant

import netdef
from netdef.cli import main
from netdef.data.feed import Feed
from netdef.training import evaluation
from netdef.training import events as ev
from netdef.training.evaluation import Evaluator
from netdef.training.placement import Placement

NET = """
layer {{ name: "d" type: "ArrayData" top: "x" top: "y" include {{ phase: TRAIN }}
        array_data_param {{ source: "rows.npz" batch_size: 8 }} }}
layer {{ name: "d" type: "ArrayData" top: "x" top: "y" include {{ phase: TEST }}
        array_data_param {{ source: "rows.npz" batch_size: {batch} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param {{ num_output: 4 weight_filler {{ type: "gaussian" std: 1 }} }} }}
{layers}
solver {{ base_lr: 0.01 max_iter: 2 display: 0 test_interval: 1 snapshot: 0 }}
"""
LAYERS = """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" loss_param { %s } }
layer { name: "focal" type: "FocalLoss" bottom: "ip" bottom: "y" top: "focal" loss_weight: 0.5 loss_param { %s } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "y" top: "accuracy" top: "each"
        accuracy_param { ignore_label: 3 } include { phase: TEST } }
layer { name: "of_all" type: "Accuracy" bottom: "ip" bottom: "y" top: "of_all" include { phase: TEST } }
"""


@pytest.fixture
def rows(tmp_path):
    """27 records of 4 classes, which are not equally frequent in each batch."""
    rng = np.random.default_rng(1)
    y = np.sort(rng.integers(0, 4, 27))
    np.savez(tmp_path / "rows.npz", x=rng.normal(size=(27, 5)).astype(np.float32), y=y)
    return tmp_path


def written(folder: Path, batch: int, layers: str = LAYERS % ("", "")) -> Path:
    path = folder / f"batch{batch}.net"
    path.write_text(NET.format(batch=batch, layers=layers))
    return path


WEIGHTS = {"ip": [np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32), np.zeros(4, np.float32)]}


@pytest.mark.parametrize("rule", ["", "ignore_label: 3", "ignore_label: 3 normalization: BATCH_SIZE"])
@pytest.mark.parametrize("batch", [4, 10, 26, 40])
def test_the_score_is_that_of_all_records_as_one_batch(rows, batch, rule):
    layers = LAYERS % (rule, rule)
    whole = netdef.test(written(rows, 27, layers), WEIGHTS)
    parts = netdef.test(written(rows, batch, layers), WEIGHTS)
    assert (parts.images, parts.batches) == (27, -(-27 // batch))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    for name, value in whole.outputs.items():
        np.testing.assert_allclose(parts.outputs[name], value, rtol=1e-6, err_msg=name)


def test_outputs_with_a_value_for_each_record(rows):
    """Their mean is over the batches that have the record, as far as there is one."""
    layers = LAYERS % ("", "") + 'layer { name: "p" type: "Softmax" bottom: "ip" top: "p" }'
    found = netdef.test(written(rows, 10, layers), WEIGHTS).outputs["p"]
    assert found.shape == (10, 4)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_a_net_that_fixes_its_batch_size_counts_records_twice_and_says_so(rows):
    layers = LAYERS.replace('bottom: "ip"', 'bottom: "flat"') % ("", "")
    layers = (
        'layer { name: "r" type: "Reshape" bottom: "ip" top: "flat" reshape_param { shape { dim: 10 dim: 4 } } }'
        + layers
    )
    found = netdef.test(written(rows, 10, layers), WEIGHTS)
    assert (found.images, found.batches) == (30, 3)
    assert "a test reads 27 records in batches of 10, and counts 3 of them twice" in found.notes[0]
    assert found.notes[0].endswith("choose a batch size that divides 27")


def test_iter_is_as_in_caffe(rows):
    """The mean over batches, the last of which begins again with the first records."""
    exact = netdef.test(written(rows, 10), WEIGHTS)
    caffe = netdef.test(written(rows, 10), WEIGHTS, batches=3)
    assert caffe.images == 30
    assert caffe.loss != pytest.approx(exact.loss, rel=1e-6)


@pytest.mark.parametrize("field", ["", "precision: BF16", "ema: 0.9"])
def test_one_score_for_the_same_weights(tiny, tmp_path, capsys, field):
    """The test at the end of training, `netdef.test` with the model and with the run, the command, and the report."""
    path = variant(tiny, "once", ("test_iter: 2 ", ""), ("batch_size: 5", "batch_size: 4"))
    path.write_text(path.read_text().replace("solver {", f"solver {{ {field} "))
    events = []
    result = netdef.train(path, output=tmp_path / "run", max_iter=16, on_event=events.append)
    last = [e for e in events if isinstance(e, ev.Tested)][-1]
    assert last.iteration == result.iteration
    by_model, by_run = (netdef.test(path, weights) for weights in (result.model, tmp_path / "run"))
    alone = netdef.test(tmp_path / "run")
    for found in (by_model, by_run, alone):
        assert found.loss == last.loss
        assert {name: float(value) for name, value in found.outputs.items()} == last.outputs
    capsys.readouterr()
    assert main(["test", str(path), "--run", str(tmp_path / "run"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["outputs"]["accuracy"] == round(last.outputs["accuracy"], 6)
    assert (printed["images"], printed["batches"]) == (15, 4)
    assert alone.as_dict() | {"seconds": 0} == printed | {"seconds": 0}
    assert main(["test", str(path), "--run", str(tmp_path / "run"), "--json", "--confusion"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == printed["outputs"]["accuracy"]


def test_the_settings_of_a_run_are_those_of_its_test(rows, monkeypatch):
    """Of the last run of a file as of a run that is named, as `netdef test` does it."""
    monkeypatch.chdir(rows)
    text = NET.format(batch=10, layers=LAYERS % ("", "")).replace("num_output: 4", "num_output: ${outputs}")
    Path("wide.net").write_text("let outputs: 4\n" + text)
    for outputs in (5, 6):
        netdef.train("wide.net", set={"outputs": outputs}, max_iter=outputs - 4)
    last = netdef.test("wide.net")
    assert last.weights == "runs/wide-2/iter_000002" and last.notes == ()
    assert netdef.test("runs/wide-2/iter_000002").loss == last.loss
    first = netdef.test("wide.net", "runs/wide")
    assert first.weights == "runs/wide/iter_000001" and first.loss != last.loss
    assert netdef.test("wide.net", "runs/wide", set={"outputs": 5}).loss == first.loss
    Path("runs/wide-2/iter_000002/state.json").write_text("{")
    for place, words in (
        ("runs/wide-2/iter_000002", "is damaged: .*; name the folder of the run"),
        ("runs/wide-2", "no complete snapshot in runs/wide-2; give weights"),
    ):
        with pytest.raises(netdef.NetdefError, match=words):
            netdef.test(place)
    assert netdef.test("wide.net", "runs/wide/iter_000001").loss == first.loss


def test_weights_of_a_format_that_is_a_folder(rows):
    path = written(rows, 10)
    netdef.compile(path, weights=WEIGHTS).save_weights(rows / "w.orbax")
    found = netdef.test(path, rows / "w.orbax")
    assert found.loss == netdef.test(path, WEIGHTS).loss and found.weights == str(rows / "w.orbax")


def test_without_a_run_there_is_one_message(rows, monkeypatch):
    monkeypatch.chdir(rows)
    path = written(rows, 10)
    for place, words in (
        (path, "no run of .*batch10.net with a snapshot; give weights"),
        (path.read_text(), "no run of <text> with a snapshot"),
        ("missing.net", "missing.net: file not found"),
        (rows, "is not the folder of a run"),
    ):
        with pytest.raises(netdef.NetdefError, match=words):
            netdef.test(place)


def test_a_test_begins_with_the_first_record(rows):
    """Repeated tests of one net have the same score; with `test_iter` they continue."""
    net = netdef.load(written(rows, 10), phase="TEST")
    weights = netdef.compile(net, weights=WEIGHTS).arrays()
    for batches, repeats in ((0, True), (2, False)):
        evaluator = Evaluator(net, batches, 0, net)
        scores = [evaluator.test(weights, iteration).loss for iteration in (0, 7, 8)]
        evaluator.close()
        assert (len({*scores}) == 1) == repeats


class OneOfTwo(Placement):
    """The placement of a process that another one helps."""

    process, count = (1, 2), 2


@pytest.mark.parametrize(("batch", "share"), [(10, (1, 2)), (9, (0, 1))])
def test_each_process_opens_the_data_once(rows, batch, share, monkeypatch):
    """And reads its rows only, if the devices can divide a batch."""
    opened = []

    def feed(net, *, process, **more):
        opened.append(process)
        return Feed(net, process=process, **more)

    monkeypatch.setattr(evaluation, "Feed", feed)
    net = netdef.load(written(rows, batch), phase="TEST")
    Evaluator(net, 0, 0, net, OneOfTwo()).close()
    assert opened == [share]


# Several devices


def scored(path, devices):
    """Scores of a net on some devices."""
    found = netdef.test(path, WEIGHTS, devices=devices)
    return found.loss, found.images, {name: np.asarray(value) for name, value in found.outputs.items()}


@pytest.mark.parametrize("devices", [8, 3, [5, 2]])
@pytest.mark.parametrize("batch", [8, 10, 40])
def test_scores_of_several_devices(eight, rows, batch, devices):
    """Those of one device, also of batches and of a last batch that they cannot divide."""
    path = written(rows, batch, LAYERS % ("ignore_label: 3", ""))
    one, several = (eight(scored, path, n) for n in (None, devices))
    assert several[:2] == (pytest.approx(one[0], rel=1e-6), 27)
    for name, value in one[2].items():
        np.testing.assert_allclose(several[2][name], value, rtol=1e-6)


def test_devices_that_do_not_exist(rows):
    with pytest.raises(netdef.NetdefError, match="the run is for 2 devices, but JAX finds 1"):
        netdef.test(written(rows, 8), WEIGHTS, devices=2)
