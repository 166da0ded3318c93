"""Scripts that many people have, in small: DeepDream, surgery of a classifier to an FCN, and a Faster R-CNN test net."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import netdef.pycaffe as caffe
from netdef.language.errors import printable

text_format = pytest.importorskip("google.protobuf.text_format")

INCEPTION = """
name: "Little"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 24 dim: 24 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" lrn_param { local_size: 3 alpha: 1e-6 } }
layer { name: "a/1x1" type: "Convolution" bottom: "norm1" top: "a/1x1"
        convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "a/3x3" type: "Convolution" bottom: "norm1" top: "a/3x3"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "a/output" type: "Concat" bottom: "a/1x1" bottom: "a/3x3" top: "a/output" }
layer { name: "fc" type: "InnerProduct" bottom: "a/output" top: "fc" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def patched(tmp_path) -> caffe.Classifier:
    """The first cell of DeepDream: the net with force_backward, and random weights."""
    model = caffe.io.caffe_pb2.NetParameter()
    text_format.Merge(INCEPTION, model)
    model.force_backward = True
    (tmp_path / "tmp.prototxt").write_text(str(model))
    caffe.Net(str(tmp_path / "tmp.prototxt"), caffe.TEST).save(str(tmp_path / "w.caffemodel"))
    mean, swap = np.float32([104.0, 116.0, 122.0]), (2, 1, 0)
    return caffe.Classifier(
        str(tmp_path / "tmp.prototxt"), str(tmp_path / "w.caffemodel"), mean=mean, channel_swap=swap
    )


def dream(net, image, end, steps=4, octaves=3, scale=1.4):
    """Gradient ascent over octaves of an image."""
    preprocess = lambda im: np.float32(np.rollaxis(im, 2)[::-1]) - net.transformer.mean["data"]
    deprocess = lambda im: np.dstack((im + net.transformer.mean["data"])[::-1])
    levels = [preprocess(image)]
    for _ in range(octaves - 1):
        size = np.round(np.array(levels[-1].shape[1:]) / scale).astype(int)
        levels.append(caffe.io.resize_image(levels[-1].transpose(1, 2, 0), size).transpose(2, 0, 1))
    src, detail, norms = net.blobs["data"], np.zeros_like(levels[-1]), []
    for level in levels[::-1]:
        detail = caffe.io.resize_image(detail.transpose(1, 2, 0), level.shape[1:]).transpose(2, 0, 1)
        src.reshape(1, 3, *level.shape[1:])
        src.data[0] = level + detail
        for _ in range(steps):
            net.forward(end=end)
            dst = net.blobs[end]
            norms.append(float((dst.data**2).mean()))
            dst.diff[:] = dst.data
            net.backward(start=end)
            g = src.diff[0]
            src.data[:] += 0.5 / np.abs(g).mean() * g
        detail = src.data[0] - level
    return deprocess(src.data[0]), norms


def test_deepdream(tmp_path):
    net = patched(tmp_path)
    image = np.random.default_rng(0).random((40, 30, 3)).astype(np.float32) * 255
    dreamed, norms = dream(net, image, "a/output", octaves=2)
    assert dreamed.shape == image.shape and np.abs(dreamed - image).max() > 1
    assert all(first < last for first, last in zip(norms[::4], norms[3::4], strict=True))  # in each octave
    assert dream(net, image, "conv1", steps=1, octaves=1)[1] and net.blobs["data"].shape == (1, 3, 40, 30)


def test_surgery_to_a_fully_convolutional_net(tmp_path):
    """As in FCN: weights are transplanted, upsampling is set to bilinear, and scores are cropped to the image."""
    L, P = caffe.layers, caffe.params

    def fcn(split):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[1, 3, 24, 24]))
        n.conv1 = L.Convolution(n.data, kernel_size=3, pad=10, num_output=6, param=[dict(lr_mult=1), dict(lr_mult=2)])
        n.relu1 = L.ReLU(n.conv1, in_place=True)
        n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
        n.pool2 = L.Pooling(n.pool1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
        n.score_fr = L.Convolution(n.pool2, num_output=5, kernel_size=1)
        n.upscore = L.Deconvolution(
            n.score_fr,
            convolution_param=dict(num_output=5, kernel_size=8, stride=4, bias_term=False),
            param=[dict(lr_mult=0)],
        )
        n.score = caffe.coord_map.crop(n.upscore, n.data)
        if split == "train":
            n.label = L.Input(shape=dict(dim=[1, 1, 24, 24]))
            n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(normalize=False, ignore_label=255))
        return n.to_proto()

    def interp(net, layers):
        for name in layers:
            m, k, h, w = net.params[name][0].data.shape
            assert m == k and h == w
            center = h / 2 - 0.5
            og = np.ogrid[:h, :w]
            filt = (1 - abs(og[0] - center) / (h // 2)) * (1 - abs(og[1] - center) / (h // 2))
            net.params[name][0].data[range(m), range(k), :, :] = filt

    (tmp_path / "train.prototxt").write_text(str(fcn("train")))
    (tmp_path / "deploy.prototxt").write_text(str(fcn("deploy")))
    (tmp_path / "solver.prototxt").write_text(
        f'train_net: "{printable(str(tmp_path))}/train.prototxt" base_lr: 1e-5 lr_policy: "fixed" momentum: 0.9 iter_size: 1 snapshot_prefix: "{printable(str(tmp_path))}/x"'
    )
    solver = caffe.SGDSolver(str(tmp_path / "solver.prototxt"))
    base = patched(tmp_path)
    assert set(caffe.Net(INCEPTION, caffe.TEST).params) & set(solver.net.params) == {"conv1"}
    for i, blob in enumerate(base.params["conv1"]):
        solver.net.params["conv1"][i].data[...] = blob.data
    interp(solver.net, [k for k in solver.net.params if "up" in k])
    net = solver.net
    net.params["score_fr"][1].data[...] = np.arange(5)
    net.params["score_fr"][0].data[...] = 0
    net.blobs["label"].data[...] = 255
    net.blobs["label"].data[0, 0, 5:9, 6:9] = 2
    net.forward(data=np.random.default_rng(0).random((1, 3, 24, 24)) * 255, label=net.blobs["label"].data.copy())
    np.testing.assert_allclose(net.blobs["score"].data[0, :, 12, 12], np.arange(5), rtol=1e-5)  # bilinear: constant
    net.backward()
    np.testing.assert_allclose(net.blobs["score"].diff[0].sum(0), 0, atol=1e-5)
    assert not net.blobs["score"].diff[0, :, 4].any() and net.blobs["score"].diff[0, 2, 5, 6] < 0
    solver.step(2)
    net.save(str(tmp_path / "fcn.caffemodel"))
    deploy = caffe.Net(str(tmp_path / "deploy.prototxt"), str(tmp_path / "fcn.caffemodel"), caffe.TEST)
    for size in ((30, 41), (17, 24)):
        deploy.blobs["data"].reshape(1, 3, *size)
        deploy.forward()
        assert deploy.blobs["score"].data[0].argmax(axis=0).shape == size


PROPOSALS = '''
import ast

import caffe
import numpy as np


class Proposals(caffe.Layer):
    """Boxes where the score of an object is high: another number in each image."""

    def setup(self, bottom, top):
        self._stride = ast.literal_eval(self.param_str_)["feat_stride"]
        top[0].reshape(1, 5)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        assert bottom[0].data.shape[0] == 1
        height, width, scale = bottom[2].data[0]
        y, x = np.nonzero(bottom[0].data[0, 1] > 0.5)
        dx, dy = bottom[1].data[0, 0, y, x], bottom[1].data[0, 1, y, x]
        left, top_edge = x * self._stride + dx, y * self._stride + dy
        boxes = np.stack([left, top_edge, left + 3, top_edge + 3], 1).clip(0, [width - 1, height - 1] * 2)
        blob = np.hstack((np.zeros((len(boxes), 1), np.float32), boxes.astype(np.float32)))
        top[0].reshape(*blob.shape)
        top[0].data[...] = blob

    def backward(self, top, propagate_down, bottom):
        pass
'''
FASTER = """
name: "Faster"
input: "data" input_shape { dim: 1 dim: 1 dim: 12 dim: 16 }
input: "im_info" input_shape { dim: 1 dim: 3 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "constant" value: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "rpn_cls_score" type: "Convolution" bottom: "conv" top: "rpn_cls_score" convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "constant" } } }
layer { name: "rpn_bbox_pred" type: "Convolution" bottom: "conv" top: "rpn_bbox_pred" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "constant" } } }
layer { name: "rpn_cls_prob" type: "Softmax" bottom: "rpn_cls_score" top: "rpn_cls_prob" }
layer { name: "proposal" type: "Python" bottom: "rpn_cls_prob" bottom: "rpn_bbox_pred" bottom: "im_info" top: "rois"
        python_param { module: "their_rpn.proposals" layer: "Proposals" param_str: "{'feat_stride': 2}" } }
layer { name: "roi_pool" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "pool" roi_pooling_param { pooled_w: 2 pooled_h: 2 spatial_scale: 0.5 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "fc_relu" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "cls_score" type: "InnerProduct" bottom: "fc" top: "cls_score" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "bbox_pred" type: "InnerProduct" bottom: "fc" top: "bbox_pred" inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "cls_prob" type: "Softmax" bottom: "cls_score" top: "cls_prob" }
"""


@pytest.fixture
def faster(tmp_path, monkeypatch):
    (tmp_path / "their_rpn").mkdir()
    (tmp_path / "their_rpn/__init__.py").write_text("")
    (tmp_path / "their_rpn/proposals.py").write_text(PROPOSALS)
    (tmp_path / "test.prototxt").write_text(FASTER)
    monkeypatch.syspath_prepend(tmp_path)
    net = caffe.Net(str(tmp_path / "test.prototxt"), caffe.TEST)
    net.params["rpn_cls_score"][0].data[1] = 1
    net.params["rpn_cls_score"][1].data[...] = [2, 0]
    yield net
    for name in [name for name in sys.modules if name.startswith("their_rpn")]:
        del sys.modules[name]


def test_a_net_of_faster_rcnn(faster):
    """`im_detect`: blobs are reshaped to the image, and every image has its own number of proposals."""
    net, counts = faster, []
    for seed, size in ((0, (12, 16)), (1, (20, 14)), (2, (12, 16))):
        image = np.zeros((1, 1, *size), np.float32)
        at = np.random.default_rng(seed).integers(2, 9, 2)
        image[0, 0, at[0] : at[0] + 2 + seed, at[1] : at[1] + 2] = 20
        blobs = {"data": image, "im_info": np.array([[*size, 1.0]], np.float32)}
        net.blobs["data"].reshape(*(blobs["data"].shape))
        net.blobs["im_info"].reshape(*(blobs["im_info"].shape))
        out = net.forward(**blobs)
        rois = net.blobs["rois"].data.copy()
        counts.append(len(rois))
        assert out["cls_prob"].shape == (len(rois), 3) and out["bbox_pred"].shape == (len(rois), 12)
        assert rois.shape == ((net.blobs["rpn_cls_prob"].data[0, 1] > 0.5).sum(), 5) and len(rois) > 0
        first = net.blobs["conv"].data[0, :, int(rois[0, 2] / 2 + 0.5) :, int(rois[0, 1] / 2 + 0.5) :]
        assert net.blobs["pool"].data[0, 0].max() <= first[0].max() and net.blobs["pool"].data[0].max() > 0
        np.testing.assert_allclose(out["cls_prob"].sum(1), 1, rtol=1e-5)
    assert len(set(counts)) > 1
