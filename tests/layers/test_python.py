"""The Python layer: the user's layers, functions and pycaffe classes in the folder of the net, and their errors."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from flax import nnx

import netdef

MODULE = '''
import caffe
import numpy as np
import netdef


class Plus(netdef.Layer):
    """y = x + amount + w."""
    amount: float = netdef.param("What is added.", default=1.0)

    def infer(self, x):
        return x

    def weights(self, x):
        from netdef.fillers import Constant
        return [netdef.Weight((1,), Constant(value=100.0))]

    def apply(self, w, x, *, ctx):
        return x + self.amount + w[0]


def both(x, param_str, ctx):
    return x * float(param_str), x if ctx.train else -x


class Distance(caffe.Layer):
    """Stores the difference in forward for backward, and has no gradient for its second bottom."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("two bottoms are needed")

    def reshape(self, bottom, top):
        self.diff = np.zeros_like(bottom[0].data)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff ** 2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        if propagate_down[1]:
            raise Exception("labels have no gradient")
        bottom[0].diff[...] = self.diff * top[0].diff[0] / bottom[0].num


class Times(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += np.sum(top[0].diff * bottom[0].data)
        bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Counter(caffe.Layer):
    def setup(self, bottom, top):
        self.n = 0

    def reshape(self, bottom, top):
        top[0].reshape(2, 3)

    def forward(self, bottom, top):
        self.n += 1
        top[0].data[...] = self.n + (100 if self.phase == caffe_TEST else 0)

    def backward(self, top, propagate_down, bottom):
        pass


caffe_TEST = caffe.TEST


class Growing(caffe.Layer):
    grown = 2

    def reshape(self, bottom, top):
        top[0].reshape(self.grown)

    def forward(self, bottom, top):
        if bottom[0].data[0, 0] > 10:
            raise ValueError("too large")
        Growing.grown += 1
'''
X = np.random.RandomState(0).randn(2, 3).astype(np.float32)
T = np.random.RandomState(1).randn(2, 3).astype(np.float32)


@pytest.fixture
def compiled(tmp_path):
    """compile(layers): a net with the inputs x and t, and the module `their_layers` in the folder of its file."""
    (tmp_path / "their_layers.py").write_text(MODULE)
    path = tmp_path / "model.net"

    def compile(layers: str, phase: str = "TRAIN"):
        path.write_text(
            'force_backward: true layer { name: "in" type: "Input" top: "x" top: "t" '
            "input_param { shape { dim: 2 dim: 3 } } }\n" + layers
        )
        return netdef.compile(path, phase=phase)

    yield compile
    sys.modules.pop("their_layers", None)


def layer(name: str, bottoms: str = "x", tops: str = "y", text: str = "", more: str = "") -> str:
    blobs = " ".join([f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()])
    return (
        f'layer {{ name: "l_{name}" type: "Python" {blobs} {more} '
        f'python_param {{ module: "their_layers" layer: "{name}" param_str: "{text}" }} }}\n'
    )


def test_a_netdef_layer_gets_its_fields_from_param_str(compiled):
    model = compiled(layer("Plus", text="amount: 3"))
    np.testing.assert_allclose(model(x=X, t=T)["y"], X + 103, rtol=1e-6)
    assert [a.tolist() for a in model.get_weights()["l_Plus"]] == [[100]]


def test_a_function_of_jax_arrays(compiled):
    text = layer("both", tops="y z", text="2")
    out = compiled(text)(x=X, t=T)
    np.testing.assert_array_equal(out["y"], 2 * X)
    np.testing.assert_array_equal(out["z"], X)
    np.testing.assert_array_equal(compiled(text, "TEST")(x=X, t=T)["z"], -X)


def test_pycaffe_classes_with_parameters_and_gradients(compiled):
    model = compiled(layer("Times", text="2.5") + layer("Distance", "y t", "loss", more="loss_weight: 3"))
    value, grads = nnx.jit(nnx.value_and_grad(lambda m, x: m.loss(x=x, t=T)))(model, X)
    wanted = lambda w, x: 3 * ((w * x - T) ** 2).sum() / 4
    np.testing.assert_allclose(value, wanted(2.5, X), rtol=1e-5)
    np.testing.assert_allclose(model.get_weights(grads)["l_Times"][0], [jax.grad(wanted)(2.5, X)], rtol=1e-4)
    by_x = jax.grad(lambda x: model.loss(x=x, t=T))(X)
    np.testing.assert_allclose(by_x, jax.grad(wanted, 1)(2.5, X), rtol=1e-4, atol=1e-5)


def test_a_class_without_bottoms_is_asked_at_each_pass_and_knows_the_phase(compiled):
    text = layer("Counter", "", "y")
    model = compiled(text)
    call = nnx.jit(lambda m: m(x=X, t=T)["y"][0, 0])
    assert [float(call(model)) for _ in range(3)] == [1, 2, 3]
    assert float(compiled(text, "TEST")(x=X, t=T)["y"][0, 0]) == 101


def test_errors_of_a_running_class_name_layer_and_step(compiled):
    model = compiled(layer("Growing"))
    with pytest.raises(
        Exception, match="layer `l_Growing`: their_layers.Growing.forward failed: ValueError: too large"
    ):
        jax.block_until_ready(model(x=X + 100, t=T))
    jax.block_until_ready(model(x=X, t=T))
    with pytest.raises(Exception, match="Growing reshaped `y` to 3, but the net was compiled for 2"):
        jax.block_until_ready(model(x=X, t=T))


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        (layer("Tims"), '"Tims"', "has no `Tims`. Did you mean `Times`?"),
        (layer("np"), '"np"', "must be a netdef layer, a function"),
        (layer("Times", text="much"), '"Times"', "could not convert string to float: 'much'"),
        (layer("Distance"), '"Distance"', "fails for 2x3: Exception: two bottoms are needed"),
        (layer("both", tops="y", text="2"), '"both"', "outputs 2 tops, but the layer has 1"),
        (layer("both", tops="y z", text="b"), '"both"', "their_layers.both fails for 2x3: ValueError"),
        (layer("Plus", text="amout: 3"), '"amout', "Did you mean `amount`?"),
        (layer("Plus", "x t"), '"x"', "2 bottoms, but Plus requires 1"),
    ],
)
def test_errors_of_the_users_code_are_diagnostics(compiled, text, at, words):
    with pytest.raises(netdef.CompileError) as caught:
        compiled(text)
    (fault,) = caught.value.diagnostics
    assert words in fault.message
    assert text[fault.column - 1 :].startswith(at)


def test_a_module_that_is_missing_is_a_warning_until_the_net_is_compiled():
    text = layer("Any").replace("their_layers", "nobody.has.this").replace('bottom: "x"', "")
    net = netdef.load(text, trust_python=True)
    assert [(d.code, d.severity) for d in net.diagnostics] == [("unavailable", "warning")]
    assert "put nobody/has/this.py in the folder of the net" in net.diagnostics[0].message
    with pytest.raises(netdef.NetdefError, match="nobody"):
        netdef.compile(text)


def test_a_module_that_needs_another_or_fails_says_so(tmp_path):
    net = tmp_path / "m.net"
    net.write_text('layer { name: "l" type: "Python" top: "y" python_param { module: "their_needy" layer: "A" } }')
    (tmp_path / "their_needy.py").write_text("import surely_not_installed")
    assert "requires `surely_not_installed`" in netdef.load(net, trust_python=True).diagnostics[0].message
    (tmp_path / "their_needy.py").write_text("1 +")
    with pytest.raises(netdef.CompileError, match="cannot be imported: SyntaxError"):
        netdef.load(net, trust_python=True)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit()", "Python module `their_rude` cannot be imported: SystemExit"),
        ("class Mine(BaseException): pass\nraise Mine('no')", "their_rude` cannot be imported: Mine: no"),
        ("def __getattr__(name): raise SystemExit(0)", "their_rude` cannot be imported: SystemExit: 0"),
        ("def A(x): raise SystemExit(0)", "their_rude.A fails for 2: SystemExit: 0"),
        (
            "class A:\n def setup(s, b, t): raise SystemExit(0)\n forward = reshape = setup",
            "the setup of class their_rude.A fails",
        ),
        (
            "class A:\n setup = print\n def reshape(s, b, t): exit(0)\n forward = reshape",
            "the setup of class their_rude.A fails",
        ),
        ("import netdef\nclass A(netdef.Layer):\n def infer(s, x): return 1 / 0", "their_rude.A fails for 2: ZeroDiv"),
    ],
)
def test_whatever_a_module_raises_is_an_error_of_its_layer(tmp_path, code, words):
    net = tmp_path / "m.net"
    net.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'
        'layer { name: "l" type: "Python" bottom: "x" top: "y" python_param { module: "their_rude" layer: "A" } }'
    )
    (tmp_path / "their_rude.py").write_text(code)
    try:
        with pytest.raises(netdef.CompileError) as caught:
            netdef.compile(net)
    finally:
        sys.modules.pop("their_rude", None)
    (fault,) = caught.value.diagnostics
    assert "layer `l`: " in fault.message and words in fault.message


def test_an_exit_while_the_net_runs_is_an_error(tmp_path):
    net = tmp_path / "m.net"
    net.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'
        'layer { name: "l" type: "Python" bottom: "x" top: "y" python_param { module: "their_late" layer: "A" } }'
    )
    (tmp_path / "their_late.py").write_text(
        "import sys\nruns = []\ndef A(x):\n    runs.append(1)\n    return x if len(runs) < 2 else sys.exit(0)\n"
    )
    try:
        model = netdef.compile(net)
        with pytest.raises(netdef.NetdefError, match="layer `l`: their_late.A fails for 2: SystemExit: 0"):
            model(x=np.zeros(2, np.float32))
    finally:
        sys.modules.pop("their_late", None)


def test_the_stand_in_for_caffe_does_not_stay(compiled):
    compiled(layer("Plus"))
    assert "caffe" not in sys.modules


def test_the_whole_of_caffe_can_be_imported(tmp_path):
    net = tmp_path / "m.net"
    net.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'
        'layer { name: "l" type: "Python" bottom: "x" top: "y" python_param { module: "their_whole" layer: "A" } }'
    )
    (tmp_path / "their_whole.py").write_text(
        "import caffe\nfrom caffe.io import resize_image\nfrom caffe import layers as L\n"
        "class A(caffe.Layer):\n"
        "    def setup(self, bottom, top):\n        from caffe.proto import caffe_pb2\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
    )
    try:
        np.testing.assert_allclose(netdef.compile(net)(x=np.float32([1, 2]))["y"], [2, 4])
        assert not [name for name in sys.modules if name.split(".")[0] == "caffe"]
    finally:
        sys.modules.pop("their_whole", None)
