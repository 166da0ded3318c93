"""Ejected models: source that runs without netdef and returns the same results, bit for bit."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import small_detector
from contract import arrays_of, net_of
from flax import nnx
from used_nets import IMAGE, inputs_of, layer, random_model
from weight_files import NET

import netdef
from netdef.cli import main
from netdef.interop import eject
from netdef.interop.ejection import EMITTERS, source_of
from netdef.layers.base import LAYERS, Example

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = (
    'name: "small net"\n'
    + IMAGE.removeprefix('name: "Net" ')
    + """
layer { name: "conv 1/3x3" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 bias_term: false weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "dw" type: "ConvolutionDepthwise" bottom: "conv" top: "lambda"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "lambda" top: "sum" }
layer { name: "norm" type: "LRN" bottom: "sum" top: "norm" lrn_param { local_size: 3 alpha: 0.1 } }
layer { name: "max" type: "Pooling" bottom: "norm" top: "max" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "mean" type: "Pooling" bottom: "norm" top: "mean" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "both" type: "Concat" bottom: "max" bottom: "mean" top: "both" }
layer { name: "drop" type: "Dropout" bottom: "both" top: "both" }
layer { name: "ip" type: "InnerProduct" bottom: "both" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
)


NUMBER = itertools.count()


def run(model: netdef.Model, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns the outputs of a model's ejected source."""
    text, arrays = source_of(model.net, model.get_weights())
    names = {name.partition(".")[0] for name in imported(text)}
    assert names <= {"jax", "flax", "numpy"} | sys.stdlib_module_names, names
    assert max(map(len, text.splitlines())) <= 120
    name = f"ejected{next(NUMBER)}"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{name}.py").write_text(text)
        spec = importlib.util.spec_from_file_location(name, Path(folder) / f"{name}.py")
        assert spec and spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)  # because dataclasses look up their module
        spec.loader.exec_module(module)
    try:
        ejected = next(
            v for v in vars(module).values() if isinstance(v, type) and (v.__doc__ or "").endswith("layer.")
        )()
        for key, array in arrays.items():
            owner, field = key.split("/")
            getattr(getattr(ejected, owner), field)[...] = array
        return {name: np.asarray(value) for name, value in ejected(*inputs.values()).items()}
    finally:
        del sys.modules[name]


def imported(text: str) -> set[str]:
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {alias.name for n in found if isinstance(n, ast.Import) for alias in n.names} | {
        str(n.module) for n in found if isinstance(n, ast.ImportFrom) and n.module != "__future__"
    }


