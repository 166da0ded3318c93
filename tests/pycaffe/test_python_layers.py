"""Python layers in nets of pycaffe: their objects, shapes that change at each pass, exceptions, and the forward pass
whose activations `backward` uses."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe
from netdef.language.errors import printable

MODULE = '''
import caffe
import numpy as np
from caffe.proto import caffe_pb2


class Counter(caffe.Layer):
    """Data: 1, 3, 5, ... at each pass."""

    def setup(self, bottom, top):
        self.step, self.passes = int(self.param_str_ or 2), 0

    def reshape(self, bottom, top):
        top[0].reshape(1, 1)

    def forward(self, bottom, top):
        top[0].data[...] = 1 + self.step * self.passes
        self.passes += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Images(caffe.Layer):
    """Images of other sizes at each pass, as in FCN."""

    def setup(self, bottom, top):
        self.sizes, self.at = [(4, 5), (6, 3), (4, 5)], 0

    def set_sizes(self, sizes):
        self.sizes = sizes

    def reshape(self, bottom, top):
        self.image = np.full((1, 1, *self.sizes[self.at % len(self.sizes)]), 1.0 + self.at)
        top[0].reshape(*self.image.shape)
        top[1].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = self.image
        top[1].data[...] = self.at
        self.at += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Positive(caffe.Layer):
    """The columns of the first row that are positive: as many as there are."""

    def setup(self, bottom, top):
        self.seen = []

    def reshape(self, bottom, top):
        top[0].reshape(1, bottom[0].channels)

    def forward(self, bottom, top):
        self.at = np.flatnonzero(bottom[0].data[0] > 0)
        self.seen.append(len(self.at))
        top[0].reshape(len(self.at), 1)
        top[0].data[...] = bottom[0].data[0, self.at][:, None]

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = 0
            bottom[0].diff[0, self.at] = top[0].diff[:, 0]


class Scaled(caffe.Layer):
    """x times a parameter."""

    def setup(self, bottom, top):
        assert caffe.TEST == caffe_pb2.TEST == 1
        self.phase_at_setup = self.phase
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += (top[0].diff * bottom[0].data).sum()
        bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Failing(caffe.Layer):
    def setup(self, bottom, top):
        import caffe.io
        if self.param_str == "setup":
            raise ArithmeticError("no setup")

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        raise IndexError("no forward")
'''


@pytest.fixture
def net_of(tmp_path, monkeypatch):
    """Returns a function that writes a net beside the module and loads it."""
    (tmp_path / "their_layers.py").write_text(MODULE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(text, phase=caffe.TRAIN, **arguments):
        (tmp_path / "net.prototxt").write_text(textwrap.dedent(text))
        return caffe.Net(str(tmp_path / "net.prototxt"), phase, **arguments)

    yield load
    sys.modules.pop("their_layers", None)


def python(name, layer, bottoms=(), tops=(), more="", param_str=""):
    blobs = " ".join([*(f'bottom: "{b}"' for b in bottoms), *(f'top: "{t}"' for t in tops or (name,))])
    return (
        f'layer {{ name: "{name}" type: "Python" {blobs} {more}\n'
        f'        python_param {{ module: "their_layers" layer: "{layer}" param_str: "{param_str}" }} }}\n'
    )


PRODUCT = """layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
                     inner_product_param { num_output: 1 bias_term: false weight_filler { type: "constant" value: 2 } } }
