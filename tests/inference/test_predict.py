"""A small net trained on a folder of images: `predict`, `features` and `test --confusion` on what it has learned."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from data_sets import write_images

import netdef
from netdef.cli import main
from netdef.data import images as images_of
from netdef.inference.predict import Predictor

NET = """
name: "Stripes"
layer { name: "d" type: "ImageFolder" top: "data" top: "label" transform_param { mean_file: "AUTO" }
        sample_param { split: 0.5 } image_folder_param { source: "things" batch_size: 5 is_color: false } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
solver { base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" max_iter: 30 test_interval: 30 test_iter: 3
         test_initialization: false snapshot_after_train: true }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `stripes.net`, its two classes of 14 images, and a run."""
    folder = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETDEF_CACHE", str(folder / "cache"))
        rng = np.random.default_rng(0)
        stripes = np.arange(6) % 2 * 120 + 60
        for name, pattern in (("across", stripes[:, None]), ("down", stripes)):
            images = rng.normal(0, 15, (14, 1, 6, 6)) + pattern
            write_images(folder / "things" / name, images.clip(0, 255).astype(np.uint8))
        (folder / "stripes.net").write_text(NET)
        result = netdef.train(folder / "stripes.net", output=folder / "run")
    assert [row for row in result.history if "accuracy" in str(row)]
    return folder


@pytest.fixture
def run(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)

    def call(*words: str) -> tuple[int, str, str]:
        code = main([*words])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("kind", ["EuclideanLoss", "MeanAbsoluteError"])
def test_a_regression_predicts_what_is_compared_with_the_label(kind):
    net = netdef.load(
        'layer { name: "x" type: "Input" top: "x" top: "y" input_param { shape { dim: [4, 3] } shape { dim: 4 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }\n'
        f'layer {{ name: "error" type: "{kind}" bottom: "ip" bottom: "y" top: "error" }}\n',
        phase="TEST",
    )
    assert Predictor(net, None).blob == "ip"


def test_predict_names_the_classes(run):
    words = ("predict", "stripes.net", "things/down/00.png", "things/across", "--run", "run", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    found = json.loads(out)
    assert len(found) == 15
    for answer in found:
        best, other = answer["classes"]
        assert best["name"] == answer["input"].split("/")[1]
        assert best["score"] > 0.5 and abs(best["score"] + other["score"] - 1) < 1e-5
    code, out, _ = run("predict", "stripes.net", "things/down/00.png", "--run", "run", "--top", "1")
    assert out.split()[:2] == ["things/down/00.png", "down"]


def test_predict_arrays_and_other_names(run, trained):
    with netdef.data.feed.Feed(netdef.load(trained / "stripes.net", phase="TEST")) as feed:
        batch = next(feed)
    np.save(trained / "rows.npy", batch["data"])
    (trained / "names.txt").write_text("rows\ncolumns\n")
    code, out, _ = run("predict", "stripes.net", "rows.npy", "--run", "run", "--raw", "--names", "names.txt", "--json")
    found = json.loads(out)
    assert code == 0 and [a["input"] for a in found] == [f"rows.npy[{i}]" for i in range(5)]
    wanted = [["rows", "columns"][int(k)] for k in batch["label"]]
    assert [a["classes"][0]["name"] for a in found] == wanted


def test_arrays_are_prepared_as_by_the_data_layer(run, trained):
    """Records as they are stored give the scores of the images, in any format; a line says what was done."""
    images = [images_of.decode(path.read_bytes(), False) for path in sorted((trained / "things/down").iterdir())]
    rows = np.stack(images).transpose(0, 3, 1, 2)
    np.save(trained / "r.npy", rows)
    np.savez(trained / "r.npz", label=np.zeros(14), data=rows)
    with h5py.File(trained / "r.h5", "w") as file:
        file["data"] = rows
    scores = lambda out: [[c["score"] for c in answer["classes"]] for answer in json.loads(out)]
    wanted = scores(run("predict", "--run", "run", "things/down", "--json")[1])
    for name in ("r.npy", "r.npz", "r.h5"):
        code, out, err = run("predict", "--run", "run", name, "--json")
        assert code == 0 and f"the rows of {name} are prepared as by layer" in err and 'mean_file: "AUTO"' in err, err
        np.testing.assert_allclose(scores(out), wanted, rtol=1e-5)


def test_arrays_that_are_not_rows_of_numbers(run, trained):
    np.savez(trained / "s.npz", data=np.array(["a", "b"]))
    np.savez(trained / "e.npz")
    np.save(trained / "w.npy", np.zeros((3, 1, 5, 5), np.uint8))
    for name, why in (("s.npz", "elements of type <U1"), ("e.npz", "no arrays"), ("w.npy", "expects 1x6x6")):
        code, _, err = run("predict", "--run", "run", name)
        assert code == 1 and why in err


@pytest.mark.parametrize("target", ["f.h5", "f.npz"])
def test_features(run, trained, target):
    code, out, err = run("features", "stripes.net", "--run", "run", "--blobs", "ip,label", "--output", target)
    assert (code, out) == (0, f"{target}: ip 14x2, label 14\n"), err
    if target == "f.h5":
        with h5py.File(trained / target) as file:
            scores, labels = file["ip"][:], file["label"][:]
    else:
        with np.load(trained / target) as pack:
            scores, labels = pack["ip"], pack["label"]
    assert labels.tolist() == [0] * 7 + [1] * 7  # every record of phase TEST once, in order
    assert np.array_equal(scores.argmax(1), labels)


def test_confusion(run):
    code, out, err = run("test", "stripes.net", "--run", "run", "--confusion")
    assert (code, out.splitlines()) == (
        0,
        ["across: 7 of 7 correct", "down: 7 of 7 correct", "14 of 14 records classified correctly: 1.0000"],
    ), err
    code, out, _ = run("test", "stripes.net", "--run", "run", "--confusion", "--json")
    found = json.loads(out)
    assert found == {"classes": ["across", "down"], "counts": [[7, 0], [0, 7]], "accuracy": 1.0}


def test_what_cannot_be_predicted(run, trained):
    (trained / "broken.png").write_bytes(b"no image")
    for words, code, said in (
        (("predict", "stripes.net", "--run", "run"), 2, "INPUT is missing"),
        (("predict", "stripes.net", "nowhere.png", "--run", "run"), 1, "nowhere.png does not exist"),
        (
            ("predict", "stripes.net", "broken.png", "--run", "run"),
            1,
            "broken.png: not an image, or the file is damaged",
        ),
        (
            ("predict", "stripes.net", "things", "--run", "run", "--blob", "x"),
            1,
            "the net has no blob `x`; it has data",
        ),
        (
            ("features", "stripes.net", "--run", "run", "--blobs", "accuracy", "-o", "f.npz"),
            1,
            "with one row for each record",
        ),
        (("features", "stripes.net", "--run", "run", "--blobs", "ip", "-o", "f.txt"), 2, "expects a .h5 or .npz file"),
    ):
        found, _, err = run(*words)
        assert found == code and said in err and "Traceback" not in err, (words, err)