def assert_equal(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The arrays are equal bit for bit; NaNs are equal."""
    assert got.keys() == wanted.keys()
    for name in wanted:
        one, other = np.asarray(got[name]), np.asarray(wanted[name])
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


TYPES = {cls: name for name, cls in LAYERS if name in EMITTERS}  # each class once, without aliases
CASES = [
    pytest.param(example, id=f"{name}-{i}") for cls, name in TYPES.items() for i, example in enumerate(cls.examples)
]


@pytest.mark.parametrize("example", CASES)
def test_every_layer_gives_what_netdef_gives(example: Example):
    model = random_model(net_of(example, "TEST"))
    inputs = {name: np.asarray(array) for name, array in arrays_of(example).items()}
    assert_equal(run(model, inputs), model(**inputs))


CONV = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"
WIDE = "convolution_param { num_output: 4 kernel_size: 3 stride: 2 }"
WEIGHT, BIAS = 'param { name: "w" }', 'param { name: "b" }'


@pytest.mark.parametrize(
    "text",
    [
        layer("Convolution", "convolution_param { num_output: 4 kernel_size: 2 pad_t: 1 group: 2 }"),
        layer("Convolution", "convolution_param { num_output: 8 kernel_size: 3 stride: 2 dilation: 2 pad: 2 }"),
        layer("Deconvolution", "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2 }"),
        layer("InnerProduct", "inner_product_param { num_output: 3 axis: 2 bias_term: false }"),
        layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
        layer("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 3 pad: 1 }"),
        layer("Pooling", "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1 }"),
        layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad_b: 1 pad_r: 2 pad_t: 0 pad_l: 1 }"),
        layer("ReLU", "relu_param { relu6: true maximum: 0.5 negative_slope: 0.1 minimum: -0.05 }"),
        layer("Pooling", "pooling_param { pool: MAX global_pooling: true }"),
        layer("BatchNorm", "batch_norm_param { use_weight_bias: true eps: 0.01 }"),
        layer("BN", "bn_param { slope_filler { value: 1 } eps: 0.001 }"),
        layer("BN", "bn_param { dialect: YJXIONG }"),
        layer("BN", "bn_param { decay: 0.9 }"),
        layer("Scale", "scale_param { axis: 2 num_axes: 2 bias_term: true }"),
        layer("PReLU", "prelu_param { channel_shared: true }"),
        layer("Eltwise", "eltwise_param { coeff: 1 coeff: -0.5 }", "data data"),
        layer("Slice", "slice_param { axis: 1 slice_point: 1 }", top="y z"),
        layer("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"),
        layer("Flatten", "flatten_param { axis: 0 }"),
        layer("LRN", "lrn_param { local_size: 3 alpha: 0.3 beta: 0.6 k: 2 }"),
        layer("Normalize", "norm_param { channel_shared: true }"),
        layer("Dropout", "dropout_param { scale_train: false dropout_ratio: 0.3 }"),
        layer("Power", "power_param { shift: 1 scale: 0.5 }"),
        layer("Split", top="y z"),
        layer("Convolution", f"{CONV} {WEIGHT} {BIAS}") + layer("Convolution", f"{CONV} {WEIGHT} {BIAS}", "y", "z"),
        layer("Convolution", f"{CONV} {WEIGHT}") + layer("Convolution", f"{WIDE} {WEIGHT}", "y", "z"),
        layer("ReLU", top="self") + layer("TanH", "", "self", "y", "jax"),
        layer("InnerProduct", "inner_product_param { num_output: 2 }", name="train"),
    ],
)  # fmt: skip
def test_fields_of_layers(text: str):
    model = random_model(netdef.load(IMAGE + text, phase="TEST"))
    inputs = inputs_of(model.net, 2)
    assert_equal(run(model, inputs), model(**inputs))


def test_names_that_python_reads_otherwise():
    text = (
        IMAGE.replace('"Net"', r"'a\"\"\" \\ \n'")
        + """
    layer { name: "é 1" type: "TanH" bottom: "data" top: "a\\"b\\\\" }
    layer { name: "2" type: "InnerProduct" bottom: "data" top: "None" inner_product_param { num_output: 2 } }"""
    )
    model = random_model(netdef.load(text, phase="TEST"))
    inputs = inputs_of(model.net, 2)
    assert set(model.net.outputs) == {'a"b\\', "None"}
    assert_equal(run(model, inputs), model(**inputs))


def test_parameters_that_are_shared_in_part():
    model = random_model(netdef.load(NET, phase="TEST"))
    inputs = inputs_of(model.net, 2)
    assert_equal(run(model, inputs), model(**inputs))
    text, arrays = source_of(model.net, model.get_weights())
    assert "self.ip2.weight = self.ip1.weight\n" in text
    assert "ip2/bias" in arrays and "ip2/weight" not in arrays


def test_the_batch_is_open():
    model = random_model(netdef.load(SMALL, phase="TEST"))
    inputs = inputs_of(model.net, 1)
    assert_equal(run(model, inputs), model(**inputs))
    assert "Input shapes: data (n, 4, 9, 8), for any n." in source_of(model.net, model.get_weights())[0]


def test_a_batch_that_the_net_fixes_is_said():
    net = netdef.load(IMAGE + layer("Reshape", "reshape_param { shape { dim: 4 dim: 2 dim: -1 } }"), phase="TEST")
    assert "Input shapes: data (2, 4, 9, 8), which are fixed." in source_of(net, {})[0]


def test_the_text(golden):
    model = random_model(netdef.load(SMALL, phase="TEST"))
    golden("small_net.py", source_of(model.net, model.get_weights(), "small_net")[0])


@pytest.mark.parametrize("name", ["lenet", "googlenet", "mobilenet", "face_bn"])
def test_the_text_of_examples(name: str, golden):
    """Compares the class of the model only; the parts are in the other golden."""
    net = netdef.deploy(EXAMPLES / f"{name}.net", shapes={"data": (1, 1, 28, 28)} if name == "lenet" else None)
    golden(f"{name}.txt", model_alone(source_of(net, {}, name)[0]))


def model_alone(text: str) -> str:
    """Returns the source of the model's class."""
    tree = ast.parse(text)
    first = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    lines = text.splitlines(keepends=True)[first.lineno - 1 : first.end_lineno]
    return "".join(lines)


ALONE = """
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "netdef":
            raise ImportError("netdef is not available")

sys.meta_path.insert(0, Nowhere())
sys.path.insert(0, sys.argv[1])
import numpy as np
import small
inputs = np.load(sys.argv[1] + "/inputs.npz")
np.savez(sys.argv[1] + "/outputs.npz", **small.load()(**inputs))
assert "netdef" not in sys.modules
"""


def test_without_netdef(tmp_path: Path):
    """A separate Python process that cannot import netdef."""
    (tmp_path / "net.prototxt").write_text(SMALL)
    model = random_model(netdef.load(SMALL, phase="TEST"))
    model.save_weights(tmp_path / "w.caffemodel")
    net = [str(tmp_path / "net.prototxt"), "--weights", str(tmp_path / "w.caffemodel")]
    assert main(["eject", *net, "-o", str(tmp_path / "small.py")]) == 0
    inputs = inputs_of(model.net, 3)
    np.savez(tmp_path / "inputs.npz", **inputs)
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_equal(dict(np.load(tmp_path / "outputs.npz")), model(**inputs))


def test_the_weights_of_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    data = 'layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }\n'
    ip = layer("InnerProduct", 'inner_product_param { num_output: 2 weight_filler { type: "xavier" } }', "x")
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }\n'
    solver = 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 }\n'
    Path("few.net").write_text('name: "Few"\n' + data.replace('"y"', '"t"') + ip + loss + solver)
    assert main(["eject", "few.net", "-o", "before.py"]) == 0
    assert "the weights are those of its fillers" in capsys.readouterr().err
    before = dict(np.load("before.npz"))
    assert before["y/weight"].std() > 0  # values of the filler, not the zeros of a net without one
    result = netdef.train("few.net")
    assert main(["eject", "few.net", "-o", "after.py"]) == 0
    assert "weights loaded for 1 layer\n" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("after.npz")["y/bias"], result.model.get_weights()["y"][1])
    assert '"prob": prob' in Path("after.py").read_text()


