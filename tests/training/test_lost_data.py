"""Data that is truncated or deleted while a net is trained on it: one line that names the file; the run resumes from
its last snapshot when the data is back, and ends as a run that was not interrupted."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef import NetdefError

RECORDS = 480  # fewer than two epochs are trained, so that records are not kept on the device
REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 1e-5 lr_policy: "fixed" max_iter: 60 display: 1 snapshot: 4 random_seed: 1 }
"""


def hdf5(folder: Path, images, labels) -> tuple[str, Path]:
    for i in range(6):
        with h5py.File(folder / f"{i}.h5", "w") as file:
            file["data"], file["label"] = images[i::6].astype(np.float32), labels[i::6].astype(np.float32)
    (folder / "list.txt").write_text("".join(f"{i}.h5\n" for i in range(6)))
    return layer("HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 8 }'), folder / "5.h5"


def lmdb(folder: Path, images, labels) -> tuple[str, Path]:
    write_lmdb(folder / "db", [datum(image, label) for image, label in zip(images, labels, strict=True)])
    text = layer("Data", 'data_param { source: "db" batch_size: 8 backend: LMDB }')
    return text, folder / "db" / "data.mdb"


def npy(folder: Path, images, labels) -> tuple[str, Path]:
    (folder / "rows").mkdir()
    np.save(folder / "rows" / "data.npy", images)
    np.save(folder / "rows" / "label.npy", labels)
    text = layer("ArrayData", 'array_data_param { source: "rows" batch_size: 8 shuffle: false }')
    return text, folder / "rows" / "data.npy"


def images(folder: Path, images, labels) -> tuple[str, Path]:
    names = write_images(folder, images)
    (folder / "list.txt").write_text("".join(f"{name} {k}\n" for name, k in zip(names, labels, strict=True)))
    text = layer("ImageData", 'image_data_param { source: "list.txt" batch_size: 8 is_color: false }')
    return text, folder / names[-3]


@pytest.mark.parametrize("how", ["deleted", "truncated"])
@pytest.mark.parametrize("write", [hdf5, lmdb, npy, images])
def test_data_that_is_lost_while_it_is_used(write, how, tmp_path):
    if how == "deleted" and write in (lmdb, npy):
        pytest.skip("an open file is kept by the operating system")
    labels = np.arange(RECORDS) % 3
    text, file = write(tmp_path, numbered(256, 1, 6, 6)[np.arange(RECORDS) % 256], labels)
    net = tmp_path / "n.net"
    net.write_text(text + REST)
    whole = netdef.train(net, output=tmp_path / "whole").model.get_weights()
    content = file.read_bytes()

    def lose(event: object) -> None:
        if getattr(event, "iteration", 0) >= 8 and file.exists() and file.stat().st_size == len(content):
            file.unlink() if how == "deleted" else file.write_bytes(content[:40])

    with pytest.raises(NetdefError) as caught:
        netdef.train(net, output=tmp_path / "run", on_event=lose)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    with pytest.raises(NetdefError, match=str(file)):
        netdef.train(net, resume=tmp_path / "run")
    file.write_bytes(content)
    resumed = netdef.train(net, resume=tmp_path / "run").model.get_weights()
    for name, arrays in whole.items():
        for one, other in zip(arrays, resumed[name], strict=True):
            np.testing.assert_array_equal(one, other)
