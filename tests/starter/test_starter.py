"""Starter nets: for each kind of data, the file is what was recorded, has no warnings, and trains."""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from box_sets import write_coco, write_voc

import netdef
from netdef.compiler import load_phases
from netdef.language.diagnostics import Report
from netdef.language.formatter import format
from netdef.language.parsing.parser import parse
from netdef.language.printer import quoted
from netdef.language.source import Source
from netdef.layers.base import LAYERS
from netdef.starter import Request, Starter, starter
from netdef.starter.boxes import heads

pytest.importorskip("PIL.Image")
GOLDEN = Path(__file__).parent / "golden"
FEW = {"solver.display": 1, "solver.test_interval": 2}
SHORT = {"solver.bn_recalibrate": 1, **FEW}
HAS_TABLES = LAYERS.get("TableData") is not None and importlib.util.find_spec("pyarrow") is not None
tables = pytest.mark.skipif(not HAS_TABLES, reason="tables are read by TableData, which needs pyarrow")


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


def table(folder: Path) -> Path:
    lines = ["id,color,size,kind"]
    for i in range(40):
        size = "" if i == 7 else i * 0.5
        lines.append(f"n{i},{('red', 'green', '')[i % 3]},{size},{'ab'[i % 2]}")
    (folder / "things.csv").write_text("\n".join(lines) + "\n")
    return folder / "things.csv"


def prices(folder: Path) -> Path:
    lines = ["price,area,garden", *(f"{100 * i + 0.5},{i % 7},{('yes', 'no')[i % 2]}" for i in range(40))]
    (folder / "prices.csv").write_text("\n".join(lines) + "\n")
    return folder / "prices.csv"


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
    assert all(len(line) <= 110 for line in found.text.splitlines() if tmp_path.name not in line)


def test_images_of_coco_are_found_beside_the_folder_of_labels(tmp_path: Path):
    write_coco(tmp_path / "coco" / "val2017")
    (tmp_path / "coco" / "annotations").mkdir()
    labels = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    (tmp_path / "coco" / "val2017" / "labels.json").rename(labels)
    net = tmp_path / "made.net"
    found = starter(Request(labels, net))
    net.write_text(found.text)
    assert f"root_folder: {quoted(f'{tmp_path}/coco/val2017')}" in found.text
    assert load_phases(net).diagnostics == ()


@pytest.mark.parametrize(
    ("size", "low", "high", "blocks"),
    [(64, 12, 32, [3, 4, 5]), (300, 15, 270, [4, 5, 6, 7]), (64, 60, 64, [5, 6]), (300, 14, 15, [3, 4])],
)
def test_heads_cover_the_sizes_of_the_boxes(size: int, low: float, high: float, blocks: list[int]):
    found = heads(size, low, high)
    assert {head.block for head in found} == {*blocks}
    assert found[0].smallest == round(low) and found[-1].largest >= round(high)
    assert all(a.largest == b.smallest for a, b in zip(found, found[1:], strict=False))


@tables
@pytest.mark.parametrize(("write", "label"), [(table, ""), (prices, "price")], ids=["table", "prices"])
def test_nets_for_tables(write, label: str, tmp_path: Path):
    net = tmp_path / "made.net"
    found = starter(Request(write(tmp_path), net, label=label))
    net.write_text(found.text)
    assert load_phases(net).diagnostics == ()
    assert ("EuclideanLoss" in found.text) == (label == "price")
    assert ("id" in " ".join(found.notes)) == (write is table)
    result = netdef.train(net, max_iter=2, output=tmp_path / "run", set=FEW, progress=False)
    assert np.isfinite(result.loss)


@tables
@pytest.mark.parametrize(
    ("text", "label", "words"),
    [
        ("", "", "is empty"),
        ("a,b\n", "", "has no rows"),
        ("a,b\n1,2\n1\n", "", "the row has 1 cells"),
        ("a,b\n1,2\n2,\n", "", "1 row have no value in `b`"),
        ("a,b\n1,2\n2,3\n", "c", "no column `c`"),
        ("b\n1\n2\n", "", "no column from which `b` could be computed"),
        ("a,b\n1,x\n2,x\n", "", "has one category"),
        ("a,b\n1,x\n2,y\n3,z\n", "", "3 categories in 3 rows"),
        ("a,b\n1,2\n2,2\n", "", "are all 2"),
        ("a,b\nx.png,1\ny.png,2\n", "", "`a` names images"),
    ],
)
def test_tables_from_which_nothing_can_be_learned(text: str, label: str, words: str, tmp_path: Path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(netdef.NetdefError, match=words):
        starter(Request(tmp_path / "t.csv", tmp_path / "t.net", label=label))


def test_the_array_of_the_labels_can_be_named(tmp_path: Path):
    np.savez(tmp_path / "x.npz", rows=rows(20, 3), label=np.arange(20) % 2, other=np.arange(20) % 5)
    found = starter(Request(tmp_path / "x.npz", tmp_path / "x.net", label="other"))
    assert 'array: ["rows", "other"]' in found.text and "let classes: 5" in found.text
    with pytest.raises(netdef.NetdefError, match="no array `none`"):
        starter(Request(tmp_path / "x.npz", tmp_path / "x.net", label="none"))


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