def test_the_text_is_formatted(tmp_path: Path):
    ruff = shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    for name in ("googlenet", "mobilenet"):
        text, _ = source_of(netdef.deploy(EXAMPLES / f"{name}.net"), {}, name)
        (tmp_path / f"{name}.py").write_text(text)
    rules = ["--isolated", "--line-length", "120", str(tmp_path)]
    assert subprocess.run([ruff, "format", "--check", *rules], capture_output=True).returncode == 0
    done = subprocess.run([ruff, "check", "--select", "E,F,I,UP,B", "--ignore", "E731", *rules], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_jax_and_flax_take_it_as_any_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fields = "inner_product_param { num_output: 3 }"
    model = random_model(netdef.load(IMAGE + layer("InnerProduct", fields) + layer("TanH", "", "y", "z"), phase="TEST"))
    eject(model, tmp_path / "ejected_product.py")
    monkeypatch.syspath_prepend(tmp_path)
    ejected = importlib.import_module("ejected_product").load()
    x = inputs_of(model.net)["data"]
    wanted = model(data=x)["z"]
    np.testing.assert_allclose(jax.vmap(lambda one: ejected(one[None])["z"][0])(x), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nnx.jit(lambda module, x: module(x)["z"])(ejected, x), wanted, rtol=1e-5, atol=1e-5)
    slopes = nnx.grad(lambda module: module(x)["z"].sum())(ejected)
    np.testing.assert_allclose(slopes["y"]["bias"][...], (1 - wanted**2).sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (layer("Flip"), "layer `y`: layers of type Flip cannot be ejected"),
        (layer("Pooling", "pooling_param { kernel_size: 2 }", top="y mask", name="y"), "layer `y`: pooling with a mask"),
        (layer("BN", "bn_param { bn_mode: LEARN }"), "layer `y`: batch normalization with the statistics of the batch"),
        (layer("InnerProduct", "inner_product_param { num_output: 2 transpose: true }"), "layer `y`: an InnerProduct with `transpose`"),
        (layer("Scale", "scale_param { max_value: 1 }"), "layer `y`: a Scale with `min_value` or `max_value`"),
    ],
)  # fmt: skip
def test_what_cannot_be_ejected(text: str, why: str):
    with pytest.raises(netdef.NetdefError, match=why) as caught:
        source_of(netdef.load(IMAGE + text, phase="TEST"), {})
    assert str(caught.value).endswith("use `netdef convert NET -o NET.stablehlo`, which supports every layer")


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture):
    net = tmp_path / "net.prototxt"
    net.write_text(SMALL)
    (tmp_path / "mine.npz").write_bytes(b"kept")
    (tmp_path / "file").write_text("no folder")
    netdef.compile(IMAGE + layer("InnerProduct", "inner_product_param { num_output: 3 }")).save_weights(
        tmp_path / "w.npz"
    )
    for words, code, said in [
        (["-o", "model.txt"], 2, "the name of a source file must end in .py"),
        ([], 2, "the following arguments are required: -o"),
        (["-o", "model.py", "--weights", "none.caffemodel"], 2, "the weight file none.caffemodel does not exist"),
        (["-o", "model.py", "--run", "none"], 2, "the run none does not exist"),
        (["-o", "model.py", "--output", "none"], 2, "there is no blob `none`"),
        (["-o", str(tmp_path / "model.py"), "--weights", str(tmp_path / "w.npz")], 1, "no layer of this file is in the net"),
        (["-o", str(tmp_path / "mine.py")], 1, "mine.npz: the file exists already"),
        (["-o", str(tmp_path / "file" / "model.py")], 1, "cannot be written"),
    ]:  # fmt: skip
        assert main(["eject", str(net), *words]) == code, words
        assert said in capsys.readouterr().err
    assert (tmp_path / "mine.npz").read_bytes() == b"kept"
    assert not list(tmp_path.glob("model*"))
    with pytest.raises(netdef.NetdefError, match="is of phase TRAIN"):
        eject(netdef.compile("force_backward: true " + SMALL, phase="TRAIN"), tmp_path / "model.py")


def test_a_detector_without_the_rows_that_pad_its_detections():
    net = netdef.load(small_detector.DEPLOYED, phase="TEST")
    model = netdef.compile(net)
    image = small_detector.image((0, 1, 250), (2, 2, 240))[None, None].astype(np.float32)
    found = run(model, {"data": image})
    assert found["found"].shape == (1, 1, 2, 7)
    assert_equal(found, model(data=image))
