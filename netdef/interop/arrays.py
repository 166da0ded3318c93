"""Weights in today's formats: npz, safetensors and orbax, an array `LAYER/i` for each of Caffe's blobs.

No format is read through pickle, and sizes are held against the file before memory is asked for.
"""

from __future__ import annotations

import functools
import math
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..language.errors import NetdefError
from ..lazy import need
from .entries import Damaged, Entry, Stored, aligned_empty, bytes_of, checked_shape, foreign, grouped, whole

MOST_DEFLATED = 1032  # times the size that it takes in a file: the most that deflate can save
FLOATS = ("F64", "F32", "F16", "BF16")


def read_npz(path: Path) -> list[Entry]:
    """The layers of an `.npz`.  NetdefError if it is not one, or holds anything but numbers."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [(_key(info), _npz_stored(path, archive, info)) for info in archive.infolist()]
        return grouped(found, "an .npz of weights")
    except Exception as error:
        raise foreign(path, "an .npz of weights", error) from error


def _key(info: zipfile.ZipInfo) -> str:
    if not info.filename.endswith(".npy"):
        raise Damaged(f"{info.filename[:60]!r} in it is no array")
    return info.filename.removesuffix(".npy")


def _npz_stored(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
    if info.compress_size > path.stat().st_size or info.file_size > MOST_DEFLATED * max(info.compress_size, 1):
        raise Damaged(f"the array {info.filename[:60]!r} says it is larger than the file")
    with archive.open(info) as file:
        shape, _, dtype, begin = _npy_head(file)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise Damaged(f"the array {info.filename[:60]!r} holds {dtype}, and numbers are needed")
    count = (info.file_size - begin) // dtype.itemsize
    if begin + count * dtype.itemsize != info.file_size:
        raise Damaged(f"the array {info.filename[:60]!r} is not whole")
    return Stored(checked_shape(shape, count), functools.partial(_npz_array, path, info.filename))


def _npy_head(file: Any) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """(shape, whether columns come first, type, bytes before the numbers)."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise Damaged(f"its arrays are of numpy's format {version}, which is not known")
    shape, columns, dtype = read(file)
    return shape, columns, dtype, file.tell()


def _npz_array(path: Path, name: str) -> np.ndarray:
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
            if file.read(1):  # at the end the archive's checksum is compared
                raise Damaged(f"{name!r} goes on behind its last number")
            return flat.reshape(shape, order="F" if columns else "C")
    except Exception as error:
        raise foreign(path, "an .npz of weights", error) from error


def _fill(file: Any, view: memoryview) -> None:
    while view:
        n = file.readinto(view[: 1 << 22])
        if not n:
            raise Damaged("it ends in the middle of an array")
        view = view[n:]


def write_npz(path: Path, entries: Iterable[Entry], dtype: Any = np.float32) -> None:
    """Write layers as an `.npz` that `numpy.load` reads, one array at a time."""
    if np.dtype(dtype).kind != "f":
        raise NetdefError(f"{path}: numpy has no bfloat16; write float16, or a .safetensors")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, stored in keyed(entries):
            with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(stored.read(), dtype), allow_pickle=False)


def keyed(entries: Iterable[Entry]) -> Iterable[tuple[str, Stored]]:
    """("layer/i", array) of every array."""
    return ((f"{entry.name}/{i}", whole(entry, i)) for entry in entries for i in range(len(entry.arrays)))


def read_safetensors(path: Path) -> list[Entry]:
    """The layers of a `.safetensors`.  NetdefError if it is not one, or holds anything but numbers with a point."""
    library = need("safetensors", "reading .safetensors files")
    try:
        with library.safe_open(path, framework="numpy") as file:
            found = []
            for key in file.keys():
                part = file.get_slice(key)
                if part.get_dtype() not in FLOATS:
                    raise Damaged(f"the array {key[:60]!r} holds {part.get_dtype()}; {', '.join(FLOATS)} are read")
                shape = tuple(part.get_shape())
                found.append(
                    (key, Stored(checked_shape(shape, math.prod(shape)), functools.partial(_tensor, path, key)))
                )
        return grouped(sorted(found, key=lambda item: item[0].rpartition("/")[0]), "a .safetensors of weights")
    except Exception as error:
        raise foreign(path, "a .safetensors of weights", error) from error


def _tensor(path: Path, key: str) -> np.ndarray:
    import ml_dtypes  # noqa: F401  from it numpy knows bfloat16

    try:
        with need("safetensors", "reading .safetensors files").safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(key), np.float32)
    except Exception as error:
        raise foreign(path, "a .safetensors of weights", error) from error


def write_safetensors(
    path: Path, entries: Iterable[Entry], dtype: Any = np.float32, about: dict[str, str] | None = None
) -> None:
    """Write layers as a `.safetensors`; `dtype` may be bfloat16 (ml_dtypes)."""
    arrays = {key: np.ascontiguousarray(stored.read(), dtype) for key, stored in keyed(entries)}
    need("safetensors.numpy", "writing .safetensors files").save_file(arrays, path, metadata=about)


def read_orbax(path: Path) -> list[Entry]:
    """The layers of an orbax checkpoint: a folder with a tree {layer: {"0": array, ...}}, alone or under "weights"."""
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore(path.absolute())
        tree = tree.get("weights", tree) if isinstance(tree, dict) else tree
        found = []
        for layer, blobs in tree.items():
            for i, array in blobs.items():
                value = np.asarray(array, np.float32)
                found.append((f"{layer}/{i}", Stored(value.shape, lambda value=value: value)))
        return grouped(found, "an orbax checkpoint of weights")
    except Exception as error:
        raise foreign(path, "an orbax checkpoint of weights", error) from error


def write_orbax(path: Path, entries: Iterable[Entry], dtype: Any = np.float32) -> None:
    """Write layers as an orbax checkpoint, a folder with the tree {layer: {"0": array, ...}}."""
    import orbax.checkpoint as ocp

    tree = {
        e.name: {str(i): np.asarray(whole(e, i).read(), dtype) for i in range(len(e.arrays))}
        for e in entries
        if e.arrays
    }
    if path.exists():
        shutil.rmtree(path)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), tree)
    os.stat(path)
