"""`Net`: arrays that are updated in place, passes over parts of a net, and comparison with results of Caffe."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from golden_cases import arrays, assert_close, by_layer, named, rows

import netdef
import netdef.pycaffe as caffe

NET = """
name: "Small"
force_backward: true
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { global_pooling: true pool: AVE } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
X = np.random.default_rng(0).normal(size=(2, 1, 6, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def shared() -> caffe.Net:
    """A net for tests that do not change the parameters."""
    return caffe.Net(NET, caffe.TEST)


@pytest.mark.parametrize(
    "kind", ["net_in_place", "net_fan_out", "net_loss_weight", "net_shared_params", "LSTM", "BatchNorm"]
)
def test_caffes_own_results(kind):
    """Compares forward, backward and statistics with recorded cases, using only the arrays of blobs."""
    recorded = arrays("layers", kind)
    for row in rows("layers")[kind][:1]:
        case = recorded[row["id"]]
        net = caffe.Net(row["net"], row["phase"])
        for layer, blobs in by_layer(case, "blob").items():
            for blob, array in zip(net.params[layer], blobs, strict=True):
                blob.data[...] = array
        for name, array in named(case, "in").items():
            net.blobs[name].data[...] = array
        net.forward()
        for name, want in named(case, "out").items():
            assert_close(net.blobs[name].data, want, kind, f"{row['id']} blob {name}")
        for name, diff in named(case, "dout").items():
            net.blobs[name].diff[...] = diff
        net.backward()
        for name, want in named(case, "din").items():
            assert_close(net.blobs[name].diff, want, kind, f"{row['id']} gradient on {name}")
        for layer, wants in by_layer(case, "dblob").items():
            for i, want in enumerate(wants):
                assert_close(net.params[layer][i].diff, want, kind, f"{row['id']} gradient {layer}[{i}]")
        for layer, wants in by_layer(case, "blob_after").items():
            for i, want in enumerate(wants):
                assert_close(net.params[layer][i].data, want, kind, f"{row['id']} after {layer}[{i}]")


def test_what_a_net_says_of_itself(shared):
    assert (shared.name, shared.inputs, shared.outputs) == ("Small", ["data"], ["prob"])
    assert list(shared.blobs) == shared._blob_names == ["data", "conv", "pool", "ip", "prob"]
    assert list(shared.params) == ["conv", "ip"] and [b.data.shape for b in shared.params["conv"]] == [
        (3, 1, 3, 3),
        (3,),
    ]
    assert shared._layer_names == ["in", "conv", "relu", "pool", "ip", "prob"]
    assert [layer.type for layer in shared.layers][1:3] == ["Convolution", "ReLU"]
    assert shared.top_names["relu"] == shared.bottom_names["relu"] == ["conv"]
    assert shared.layer_dict["ip"].blobs[0] is shared.params["ip"][0]
    blob = shared.blobs["conv"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 4, 4, 96)


def test_arrays_are_read_and_written_in_place():
    net, model = caffe.Net(NET, "TEST"), netdef.compile(NET)
    held = net.blobs["prob"].data
    net.blobs["data"].data[...] = X
    weights = net.params["ip"][0].data
    for factor in (1, 3, -2):
        weights *= factor
        given = model.get_weights()
        given["ip"][0] = weights
        model.set_weights(given)
        made = net.forward()["prob"]
        assert made is held is net.blobs["prob"].data
        np.testing.assert_allclose(held, model(data=X)["prob"], rtol=1e-6)
    net.params["conv"][0].data.flat = 0
    net.params["conv"][1].data[1] = 2
    net.forward()
    assert net.blobs["conv"].data[:, 1].min() == net.blobs["conv"].data[:, 1].max() == 2


def test_a_result_that_is_kept_does_not_follow_the_input():
    """A blob with the same values as its input has its own array."""
    net = caffe.Net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "f" type: "Flatten" bottom: "x" top: "f" }',
        caffe.TEST,
    )
    net.blobs["x"].data[...] = 1
    net.forward()
    net.blobs["x"].data[...] = 2
    assert (net.blobs["f"].data == 1).all()


def test_parts_of_a_net(shared):
    net = shared
    whole = net.forward(data=X)["prob"].copy()
    assert set(net.forward(end="pool")) == {"pool"}
    net.blobs["ip"].data[...] = [[0, 0], [0, 100]]
    assert np.allclose(net.forward(start="prob")["prob"], [[0.5, 0.5], [0, 1]])
    net.blobs["pool"].data[...] = 0
    assert set(net.forward(blobs=["conv"], start="ip")) == {"prob", "conv"}
    np.testing.assert_allclose(net.blobs["ip"].data, [net.params["ip"][1].data] * 2, atol=1e-6)  # the bias alone
    assert np.allclose(net.forward()["prob"], whole)


