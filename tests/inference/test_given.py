"""Preprocessing by options and by a training file whose data is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_sets import write_images

import netdef
from netdef.cli import main
from netdef.data import images
from netdef.inference.given import by_options, by_training_file, words_of
from netdef.interop.means import write_mean

DEPLOY = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 48 bias_term: false } }
"""
TRAIN = """layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { %s crop_size: 4 mirror: true } data_param { source: "gone" batch_size: 8 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 48 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
"""
PHOTO = np.random.default_rng(0).integers(0, 256, (1, 3, 9, 7)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net that outputs its input, and an image."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    np.savez("w.npz", **{"ip/0": np.eye(48, dtype=np.float32)})
    write_images(tmp_path / "photos", PHOTO)
    return tmp_path


def decoded(folder: Path) -> np.ndarray:
    return images.decode(next((folder / "photos").iterdir()).read_bytes(), True)


def test_options_do_what_caffes_examples_do(folder: Path):
    image = decoded(folder)
    small = images.resize(image, 4, 4).transpose(2, 0, 1).astype(np.float32)
    mean = np.array([104, 117, 123], np.float32).reshape(3, 1, 1)
    row = by_options((3, 4, 4), (104, 117, 123), 0.5).rows([image], ["a"])[0]
    np.testing.assert_allclose(row, (small - mean) * 0.5)
    row = by_options((3, 4, 4), (104, 117, 123), rgb=True).rows([image], ["a"])[0]
    np.testing.assert_allclose(row, small[::-1] - mean)
    row = by_options((3, 4, 4), crop=4, resize=(6, 8)).rows([image], ["a"])[0]
    np.testing.assert_allclose(row, images.resize(image, 6, 8).transpose(2, 0, 1)[:, 1:5, 2:6])
    row = by_options((3, 4, 4), crop=4).rows([image], ["a"])[0]
    np.testing.assert_allclose(row, images.resize(image, 256, 256).transpose(2, 0, 1)[:, 126:130, 126:130])


def test_a_training_file_needs_no_data(folder: Path):
    image = decoded(folder)
    (folder / "train.prototxt").write_text(TRAIN % "scale: 0.5 mean_value: 100")
    way = by_training_file("train.prototxt", (3, 4, 4))
    whole = images.resize(image, 256, 256).transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_allclose(way.rows([image], ["a"])[0], (whole[:, 126:130, 126:130] - 100) * 0.5)
    assert words_of(way) == ("resized to 256x256, channels B, G, R, mean 100 subtracted, center 4x4, times 0.5")
    mean = np.random.default_rng(1).uniform(90, 120, (3, 6, 8)).astype(np.float32)
    write_mean(folder / "mean.binaryproto", mean)
    (folder / "train.prototxt").write_text(TRAIN % 'mean_file: "mean.binaryproto"')
    way = by_training_file("train.prototxt", (3, 4, 4))
    whole = images.resize(image, 6, 8).transpose(2, 0, 1) - mean
    np.testing.assert_allclose(way.rows([image], ["a"])[0], whole[:, 1:5, 2:6], atol=1e-4)
    (folder / "mean.binaryproto").unlink()
    with pytest.raises(netdef.NetdefError, match="mean.binaryproto"):
        by_training_file("train.prototxt", (3, 4, 4))


def predict(*words: str) -> int:
    return main(["predict", "deploy.prototxt", "photos", "--weights", "w.npz", "--blob", "ip", "--top", "1", *words])


def test_the_command_says_what_it_does(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert predict("--mean", "104,117,123", "--scale", "2", "--crop", "4", "--resize", "8", "--bgr") == 0
    done = capsys.readouterr()
    small = images.resize(decoded(folder), 8, 8).transpose(2, 0, 1)[:, 2:6, 2:6].astype(np.float32)
    best = float(((small - np.array([104, 117, 123]).reshape(3, 1, 1)) * 2).max())
    assert f"{best:.3f}" in done.out
    assert "by the options: resized to 8x8, channels B, G, R, mean 104, 117, 123 subtracted, center 4x4, times 2" in (
        done.err
    )
    (folder / "train.prototxt").write_text(TRAIN % "")
    assert predict("--preprocessing", "train.prototxt", "--rgb") == 0
    assert "as by train.prototxt: resized to 256x256, channels R, G, B, center 4x4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--mean", "1,2"], 1, "--mean has 2 values, but the net's input has 3 channels"),
        (["--mean", "a"], 2, "--mean expects numbers separated by commas"),
        (["--crop", "5"], 1, "the options make images of 5x5, but the net's input is 4x4"),
        (["--crop", "0"], 2, "--crop is 0; it must be at least 1"),
        (["--crop", "4", "--resize", "3"], 1, "the crop of 4 is larger than the resized image of 3x3"),
        (["--resize", "4:4"], 2, "--resize expects HxW"),
        (["--preprocessing", "deploy.prototxt"], 1, "deploy.prototxt has no data layer that reads images"),
        (["--preprocessing", "deploy.prototxt", "--scale", "2"], 2, "--scale and --preprocessing are both given"),
        (["--bgr", "--rgb"], 2, "not allowed with argument --bgr"),
    ],
)
def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str], words, code, message):
    try:
        found = predict(*words)
    except SystemExit as stop:
        found = stop.code
    assert found == code and message in capsys.readouterr().err
