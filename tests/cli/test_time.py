"""`netdef time`: measurements are consistent, the cost of layers is that of XLA, and errors are reported."""

from __future__ import annotations

import json
import sys

import pytest

from netdef import load
from netdef.inspect.layer_cost import layer_costs
from netdef.inspect.target import CHIPS
from netdef.inspect.timing import Pass, inputs_of, measure, table

NET = """
name: "Timed"
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "again" type: "Convolution" bottom: "conv" top: "again" convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "again" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 iter_size: 2 momentum: 0.9 }
"""
DEPLOY = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 5 dim: 7 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture(scope="module")
def timed():
    return measure(load(NET, phase="TRAIN"), iterations=3, warm_up=1)


def test_every_pass_is_timed(timed):
    assert [p.name for p in timed.passes] == ["forward", "forward+backward", "step"]
    for p in timed.passes:
        assert 0 < p.fastest_s <= p.middle_s[0] <= p.median_s <= p.middle_s[1] <= p.slowest_s
        assert p.iterations == 3 and p.compile_s > 0 and p.first_s > 0 and p.memory and p.traffic
        assert p.flop_per_s == p.flop / p.median_s and p.images_per_s == p.images / p.median_s
    assert [p.images for p in timed.passes] == [4, 4, 8]  # two batches make a step
    forward, both, step = (p.flop for p in timed.passes)
    assert both > 2 * forward and step == 2 * both


def test_layers_are_counted_as_xla_does(timed):
    costs = {x.name: x.cost for x in timed.layers}
    conv = 2 * (4 * 6 * 6 * 6) * (3 * 9)  # two for each multiply-add
    bias = 4 * 6 * 6 * 6
    assert conv <= costs["conv"].forward_flop <= conv + 2 * bias
    assert conv * 0.9 <= costs["conv"].backward_flop <= conv + 2 * bias  # of the filters only
    assert costs["again"].backward_flop > 1.5 * costs["again"].forward_flop  # of the filters and of the input
    assert costs["d"].forward_flop == costs["d"].backward_flop == 0
    assert costs["ip"].forward_bytes >= 4 * (4 * 96 + 2 * 96 + 8)
    total = sum(c.forward_flop for c in costs.values())
    assert timed.passes[0].flop == total


def test_a_loop_counts_by_the_multiply_adds_of_the_layer():
    net = load(
        'layer { name: "x" type: "Input" top: "x" top: "c" input_param { shape { dim: 6 dim: 2 dim: 3 } shape { dim: 6 dim: 2 } } }\n'
        'layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "c" top: "h" recurrent_param { num_output: 4 } }',
        phase="TEST",
    )
    cost = layer_costs(net)[1].cost
    node = net.layers[1]
    own = node.layer.multiply_adds([net.shapes[v] for v in node.bottoms], [net.shapes[v] for v in node.tops])
    assert cost.own_count and cost.forward_flop == 2 * own > 0


def test_labels_are_in_their_range():
    inputs = inputs_of(load(DATA, phase="TRAIN"))
    assert set(inputs["label"].tolist()) <= {0, 1, 2} and inputs["label"].max() > 0
    assert inputs["data"].std() > 0.5


DATA = """
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 50 dim: 7 } shape { dim: 50 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
"""


def test_the_table(timed):
    lines = str(timed).splitlines()
    assert lines[0].startswith("net Timed, phase TRAIN, batch 4, on ")
    assert lines[2].split()[:3] == ["median", "fastest", "slowest"]
    assert [line.split()[0] for line in lines[3:6]] == ["forward", "forward+backward", "step"]
    assert "warm-up: 1 each" in lines[7]
    assert [line.split()[0] for line in lines[-6:]] == ["d", "conv", "again", "ip", "loss", "total"]
    assert table(("a", "bb"), [("xyz", "1")]) == ["a    bb", "xyz   1"]


