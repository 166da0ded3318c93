"""The idx files of MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

from ...language.errors import NetdefError
from ...lazy import np
from ..base import Fit
from ..damage import reading
from .base import DataSet

MAGIC = (b"\0\0\x08\x03", b"\0\0\x08\x04")  # unsigned bytes, with three or four axes
GZIP = b"\x1f\x8b"


class Idx(DataSet, name="idx"):
    """Images with labels beside them: `...-images-idx3-ubyte` and `...-labels-idx1-ubyte`, gzipped or not."""

    @classmethod
    def reads(cls, path: Path) -> Fit:
        return Fit.CONTENT if path.is_file() and _head(path)[:4] in MAGIC else Fit.NO

    @staticmethod
    def load(path: Path) -> tuple[Any, Any]:
        images = _array(path)
        beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
        if beside == path or not beside.exists():
            raise NetdefError(f"the labels of {path} are missing; they are expected in {beside}.")
        labels = _array(beside)
        if len(labels) != len(images):
            raise NetdefError(f"{path} has {len(images)} images, but {beside} has {len(labels)} labels.")
        return images if images.ndim == 4 else images[:, None], labels


def _head(path: Path) -> bytes:
    """Returns the first bytes of a file, decompressed if it is gzipped."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
        with gzip.open(path) if start == GZIP else path.open("rb") as file:
            return file.read(16)
    except (OSError, EOFError, zlib.error):  # not of this format, or `load` says what is wrong
        return b""


def _array(path: Path) -> Any:
    with reading(path, "idx file"):
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == GZIP else data
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise NetdefError(f"{path} is not an idx file of unsigned bytes.")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    values, wanted = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]), math.prod(shape)
    if values.size != wanted:
        raise NetdefError(f"{path} is truncated: it has {values.size} of {wanted} bytes; copy it again.")
    if not wanted:
        raise NetdefError(f"{path} has no records: its shape is {shape}.")
    return values.reshape(shape)
