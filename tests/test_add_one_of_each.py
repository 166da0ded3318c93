"""A new layer, filler, policy or solver is a new class: it works wherever the package's own do, as a plugin and as an
entry point of a distribution."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plugins import command

MINE = '''
"""My own types: one of each."""

import math

from netdef import Context, Example, Layer, Weight, param
from netdef.fillers import Filler
from netdef.lazy import jnp
from netdef.policies import Policy
from netdef.solvers import Solver


class Ramp(Filler, type="ramp"):
    """Linearly increasing values.  Source: the user's own."""

    first: float = param("The first value.", default=0.0)
    by: float = param("The step from one value to the next.", default=1.0)

    def fill(self, draw, shape):
        return (self.first + self.by * draw.np.arange(math.prod(shape), dtype=draw.np.float32)).reshape(shape)


class Gain(Layer, type="Gain", block="gain_param"):
    """y = sharpness g x, with a g for each channel.

    Bottoms: x (n, c, ...).  Tops: y, as x.  Weights: g (c).
    Source: the user's own.  Differs: Caffe has no such layer.
    """

    family = "gains"

    gain_filler: Filler = param("Filler of g.", default=Ramp(first=1.0, by=0.0))
    sharpness: float = param("Multiplies g.", default=1.0, above=0)

    examples = (Example('layer { name: "gain" type: "Gain" bottom: "x" top: "gain" }', {"x": (2, 3, 4)}),)

    def infer(self, x):
        return x

    def weights(self, x):
        return [Weight((x[1],), self.gain_filler)]

    def apply(self, w, x, *, ctx: Context):
        return x * (self.sharpness * w[0]).reshape(-1, *(1,) * (x.ndim - 2))

    def multiply_adds(self, bottoms, tops):
        return math.prod(tops[0])

    def details(self):
        return [f"by {self.sharpness:g}"]


class Sawtooth(Policy, name="sawtooth"):
    """base_lr (1 - (t mod period) / period): falls to 0 in each period.  Source: the user's own."""

    period: int = param("Iterations per period.", at_least=1)

    def rate(self, iteration, at, state):
        return at.base_lr * (1 - (iteration % self.period) / self.period)


class Tally(Solver, type="Tally"):
    """w <- w - rate calm g / (1 + n), where n counts the updates of w.  Source: the user's own."""

    calm: float = param("Multiplies every step.", default=1.0, above=0)

    def init(self, w):
        return {"n": jnp.zeros_like(w)}

    def update(self, g, w, history, at):
        return at.rate * self.calm * g / (1 + history["n"]), {"n": history["n"] + 1}