"""
SUM = 'layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }\n'


def test_backward_belongs_to_the_forward_pass(net_of):
    net = net_of(python("x", "Counter") + PRODUCT + SUM)
    for x in (1, 3, 5):
        net.clear_param_diffs()
        assert net.forward()["loss"] == 2 * x
        net.backward()
        assert net.blobs["x"].data == x and net.params["ip"][0].diff == x
    assert net.layers[0].passes == 3


def test_a_solver_runs_each_layer_once(net_of, tmp_path):
    net_of(python("x", "Counter", param_str="1") + PRODUCT + SUM)
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{printable(str(tmp_path))}/net.prototxt" base_lr: 0.125 lr_policy: "fixed" iter_size: 2'
    )
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    solver.step(2)
    assert solver.net.layers[0].passes == 4
    assert solver.net.params["ip"][0].data == 2 - 0.125 * (1 + 2) / 2 - 0.125 * (3 + 4) / 2


def test_the_activations_are_those_of_the_blobs():
    """As in Caffe, a script may change activations and weights between the passes."""
    net = caffe.Net(
        """force_backward: true
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
        layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }""",
        caffe.TRAIN,
    )
    net.forward(x=np.ones((2, 3), np.float32))
    net.blobs["a"].data[...] = [[1, 0, 2], [0, 3, 4]]
    net.params["b"][0].data[...] = [[5, 6, 7]]
    net.blobs["b"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.params["b"][0].diff, [[1, 3, 6]])
    np.testing.assert_allclose(net.blobs["a"].diff, [[5, 0, 7], [0, 6, 7]])


def test_shapes_change_at_each_pass(net_of):
    net = net_of(
        python("images", "Images", tops=("data", "number"))
        + """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
                convolution_param { num_output: 2 kernel_size: 3 bias_term: false weight_filler { type: "constant" value: 1 } } }
             layer { name: "loss" type: "Reduction" bottom: "conv" top: "loss" loss_weight: 1 reduction_param { operation: MEAN } }"""
    )
    for i, size in enumerate([(4, 5), (6, 3), (4, 5)]):
        assert net.forward()["loss"] == pytest.approx(9 * (1 + i)) and net.blobs["number"].data == i
        assert net.blobs["data"].shape == (1, 1, *size) and net.blobs["conv"].shape[2:] == (size[0] - 2, size[1] - 2)
        net.clear_param_diffs()
        net.backward()
        np.testing.assert_allclose(net.params["conv"][0].diff, np.full((2, 1, 3, 3), (1 + i) / 2), rtol=1e-5)
    net.layers[0].set_sizes([(7, 7)])
    net.forward()
    assert net.blobs["conv"].shape == (1, 2, 5, 5)


def test_as_many_rows_as_a_layer_finds(net_of):
    net = net_of(
        'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }\n'
        'layer { name: "twice" type: "Power" bottom: "x" top: "twice" power_param { scale: 2 } }\n'
        + python("some", "Positive", bottoms=["twice"])
        + 'layer { name: "sq" type: "Power" bottom: "some" top: "sq" power_param { power: 2 } }\n'
        + 'layer { name: "sum" type: "Eltwise" bottom: "twice" bottom: "x" top: "sum" }\n',
        caffe.TEST,
    )
    for row in ([1, -1, 2, -3], [-1, 4, -1, -2], [1, 2, 3, 4]):
        x = np.float32([row])
        made = net.forward(x=x)
        kept = 2 * x[x > 0][:, None]
        np.testing.assert_allclose(made["sq"], kept**2)
        assert made["sum"].shape == (1, 4)
        net.backward(sq=np.ones_like(kept), sum=np.ones_like(x))
        np.testing.assert_allclose(net.blobs["x"].diff, 2 * (1 + (x > 0) * 4 * x) + 1)
    assert net.layers[2].seen == net.layer_dict["some"].seen == [2, 1, 4]


def test_a_loss_that_another_layer_uses_keeps_its_weight(net_of):
    net = net_of(
        'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'
        + python("scaled", "Scaled", bottoms=["x"], more="loss_weight: 0.5")
        + 'layer { name: "twice" type: "Power" bottom: "scaled" top: "twice" power_param { scale: 2 } }\n'
    )
    net.forward(x=np.float32([1, 2]))
    net.backward(twice=np.float32([1, 0]))
    np.testing.assert_allclose(net.blobs["x"].diff, [3 * 2.5, 3 * 0.5])


def test_parameters_of_a_layer_are_those_of_its_object(net_of, tmp_path):
    text = (
        'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'
        + python("scaled", "Scaled", bottoms=["x"])
    )
    net = net_of(text)
    assert net.layers[1].type == "Python" and net.layers[1].phase_at_setup == caffe.TRAIN
    assert net.layers[1].blobs[0] is net.params["scaled"][0]
    np.testing.assert_allclose(net.forward(x=np.float32([1, 2]))["scaled"], [3, 6])
    net.backward(scaled=np.float32([1, 1]))
    assert net.params["scaled"][0].diff == 3
    net.save(str(tmp_path / "any name"))
    other = net_of(text, caffe.TEST, weights=str(tmp_path / "any name"))
    other.params["scaled"][0].data[...] = 10
    np.testing.assert_allclose(other.forward(x=np.float32([1, 2]))["scaled"], [10, 20])
    assert other.layers[1].phase_at_setup == caffe.TEST
    other.share_with(net)
    net.params["scaled"][0].data[...] = 7
    np.testing.assert_allclose(other.forward()["scaled"], [7, 14])


def test_exceptions_come_out_as_they_were_raised(net_of):
    net = net_of(python("bad", "Failing"))
    with pytest.raises(IndexError, match="no forward") as caught:
        net.forward()
    assert caught.value.__notes__ == ["in layer `bad`: their_layers.Failing.forward"]
    with pytest.raises(ArithmeticError, match="no setup") as caught:
        net_of(python("bad", "Failing", param_str="setup"))
    assert "layer `bad`: the setup of class their_layers.Failing fails" in caught.value.__notes__[0]


def test_the_whole_of_caffe_is_imported_in_layers_only(net_of):
    net_of(python("x", "Counter"))
    assert sys.modules["their_layers"].caffe is caffe
    assert not [name for name in sys.modules if name.split(".")[0] == "caffe"]


def test_a_script_may_name_the_module_caffe(monkeypatch):
    monkeypatch.setitem(sys.modules, "caffe", caffe)
    import caffe.io as io  # pyright: ignore[reportMissingImports]
    from caffe.proto import caffe_pb2  # pyright: ignore[reportMissingImports]

    assert io is caffe.io and caffe_pb2 is caffe.proto.caffe_pb2 and io.caffe_pb2 is caffe_pb2
    for name in [name for name in sys.modules if name.startswith("caffe.")]:
        del sys.modules[name]


def test_hooks_are_told_of_each_layer(net_of):
    net = net_of(python("x", "Counter") + PRODUCT + SUM)
    told = []
    net.before_forward(lambda i: told.append(("before", i)))
    net.after_forward(lambda i: told.append(("after", i)))
    net.after_backward(lambda i: told.append(("back", i)))
    assert net.forward()["loss"] == 2
    net.backward()
    assert told[:4] == [("before", 0), ("after", 0), ("before", 1), ("after", 1)]
    assert told[6:] == [("back", 2), ("back", 1), ("back", 0)] and net.params["ip"][0].diff == 1


def test_a_shape_that_a_layer_cannot_use_is_an_error_where_it_is_used(net_of):
    net = net_of(python("x", "Counter") + PRODUCT + SUM)
    net.blobs["x"].reshape(1, 5)
    with pytest.raises(netdef.NetdefError, match="with `x` 1x5, parameter 0 of layer `ip` would be 1x5, but it is 1x1"):
        net.forward(start="ip")
    assert net.forward()["loss"] == 2
