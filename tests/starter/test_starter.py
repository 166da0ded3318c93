"""Starter nets: for each kind of data, the file is what was recorded, has no warnings, and trains."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from box_sets import write_voc

import netdef
from netdef.compiler import load_phases
from netdef.language.diagnostics import Report
from netdef.language.formatter import format
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.starter import Request, Starter, starter

pytest.importorskip("PIL.Image")
GOLDEN = Path(__file__).parent / "golden"
SHORT = {"solver.bn_recalibrate": 1, "solver.display": 1, "solver.test_interval": 2}


def write_classes(folder: Path, counts: dict[str, int], size: tuple[int, int], mode: str = "L") -> None:
    """Writes noise of a brightness of its own for each class."""
    image = pytest.importorskip("PIL.Image")
    chance = random.Random(0)
    for kind, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = bytes(chance.randrange(60 * kind, 60 * kind + 60) for _ in range(size[0] * size[1] * len(mode)))
            image.frombytes(mode, size[::-1], pixels).save(folder / name / f"{i}.png")


def rows(count: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


def gray_images(folder: Path) -> Path:
    write_classes(folder / "shapes", {"circle": 5, "cross": 4, "square": 6}, (16, 16))
    return folder / "shapes"


def uneven_color_images(folder: Path) -> Path:
    write_classes(folder / "pets", {"cat": 11, "dog": 2}, (20, 24), "RGB")
    write_classes(folder / "pets", {"dog": 2}, (22, 20), "RGB")
    (folder / "pets" / "cat" / "broken.jpg").write_bytes(b"no image")
    return folder / "pets"


def divided_images(folder: Path) -> Path:
    write_classes(folder / "parts" / "train", {"a": 3, "b": 3}, (12, 12))
    write_classes(folder / "parts" / "val", {"a": 2, "b": 1}, (12, 12))
    return folder / "parts"


def vectors(folder: Path) -> Path:
    np.savez(folder / "points.npz", data=rows(40, 6), label=np.arange(40) % 3)
    return folder / "points.npz"


def houses(folder: Path) -> Path:
    x = rows(40, 3) * [1, 100, 10_000]
    np.savez(folder / "houses.npz", x=x.astype(np.float32), y=(x[:, 0] * 50_000 + 200_000).astype(np.float32))
    return folder / "houses.npz"


def digits(folder: Path) -> Path:
    x = np.random.default_rng(0).integers(0, 256, (30, 12, 12), np.uint8)
    parts = {"x_train": x[:20], "y_train": np.arange(20) % 10, "x_test": x[20:], "y_test": np.arange(10)}
    np.savez(folder / "digits.npz", **parts)
    return folder / "digits.npz"


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "images.h5", "w") as file:
        file["pixels"] = rows(24, 8 * 10).reshape(24, 8, 10)
        file["label"] = (np.arange(24) % 2).astype(np.uint8)
    return folder / "images.h5"


def npy(folder: Path) -> Path:
    (folder / "arrays").mkdir()
    np.save(folder / "arrays" / "data.npy", rows(20, 9 * 9 * 3).reshape(20, 9, 9, 3))
    np.save(folder / "arrays" / "label.npy", np.arange(20) % 4)
    return folder / "arrays"


def boxes(folder: Path) -> Path:
    write_voc(folder / "boxes")
    return folder / "boxes"


KINDS = (gray_images, uneven_color_images, divided_images, vectors, houses, digits, hdf5, npy, boxes)
RECORDED = (uneven_color_images, houses)


def made(folder: Path, write: Callable[[Path], Path]) -> tuple[Path, Starter]:
    """Writes data, and its starter net beside it."""
    data = write(folder)
    net = folder / "made.net"
    found = starter(Request(data, net))
    net.write_text(found.text)
    return net, found


@pytest.mark.parametrize("write", KINDS, ids=lambda f: f.__name__)
def test_nets_have_no_warnings_and_are_in_canonical_form(write, tmp_path: Path):
    net, found = made(tmp_path, write)
    assert load_phases(net).diagnostics == ()
    document = parse(Source("made.net", found.text), Report())
    assert document is not None and format(document) == found.text
    assert all(len(line) <= 110 for line in found.text.splitlines())


@pytest.mark.parametrize("write", [vectors, houses, hdf5, boxes], ids=lambda f: f.__name__)
def test_nets_train(write, tmp_path: Path):
    net, _ = made(tmp_path, write)
    result = netdef.train(net, max_iter=2, output=tmp_path / "run", set=SHORT, progress=False)
    assert np.isfinite(result.loss)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    tests = [row for row in rows if row["phase"] == "test"]
    assert {"accuracy", "error", "mAP", "detection_eval"} & {*tests[-1]}


@pytest.mark.parametrize("write", RECORDED, ids=lambda f: f.__name__)
def test_nets_are_those_that_were_recorded(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    data = write(tmp_path).relative_to(tmp_path)
    found = starter(Request(data, Path("made.net")))
    assert found.text == (GOLDEN / f"{write.__name__}.net").read_text()
