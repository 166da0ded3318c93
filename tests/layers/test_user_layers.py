"""A layer type from a single file outside the package works wherever built-in types do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from contract import hold_decoding, hold_documentation, hold_gradients, hold_shapes
from plugins import command, make_distribution

import netdef
from netdef.layers.base import LAYERS

GATE = '''
"""Gates with a learned steepness."""

from netdef import Context, Example, Layer, Weight, param
from netdef.fillers import Constant, Filler
from netdef.lazy import jax
from netdef.shape import ShapeError


class SharpGate(Layer, type="SharpGate", block="sharp_gate_param"):
    """y = x sigmoid(beta x), with one beta per channel.

    Bottoms: x (n, c, ...).  Tops: y, as x.  Weights: beta (c).
    Source: Ramachandran et al. 2017.  Differs: Caffe has no such layer.
    """

    beta_filler: Filler = param("Filler of beta.", default=Constant(value=1.0))
    sharpness: float = param("Multiplies beta.", default=1.0, above=0)

    examples = (Example('layer { name: "gate" type: "SharpGate" bottom: "x" top: "gate" }', {"x": (2, 3, 4)}),)

    def infer(self, x):
        if len(x) < 2:
            raise ShapeError(f"the input has {len(x)} axes; 2 or more are wanted.", bottom=0)
        return x

    def weights(self, x):
        return [Weight((x[1],), self.beta_filler)]

    def apply(self, w, x, *, ctx: Context):
        beta = self.sharpness * w[0].reshape(-1, *(1,) * (x.ndim - 2))
        return x * jax.nn.sigmoid(beta * x)
'''

NET = """
name: "Gated"
layer { name: "data" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: 8 dim: 3 } shape { dim: 8 }
                           data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "gate" type: "SharpGate" bottom: "x" top: "gate" param { lr_mult: 2 } sharp_gate_param { sharpness: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "gate" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 4 display: 1 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: the layer in a file, and a net that uses it."""
    (tmp_path / "gates.py").write_text(GATE)
    (tmp_path / "gated.net").write_text(NET)
    return tmp_path


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, with the file as a distribution that declares it as an entry point; unregistered after the test."""
    make_distribution(folder, "gates", "[netdef.layers]\nSharpGate = gates:SharpGate\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "gates", raising=False)
    with LAYERS.apart():
        yield folder


def test_a_plugin_is_explained_and_checked(folder: Path) -> None:
    told = command(folder, "explain", "SharpGate", "--plugin", "gates")
    assert told.returncode == 0, told.stderr
    assert "y = x sigmoid(beta x)" in told.stdout and "sharpness" in told.stdout
    checked = command(folder, "check", "gated.net", "--plugin", "gates")
    assert checked.returncode == 0, checked.stderr
    unknown = command(folder, "check", "gated.net")
    assert unknown.returncode == 2 and '"SharpGate"' in unknown.stdout + unknown.stderr


def test_a_plugin_is_trained(folder: Path) -> None:
    done = command(folder, "train", "gated.net", "--plugin", "gates", "--output", "run")
    assert done.returncode == 0, done.stderr
    losses = [json.loads(line)["loss"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(np.log(2)) and losses[-1] < losses[0]


def test_the_error_names_a_missing_module(folder: Path) -> None:
    done = command(folder, "explain", "--plugin", "gate")
    assert done.returncode == 2 and "--plugin gate" in done.stderr and "Traceback" not in done.stderr


def test_an_entry_point_is_found(installed: Path) -> None:
    net = netdef.load(installed / "gated.net")
    assert net.params["gate"] == [(3,)]
    assert net.blobs["gate"].shape == (8, 3)


def test_its_fields_are_checked(installed: Path) -> None:
    for wrong, detail in (
        (NET.replace("sharpness: 2", "sharpnes: 2"), "there is no field `sharpnes` here. Did you mean `sharpness`?"),
        (NET.replace("sharpness: 2", "sharpness: 0"), "`sharpness`"),
        (NET.replace("dim: 8 dim: 3", "dim: 8"), "the input has 1 axes; 2 or more are wanted."),
    ):
        with pytest.raises(netdef.CompileError) as caught:
            netdef.load(wrong)
        assert detail in caught.value.diagnostics[0].message


def test_its_weights_are_caffes(installed: Path) -> None:
    model = netdef.compile(NET, phase="TEST")
    np.testing.assert_array_equal(model.get_weights()["gate"][0], np.ones(3, np.float32))
    beta = np.asarray([0.0, 1.0, -1.0], np.float32)
    model.set_weights({"gate": [beta]})
    blobs = model.blobs()
    x = np.asarray(blobs["x"])
    np.testing.assert_allclose(blobs["gate"], x / (1 + np.exp(-2 * beta * x)), rtol=1e-5)
    with pytest.raises(netdef.NetdefError, match="parameter 0 of layer `gate` is 3"):
        model.set_weights({"gate": [np.zeros(4)]})


def test_it_is_trained_with_its_multipliers(installed: Path, tmp_path: Path) -> None:
    start = netdef.compile(NET, phase="TRAIN").get_weights()
    result = netdef.train(NET, output=tmp_path / "run", weights=start)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    after = result.model.get_weights()["gate"][0]
    assert np.isfinite(after).all() and (after != start["gate"][0]).any()


def test_it_keeps_the_contract(installed: Path) -> None:
    netdef.load(NET)
    cls = LAYERS.get("SharpGate")
    assert cls is not None
    hold_documentation(cls)
    for example in cls.examples:
        hold_decoding(example)
        hold_shapes(example)
        hold_gradients(example)


def test_it_is_differentiated_as_any_layer(installed: Path) -> None:
    model = netdef.compile(
        'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "gate" type: "SharpGate" bottom: "x" top: "gate" }',
        phase="TEST",
    )
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    slope = jax.grad(lambda x: model(x=x)["gate"].sum())(x)
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(slope, s + x * s * (1 - s), rtol=1e-5)
