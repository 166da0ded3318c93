"""Mean images: Caffe's `.binaryproto`, a BlobProto, and NumPy's `.npy`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import write_atomically
from ..language.errors import NetdefError
from ..shape import count, show
from .blobs import LEGACY, located
from .caffe_proto import messages
from .entries import existing_file, foreign


def read_mean(path: Path) -> np.ndarray:
    """Returns the array of a `.binaryproto` as float32, in its stored shape. Raises NetdefError for other files."""
    try:
        data = path.read_bytes()
        return located(path, data, 0, len(data)).read()
    except NetdefError:  # protobuf is not installed
        raise
    except Exception as error:  # protobuf has exceptions of its own; each of them means that the file is invalid
        raise foreign(path, "a .binaryproto (a BlobProto)", error) from error


def mean_image(path: Path) -> np.ndarray:
    """Returns the mean image of a `.binaryproto`, (c, h, w). Raises NetdefError if it is not a single image."""
    array = read_mean(path)
    if array.ndim < 3 or array.size == 0 or count(array.shape[:-3]) != 1:
        raise NetdefError(f"{path}: a mean image must have the shape 1xCxHxW, not {show(array.shape)}")
    return array.reshape(array.shape[-3:])


def write_mean(path: Path, array: np.ndarray) -> None:
    """Writes an array as a `.binaryproto`, with the four legacy dimensions that every version of Caffe reads."""
    if array.ndim > 4:
        raise NetdefError(f"{path}: a .binaryproto has at most 4 axes, but this array has {array.ndim}")
    dims = (1,) * (4 - array.ndim) + array.shape
    blob = messages().BlobProto(**dict(zip(LEGACY, dims, strict=True)))
    blob.data.extend(array.reshape(-1).tolist())
    write_atomically(path, lambda aside: aside.write_bytes(blob.SerializeToString()))


def convert_mean(source: Path, to: Path) -> str:
    """Converts a mean file; the extension of `to` selects its format. Returns the shape as a string."""
    existing_file(source, "mean file")
    array = read_mean(source) if source.suffix == ".binaryproto" else _read_npy(source)
    if to.suffix == ".binaryproto":
        write_mean(to, array)
    else:
        write_atomically(to, lambda aside: _write_npy(aside, array))
    return show(array.shape)


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False, mmap_mode="r"), np.float32)
    except Exception as error:
        raise foreign(path, "a numeric .npy", error) from error


def _write_npy(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # because numpy.save appends .npy to a file name
        np.save(file, array, allow_pickle=False)
