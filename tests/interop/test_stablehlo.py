"""Export to StableHLO: the file of jax.export returns the same results as netdef, for any batch size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jax import export
from used_nets import IMAGE, inputs_of, layer, random_model

import netdef
from netdef.cli import main
from netdef.interop import export_stablehlo

TEXT = (
    IMAGE
    + layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }", top="c")
    + layer("BatchNorm", "", "c", "c", "norm")
    + layer("LRN", "lrn_param { local_size: 3 }", "c", "n")
    + layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE }", "n", "p")
    + layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", "n", "q")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "p", "ip")
    + layer("Softmax", "", "ip", "prob")
)
FIXED = IMAGE + layer("Reshape", "reshape_param { shape { dim: 8 dim: 9 dim: 8 } }")
ALONE = """
import sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("netdef", "flax"):
            raise ImportError(name)
sys.meta_path.insert(0, Nowhere())
import numpy as np
from jax import export
run = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
np.savez(sys.argv[3], **run.call(dict(np.load(sys.argv[2]))))
"""


@pytest.fixture(scope="module")
def model() -> netdef.Model:
    return random_model(netdef.load(TEXT, phase="TEST"))


@pytest.fixture(scope="module")
def file(model: netdef.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hlo") / "net.stablehlo"
    export_stablehlo(model, path)
    return path


def test_the_batch_is_a_symbol(file: Path):
    exported = export.deserialize(bytearray(file.read_bytes()))
    assert [str(aval.shape) for aval in exported.in_avals] == ["(batch, 4, 9, 8)"]
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


def test_it_gives_what_netdef_gives(model: netdef.Model, file: Path):
    inputs = inputs_of(model.net, 5)
    got, wanted = export.deserialize(bytearray(file.read_bytes())).call(inputs), model(**inputs)
    assert got.keys() == wanted.keys() == {"q", "prob"}
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_without_netdef_and_flax(model: netdef.Model, file: Path, tmp_path: Path):
    inputs = inputs_of(model.net, 3)
    np.savez(tmp_path / "in.npz", **inputs)
    command = [sys.executable, "-I", "-c", ALONE, str(file), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as got:
        np.testing.assert_allclose(got["prob"], model(**inputs)["prob"], rtol=1e-5, atol=1e-6)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    text = IMAGE + layer("InnerProduct", "inner_product_param { num_output: 3 }")
    model = random_model(netdef.load(text, phase="TEST"))
    net, weights, to = tmp_path / "net.prototxt", tmp_path / "w.caffemodel", tmp_path / "net.stablehlo"
    net.write_text(text)
    model.save_weights(weights)
    inputs = inputs_of(model.net, 2)
    for words in ([str(net), "--weights", str(weights)], [str(weights), "--net", str(net)]):
        assert main(["convert", *words, "-o", str(to)]) == 0
        assert capsys.readouterr().out == f"{to}: inputs data (n, 4, 9, 8)\n"
        got = export.deserialize(bytearray(to.read_bytes())).call(inputs)
        np.testing.assert_allclose(got["y"], model(**inputs)["y"], rtol=1e-4, atol=1e-4)
    assert main(["convert", str(net), "--weights", str(weights), "--batch", "2", "-o", str(to)]) == 0
    assert export.deserialize(bytearray(to.read_bytes())).in_avals[0].shape == (2, 4, 9, 8)


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture):
    net, fixed, weights = tmp_path / "net.prototxt", tmp_path / "fixed.net", tmp_path / "w.npz"
    net.write_text(TEXT)
    fixed.write_text(FIXED)
    netdef.compile(IMAGE + layer("InnerProduct", "inner_product_param { num_output: 3 }")).save_weights(weights)
    to = str(tmp_path / "net.stablehlo")
    for words, code, why in [
        ([str(weights), "-o", to], 2, "name the net with --net"),
        ([str(weights), "--net", str(net), "--weights", str(weights), "-o", to], 2, "--run are not allowed"),
        ([str(net), "--weights", str(weights), "-o", to], 1, "no layer of this file is in the net"),
        ([str(net), "-o", str(net / "x.stablehlo")], 1, "cannot be written"),
        ([str(net), "-o", str(tmp_path / "w.npz")], 2, "no complete snapshot of this net"),
        (
            [str(net), "-o", "net.onx"],
            2,
            "net.onx: a net is converted to .prototxt or .net or .pt, its weights to a format of weights, and both",
        ),
        ([str(fixed), "-o", to], 1, "`shape` of layer `y`, a Reshape, fixes the first axis, the batch, at 8"),
        ([str(tmp_path / "none.net"), "-o", to], 2, "the file or folder"),
    ]:
        assert main(["convert", *words]) == code, words
        assert why in capsys.readouterr().err
    assert not Path(to).exists()
    assert main(["convert", str(fixed), "--batch", "2", "-o", to]) == 0
    with pytest.raises(netdef.NetdefError, match="of phase TRAIN, but only a net of phase TEST can be exported"):
        export_stablehlo(netdef.compile("force_backward: true " + TEXT, phase="TRAIN"), to)


def test_the_package_that_writes_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    model = netdef.compile(FIXED, phase="TEST")
    with pytest.raises(
        netdef.NetdefError, match=r"requires the package flatbuffers, .*; run `pip install flatbuffers`"
    ):
        export_stablehlo(model, tmp_path / "n.stablehlo")