def test_the_command(netdef, tmp_path):
    path = tmp_path / "deploy.prototxt"
    path.write_text(DEPLOY)
    done = netdef("time", "--model", path, "--iterations", 2, "--warm-up", 1, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["phase"], found["batch"], found["device_peak"] or 0) == ("TEST", 5, found["device_peak"] or 0)
    (only,) = found["passes"]
    assert only["name"] == "forward" and only["images_per_s"] > 0 and only["iterations"] == 2
    assert set(only) > set(Pass.__dataclass_fields__)
    assert [x["name"] for x in found["layers"]] == ["x", "ip", "prob"]
    assert found["layers"][1]["forward_flop"] >= 2 * 5 * 7 * 3 and found["layers"][1]["output"] == [5, 3]
    assert found["layers"][1]["forward_s"] is None
    done = netdef("time", path, "--iterations", 1, "--layers")
    assert done.code == 0 and "phase TEST, batch 5" in done.out and "GFLOP/s" in done.out
    head, data, ip, prob, total = (line.split() for line in done.out.splitlines()[-5:])
    assert head[-3:] == ["backward", "ms", "(alone)"] and total[0] == "total"
    assert float(ip[-2]) > 0 and data == ["x", "Input", "5x7"]


ABSENT = """
layer { name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "no.txt" batch_size: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def test_shapes_of_missing_data(netdef, tmp_path):
    absent, deploy = tmp_path / "absent.net", tmp_path / "deploy.net"
    absent.write_text(ABSENT)
    deploy.write_text(DEPLOY)
    done = netdef("time", absent, "--shape", "data=6,4", "--iterations", 1, "--json")
    assert done.code == 0 and done.err == "", done.err
    found = json.loads(done.out)
    assert found["batch"] == 6 and [p["name"] for p in found["passes"]] == ["forward", "forward+backward"]
    assert found["layers"][1]["output"] == [6, 3]
    done = netdef("time", deploy, "--batch", 3, "--iterations", 1, "--json")
    assert json.loads(done.out)["layers"][2]["output"] == [3, 3]
    for words, told in (
        ((absent,), "the shape of `data` is"),
        ((absent, "--shape", "dat=1,2"), "the net has no input `dat`; its inputs: data, label"),
        ((absent, "--shape", "data"), "--shape expects BLOB=DIMS"),
        ((absent, "--shape", "data=6,4", "--shape", "label=5"), "6"),
    ):
        done = netdef("time", *words)
        assert done.code == 2 and told in done.err, (words, done.err)


def test_nets_that_cannot_be_timed(netdef, good, bad, tmp_path):
    unknown = tmp_path / "data.net"
    unknown.write_text(
        'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "no.txt" batch_size: 2 } }'
    )
    for words, code, told in (
        (("time",), 2, "FILE is missing"),
        (("time", tmp_path / "none.net"), 2, "none.net does not exist"),
        (("time", bad), 2, "num_outputs"),
        (("time", good, "--iterations", 0), 2, "expected a positive integer"),
        (("time", good, "--warm-up", 0), 2, "--warm-up is 0; it must be at least 1"),
        (("time", unknown), 2, "set it, as in --shape x="),
        (("time", good, "--batch", 3), 2, "--batch requires a net with inputs"),
    ):
        done = netdef(*words)
        assert done.code == code and told in done.err, (words, done.err)


def test_targets_that_are_refused(netdef, good, monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)  # as if it was not installed
    for words, code, told in (
        (("--target", "v5e:2x2"), 1, "requires the package libtpu, which is not installed; run `pip install libtpu`."),
        (("--target", "v7:2x2"), 2, "--target v7:2x2: there is no target `v7`. Did you mean `v4`? The targets are v4"),
        (("--target", "v5e"), 2, "as in v5e:2x2"),
        (("--devices", 2), 1, "the run is for 2 devices, but JAX finds 1 cpu device"),
        (("--target", "v5e:2x2", "--devices", 0), 2, "expected a positive integer"),
        (("--target", "v5e:2x2", "--layers"), 2, "--layers measures time on a device that is present; omit it, or"),
        (("--target", "v5e:2x2", "--iterations", 3), 2, "--iterations measures time"),
        (("--target", "v5e:2x2", "--warm-up", 3), 2, "--warm-up measures time"),
    ):
        done = netdef("time", good, *words)
        assert done.code == code and told in done.err and done.out == "", (words, done.err)


def test_the_help_lists_the_targets(netdef):
    done = netdef("time", "--help")
    assert done.code == 0 and all(chip.example in done.out for chip in CHIPS.values())
