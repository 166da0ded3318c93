"""Nets defined in Python, and errors in such definitions."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe
from netdef.pycaffe import layers as L
from netdef.pycaffe import params as P


def little(n: caffe.NetSpec) -> caffe.NetSpec:
    n.data, n.label = L.DummyData(shape=[dict(dim=[4, 1, 8, 8]), dict(dim=[4])], ntop=2)
    n.conv1 = L.Convolution(
        n.data, kernel_size=3, num_output=6, weight_filler=dict(type="xavier"), param=[dict(lr_mult=1), dict(lr_mult=2)]
    )
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.AVE)
    n.fc1 = L.InnerProduct(n.pool1, num_output=np.int64(5), weight_filler=dict(type="gaussian", std=0.5))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=2)
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_weight=2.0, include=dict(phase=caffe.TRAIN))
    return n


BY_HAND = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: [4, 1, 8, 8] } shape { dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
        convolution_param { kernel_size: 3 num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 pool: AVE } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool1" top: "fc1"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "score" type: "InnerProduct" bottom: "fc1" top: "score" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_weight: 2 include { phase: TRAIN } }
"""


def test_a_net_is_what_it_would_be_by_hand(tmp_path):
    text = str(little(caffe.NetSpec()).to_proto())
    made, wanted = netdef.load(text), netdef.load(BY_HAND)
    assert [node.layer for node in made.layers] == [node.layer for node in wanted.layers]
    assert str(made) == str(wanted)
    (tmp_path / "little.prototxt").write_text(text)
    net = caffe.Net(str(tmp_path / "little.prototxt"), caffe.TRAIN)
    assert net.forward()["loss"] > 0 and net.blob_loss_weights["loss"] == 2
    assert caffe.Net(little(caffe.NetSpec()).to_proto(), caffe.TEST).outputs == ["label", "score"]


def test_branches_silence_and_names_that_are_made():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 3]))
    both = [L.InnerProduct(n.data, num_output=4) for _ in range(2)]
    n.sum = L.Eltwise(*both, operation=P.Eltwise.SUM)
    n.quiet = L.Silence(n.data, ntop=0)
    n["last"] = L.TanH(n.sum, name="a/b")
    net = netdef.load(str(n.to_proto()), phase="TEST")
    names = ["data", "InnerProduct1", "InnerProduct2", "sum", "quiet", "a/b"]
    assert [node.name for node in net.layers] == names and net.outputs == ("last",)
    alone = caffe.to_proto(L.ReLU(L.InnerProduct(L.Input(shape=dict(dim=[1, 2])), num_output=3), in_place=True))
    assert [node.name for node in netdef.load(str(alone)).layers] == ["Input1", "InnerProduct1", "ReLU1"]
    assert len(both[0].to_proto().layer) == 2
    data, label = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=[2])], ntop=2)
    assert list(caffe.to_proto(L.Silence(data, label, ntop=0).inputs[1]).layer[0].top) == ["DummyData1", "DummyData2"]


def test_names_that_are_made_are_counted_once():
    """A top that several layers use, or that has a name already, takes no further number."""
    top = L.InnerProduct(L.InnerProduct(L.Input(shape=dict(dim=[1, 2])), num_output=2), num_output=3)
    made = caffe.to_proto(L.InnerProduct(L.Eltwise(top, top), num_output=1))
    names = ["Input1", "InnerProduct1", "InnerProduct2", "Eltwise1", "InnerProduct3"]
    assert [layer.name for layer in made.layer] == names


def test_a_deep_net_is_no_deep_recursion():
    top = L.Input(shape=dict(dim=[1, 2]))
    for _ in range(3000):
        top = L.ReLU(top, in_place=True)
    assert list(caffe.to_proto(top).layer[-1].top) == ["Input1"]
    n = caffe.NetSpec()
    top = L.Input(shape=dict(dim=[1, 2]))
    for _ in range(3000):
        top = L.Sigmoid(top)
    n.end = top
    assert len(n.to_proto().layer) == 3001


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda n: L.Convolutoin(n.data), "there is no layer type `Convolutoin`. Did you mean `Convolution`?"),
        (lambda n: L.ReLU("data"), "ReLU input 0 is not a Top (type is <class 'str'>)"),
        (lambda n: L.ReLU(in_place=True), "L.ReLU with in_place=True requires an input"),
        (lambda n: setattr(n, "x", 3), "n.x must be a layer, not 3"),
        (lambda n: n.dta, "there is no top `dta` yet. Did you mean `data`?"),
        (
            lambda n: (setattr(n, "r", L.ReLU(n.data, engine=object())), n.to_proto()),
            "L.ReLU: `engine` cannot be <object",
        ),
    ],
)
def test_what_cannot_be_written(work, told):
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 3]))
    with pytest.raises(netdef.NetdefError) as caught:
        work(n)
    assert told in str(caught.value)
