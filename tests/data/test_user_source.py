"""Data sources from a single file outside the package work everywhere, like the built-in ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from plugins import command, make_distribution

import netdef
from netdef.data.device import on_device
from netdef.data.feed import Feed
from netdef.data.sources import open_source
from netdef.layers.base import LAYERS

# A layer that delivers rows itself, and one that delivers images through the common image layer.
SOURCES = '''
"""Signals of text files, and images of a format of its own."""

import numpy as np

from netdef import param
from netdef.data import DataLayer, Fit, ImageLayer, Reader, Record, Records


class Signals(DataLayer, type="Signals", block="signals_param"):
    """Rows of a text file: numbers separated by blanks, the class last.

    Bottoms: none.  Tops: x (batch_size, numbers), label (batch_size).
    Source: a test.  Differs: Caffe has no such layer.
    """

    n_tops = 2

    source: str = param("The text file.", default="")
    batch_size: int = param("Rows of a batch.", default=4, at_least=1)
    gain: float = param("Multiplies each number.", default=1.0, above=0)

    def rows(self, locate):
        return np.loadtxt(self.source_path(locate, self.source, "the file of signals"), np.float32, ndmin=2)

    def shapes(self, locate):
        return [(self.batch_size, self.rows(locate).shape[1] - 1), (self.batch_size,)]

    def open(self, locate, *, phase, seed=0, process=(0, 1)):
        return SignalReader(self, self.rows(locate), seed, process)


class SignalReader(Reader):
    steady = True

    def __init__(self, layer, rows, seed, process):
        super().__init__(layer, layer.batch_size, seed, process)
        x, label = self.layer.top
        self.arrays = {x: rows[:, :-1] * np.float32(layer.gain), label: rows[:, -1]}
        self.size = len(rows)

    def numbers(self, position):
        return np.arange(position, position + self.batch_size)[self.rows] % self.size

    def batch(self, position):
        return {top: array[self.numbers(position)] for top, array in self.arrays.items()}

    def resident(self, budget):
        return self.arrays


class Raw(ImageLayer, type="RawImages", block="raw_images_param"):
    """Images of 2 x 3 bytes, one after the other, after their class.

    Bottoms: none.  Tops: data (batch_size, 1, 2, 3), label (batch_size).
    Source: a test.  Differs: Caffe has no such layer.
    """

    source: str = param("The file.", default="")
    batch_size: int = param("Images of a batch.", default=2, at_least=1)

    @classmethod
    def reads(cls, path):
        return Fit.NAME if path.suffix == ".raw" else Fit.NO

    def records(self, locate, first_only=False):
        return RawRecords(self.source_path(locate, self.source, "the file of images"))


class RawRecords(Records):
    def __init__(self, path):
        self.path, self.bytes = path, np.fromfile(path, np.uint8).reshape(-1, 7)
        self.size = len(self.bytes)

    def read(self, numbers):
        return [int(number) for number in numbers]

    def decode(self, raw):
        label, *pixels = self.bytes[raw]
        return Record(np.array(pixels, np.uint8).reshape(1, 2, 3), (label,), f"record {raw} of {self.path}")

    def classes(self):
        return self.bytes[:, 0].astype(np.int64)
'''

NET = """
name: "Heard"
layer { name: "signals" type: "Signals" top: "x" top: "label" signals_param { source: "s.txt" batch_size: 4 gain: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 0.5 lr_policy: "fixed" max_iter: 8 display: 1 }
"""
IMAGES = """
layer { name: "raw" type: "RawImages" top: "data" top: "label" raw_images_param { source: "i.raw" }
        transform_param { scale: 0.5 } sample_param { shuffle: true } }
"""
ROWS = np.array([[i % 2, 1 - i % 2, i, i % 2] for i in range(6)], np.float32)
BYTES = np.arange(35, dtype=np.uint8).reshape(5, 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: the data sources in a file, nets that have them, and the data."""
    (tmp_path / "heard.py").write_text(SOURCES)
    (tmp_path / "heard.net").write_text(NET)
    np.savetxt(tmp_path / "s.txt", ROWS)
    BYTES.tofile(tmp_path / "i.raw")
    return tmp_path


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, as a distribution that names the file in its entry points; forgotten after the test."""
    make_distribution(folder, "heard", "[netdef.layers]\nSignals = heard:Signals\nRawImages = heard:Raw\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "heard", raising=False)
    with LAYERS.apart():
        yield folder


def test_a_plugin_is_checked_explained_and_drawn(folder: Path) -> None:
    told = command(folder, "explain", "Signals", "--plugin", "heard")
    assert told.returncode == 0 and "numbers separated by blanks" in told.stdout and "gain" in told.stdout
    checked = command(folder, "check", "heard.net", "--plugin", "heard")
    assert checked.returncode == 0, checked.stderr
    assert "unavailable" not in checked.stdout + checked.stderr
    drawn = command(folder, "draw", "heard.net", "--plugin", "heard", "-o", "heard.dot")
    assert drawn.returncode == 0, drawn.stderr
    assert "signals" in (folder / "heard.dot").read_text()
    (folder / "s.txt").unlink()
    missing = command(folder, "check", "heard.net", "--plugin", "heard")
    assert "the file of signals" in missing.stdout + missing.stderr


def test_a_plugin_is_trained(folder: Path) -> None:
    done = command(folder, "train", "heard.net", "--plugin", "heard", "--output", "run")
    assert done.returncode == 0, done.stderr
    losses = [json.loads(line)["loss"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


def test_the_tools_read_its_files(folder: Path, installed: Path) -> None:
    records = open_source(folder / "i.raw")
    assert records.size == 5 and records.classes().tolist() == [0, 7, 14, 21, 28]
    told = command(folder, "data", "stats", "i.raw", "--plugin", "heard", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["shapes"] == {"1x2x3": 5} and found["mean"] == [pytest.approx(BYTES[:, 1:].mean())]


def test_its_batches(installed: Path) -> None:
    net = netdef.load(installed / "heard.net")
    assert net.blobs["x"].shape == (4, 3) and net.blobs["label"].shape == (4,)
    batches = netdef.data.batches(installed / "heard.net", "TRAIN")
    first, second = next(batches), next(batches)
    batches.close()
    np.testing.assert_array_equal(first["x"], 2 * ROWS[:4, :3])
    np.testing.assert_array_equal(second["label"], ROWS[[4, 5, 0, 1], 3])  # over the end into the next epoch


@pytest.mark.parametrize("text", [NET, IMAGES], ids=["rows", "images"])
def test_its_records_stay_on_the_device(installed: Path, text: str) -> None:
    net = netdef.load(text)
    with Feed(net, root=installed) as plain, Feed(net, root=installed) as moved:
        resident = on_device(moved, 1 << 20)
        assert resident is not None and all(reader.steady for reader in plain.readers.values())
        for _ in range(4):
            batch, made = next(plain), resident.make(resident.table, next(resident))
            assert batch.keys() == made.keys()
            assert all(np.array_equal(made[top], batch[top]) for top in batch)
