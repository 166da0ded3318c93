"""`.safetensors`, with an array `LAYER/i` for each of Caffe's blobs."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from ...files import library_writes
from ...lazy import need
from ..entries import Damaged, Entry, Stored, checked_shape, foreign, grouped, keyed
from .base import Contents, Format

FLOATS = ("F64", "F32", "F16", "BF16")


class Safetensors(Format, name="safetensors"):
    """A format that other frameworks read, without executing code."""

    endings = (".safetensors",)
    dtypes = ("float32", "float16", "bfloat16")

    def read(self, path: Path) -> list[Entry]:
        library = need("safetensors", "reading .safetensors files")
        try:
            with library.safe_open(path, framework="numpy") as file:
                found = [(key, _stored(path, key, file.get_slice(key))) for key in file.keys()]
            return grouped(sorted(found, key=lambda item: item[0].rpartition("/")[0]), "a .safetensors of weights")
        except Exception as error:
            raise foreign(path, "a .safetensors of weights", error) from error

    def write(self, path: Path, contents: Contents) -> None:
        arrays = {key: np.ascontiguousarray(stored.read(), contents.dtype) for key, stored in keyed(contents.entries)}
        path.touch()  # which gives it the permissions of any file; the library makes it readable for its owner only
        mode = path.stat().st_mode
        library = need("safetensors.numpy", "writing .safetensors files")
        with library_writes():
            library.save_file(arrays, path)
        path.chmod(mode)


def _stored(path: Path, key: str, part: Any) -> Stored:
    """Returns one array. Raises Damaged if it is not of a floating-point type."""
    if part.get_dtype() not in FLOATS:
        raise Damaged(f"the array {key[:60]!r} is of type {part.get_dtype()}; supported are {', '.join(FLOATS)}")
    shape = tuple(part.get_shape())
    return Stored(checked_shape(shape, math.prod(shape)), functools.partial(_tensor, path, key))


def _tensor(path: Path, key: str) -> np.ndarray:
    import ml_dtypes  # noqa: F401  it registers bfloat16 with NumPy

    try:
        with need("safetensors", "reading .safetensors files").safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(key), np.float32)
    except Exception as error:
        raise foreign(path, "a .safetensors of weights", error) from error