'''

NET = """
name: "Mine"
layer { name: "data" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: 8 dim: 3 } shape { dim: 8 }
                           data_filler { type: "ramp" by: 0.05 } data_filler { type: "constant" value: 1 } } }
layer { name: "gain" type: "Gain" bottom: "x" top: "gain"
        gain_param { sharpness: 2 gain_filler { type: "ramp" first: 0.5 by: 0.25 } } }
layer { name: "ip" type: "InnerProduct" bottom: "gain" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { type: "Tally" calm: 0.5 base_lr: 0.4 lr_policy: "sawtooth" period: 4 max_iter: 6 display: 1 snapshot: 3 }
"""
RATES = [0.4, 0.3, 0.2, 0.1, 0.4, 0.3]
ENTRY_POINTS = """
[netdef.layers]
Gain = mine:Gain
[netdef.fillers]
ramp = mine:Ramp
[netdef.policies]
sawtooth = mine:Sawtooth
[netdef.solvers]
Tally = mine:Tally
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a file of the classes and a net that uses all of them."""
    made = tmp_path_factory.mktemp("mine")
    (made / "mine.py").write_text(MINE)
    (made / "mine.net").write_text(NET)
    return made


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The run of that net."""
    done = command(folder, "train", "mine.net", "--plugin", "mine", "--output", "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def losses(run: Path) -> dict[int, float]:
    """Returns the loss of each iteration."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["iteration"]: row["loss"] for row in rows if row["phase"] == "train"}


def test_all_fields_are_checked(folder: Path) -> None:
    checked = command(folder, "check", "mine.net", "--plugin", "mine")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = NET.replace("sharpness", "sharpnes").replace("first", "frist").replace("calm: 0.5", "calm: -1")
    (folder / "wrong.net").write_text(wrong.replace("period: 4", "priod: 4"))
    told = command(folder, "check", "wrong.net", "--plugin", "mine").stdout
    for words in (
        "There is no field `sharpnes` here. Did you mean `sharpness`?",
        "There is no field `frist` here. Did you mean `first`?",
        "`calm` is -1; it must be above 0.",
        "There is no field `priod` here. Did you mean `period`?",
    ):
        assert words in told


def test_without_the_plugin_all_types_are_unknown(folder: Path) -> None:
    told = command(folder, "check", "mine.net")
    assert told.returncode == 2
    for words in ('"Gain"', 'no filler "ramp"', 'no policy "sawtooth"', 'no solver "Tally"'):
        assert words in told.stdout


def test_all_types_are_explained(folder: Path) -> None:
    listed = command(folder, "explain", "--plugin", "mine").stdout.split("\n\n")
    heads = {part.splitlines()[0]: part for part in listed if part}
    assert "Gain y = sharpness g x" in " ".join(heads["My own types"].split())
    for head, name in (("Fillers", "ramp"), ("Learning-rate policies", "sawtooth"), ("Solver types", "Tally")):
        assert f"\n  {name} " in heads[head]
    gain = command(folder, "explain", "Gain", "--plugin", "mine").stdout
    assert "ramp first 1 by 0" in gain and "Multiplies g. Above 0." in gain and 'type: "Gain"' in gain
    tally = command(folder, "explain", "Tally", "--plugin", "mine").stdout
    assert "calm" in tally and "base_lr" not in tally  # because every solver has it


def test_the_layer_is_drawn_and_summarized(folder: Path) -> None:
    drawn = command(folder, "draw", "mine.net", "--plugin", "mine", "-o", "mine.mmd")
    assert drawn.returncode == 0, drawn.stderr
    assert '["<b>gain</b><br/>Gain by 2"]:::other' in (folder / "mine.mmd").read_text()
    summary = json.loads(
        command(folder, "summary", "mine.net", "--plugin", "mine", "--phase", "TRAIN", "--json").stdout
    )
    row = next(row for net in summary for row in net["layers"] if row["name"] == "gain")
    assert (row["parameters"], row["multiply_adds"], row["family"]) == (3, 24, "other")


def test_the_policy_and_the_solver_train_the_weights_of_the_filler(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([row["lr"] for row in rows], RATES, rtol=1e-6)
    np.testing.assert_allclose([row["loss"] for row in rows], reference(), rtol=1e-4)


def reference() -> list[float]:
    """The losses of the run, computed with numpy."""
    x = 0.05 * np.arange(24.0).reshape(8, 3)
    g, w, b = 0.5 + 0.25 * np.arange(3), np.zeros((2, 3)), np.zeros(2)
    found = []
    for n, rate in enumerate(RATES):
        made = x * 2 * g
        scores = made @ w.T + b
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        found.append(-np.log(p[:, 1]).mean())
        d = (p - [0, 1]) / 8
        step = 0.5 * rate / (1 + n)
        g, w, b = g - step * (d @ w * 2 * x).sum(0), w - step * d.T @ made, b - step * d.sum(0)
    return found


def test_a_run_is_resumed_from_its_snapshot(folder: Path, trained: Path) -> None:
    again = command(
        folder, "train", "mine.net", "--plugin", "mine", "--output", "again", "--resume", str(trained / "iter_000003")
    )
    assert again.returncode == 0, again.stderr
    whole, rest = losses(trained), losses(folder / "again")
    assert rest == {i: whole[i] for i in (3, 4, 5)}


def test_its_weights_are_converted_and_loaded(folder: Path, trained: Path) -> None:
    done = command(folder, "convert", str(trained / "iter_000006"), "-o", "mine.npz", "--plugin", "mine")
    assert done.returncode == 0, done.stderr
    done = command(folder, "convert", "mine.npz", "-o", "mine.caffemodel", "--net", "mine.net", "--plugin", "mine")
    assert done.returncode == 0, done.stderr
    loaded = command(
        folder, "train", "mine.net", "--plugin", "mine", "--output", "more", "--weights", "mine.caffemodel"
    )
    assert loaded.returncode == 0, loaded.stderr
    assert losses(folder / "more")[0] < losses(trained)[5]


def test_entry_points_are_found_without_a_plugin(folder: Path, tmp_path: Path) -> None:
    distribution = tmp_path / "mine-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "mine.py").write_text(MINE)
    checked = command(folder, "check", "mine.net", installed=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = command(folder, "explain", installed=tmp_path).stdout
    assert all(f"\n  {name} " in listed for name in ("Gain", "ramp", "sawtooth", "Tally"))
