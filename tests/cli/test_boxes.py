"""`netdef predict` and `netdef test` of a detector: boxes on the terminal, in pictures and in COCO JSON; and of nets that
neither classify nor detect."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_detector
from PIL import Image

import netdef as package
from netdef.interop.weights import entries_of, write_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector with weights, and two pictures: 48 x 96 with a bright square, 24 x 24 with nothing."""
    monkeypatch.chdir(tmp_path)
    write_net(tmp_path, small_detector.DEPLOYED)
    Image.fromarray(small_detector.image((1, 2, 250), height=48, width=96)).save("000000000139.png")
    Image.fromarray(small_detector.image()).save("000000000285.png")
    return tmp_path


def write_net(folder: Path, text: str) -> None:
    (folder / "ssd.net").write_text(text)
    net = package.load(text, "TEST")
    model = package.compile(net)
    write_weights(folder / "ssd.npz", entries_of(net, model.get_weights()), net)


WORDS = ("predict", "ssd.net", "--weights", "ssd.npz")


def test_boxes_are_in_pixels_of_the_picture(netdef, folder):
    done = netdef(*WORDS, ".")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first.split() == "000000000139.png class 1 1.000 x 64 to 96, y 16 to 32".split()
    assert second.split(maxsplit=1)[1] == "no object with a score of at least 0.3"
    found = json.loads(netdef(*WORDS, ".", "--json").out)
    assert found[0]["boxes"][0] == {"class": 1, "name": "class 1", "score": 1.0, "box": [64, 16, 96, 32]}
    assert found[1]["boxes"] == []


def test_names_of_labels(netdef, folder):
    (folder / "names.txt").write_text("square\nother\n")  # without the background
    assert " square 1.000 " in netdef(*WORDS, "000000000139.png", "--names", "names.txt").out
    (folder / "all.txt").write_text("background\nbox\nother\n")
    assert " box 1.000 " in netdef(*WORDS, "000000000139.png", "--names", "all.txt").out
    item = 'item { name: "none" label: 0 } item { name: "sq" label: 1 display_name: "bright square" }'
    (folder / "labelmap.prototxt").write_text(item)
    assert " bright square 1.000 " in netdef(*WORDS, "000000000139.png", "--names", "labelmap.prototxt").out
    named = small_detector.FOUND % 'save_output_param { label_map_file: "labelmap.prototxt" }'
    write_net(folder, small_detector.INPUT + small_detector.HEADS + named)
    assert " bright square 1.000 " in netdef(*WORDS, "000000000139.png").out
    one = package.predict("ssd.net", ["000000000139.png"], weights="ssd.npz")[0]
    assert one.boxes[0].name == "bright square" and one.size == (48, 96)
    assert np.allclose(one.boxes[0].corners, (64, 16, 96, 32), atol=1e-3)


def test_pictures_and_coco_json(netdef, folder):
    done = netdef(*WORDS, ".", "--pictures", "made/pictures", "--coco", "found.json")
    assert done.code == 0 and "2 pictures are in made/pictures" in done.err, done.err
    plain, drawn = (
        np.asarray(Image.open(f"{place}000000000139.png").convert("RGB")) for place in ("", "made/pictures/")
    )
    factor = drawn.shape[0] // plain.shape[0]
    assert drawn.shape[:2] == (factor * 48, factor * 96) and factor > 1  # small pictures are enlarged
    changed = (drawn != plain.repeat(factor, 0).repeat(factor, 1)).any(2)
    rows, columns = np.nonzero(changed)
    assert columns.min() >= 63 * factor - 20 * factor and changed[16 * factor + 1, 80 * factor]
    assert not changed[24 * factor, 80 * factor]  # the inside stays
    made = json.loads(Path("found.json").read_text())
    assert [(i["id"], i["file_name"], i["height"], i["width"]) for i in made["images"]] == [
        (139, "000000000139.png", 48, 96),
        (285, "000000000285.png", 24, 24),
    ]
    best = max(made["annotations"], key=lambda a: a["score"])
    assert (best["image_id"], best["category_id"]) == (139, 1) and best["bbox"] == [64, 16, 32, 16]
    assert {"id": 1, "name": "class 1"} in made["categories"]