def test_a_gradient_of_ones_own_from_the_middle(shared):
    """Backward from an inner layer, as in DeepDream, compared with finite differences."""
    net = shared
    net.forward(data=X, end="pool")
    net.blobs["pool"].diff[...] = net.blobs["pool"].data
    got = net.backward(start="pool")["data"].copy()
    objective = lambda x: float((net.forward(data=x, end="pool")["pool"].astype(np.float64) ** 2).sum()) / 2
    for at in ((0, 0, 2, 3), (1, 0, 5, 0)):
        step = np.zeros_like(X)
        step[at] = 1e-2
        assert (objective(X + step) - objective(X - step)) / 2e-2 == pytest.approx(got[at], rel=2e-2, abs=1e-4)


def test_gradients_of_parameters_add_up_until_they_are_cleared(shared):
    net = shared
    net.clear_param_diffs()
    net.forward(data=X)
    diff = np.float32([[1, 0], [0, 0]])
    net.backward(prob=diff)
    once = net.params["ip"][0].diff.copy()
    net.backward(diffs=["conv"], prob=diff)
    assert np.abs(once).max() > 0 and np.allclose(net.params["ip"][0].diff, 2 * once)
    assert np.abs(net.blobs["conv"].diff[0]).max() > 0 and not net.blobs["conv"].diff[1].any()
    net.clear_param_diffs()
    assert not net.params["ip"][0].diff.any()


def test_other_shapes(shared):
    net = caffe.Net(NET, caffe.TEST)
    net.share_with(shared)
    net.blobs["data"].reshape(5, 1, 9, 7)
    net.reshape()
    assert net.blobs["conv"].data.shape == (5, 3, 7, 5) and net.blobs["prob"].shape == (5, 2)
    big = np.random.default_rng(1).normal(size=(12, 1, 9, 7)).astype(np.float32)
    every = net.forward_all(data=big, blobs=["pool"])
    assert every["prob"].shape == (12, 2) and every["pool"].shape == (12, 3, 1, 1)
    net.blobs["data"].reshape(1, 1, 9, 7)
    for i in (0, 11):
        net.blobs["data"].data[...] = big[i]
        assert np.allclose(net.forward()["prob"][0], every["prob"][i], atol=1e-6)


def test_weights_in_files(shared, tmp_path):
    shared.save(tmp_path / "w.caffemodel")
    shared.save_hdf5(tmp_path / "w.h5")
    for path in (tmp_path / "w.caffemodel", tmp_path / "w.h5"):
        for net in (caffe.Net(NET, str(path), caffe.TEST), caffe.Net(NET, caffe.TEST, weights=path)):
            for name, blobs in shared.params.items():
                assert all((a.data == b.data).all() for a, b in zip(net.params[name], blobs, strict=True))
    net = caffe.Net(NET, caffe.TRAIN)
    held = net.params["ip"][1].data
    shared.params["ip"][1].data[...] = 0.25
    shared.save(tmp_path / "x.caffemodel")
    net.copy_from(tmp_path / "x.caffemodel")
    assert (held == 0.25).all()


