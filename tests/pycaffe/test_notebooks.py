"""The steps of Caffe's notebooks that train: fine-tuning, a siamese net, and labels from a Python layer."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap

import numpy as np
import pytest

import netdef.pycaffe as caffe
from netdef.language.errors import printable
from netdef.pycaffe import layers as L
from netdef.pycaffe import params as P

pillow = pytest.importorskip("PIL.Image")


def test_the_example_of_the_module_is_python():
    paragraphs = (inspect.getdoc(caffe) or "").split("\n\n")
    (example,) = (textwrap.dedent(text) for text in paragraphs if text.startswith("    "))
    assert len(ast.parse(example).body) == len(example.splitlines()) == 5


@pytest.fixture
def folder(tmp_path):
    """Dark images of label 0 and light images of label 1, in lists for ImageData, and the mean image."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(12):
        image = rng.integers(0, 100, (20, 24, 3)) + 150 * (i % 2)
        pillow.fromarray(image.astype(np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{tmp_path / f'{i}.png'} {i % 2}\n")
    (tmp_path / "train.txt").write_text("".join(lines[:8]))
    (tmp_path / "test.txt").write_text("".join(lines[8:]))
    mean = caffe.io.array_to_blobproto(np.full((1, 3, 16, 16), 125.0))
    (tmp_path / "mean.binaryproto").write_bytes(mean.SerializeToString())
    return tmp_path


def classifier(data, label=None, train=True, classes=10, name="fc3", learn_all=False):
    """The text of a net whose last layer, of any name, always learns, and the others only if asked to."""
    learned = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
    param = learned if learn_all else [dict(lr_mult=0)] * 2
    gaussian = dict(weight_filler=dict(type="gaussian", std=0.01), bias_filler=dict(type="constant", value=0.1))
    n = caffe.NetSpec()
    n.data = data
    n.conv1 = L.Convolution(n.data, kernel_size=5, stride=2, num_output=6, param=param, **gaussian)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    n.norm1 = L.LRN(n.pool1, local_size=5, alpha=1e-4, beta=0.75)
    n.fc2 = L.InnerProduct(n.norm1, num_output=8, param=param, **gaussian)
    n.relu2 = L.ReLU(n.fc2, in_place=True)
    if train:
        n.drop2 = last = L.Dropout(n.relu2, in_place=True)
    else:
        last = n.relu2
    scores = L.InnerProduct(last, num_output=classes, param=learned)
    n.__setattr__(name, scores)
    if not train:
        n.probs = L.Softmax(scores)
    if label is not None:
        n.label = label
        n.loss = L.SoftmaxWithLoss(scores, n.label)
        n.acc = L.Accuracy(scores, n.label)
    return str(n.to_proto())


def of_images(folder, train=True, subset=None, **more):
    """The same net for two classes, with images of a list as data."""
    transform = dict(mirror=train, crop_size=14, mean_file=str(folder / "mean.binaryproto"))
    data, label = L.ImageData(
        transform_param=transform, source=str(folder / f"{subset or ('train' if train else 'test')}.txt"),
        batch_size=4, new_height=16, new_width=16, ntop=2,
    )  # fmt: skip
    path = folder / f"net_{train}_{subset}_{len(more)}.prototxt"
    path.write_text(classifier(data, label, train, classes=2, name="fc3_style", **more))
    return str(path)


def solver_of(folder, train_net):
    s = caffe.proto.caffe_pb2.SolverParameter()
    s.train_net, s.iter_size, s.max_iter, s.type = train_net, 1, 1000, "SGD"
    s.base_lr, s.lr_policy, s.gamma, s.stepsize = 0.005, "step", 0.1, 500
    s.momentum, s.weight_decay, s.display = 0.9, 5e-4, 0
    s.snapshot_prefix, s.solver_mode = str(folder / "style"), caffe.proto.caffe_pb2.SolverParameter.GPU
    (folder / "solver.prototxt").write_text(str(s))
    return caffe.get_solver(str(folder / "solver.prototxt"))


def test_fine_tuning(folder):
    weights = str(folder / "reference.caffemodel")
    (folder / "reference.prototxt").write_text(
        classifier(L.DummyData(shape=dict(dim=[1, 3, 14, 14])), train=False).replace("std: 0.01", "std: 0.1")
    )
    caffe.Net(str(folder / "reference.prototxt"), caffe.TEST).save(weights)
    reference = caffe.Net(str(folder / "reference.prototxt"), weights, caffe.TEST)
    untrained = caffe.Net(of_images(folder, train=False, subset="train"), weights, caffe.TEST)
    untrained.forward()
    images = untrained.blobs["data"].data.copy()
    assert list(untrained.blobs["label"].data) == [0, 1, 0, 1]
    shown = {}
    for net in (reference, untrained):  # the data layer does not run, and so the image stays
        net.blobs["data"].data[0, ...] = images[3]
        shown[net] = net.forward(start="conv1")["probs"][0]
    assert shown[reference].shape == (10,)
    assert list(shown[untrained]) == [0.5, 0.5]  # a layer of a new name is not copied
    difference = untrained.blobs["fc2"].data[0] - reference.blobs["fc2"].data[0]
    assert (difference**2).sum() < 1e-8 and reference.blobs["fc2"].data.any()

    solver, scratch = (solver_of(folder, of_images(folder)) for _ in range(2))
    solver.net.copy_from(weights)
    loss = {one: np.zeros(30) for one in (solver, scratch)}
    for it in range(30):
        for one in (solver, scratch):
            one.step(1)
            loss[one][it], accuracy = (one.net.blobs[b].data.copy() for b in ("loss", "acc"))
            assert 0 <= accuracy <= 1
    np.testing.assert_array_equal(solver.net.params["conv1"][0].data, reference.params["conv1"][0].data)
    assert solver.net.params["fc3_style"][0].data.any() and loss[solver][-5:].mean() < loss[solver][:5].mean()
    solver.net.save(str(folder / "style.caffemodel"))

    whole = solver_of(folder, of_images(folder, learn_all=True))
    whole.net.copy_from(str(folder / "style.caffemodel"))
    whole.step(2)
    assert np.abs(whole.net.params["conv1"][0].data - reference.params["conv1"][0].data).max() > 0
    tested = caffe.Net(of_images(folder, train=False), str(folder / "style.caffemodel"), caffe.TEST)
    accuracy = 0
    for _ in range(2):
        accuracy += tested.forward()["acc"]
    assert accuracy / 2 == 1 and int(tested.blobs["label"].data[1]) == 1


SIAMESE = """
layer {{ name: "pairs" type: "MemoryData" top: "pair_data" top: "sim"
        memory_data_param {{ batch_size: 8 channels: 2 height: 6 width: 6 }} }}
layer {{ name: "slice_pair" type: "Slice" bottom: "pair_data" top: "data" top: "data_p"
        slice_param {{ slice_dim: 1 slice_point: 1 }} }}
{branches}
layer {{ name: "loss" type: "ContrastiveLoss" bottom: "feat" bottom: "feat_p" bottom: "sim" top: "loss"
        contrastive_loss_param {{ margin: 1 }} }}
solver {{ base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" }}
"""
BRANCH = """
layer { name: "feat" type: "InnerProduct" bottom: "data" top: "feat" param { name: "w" } param { name: "b" lr_mult: 2 }
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


def test_a_siamese_net(tmp_path):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, (64, 2))
    pairs = (rng.normal(size=(64, 2, 6, 6)) * 0.1 + kind[:, :, None, None]).astype(np.float32)
    other = BRANCH.replace('"feat"', '"feat_p"').replace('"data"', '"data_p"')
    solver = caffe.SGDSolver(SIAMESE.format(branches=BRANCH + other))
    solver.net.set_input_arrays(pairs, (kind[:, 0] == kind[:, 1]).astype(np.float32))
    assert list(solver.net.params) == ["feat", "feat_p"]
    solver.step(60)
    np.testing.assert_array_equal(solver.net.params["feat"][0].data, solver.net.params["feat_p"][0].data)
    solver.net.save(str(tmp_path / "siamese.caffemodel"))

    (tmp_path / "siamese.prototxt").write_text('input: "data" input_dim: [50, 1, 6, 6]' + BRANCH)
    net = caffe.Net(str(tmp_path / "siamese.prototxt"), str(tmp_path / "siamese.caffemodel"), caffe.TEST)
    feat = net.forward_all(data=pairs[:, :1])["feat"]  # 64 images, in batches of 50
    assert feat.shape == (64, 2)
    centers = [feat[kind[:, 0] == k].mean(0) for k in (0, 1)]
    apart = np.linalg.norm(feat[:, None] - np.stack(centers), axis=2)
    assert (apart.argmin(1) == kind[:, 0]).all() and np.linalg.norm(centers[0] - centers[1]) > 0.5


LOADER = '''
import ast

import caffe
import numpy as np
from helper_of_labels import labels_of


class Multilabel(caffe.Layer):
    """Data: images, with 1 for each label that one has."""

    def setup(self, bottom, top):
        self.top_names = ["data", "label"]
        params = ast.literal_eval(self.param_str)
        assert "split" in params.keys(), "Params must include split (train, val, or test)."
        self.batch_size = params["batch_size"]
        self.rng = np.random.default_rng(len(params["split"]))
        top[0].reshape(self.batch_size, 1, params["im_shape"][0], params["im_shape"][1])
        top[1].reshape(self.batch_size, 3)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        for itt in range(self.batch_size):
            image = self.rng.normal(size=top[0].data.shape[1:])
            top[0].data[itt, ...] = image
            top[1].data[itt, ...] = labels_of(image)

    def backward(self, top, propagate_down, bottom):
        pass
'''


def test_several_labels_from_a_python_layer(tmp_path, monkeypatch):
    for name in ("layer_of_labels", "helper_of_labels"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "layers")
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "layer_of_labels.py").write_text(LOADER)
    (tmp_path / "layers" / "helper_of_labels.py").write_text("def labels_of(x):\n    return x.ravel()[:3] > 0\n")
    for split in ("train", "val"):
        n = caffe.NetSpec()
        given = str(dict(batch_size=16, im_shape=[3, 4], split=split))
        n.data, n.label = L.Python(module="layer_of_labels", layer="Multilabel", ntop=2, param_str=given)
        n.score = L.InnerProduct(n.data, num_output=3)
        n.loss = L.SigmoidCrossEntropyLoss(n.score, n.label)
        (tmp_path / f"{split}.prototxt").write_text(str(n.to_proto()))
    (tmp_path / "solver.prototxt").write_text(
        f'train_net: "{printable(str(tmp_path))}/train.prototxt"\ntest_net: "{printable(str(tmp_path))}/val.prototxt"\ntest_iter: 100\n'
        'test_interval: 250\ntest_initialization: false\nbase_lr: 0.1\nmomentum: 0.9\nlr_policy: "fixed"\n'
        "gamma: 0.1\nmax_iter: 1000\naverage_loss: 25\niter_size: 1\n"
    )
    solver = caffe.SGDSolver(str(tmp_path / "solver.prototxt"))
    solver.test_nets[0].share_with(solver.net)
    solver.step(60)
    net, right = solver.test_nets[0], []
    for _ in range(4):
        net.forward()
        right.append((net.blobs["label"].data > 0) == (net.blobs["score"].data > 0))
    assert np.mean(right) > 0.9
    first = net.blobs["data"].data.copy()
    net.forward(start="score")  # the Python layer does not run
    np.testing.assert_array_equal(net.blobs["data"].data, first)