def test_rows_of_an_array_are_drawn_too(netdef, folder):
    np.save("rows.npy", small_detector.image((0, 0, 250))[None, None].astype(np.float32))
    done = netdef(*WORDS, "rows.npy", "--raw", "--pictures", "made")
    assert done.out.startswith("rows.npy[0]  class 1 1.000  x 0 to 8, y 0 to 8")
    assert [path.name for path in Path("made").iterdir()] == ["rows.npy_0.png"]


def test_a_net_that_neither_classifies_nor_detects(netdef, folder):
    write_net(folder, small_detector.INPUT + small_detector.HEADS)
    done = netdef(*WORDS, "000000000139.png")
    assert done.code == 0
    assert "nothing is classified or detected" in done.err and "the outputs are conf, loc, priors" in done.err
    lines = [line.split(maxsplit=1)[1] for line in done.out.splitlines()]
    assert lines[0].startswith("conf  27  -40 to ") and lines[1] == "loc  36  0 to 0"
    made = json.loads(netdef(*WORDS, "000000000139.png", "--json").out)
    assert made[0]["outputs"][1] == {"name": "loc", "shape": [36], "min": 0.0, "max": 0.0, "not_finite": 0}
    assert " class 16 20.000 " in netdef(*WORDS, "000000000139.png", "--blob", "conf").out
    for option in ("--pictures", "--coco"):
        done = netdef(*WORDS, "000000000139.png", option, "made")
        assert done.code == 2 and f"{option} writes the boxes of a detector" in done.err


def test_mistakes(netdef, folder):
    assert "a score is from 0 to 1" in netdef(*WORDS, ".", "--least", "30").err
    assert "the folder none does not exist" in netdef(*WORDS, ".", "--coco", "none/found.json").err
    Path("file").write_text("")
    assert "cannot be created" in netdef(*WORDS, ".", "--pictures", "file/made").err
    Path("broken.txt").write_text('item { name: "a" lable: 1 }')
    assert netdef(*WORDS, ".", "--names", "broken.txt").code == 2


@pytest.fixture
def tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training file of the detector with its data, and weights."""
    monkeypatch.chdir(tmp_path)
    small_detector.write_data(tmp_path)
    (tmp_path / "ssd.net").write_text(small_detector.trained_by())
    net = package.load("ssd.net", "TEST")
    write_weights("ssd.npz", entries_of(net, package.compile(net).get_weights()), net)
    return tmp_path


def test_a_test_draws_boxes_and_true_boxes(netdef, tested):
    done = netdef("test", "ssd.net", "--weights", "ssd.npz", "--pictures", "made", "--coco", "found.json")
    assert done.code == 0 and "6 pictures are in made" in done.err, done.err
    assert done.out.startswith("eval: 0.458333\n")  # 11 of 12 boxes of label 1, and none of label 2
    assert sorted(path.name for path in Path("made").iterdir()) == [f"record_{i}.png" for i in range(6)]
    found = json.loads(Path("found.json").read_text())
    sure = [(a["image_id"], a["bbox"]) for a in found["annotations"] if a["score"] > 0.9]
    assert (1, [0, 0, 8, 8]) in sure and (5, [16, 0, 8, 8]) in sure and len(sure) == 12
    white = (np.asarray(Image.open("made/record_1.png").convert("RGB")) == 255).all(2)
    assert white[16 * 20 + 20 :, 16 * 20 :].sum() > 100  # the true box that is missed is dashed
    found = netdef("test", "ssd.net", "--weights", "ssd.npz", "--confusion")
    assert found.code == 1 and "no loss or accuracy with labels" in found.err
