"""`netdef init`: what it says about the data, and every way in which data cannot be used."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from netdef.language.errors import printable

image = pytest.importorskip("PIL.Image")


def write_classes(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image.frombytes("L", (10, 10), random.Random(i).randbytes(100)).save(folder / name / f"{i}.png")
    return folder


def arrays(path: Path, **found: object) -> Path:
    np.savez(path, **{name: np.asarray(array) for name, array in found.items()})
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_found_and_what_is_next(netdef, here: Path):
    write_classes(here / "pets", cat=5, dog=4)
    (here / "pets" / "cat" / "bad.png").write_bytes(b"nothing")
    done = netdef("init", "pets")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:3] == [
        "10 images in 2 classes: cat and dog",
        "4 (dog) to 6 (cat) images in each class; 2 of them will be used for tests only",
        "gray, 10x10 pixels (height x width)",
    ]
    assert "1 of 10 images cannot be used" in done.err and "bad.png" in done.err
    for command in ("summary", "train", "test", "predict"):
        assert f"  netdef {command} pets.net " in done.out
    assert "runs/pets" in done.out
    assert netdef("check", "--strict", "pets.net").code == 0
    assert netdef("fmt", "--check", "pets.net").code == 0


def test_paths_are_relative_to_the_file(netdef, here: Path):
    write_classes(here / "pets", cat=3, dog=3)
    assert netdef("init", "pets", "-o", "nets/mine.net").code == 0
    assert 'source: "../pets"' in (here / "nets" / "mine.net").read_text()
    assert netdef("check", "--strict", "nets/mine.net").code == 0
    assert netdef("init", here / "pets", "-o", "other.net").code == 0
    assert f'source: "{printable(str(here / "pets"))}"' in (here / "other.net").read_text()
    write_classes(here / "v1.0", cat=3, dog=3)
    assert netdef("init", "v1.0").code == 0
    assert (here / "v1.0.net").exists()


def test_a_task_for_images_is_refused(netdef, here: Path):
    write_classes(here / "pets", cat=3, dog=3)
    for words in (("--label", "x"), ("--task", "regress")):
        done = netdef("init", "pets", *words)
        assert done.code == 2 and "are classes of images" in done.err
    (here / "pets" / "more.npz").write_bytes(b"not used")
    assert netdef("init", "pets", "--task", "classify").code == 0


def test_boxes_that_cannot_be_used_are_named(netdef, here: Path):
    image.new("L", (20, 20)).save(here / "a.png")
    image.new("L", (20, 20)).save(here / "b.png")
    lines = ["image,label,xmin,ymin,xmax,ymax", "a.png,dog,1,1,9,9", "b.png,dog,5,5,40,9", "c.png,dog,1,1,2,2"]
    (here / "boxes.csv").write_text("\n".join(lines) + "\n")
    done = netdef("init", "boxes.csv", "-o", "boxes.net")
    assert done.code == 0
    assert "2 of 3 images cannot be used" in done.err and "b.png" in done.err and "c.png" in done.err
    assert "skip_corrupt: true" in (here / "boxes.net").read_text()


def test_odd_names_are_quoted(netdef, here: Path):
    write_classes(here / 'my "${pets}" 2', **{"#1 ü": 3, "b}": 3})
    done = netdef("init", 'my "${pets}" 2')
    assert done.code == 0
    assert netdef("check", "--strict", 'my "${pets}" 2.net').code == 0


def test_a_file_is_replaced_only_if_told(netdef, here: Path):
    write_classes(here / "pets", cat=3, dog=3)
    (here / "pets.net").write_text("mine")
    done = netdef("init", "pets")
    assert done.code == 2 and "pets.net already exists" in done.err and "--force" in done.err
    assert (here / "pets.net").read_text() == "mine"
    assert netdef("init", "pets", "--force").code == 0
    assert "pets" in (here / "pets.net").read_text()


def test_a_net_is_no_data(netdef, here: Path):
    (here / "pets.net").write_text("mine")
    done = netdef("init", "pets.net", "--force")
    assert done.code == 2 and "pets.net is a net, not data; `netdef train pets.net` trains it" in done.err
    assert (here / "pets.net").read_text() == "mine"


def test_the_task_can_be_given(netdef, here: Path):
    arrays(here / "ages.npz", x=np.ones((40, 3)) * np.arange(40)[:, None], y=np.arange(40) % 8)
    assert "8 classes" in netdef("init", "ages.npz").out
    arrays(here / "old.npz", x=np.ones((40, 3)) * np.arange(40)[:, None], y=np.arange(40) % 8 > 3)
    assert "2 classes" in netdef("init", "old.npz").out
    done = netdef("init", "ages.npz", "--task", "regress", "--force")
    assert done.code == 0 and "regression" in done.out
    assert "EuclideanLoss" in (here / "ages.net").read_text()


X, Y = np.zeros((6, 3)) + np.arange(6)[:, None], np.arange(6) % 2
NAN = np.where(np.arange(6)[:, None] == 4, np.nan, X)
WRONG = {
    "an empty folder": (lambda p: (p / "d").mkdir(), "d", "is empty"),
    "no subfolders": (lambda p: write_classes(p / "d" / "e", f=3), "d/e/f", "3 images, but no subfolders"),
    "one class": (lambda p: write_classes(p / "d", cat=3), "d", "one subfolder of images, cat"),
    "no images": (lambda p: write_classes(p / "d", cat=0, dog=0), "d", "no images"),
    "an empty class": (lambda p: write_classes(p / "d", cat=3, dog=0), "d", "subfolder dog"),
    "other classes": (
        lambda p: (write_classes(p / "d" / "train", a=2, b=2), write_classes(p / "d" / "val", a=2, c=2)),
        "d",
        "different subfolders, such as b",
    ),
    "all are broken": (
        lambda p: [(p / "d" / n).mkdir(parents=True) or (p / "d" / n / "1.png").write_bytes(b"x") for n in "ab"],
        "d",
        "none of the 2 images can be read",
    ),
    "missing data": (lambda p: None, "d", "does not exist"),
    "unknown data": (lambda p: (p / "d.txt").write_text("hello"), "d.txt", "not data that is known"),
    "a pipe": (lambda p: os.mkfifo(p / "d.npz"), "d.npz", "neither a folder nor a file"),
    "a broken file": (lambda p: (p / "d.npz").write_bytes(b"hello"), "d.npz", "not a readable file of arrays"),
    "no labels": (lambda p: arrays(p / "d.npz", x=X), "d.npz", "has no labels: its arrays are `x` (6, 3)"),
    "two lengths": (lambda p: arrays(p / "d.npz", x=X, y=Y[:5]), "d.npz", "`x` has 6 rows and `y` has 5"),
    "text as labels": (lambda p: arrays(p / "d.npz", x=X, y=list("ababab")), "d.npz", "`y` is text"),
    "one value": (lambda p: arrays(p / "d.npz", x=X, y=Y * 0 + 7), "d.npz", "are all 7"),
    "nan in the data": (lambda p: arrays(p / "d.npz", x=NAN, y=Y), "d.npz", "1 row of `x` have values"),
    "nan in the labels": (lambda p: arrays(p / "d.npz", x=X, y=NAN[:, 0]), "d.npz", "not finite"),
    "rows with a one": (lambda p: arrays(p / "d.npz", x=X, y=np.eye(2)[Y]), "d.npz", "`argmax(1)`"),
    "equal rows": (lambda p: arrays(p / "d.npz", x=X * 0, y=Y), "d.npz", "all rows of `x` are equal"),
    "negative classes": (lambda p: arrays(p / "d.npz", x=X, y=2 * Y - 1), "d.npz", "begin at -1"),
    "no rows": (lambda p: arrays(p / "d.npz", x=X[:0], y=Y[:0]), "d.npz", "0 rows"),
    "objects": (lambda p: arrays(p / "d.npz", x=X, y=np.array([{}] * 6, object)), "d.npz", "not a readable"),
    "only records": (lambda p: np.save(p / "d.npy", X), "d.npy", "has no labels"),
    "a database": (
        lambda p: [(p / "d").mkdir(), (p / "d" / "data.mdb").write_bytes(b"")],
        "d",
        "is a database",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_data_that_cannot_be_used_is_one_message(netdef, here: Path, case: str):
    write, name, words = WRONG[case]
    write(here)
    done = netdef("init", name)
    assert done.code == 2
    assert words in done.err and done.err.count("\n") == 1
    assert not list(here.glob("*.net"))


def test_places_that_cannot_be_read_or_written(netdef, here: Path):
    write_classes(here / "pets", cat=3, dog=3)
    assert netdef("init", "pets", "-o", "pets.txt").code == 2
    done = netdef("init", "pets", "-o", "pets/cat/0.png/x.net")
    assert done.code == 2 and done.err.count("\n") == 1
    if os.geteuid():  # root reads everything
        (here / "pets").chmod(0)
        assert "Permission denied" in netdef("init", "pets").err
        (here / "pets").chmod(0o700)