DATA = """
layer { name: "m" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def test_data_layers_deliver_at_each_pass():
    net = caffe.Net(DATA, caffe.TRAIN)
    with pytest.raises(netdef.NetdefError, match="set_input_arrays"):
        net.forward()
    rows = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    net.set_input_arrays(rows, np.float32([0, 1, 1, 0]))
    assert net.inputs == []
    seen = []
    for _ in range(3):
        assert net.forward()["loss"] == pytest.approx(np.log(2))
        seen.append((net.blobs["data"].data[0, 0, 0, 0], net.blobs["label"].data.tolist()))
    assert seen == [(0, [0, 1]), (6, [1, 0]), (0, [0, 1])]
    net.forward(start="ip")
    assert net.blobs["data"].data[0, 0, 0, 0] == 0


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda n: n.blobs["cnv"], "the net has no blob `cnv`. Did you mean `conv`?"),
        (lambda n: n.params["relu"], "the net has no layer with parameters `relu`. It has conv, ip."),
        (lambda n: n.forward(dta=X), "the net has no input `dta`. Did you mean `data`?"),
        (lambda n: n.forward(data=X[:1]), "input `data` is 2x1x6x6, but the array passed is 1x1x6x6"),
        (lambda n: n.forward(end="pol"), "the net has no layer `pol`. Did you mean `pool`?"),
        (lambda n: n.forward(blobs=["x"]), "the net has no blob `x`."),
        (lambda n: n.forward(start="ip", end="conv"), "layer `ip` comes after layer `conv`"),
        (lambda n: n.backward(prop=X), "the net has no output `prop`. Did you mean `prob`?"),
        (lambda n: n.copy_from("none.caffemodel"), "none.caffemodel: weight file not found"),
        (lambda n: n.set_input_arrays(X, X), "the net has no MemoryData layer"),
        (lambda n: caffe.Net(NET, "TSET"), "phase must be TRAIN or TEST, not 'TSET'"),
        (lambda n: caffe.Net(NET, 3), "phase must be TRAIN or TEST, not '3'"),
        (lambda n: caffe.Net(NET, "w.caffemodel"), "the phase is missing after w.caffemodel"),
        (lambda n: caffe.Net(NET), "the phase is missing"),
        (lambda n: caffe.Net(NET, "none.caffemodel", caffe.TEST), "weight file not found"),
        (lambda n: caffe.Net("none.prototxt", caffe.TEST), "none.prototxt"),
        (lambda n: caffe.Net(UNKNOWN, caffe.TEST), "the shape of `data` is"),
    ],
)
def test_what_cannot_be(work, told, shared):
    with pytest.raises(netdef.NetdefError) as caught:
        work(shared)
    assert told in str(caught.value) and "\n" not in str(caught.value)


UNKNOWN = 'layer { name: "d" type: "HDF5Data" top: "data" hdf5_data_param { source: "nowhere.txt" batch_size: 2 } }'


def test_a_shape_that_does_not_work():
    net = caffe.Net(NET.replace("global_pooling: true pool: AVE", "kernel_size: 2"), caffe.TEST)
    net.blobs["data"].reshape(2, 1, 9, 9)
    with pytest.raises(
        netdef.NetdefError, match="with `data` 2x1x9x9, parameter 0 of layer `ip` would be 2x108, but it is 2x27"
    ):
        net.forward()
    net.blobs["data"].reshape(2, 1, 2, 2)
    with pytest.raises(netdef.NetdefError, match="the net does not work on `data` 2x1x2x2"):
        net.forward()


def test_layers_that_do_not_run_need_not_fit():
    """As in DeepDream: an image of any size up to an inner layer of a classifier."""
    text = NET.replace("global_pooling: true pool: AVE", "kernel_size: 2")
    net, same = caffe.Net(text, caffe.TEST), caffe.Net(text, caffe.TEST)
    same.share_with(net)
    big = np.random.default_rng(2).normal(size=(1, 1, 9, 8)).astype(np.float32)
    net.blobs["data"].reshape(*big.shape)
    assert net.forward(data=big, end="pool")["pool"].shape == (1, 3, 6, 5)
    net.blobs["pool"].diff[...] = net.blobs["pool"].data
    gradient = net.backward(start="pool")["data"]
    same.forward(data=np.stack([big[0, :, :6, :6], big[0, :, 3:, 2:]]))
    np.testing.assert_allclose(net.blobs["conv"].data[0, :, :4, :4], same.blobs["conv"].data[0], rtol=1e-5)
    step = np.zeros_like(big)
    step[0, 0, 4, 4] = 1e-3
    objective = lambda x: float((net.forward(data=x, end="pool")["pool"].astype(np.float64) ** 2).sum()) / 2
    slope = (objective(big + step) - objective(big - step)) / 2e-3
    assert gradient.shape == big.shape and slope == pytest.approx(gradient[0, 0, 4, 4], rel=5e-2)
    with pytest.raises(netdef.NetdefError, match="parameter 0 of layer `ip` would be 2x90, but it is 2x27"):
        net.forward()
    net.blobs["pool"].reshape(4, 3, 3, 3)
    assert net.forward(start="ip")["prob"].shape == (4, 2)


def test_a_parameter_of_another_shape():
    net = caffe.Net(NET, caffe.TEST)
    net.params["ip"][0].reshape(3, 3)
    with pytest.raises(
        netdef.NetdefError, match="parameter 0 of layer `ip` was reshaped to 3x3, but the layer requires 2x3"
    ):
        net.forward()


def test_missing_names_are_missing_keys_too(shared):
    assert "cnv" not in shared.blobs and shared.blobs.get("cnv") is None
    with pytest.raises(KeyError):
        shared.blobs["cnv"]


def test_names_of_split_copies_find_the_blob():
    two = (
        NET + 'layer { name: "ip2" type: "InnerProduct" bottom: "pool" top: "b" inner_product_param { num_output: 2 } }'
    )
    net = caffe.Net(two, caffe.TEST)
    assert net.blobs["pool_pool_0_split_1"] is net.blobs["pool"]


def test_a_shape_that_returns_is_not_compiled_again(caplog):
    net = caffe.Net(NET, caffe.TEST)
    found = {}
    for size in (6, 7, 6, 7):
        net.blobs["data"].reshape(1, 1, size, size)
        net.blobs["data"].data[...] = np.linspace(0, 1, size * size).reshape(1, 1, size, size)
        caplog.clear()
        with jax.log_compiles():
            probability = net.forward()["prob"].copy()
            gradient = net.backward()["data"].copy()
        if size in found:
            assert not [line for line in caplog.messages if "Finished XLA compilation" in line]
            np.testing.assert_array_equal(probability, found[size][0])
            np.testing.assert_array_equal(gradient, found[size][1])
        else:
            assert [line for line in caplog.messages if "Finished XLA compilation" in line]
        found[size] = probability, gradient


DETECTOR = """
layer { name: "in" type: "Input" top: "loc" top: "conf" top: "priors"
        input_param { shape { dim: [1, 8] } shape { dim: [1, 4] } shape { dim: [1, 2, 8] } } }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"
        detection_output_param { num_classes: 2 confidence_threshold: 0.5 } }
