"""The steps of Caffe's notebooks on a small net: classification, net surgery, training step by step."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe

pillow = pytest.importorskip("PIL.Image")

DEPLOY = """
name: "Little"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "fc6" type: "InnerProduct" bottom: "pool1" top: "fc6"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "fc7" type: "InnerProduct" bottom: "fc6" top: "fc7"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc7" top: "prob" }
"""
CONVOLUTIONAL = (
    DEPLOY.replace('"fc6" type: "InnerProduct"', '"fc6-conv" type: "Convolution"')
    .replace('"fc7" type: "InnerProduct"', '"fc7-conv" type: "Convolution"')
    .replace("inner_product_param { num_output: 8", "convolution_param { kernel_size: 2 num_output: 8")
    .replace("inner_product_param { num_output: 5", "convolution_param { kernel_size: 1 num_output: 5")
    .replace('"fc6"', '"fc6-conv"')
    .replace('"fc7"', '"fc7-conv"')
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Writes deploy.prototxt, its weights, a mean and an image."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "deploy.prototxt").write_text(DEPLOY)
    (folder / "full_conv.prototxt").write_text(CONVOLUTIONAL)
    netdef.compile(DEPLOY, seed=3).save_weights(folder / "little.caffemodel")
    rng = np.random.default_rng(0)
    np.save(folder / "mean.npy", rng.random((3, 14, 14)) * 255)
    pillow.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / "cat.png")
    return folder


def test_classification(files):
    caffe.set_mode_cpu()
    net = caffe.Net(str(files / "deploy.prototxt"), str(files / "little.caffemodel"), caffe.TEST)
    mu = np.load(files / "mean.npy").mean(1).mean(1)  # a value for each of B, G, R
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", mu)
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    net.blobs["data"].reshape(50, 3, 12, 12)
    image = caffe.io.load_image(str(files / "cat.png"))
    transformed = transformer.preprocess("data", image)
    net.blobs["data"].data[...] = transformed
    output = net.forward()
    output_prob = output["prob"][0]

    by_hand = caffe.io.resize_image(image, (12, 12))[:, :, ::-1].transpose(2, 0, 1) * 255 - mu[:, None, None]
    np.testing.assert_allclose(transformed, by_hand, rtol=1e-4, atol=1e-3)
    rows = np.repeat(np.float32(by_hand)[None], 10, 0)
    wanted = netdef.compile(DEPLOY, weights=files / "little.caffemodel")(data=rows)["prob"]
    np.testing.assert_allclose(output_prob, wanted[0], rtol=1e-3, atol=1e-5)
    assert output["prob"].shape == (50, 5)
    np.testing.assert_allclose(output["prob"], np.broadcast_to(output_prob, (50, 5)), rtol=1e-4)

    shapes = {name: blob.data.shape for name, blob in net.blobs.items()}
    assert shapes["conv1"] == (50, 4, 5, 5) and shapes["fc6"] == (50, 8)
    assert {name: (p[0].data.shape, p[1].data.shape) for name, p in net.params.items()}["fc6"] == ((8, 16), (8,))
    filters = net.params["conv1"][0].data
    assert filters.transpose(0, 2, 3, 1).shape == (4, 3, 3, 3)
    feat = net.blobs["conv1"].data[0, :3]
    assert feat.min() >= 0 and feat.max() > 0
    shown = transformer.deprocess("data", net.blobs["data"].data[0])
    np.testing.assert_allclose(shown, caffe.io.resize_image(image, (12, 12)), atol=1e-4)


def test_the_classifier(files):
    mean = np.load(files / "mean.npy").mean(1).mean(1)
    classifier = caffe.Classifier(
        files / "deploy.prototxt", files / "little.caffemodel", image_dims=(14, 14), mean=mean, raw_scale=255,
        channel_swap=(2, 1, 0),
    )  # fmt: skip
    image = caffe.io.load_image(files / "cat.png")
    center, over = (classifier.predict([image, image[:, ::-1]], oversample=o) for o in (False, True))
    assert center.shape == over.shape == (2, 5)
    np.testing.assert_allclose(center.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(over[0], over[1], rtol=1e-4)  # an image and its mirror image have the same crops
    cut = caffe.io.resize_image(image, (14, 14))[1:13, 1:13]
    classifier.blobs["data"].data[...] = classifier.transformer.preprocess("data", cut)
    np.testing.assert_allclose(classifier.forward()["prob"][0], center[0], rtol=1e-5)


def test_surgery_on_filters(files):
    net = caffe.Net(str(files / "deploy.prototxt"), caffe.TEST)
    net.blobs["data"].data[...] = np.random.default_rng(1).normal(size=(10, 3, 12, 12))
    net.forward()
    before = net.blobs["conv1"].data.copy()
    net.params["conv1"][1].data[1] += 1  # the bias of one filter
    net.forward()
    after = net.blobs["conv1"].data
    np.testing.assert_allclose(after[:, [0, 2, 3]], before[:, [0, 2, 3]], atol=1e-5)
    assert (after[:, 1] >= before[:, 1]).all()
    assert np.allclose((after - before)[:, 1][before[:, 1] > 0], 1, atol=1e-5)
    sobel = np.float32([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    net.params["conv1"][0].data[0] = 0
    net.params["conv1"][0].data[0, 0] = sobel
    net.params["conv1"][1].data[0] = 0
    net.forward()
    x = net.blobs["data"].data
    wanted = (x[0, 0, 2:5, 4:7] * sobel).sum()
    assert net.blobs["conv1"].data[0, 0, 1, 2] == pytest.approx(max(wanted, 0), rel=1e-4)


def test_a_classifier_becomes_convolutional(files):
    net = caffe.Net(str(files / "deploy.prototxt"), str(files / "little.caffemodel"), caffe.TEST)
    params = ["fc6", "fc7"]
    fc_params = {pr: (net.params[pr][0].data, net.params[pr][1].data) for pr in params}
    full = caffe.Net(str(files / "full_conv.prototxt"), str(files / "little.caffemodel"), caffe.TEST)
    params_full_conv = ["fc6-conv", "fc7-conv"]
    conv_params = {pr: (full.params[pr][0].data, full.params[pr][1].data) for pr in params_full_conv}
    for pr, pr_conv in zip(params, params_full_conv, strict=True):
        conv_params[pr_conv][0].flat = fc_params[pr][0].flat  # unroll the arrays
        conv_params[pr_conv][1][...] = fc_params[pr][1]
    full.save(str(files / "full_conv.caffemodel"))

    full = caffe.Net(str(files / "full_conv.prototxt"), str(files / "full_conv.caffemodel"), caffe.TEST)
    wide = np.random.default_rng(2).normal(size=(1, 3, 12, 20)).astype(np.float32)
    full.blobs["data"].reshape(*wide.shape)
    out = full.forward_all(data=wide)["prob"]
    assert out.shape == (1, 5, 1, 3)
    net.blobs["data"].reshape(3, 3, 12, 12)
    net.blobs["data"].data[...] = [wide[0, :, :, at : at + 12] for at in (0, 4, 8)]  # strides of 2 and 2
    np.testing.assert_allclose(out[0, :, 0].T, net.forward()["prob"], rtol=1e-4, atol=1e-6)


LEARN = """
layer { name: "data" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 8 channels: 1 height: 1 width: 4 } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
solver { base_lr: 0.5 lr_policy: "fixed" test_iter: 1 test_interval: 1000 test_initialization: false }
"""


def test_learning_by_steps():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 1, 1, 4)).astype(np.float32)
    labels = (x[:, 0, 0, 0] > 0).astype(np.float32)
    solver = caffe.SGDSolver(LEARN)
    for net in (solver.net, solver.test_nets[0]):
        net.set_input_arrays(x, labels)
    niter, train_loss = 40, np.zeros(40)
    for it in range(niter):
        solver.step(1)
        train_loss[it] = solver.net.blobs["loss"].data
        if it == 0:
            assert np.abs(solver.net.params["score"][0].diff).max() > 0
    assert train_loss[-4:].mean() < train_loss[:4].mean() / 2
    correct = 0
    for _ in range(4):
        solver.test_nets[0].forward()
        correct += sum(solver.test_nets[0].blobs["score"].data.argmax(1) == solver.test_nets[0].blobs["label"].data)
    assert correct >= 30
