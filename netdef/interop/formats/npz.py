"""`.npz`: NumPy's archive, with an array `LAYER/i` for each of Caffe's blobs.

Files are read without pickle, and sizes are compared with the file size before memory is allocated.
"""

from __future__ import annotations

import functools
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ...files import MOST_DEFLATED
from ..entries import Damaged, Entry, Stored, aligned_empty, bytes_of, checked_shape, foreign, grouped, keyed
from .base import Contents, Format


class NPZ(Format, name="npz"):
    """NumPy's archive."""

    endings = (".npz",)
    dtypes = ("float32", "float16")

    def recognizes(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"PK\x03\x04")

    def read(self, path: Path) -> list[Entry]:
        try:
            with zipfile.ZipFile(path) as archive:
                found = [(_key(info), _stored(path, archive, info)) for info in archive.infolist()]
            return grouped(found, "an .npz of weights")
        except Exception as error:
            raise foreign(path, "an .npz of weights", error) from error

    def write(self, path: Path, contents: Contents) -> None:
        """Writes the file one array at a time."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for key, stored in keyed(contents.entries):
                with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                    values = np.asarray(stored.read(), contents.dtype)
                    np.lib.format.write_array(file, values, allow_pickle=False)


def _key(info: zipfile.ZipInfo) -> str:
    if not info.filename.endswith(".npy"):
        raise Damaged(f"the member {info.filename[:60]!r} is not an array")
    return info.filename.removesuffix(".npy")


def _stored(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
    if info.compress_size > path.stat().st_size or info.file_size > MOST_DEFLATED * max(info.compress_size, 1):
        raise Damaged(f"the array {info.filename[:60]!r} claims to be larger than the file")
    with archive.open(info) as file:
        shape, _, dtype, begin = _npy_head(file)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise Damaged(f"the array {info.filename[:60]!r} is of type {dtype}, which is not numeric")
    count = (info.file_size - begin) // dtype.itemsize
    if begin + count * dtype.itemsize != info.file_size:
        raise Damaged(f"the array {info.filename[:60]!r} is incomplete")
    return Stored(checked_shape(shape, count), functools.partial(_array, path, info.filename))


def _npy_head(file: Any) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Returns (shape, whether it is in column-major order, dtype, size of the header in bytes)."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise Damaged(f"version {version} of NumPy's array format is not supported")
    shape, columns, dtype = read(file)
    return shape, columns, dtype, file.tell()


def _array(path: Path, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            shape, columns, dtype, _ = _npy_head(file)
            count = math.prod(shape)
            if dtype == np.float32 and dtype.isnative:
                flat = aligned_empty(count)
                _fill(file, bytes_of(flat))
            else:
                raw = np.empty(count, dtype)
                _fill(file, bytes_of(raw))
                flat = raw.astype(np.float32)
            if file.read(1):  # reading to the end also verifies the archive's checksum
                raise Damaged(f"{name!r} has extra bytes after its last value")
            return flat.reshape(shape, order="F" if columns else "C")
    except Exception as error:
        raise foreign(path, "an .npz of weights", error) from error


def _fill(file: Any, view: memoryview) -> None:
    while view:
        n = file.readinto(view[: 1 << 22])
        if not n:
            raise Damaged("the file ends within an array")
        view = view[n:]
