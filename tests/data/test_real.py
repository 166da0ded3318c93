"""Real images: nets trained on a folder of faces and on the files of MNIST."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from data_sets import layer, write_images

import netdef
from netdef.cli import main

SHARED = Path(__file__).parents[3] / "shared" / "data"

JUDGE = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 } param { decay_mult: 0 }
        inner_product_param { num_output: CLASSES weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
solver {
  base_lr: RATE momentum: 0.9 weight_decay: 0.01 lr_policy: "fixed" max_iter: STEPS display: 0
  test_interval: STEPS test_iter: 5 test_initialization: false snapshot_after_train: false
}
"""


def arrays(name: str) -> dict[str, np.ndarray]:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not beside the checkout")
    with np.load(SHARED / name) as pack:
        return dict(pack)


def accuracy(folder: Path, text: str, classes: int, rate: float, steps: int) -> float:
    judge = JUDGE.replace("CLASSES", str(classes)).replace("RATE", str(rate)).replace("STEPS", str(steps))
    (folder / "n.net").write_text(text + judge)
    history = netdef.train(folder / "n.net", output=folder / "run").history
    return next(row["accuracy"] for row in reversed(history) if "accuracy" in row)


def test_faces_from_a_folder_for_each_person(tmp_path):
    faces = arrays("orl_faces.npz")
    for person in range(40):
        write_images(tmp_path / "people" / f"{person:02d}", faces["images"][faces["labels"] == person][:, None])
    text = layer(
        "ImageFolder",
        'image_folder_param { source: "people" batch_size: 40 new_height: 28 new_width: 23 is_color: false }',
        beside='transform_param { mirror: true mean_file: "AUTO" } sample_param { split: 0.5 }',
    )
    net = netdef.load(text)  # five images of each person for training, five for testing
    assert net.layers[0].layer.sample_param.split == 0.5
    assert accuracy(tmp_path, text, 40, 0.004, 60) >= 0.9


def test_digits_from_mnists_own_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = arrays("mnist10k.npz")
    for name, chosen in (("train", slice(0, 2000)), ("t10k", slice(2000, 2500))):
        images, labels = digits["images"][chosen], digits["labels"][chosen]
        with gzip.open(f"{name}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, len(images), 28, 28) + images.tobytes())
        with gzip.open(f"{name}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.astype(np.uint8).tobytes())
        assert main(["data", "convert", f"{name}-images-idx3-ubyte.gz", f"{name}.lmdb"]) == 0
    assert "train.lmdb: 2,000 records" in capsys.readouterr().out
    text = "".join(
        layer(
            "Data",
            f'data_param {{ source: "{name}.lmdb" batch_size: 100 backend: LMDB }}',
            beside=f"include {{ phase: {phase} }} transform_param {{ scale: 0.00390625 }}",
        )
        for name, phase in (("train", "TRAIN"), ("t10k", "TEST"))
    )
    assert accuracy(tmp_path, text, 10, 0.1, 60) >= 0.8
