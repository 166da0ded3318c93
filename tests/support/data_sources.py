"""The same small images in every kind of source, and the text of a layer that reads them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from data_sets import datum, layer, write_images, write_lmdb
from PIL import Image


class Source(NamedTuple):
    """A layer's type, its block, the fields there without `batch_size`, and whether `shuffle` is in `sample_param`."""

    kind: str
    block: str
    fields: str
    samples: bool = False

    def text(self, batch: int, shuffle: bool = False, sampling: str = "", beside: str = "") -> str:
        """Returns the layer; `sampling` are fields of `sample_param`, where the layer has it."""
        own = "" if self.samples else f"shuffle: {'true' if shuffle else 'false'}"
        if self.samples:
            sampling += " shuffle: true" if shuffle else ""
        if self.kind == "HDF5Data":
            own, sampling = f"{own} {sampling}", ""
        block = f"{self.block} {{ {self.fields} batch_size: {batch} {own} }}"
        return layer(
            self.kind, block, beside=f"{beside} sample_param {{ {sampling} }}" if sampling else beside, name="x"
        )


SOURCES = {
    "lmdb": Source("Data", "data_param", 'source: "lmdb" backend: LMDB', samples=True),
    "leveldb": Source("Data", "data_param", 'source: "leveldb"'),
    "list": Source("ImageData", "image_data_param", 'source: "list.txt" is_color: false'),
    "folder": Source("ImageFolder", "image_folder_param", 'source: "folder" is_color: false'),
    "table": Source("ImageTable", "image_table_param", 'source: "t.csv" is_color: false'),
    "arrays": Source("ArrayData", "array_data_param", 'source: "x.npz"'),
    "hdf5": Source("HDF5Data", "hdf5_data_param", 'source: "h5.txt"'),
    "tar": Source("TarData", "tar_data_param", 'source: "tar" is_color: false'),
}


def write_source(name: str, folder: Path, images: np.ndarray) -> None:
    """Writes images (n, 1, h, w) with the labels 0 to n - 1; those of a folder are in a subfolder for each."""
    labels = np.arange(len(images))
    if name == "lmdb":
        write_lmdb(folder / "lmdb", [datum(image, i) for i, image in enumerate(images)])
    elif name == "leveldb":
        import plyvel

        db = plyvel.DB(str(folder / "leveldb"), create_if_missing=True)
        for i, image in enumerate(images):
            db.put(b"%08d" % i, datum(image, i))
        db.close()
    elif name == "arrays":
        np.savez(folder / "x.npz", data=images, label=labels)
    elif name == "hdf5":
        cut = len(images) // 3
        for i, part in enumerate((slice(0, cut), slice(cut, None))):
            with h5py.File(folder / f"{i}.h5", "w") as file:
                file["data"], file["label"] = images[part], labels[part]
        (folder / "h5.txt").write_text("0.h5\n1.h5\n")
    elif name == "tar":
        (folder / "tar").mkdir()
        cut = len(images) // 3
        write_tar(folder / "tar" / "0.tar", [members(images[i], i) for i in range(cut)])
        write_tar(folder / "tar" / "1.tar", [members(images[i], i) for i in range(cut, len(images))], cut)
    else:
        _write_files(name, folder, images)


def _write_files(name: str, folder: Path, images: np.ndarray) -> None:
    if name == "folder":
        for i, image in enumerate(images):
            write_images(folder / "folder" / f"{i:04d}", image[None])
        return
    names = write_images(folder, images)
    if name == "list":
        (folder / "list.txt").write_text("".join(f"{file} {i}\n" for i, file in enumerate(names)))
    else:
        (folder / "t.csv").write_text("file,label\n" + "".join(f"{file},{i}\n" for i, file in enumerate(names)))


def png(image: np.ndarray) -> bytes:
    """Returns the PNG file of an image (c, h, w) uint8 with channels B, G, R, or gray."""
    packed = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image[::-1].transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(packed, "PNG")
    return packed.getvalue()


def members(image: np.ndarray, label: object) -> dict[str, bytes]:
    """Returns the members of a record: a PNG, and the label as text or, if it is no integer, as JSON."""
    text = {"cls": str(label).encode()} if isinstance(label, int) else {"json": json.dumps(label).encode()}
    return {"png": png(image)} | text


def write_tar(
    path: Path, records: list[Mapping[str, bytes]], first: int = 0, form: int = tarfile.PAX_FORMAT, folder: str = ""
) -> None:
    """Writes records with the keys 000000, 000001, ... by the standard library."""
    with tarfile.open(path, "w", format=form) as file:
        for i, record in enumerate(records, first):
            for extension, data in record.items():
                info = tarfile.TarInfo(f"{folder}{i:06d}.{extension}")
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
