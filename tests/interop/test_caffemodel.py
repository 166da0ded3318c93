"""`.caffemodel` files of every version, written by the protobuf package and read by netdef, and vice versa."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from weight_files import assert_same

import netdef
from netdef.interop import read_weights
from netdef.interop.caffe_proto import messages
from netdef.interop.formats.caffemodel import CaffeModel
from netdef.interop.means import read_mean, write_mean
from netdef.interop.wire import encoded

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"
W = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7
B = np.float32([0.5, -1])


def blob(array, **how):
    made = messages().BlobProto(**how)
    if not how.get("num"):
        made.shape.dim.extend(array.shape)
    return made


def saved(tmp_path, net):
    path = tmp_path / "w.caffemodel"
    path.write_bytes(net if isinstance(net, bytes) else net.SerializeToString())
    return path


def conv(layer, w, b):
    for message in (w, b):
        layer.blobs.append(message)
    return layer


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["today", "V1", "V0"])
def test_layers_of_every_age(kind, legacy, tmp_path):
    shapes = [{"num": 2, "channels": 3, "height": 2, "width": 2}, {"num": 1, "channels": 1, "height": 1, "width": 2}]
    w, b = (blob(a, data=a.ravel().tolist(), **(s if legacy else {})) for a, s in zip((W, B), shapes, strict=True))
    net = messages().NetParameter(name="old")
    if kind == "today":
        conv(net.layer.add(name="c", type="Convolution", bottom=["x"], top=["y"]), w, b)
    elif kind == "V1":
        conv(net.layers.add(name="c", type=4, bottom=["x"], top=["y"]), w, b)
    else:
        outer = net.layers.add(bottom=["x"], top=["y"])
        outer.layer.name, outer.layer.type = "c", "conv"
        conv(outer.layer, w, b)
    path = saved(tmp_path, net)
    (entry,) = CaffeModel().read(path)
    assert (entry.name, entry.type, entry.bottoms, entry.tops) == ("c", "Convolution", ("x",), ("y",))
    got = read_weights(path)["c"]
    assert [a.shape for a in got] == [(2, 3, 2, 2), (1, 1, 1, 2) if legacy else (2,)]
    assert (got[0] == W).all() and (got[1].ravel() == B).all()
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
              layer { name: "c" type: "Convolution" bottom: "x" top: "y" 
                      convolution_param { num_output: 2 kernel_size: 2 } }"""
    assert_same(netdef.compile(text, weights=path).get_weights(), {"c": [W, B]})


def test_doubles_half_precision_and_diffs(tmp_path):
    net = messages().NetParameter()
    doubles = blob(W, double_data=W.astype(float).ravel().tolist(), diff=[9.0] * 24)
    half = blob(B, raw_data=B.astype("<f2").tobytes(), raw_data_type=2)
    conv(net.layer.add(name="c"), doubles, half)
    assert_same(read_weights(saved(tmp_path, net)), {"c": [W, B]})


def test_numbers_that_are_not_packed(tmp_path):
    """A tag before each value, in two runs with the shape between them."""
    tagged = [b"\x2d" + struct.pack("<f", v) for v in W.ravel()]
    shape = messages().BlobProto()
    shape.shape.dim.extend(W.shape)
    content = b"".join(tagged[:10]) + shape.SerializeToString() + b"".join(tagged[10:])
    layer = messages().LayerParameter(name="c").SerializeToString() + b"\x3a" + encoded(len(content)) + content
    path = saved(tmp_path, b"\xa2\x06" + encoded(len(layer)) + layer)
    assert_same(read_weights(path), {"c": [W]})


@pytest.mark.parametrize("run", ["sgd_inv", "adam", "nesterov_bn", "adadelta_bn"])
def test_what_caffe_wrote(run):
    arrays = np.load(GOLDEN / f"{run}.npz")
    got = read_weights(GOLDEN / f"{run}.init.caffemodel")
    wanted = {key: arrays[key] for key in arrays.files if key.startswith("init/")}
    assert {f"init/{layer}/{i}" for layer, blobs in got.items() for i, _ in enumerate(blobs)} == set(wanted)
    for key, array in wanted.items():
        _, layer, i = key.split("/")
        assert got[layer][int(i)].shape == array.shape and (got[layer][int(i)] == array).all()


def test_what_netdef_writes_is_a_net_parameter(small, written):
    net = messages().NetParameter.FromString(written["caffemodel"].read_bytes())
    assert net.name == "Small"
    layers = {layer.name: layer for layer in net.layer}
    assert [layer.name for layer in net.layer] == [node.name for node in small.net.layers]
    assert layers["scale"].type == "Scale" and list(layers["scale"].bottom) == list(layers["scale"].top) == ["b"]
    for name, arrays in small.get_weights().items():
        for sent, array in zip(layers[name].blobs, arrays, strict=True):
            assert tuple(sent.shape.dim) == array.shape and (np.float32(sent.data) == array.ravel()).all()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (dict(data=[1.0] * 23), "2x3x2x2, but 23 values"),
        (dict(), "2x3x2x2, but 0 values"),
        (dict(raw_data=b"123", raw_data_type=1), "3 bytes of values, which is not a multiple of 4"),
        (dict(raw_data=bytes(24), raw_data_type=9), "values of type 9"),
    ],
)
def test_numbers_that_do_not_fill_the_shape(made, told, tmp_path):
    net = messages().NetParameter()
    net.layer.add(name="c").blobs.append(blob(W, **made))
    with pytest.raises(netdef.NetdefError, match=told):
        read_weights(saved(tmp_path, net))


def test_a_shape_that_asks_for_everything(tmp_path):
    net = messages().NetParameter()
    net.layer.add(name="c").blobs.add(data=[1.0]).shape.dim.extend([1 << 40, 1 << 40])
    with pytest.raises(netdef.NetdefError, match="1099511627776x1099511627776, but 1 values"):
        read_weights(saved(tmp_path, net))


def test_mean_files(tmp_path):
    path = tmp_path / "mean.binaryproto"
    write_mean(path, W[0])
    assert (read_mean(path) == W[:1]).all() and read_mean(path).shape == (1, 3, 2, 2)
    sent = messages().BlobProto.FromString(path.read_bytes())
    assert (sent.num, sent.channels, sent.height, sent.width) == (1, 3, 2, 2)
