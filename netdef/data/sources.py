"""Data sets by their path alone, for the tools: which layer reads a path, and the two formats that no layer reads.

records = open_source(Path("faces"))      # a folder of classes, an image list, a database, .npz, .h5, MNIST, CIFAR
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

from ..files import locator
from ..language.errors import NetdefError
from ..lazy import np
from .layers._image_layer import Record, Records
from .layers.arrays import ArrayData
from .layers.database import Data
from .layers.folder import ImageFolder
from .layers.image_list import ImageData
from .layers.image_table import ImageTable

CIFAR_SIDE = 32


def open_source(path: Path, **fields: Any) -> Records:
    """The records of a data set.  `fields` are of the layer that reads it: `is_color`, `new_height`, `root_folder`, ...

    NetdefError if it is no data set that netdef knows."""
    path = Path(path)
    if not path.exists():
        raise NetdefError(f"{path} does not exist.")
    reader = _Idx if _is_idx(path) else _Cifar if _is_cifar(path) else None
    if reader is not None:
        return reader(path)
    if path.suffix in (".h5", ".hdf5"):
        return _Hdf5(path)
    kind = _layer_of(path)
    tops = ("data",) if path.suffix == ".npy" else ("data", "label")
    known = {name: value for name, value in fields.items() if name in kind.params() and value is not None}
    layer = kind(name=path.name, top=_array_names(path, tops), source=str(path), batch_size=1, **known)
    return layer.records(locator(None))


def _layer_of(path: Path) -> Any:
    if (path / "data.mdb").exists() or (path / "CURRENT").exists() or path.suffix in (".mdb", ".lmdb"):
        return Data
    if path.is_dir():
        arrays = any(path.glob("*.npz")) or any(path.glob("*.npy"))
        return ArrayData if arrays else ImageFolder
    if path.suffix in (".npz", ".npy"):
        return ArrayData
    return ImageTable if path.suffix in (".csv", ".tsv") else ImageData


def _array_names(path: Path, tops: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the arrays: `data` and `label`, or in an .npz the first with images and the first with a label each."""
    if path.suffix != ".npz":
        return tops
    with path.open("rb") as file, np.load(file) as pack:
        if all(top in pack for top in tops):
            return tops
        images = next((name for name in pack if pack[name].ndim >= 2), pack.files[0])
        rows = len(pack[images])
        label = next((n for n in pack if n != images and pack[n].shape == (rows,)), None)
    return (images,) if label is None else (images, label)


def _is_idx(path: Path) -> bool:
    return path.is_file() and _head(path)[:4] in (b"\0\0\x08\x03", b"\0\0\x08\x04")


def _is_cifar(path: Path) -> bool:
    files = [path] if path.is_file() else sorted(path.glob("*.bin"))
    record = CIFAR_SIDE * CIFAR_SIDE * 3
    sizes = (record + 1, record + 2)
    return bool(files) and all(f.suffix == ".bin" and any(f.stat().st_size % s == 0 for s in sizes) for f in files)


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked if it is packed by gzip."""
    with path.open("rb") as file:
        start = file.read(2)
    with gzip.open(path) if start == b"\x1f\x8b" else path.open("rb") as file:
        return file.read(16)


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


class _Images(Records):
    """Images (n, c, h, w) and labels (n) in memory."""

    def __init__(self, path: Path, images: Any, labels: Any):
        self.path, self.images, self.labels, self.size = path, images, labels, len(images)

    def read(self, numbers: Any) -> list[int]:
        return [int(number) for number in numbers]

    def decode(self, raw: int) -> Record:
        labels = () if self.labels is None else (self.labels[raw],)
        return Record(self.images[raw], labels, f"record {raw} of {self.path}")

    def classes(self) -> Any:
        return None if self.labels is None else self.labels.astype(np.int64)


class _Idx(_Images):
    """MNIST's format; the labels lie beside the images: `...-images-idx3-ubyte` and `...-labels-idx1-ubyte`."""

    def __init__(self, path: Path):
        images = _idx(path)
        beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
        if beside == path or not beside.exists():
            raise NetdefError(f"the labels of {path} are not there; they belong into {beside}.")
        labels = _idx(beside)
        if len(labels) != len(images):
            raise NetdefError(f"{path} has {len(images)} images and {beside} {len(labels)} labels.")
        super().__init__(path, images if images.ndim == 4 else images[:, None], labels)


def _idx(path: Path) -> Any:
    data = _unpacked(path)
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise NetdefError(f"{path} is not an idx file of bytes.")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != np.prod(shape):
        raise NetdefError(f"{path} is truncated: {values.size} of {np.prod(shape)} bytes are there.")
    return values.reshape(shape)


class _Cifar(_Images):
    """CIFAR-10's or CIFAR-100's binary files (the fine label); red, green, blue becomes blue, green, red."""

    def __init__(self, path: Path):
        record = 3 * CIFAR_SIDE * CIFAR_SIDE
        images, labels = [], []
        for file in [path] if path.is_file() else sorted(path.glob("*.bin")):
            data = np.fromfile(file, np.uint8)
            extra = 1 if data.size % (record + 1) == 0 else 2
            rows = data.reshape(-1, record + extra)
            images.append(rows[:, extra:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)[:, ::-1])
            labels.append(rows[:, extra - 1])
        super().__init__(path, np.concatenate(images), np.concatenate(labels))


class _Hdf5(_Images):
    """An HDF5 file with the datasets `data` and `label`."""

    def __init__(self, path: Path):
        import h5py

        try:
            with h5py.File(path, "r") as file:
                if "data" not in file:
                    raise NetdefError(f"{path} has no dataset `data`; it has {', '.join(file) or 'nothing'}.")
                images, labels = file["data"][:], file["label"][:] if "label" in file else None
        except OSError as error:
            raise NetdefError(f"{path} is not a readable HDF5 file ({str(error)[:120]}).") from None
        if images.ndim < 4:
            images = images.reshape(len(images), *(1,) * (4 - images.ndim), *images.shape[1:])
        super().__init__(path, images, None if labels is None or labels.ndim != 1 else labels)