"""


def test_detections_have_as_many_rows_as_there_are():
    net = caffe.Net(DETECTOR, caffe.TEST)
    net.blobs["priors"].data[...] = [[[0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 0.9, 0.9], [0.1] * 8]]
    for scores, count in (([0, 0.9, 0, 0.8], 2), ([0, 0.2, 0, 0.8], 1), ([0, 0.2, 0, 0.1], 1), ([0, 0.9, 0, 0.8], 2)):
        net.blobs["conf"].data[...] = scores
        found = net.forward()["found"]
        assert found.shape == net.blobs["found"].shape == (1, 1, count, 7)
        assert found[0, 0, 0, 2] == np.float32(max(scores) if max(scores) > 0.5 else -1)
    net.backward()
    assert not net.blobs["loc"].diff.any()
    with pytest.raises(netdef.NetdefError, match="`found` has no row for each image"):
        net.forward_all(loc=np.zeros((3, 8)), conf=np.zeros((3, 4)), priors=np.zeros((3, 2, 8)))


REGIONS = """
force_backward: true
layer { name: "in" type: "Input" top: "prob" top: "pred" top: "info" top: "data"
        input_param { shape { dim: [1, 2, 3, 3] } shape { dim: [1, 4, 3, 3] } shape { dim: [1, 3] }
                      shape { dim: [1, 2, 3, 3] } } }
layer { name: "proposal" type: "Proposal" bottom: "prob" bottom: "pred" bottom: "info" top: "rois"
        proposal_param { ratio: 1 scale: 1 min_size: 4 nms_thresh: 0.5 } }
layer { name: "pool" type: "ROIPooling" bottom: "data" bottom: "rois" top: "pool"
        roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 0.0625 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


def test_blobs_of_regions_have_a_row_for_each_region():
    net = caffe.Net(REGIONS, caffe.TEST)
    random = np.random.default_rng(0)
    net.blobs["data"].data[...] = random.normal(size=(1, 2, 3, 3))
    net.blobs["prob"].data[...] = random.random((1, 2, 3, 3))
    for size in (48, 33, 20):  # 1 or 4 pixels of the last anchors are inside
        net.blobs["info"].data[...] = [[size, size, 1]]
        made = net.forward()["ip"].copy()
        rows = {48: 9, 33: 4, 20: 4}[size]
        assert made.shape == (rows, 3) and net.blobs["rois"].shape == (rows, 5)
        np.testing.assert_array_equal(net.forward(start="pool")["ip"], made)
        np.testing.assert_array_equal(net.forward(start="ip")["ip"], made)
        weight = net.params["ip"][0]
        weight.diff[...] = 0
        net.blobs["ip"].diff[...] = 1
        net.backward()
        np.testing.assert_allclose(weight.diff, np.tile(net.blobs["pool"].data.sum(0).reshape(1, 2), (3, 1)), rtol=1e-5)
        assert net.blobs["data"].diff.any() and not net.blobs["prob"].diff.any()
        net.blobs["pool"].diff[...] = 0
        net.backward(start="ip", end="ip")
        assert net.blobs["pool"].diff.shape == net.blobs["pool"].data.shape and net.blobs["pool"].diff.any()
