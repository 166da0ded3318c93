"""The small examples learn: each is trained for a few iterations on the data in examples/data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import netdef
from netdef.language.errors import printable
from netdef.layers.base import LAYERS

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = {"solver.test_interval": 0, "solver.snapshot": 0, "solver.display": 5, "solver.average_loss": 5}


def losses(name: str, folder: Path, iterations: int, **constants: object) -> list[float]:
    """Trains for a few iterations and returns the displayed losses."""
    result = netdef.train(EXAMPLES / f"{name}.net", output=folder, max_iter=iterations, set={**SHORT, **constants})
    return [row["loss"] for row in result.history if row["phase"] == "train"]


@pytest.mark.parametrize(
    ("name", "iterations", "falls_to"),
    [
        ("reviews_lstm", 60, 0.5),
        ("reviews_topics", 60, 0.6),
        ("waves_lstm", 50, 0.5),
        ("digits_perceptron", 40, 0.5),
        ("digits_vgg", 25, 0.8),
        ("digits_ssd", 20, 0.5),
        ("houses", 60, 0.2),
        ("reviews_text", 60, 0.7),
    ],
)
def test_the_loss_falls(name: str, iterations: int, falls_to: float, tmp_path: Path) -> None:
    if name in ("houses", "reviews_text"):
        pytest.importorskip("pyarrow")
    shown = losses(name, tmp_path / "run", iterations)
    assert shown[-1] < falls_to * shown[0]


def test_pretraining_as_autoencoders_trains_a_net_that_does_not_learn_from_random_weights(tmp_path: Path) -> None:
    auto = netdef.train(
        EXAMPLES / "digits_autoencoder.net",
        output=tmp_path / "auto",
        set={"each": 100, "solver.test_interval": 0, "solver.display": 50},
    )
    first, *_, last = auto.history
    for i in (1, 2, 3):
        before, after = (row[f"loss{i}"] for row in (first, last))
        assert after < 0.85 * before
    scores = {}
    for name, weights in (("pretrained", tmp_path / "auto"), ("random", None)):
        result = netdef.train(
            EXAMPLES / "digits_autoencoder_classifier.net",
            weights=weights,
            output=tmp_path / name,
            max_iter=100,
            set={"solver.test_interval": 100, "solver.test_initialization": False},
        )
        scores[name] = result.history[-1]["accuracy"]
    assert scores["pretrained"] > 0.85 and scores["random"] < 0.3


def test_a_carried_state_remembers_the_preceding_batch(tmp_path: Path) -> None:
    without = 0.75 * np.log(2)  # three of four echoes are of bits of the preceding batch
    assert losses("echo_lstm", tmp_path / "with", 300)[-1] < 0.5 * without
    assert losses("echo_lstm", tmp_path / "without", 300, stateful=False)[-1] > 0.95 * without


def test_a_carried_state_is_in_the_snapshot(tmp_path: Path) -> None:
    train = lambda run, **how: netdef.train(EXAMPLES / "echo_lstm.net", output=tmp_path / run, set=SHORT, **how)
    whole = train("whole", max_iter=20)
    train("parts", max_iter=10)
    parts = train("parts", max_iter=20, resume=True)
    carried = [np.asarray(run.model.weights["lstm"]["3"][...]) for run in (whole, parts)]
    assert np.abs(carried[0]).max() > 0
    np.testing.assert_array_equal(*carried)


@pytest.mark.parametrize(
    ("script", "made", "tables"),
    [
        ("make_reviews", ("reviews",), {"reviews.csv", "reviews_words.txt"}),
        ("make_signals", ("waves", "echo"), set()),
        ("make_houses", (), {"houses.csv"}),
    ],
)
def test_the_scripts_reproduce_the_data_in_the_repository(
    script: str, made: tuple[str, ...], tables: set[str], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, EXAMPLES / f"{script}.py", tmp_path], check=True)
    arrays = {f"{kind}_{part}.npz" for kind in made for part in ("train", "test")}
    assert {path.name for path in tmp_path.iterdir()} == arrays | tables
    for name in tables:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / "data" / name).read_bytes()
    for name in arrays:
        with np.load(tmp_path / name) as new, np.load(EXAMPLES / "data" / name) as shipped:
            assert set(new.files) == set(shipped.files)
            for array in new.files:
                np.testing.assert_array_equal(new[array], shipped[array])


def test_an_echo_is_an_earlier_bit() -> None:
    with np.load(EXAMPLES / "data" / "echo_train.npz") as pack:
        np.testing.assert_array_equal(pack["echo"][3:], pack["bit"][:-3])


@pytest.fixture
def balanced() -> Iterator[str]:
    """A custom metric, unregistered after the test."""
    with LAYERS.apart():
        define_balanced_accuracy()
        yield (
            'layer { name: "balanced" type: "BalancedAccuracy" bottom: "score" bottom: "good" top: "balanced"\n'
            "        include { phase: TEST } }\n"
        )


def define_balanced_accuracy() -> None:
    class BalancedAccuracy(netdef.Layer, type="BalancedAccuracy"):
        """The mean of the fractions of positives and of negatives classified correctly; x > 0 is positive."""

        is_metric = True
        n_bottoms = 2

        def infer(self, x, label):
            return ()

        def apply(self, w, x, label, *, ctx):
            positive, label = x.reshape(-1) > 0, label.reshape(-1) > 0
            recall = lambda found, of: jnp.sum(found & of) / jnp.maximum(jnp.sum(of), 1)
            return (recall(positive, label) + recall(~positive, ~label)) / 2


def test_a_custom_metric_is_a_layer_class(balanced: str, tmp_path: Path) -> None:
    text = (EXAMPLES / "reviews_lstm.net").read_text().replace("data/", f"{printable(str(EXAMPLES))}/data/") + balanced
    result = netdef.train(
        text, output=tmp_path / "run", max_iter=40, set={"solver.test_interval": 40, "solver.display": 40}
    )
    first, last = (row["balanced"] for row in result.history if row["phase"] == "test")
    assert 0.3 < first < 0.7 and last > 0.75
