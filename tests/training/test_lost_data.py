"""Data that is truncated, deleted or replaced while a net is trained on it.

What is lost is one line that names the file; the run resumes from its last snapshot when the data is back, and ends as a
run that was not interrupted.  What is replaced by other data is not mixed with them: the run continues with what it
opened, or ends with a line that names the file; a resumed run says that the data are others."""

from __future__ import annotations

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef import NetdefError
from netdef.language.errors import printable
from netdef.training.events import Started

RECORDS = 480  # fewer than two epochs are trained, so that records are not kept on the device
REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 1e-5 lr_policy: "fixed" max_iter: 60 display: 1 snapshot: 4 random_seed: 1 }
"""


def hdf5(folder: Path, images, labels) -> tuple[str, Path]:
    folder.mkdir(exist_ok=True)
    for i in range(6):
        with h5py.File(folder / f"{i}.h5", "w") as file:
            file["data"], file["label"] = images[i::6].astype(np.float32), labels[i::6].astype(np.float32)
    (folder / "list.txt").write_text("".join(f"{i}.h5\n" for i in range(6)))
    return layer("HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 8 }'), folder / "5.h5"


def lmdb(folder: Path, images, labels) -> tuple[str, Path]:
    folder.mkdir(exist_ok=True)
    write_lmdb(folder / "db", [datum(image, label) for image, label in zip(images, labels, strict=True)])
    text = layer("Data", 'data_param { source: "db" batch_size: 8 backend: LMDB }')
    return text, folder / "db" / "data.mdb"


def npy(folder: Path, images, labels) -> tuple[str, Path]:
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    np.save(folder / "rows" / "data.npy", images)
    np.save(folder / "rows" / "label.npy", labels)
    text = layer("ArrayData", 'array_data_param { source: "rows" batch_size: 8 shuffle: false }')
    return text, folder / "rows" / "data.npy"


def images(folder: Path, images, labels) -> tuple[str, Path]:
    folder.mkdir(exist_ok=True)
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
    assert "\n" not in str(caught.value) and printable(str(file)) in str(caught.value)
    with pytest.raises(NetdefError, match=re.escape(printable(str(file)))):
        netdef.train(net, resume=tmp_path / "run")
    file.write_bytes(content)
    resumed = netdef.train(net, resume=tmp_path / "run").model.get_weights()
    same(resumed, whole)


def replace(file: Path, other: Path, in_place: bool) -> None:
    """What an editor does, or a program that writes a file anew."""
    if in_place:
        file.write_bytes(other.read_bytes())
        other.unlink()
    else:
        os.replace(other, file)


def others(shape: tuple[int, ...]) -> np.ndarray:
    """Other images than those of the run."""
    return 255 - numbered(*shape)


@pytest.mark.parametrize(
    ("write", "count", "size", "in_place"),
    [
        (hdf5, RECORDS, 6, False),
        (hdf5, RECORDS, 7, True),
        (lmdb, RECORDS, 6, True),
        (lmdb, 200, 6, False),
        (npy, RECORDS, 6, True),
        (npy, RECORDS, 7, False),
    ],
)
def test_data_that_are_replaced_while_they_are_used(write, count, size, in_place, tmp_path):
    labels = np.arange(RECORDS) % 3
    text, file = write(tmp_path, numbered(256, 1, 6, 6)[labels], labels)
    _, other = write(tmp_path / "other", others((256, 1, size, size))[labels[:count]], labels[:count])
    net = tmp_path / "n.net"
    net.write_text(text + REST)

    def swap(event: object) -> None:
        if getattr(event, "iteration", 0) >= 8 and other.exists():
            replace(file, other, in_place)

    run = lambda: netdef.train(net, output=tmp_path / "run", on_event=swap)
    if write is hdf5 or in_place:  # a file that is opened again, or whose content is another
        with pytest.raises(NetdefError, match="has changed while it was in use; run again when it is complete") as said:
            run()
        assert printable(str(file)) in str(said.value) and "\n" not in str(said.value)
    else:  # the file that was opened is still there, without a name
        found = run().model.get_weights()
        os.replace(file, other)
        write(tmp_path, numbered(256, 1, 6, 6)[labels], labels)
        same(found, netdef.train(net, output=tmp_path / "whole").model.get_weights())
        os.replace(other, file)
    if size != 6:  # then the net is another one
        return
    notes = notes_of_resuming(net, tmp_path / "run", 64)
    path = printable(str(file))
    had = f"had {RECORDS} records before, and " if count != RECORDS else f"{path} has changed since the run opened it ("
    assert len(notes) == 1 and notes[0].startswith("layer `") and had in notes[0]
    assert notes_of_resuming(net, tmp_path / "run", 68) == []  # from a snapshot with the new data


def notes_of_resuming(net: Path, run: Path, end: int) -> list[str]:
    """What a resumed run says about its data."""
    told = []
    netdef.train(net, resume=run, max_iter=end, on_event=told.append)
    return [w for event in told if isinstance(event, Started) for w in event.warnings if "without an interruption" in w]


def same(found: dict, wanted: dict) -> None:
    for name, arrays in wanted.items():
        for one, other in zip(arrays, found[name], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [6, 7])
def test_an_image_that_is_replaced_is_used_from_then_on_unless_its_shape_is_another(size, tmp_path):
    labels = np.arange(RECORDS) % 3
    text, file = images(tmp_path, numbered(256, 1, 6, 6)[labels], labels)
    _, other = images(tmp_path / "other", others((256, 1, size, size))[labels], labels)
    net = tmp_path / "n.net"
    net.write_text(text + REST)
    whole = netdef.train(net, output=tmp_path / "whole").model.get_weights()

    def swap(event: object) -> None:
        if getattr(event, "iteration", 0) >= 8 and other.exists():
            os.replace(other, file)

    if size != 6:
        with pytest.raises(NetdefError) as said:
            netdef.train(net, output=tmp_path / "run", on_event=swap)
        assert printable(str(file)) in str(said.value) and "6x6" in str(said.value) and "7x7" in str(said.value)
        return
    found = netdef.train(net, output=tmp_path / "run", on_event=swap).model.get_weights()
    assert any((one != other).any() for name in whole for one, other in zip(whole[name], found[name], strict=True))
    assert printable(f"{file} has changed since the run opened it (") in "".join(
        notes_of_resuming(net, tmp_path / "run", 64)
    )


def test_a_list_that_becomes_shorter_is_used_by_the_next_run(tmp_path):
    labels = np.arange(RECORDS) % 3
    text, _ = images(tmp_path, numbered(256, 1, 6, 6)[labels], labels)
    net, listing = tmp_path / "n.net", tmp_path / "list.txt"
    net.write_text(text + REST)
    whole = netdef.train(net, output=tmp_path / "whole").model.get_weights()
    shorter = "".join(listing.read_text().splitlines(keepends=True)[:100])

    def swap(event: object) -> None:
        if getattr(event, "iteration", 0) >= 8:
            listing.write_text(shorter)

    same(netdef.train(net, output=tmp_path / "run", on_event=swap).model.get_weights(), whole)
    (note,) = notes_of_resuming(net, tmp_path / "run", 64)
    said = f"layer `i`: the data of {listing} had {RECORDS} records before, and 100 now; "
    assert note.startswith(printable(said))
