"""Rows of an .npy file, read one by one.

A map into memory would read as fast, but kill the process (SIGBUS) if the file becomes shorter while it is in use.
"""

from __future__ import annotations

import math
import threading
import weakref
from pathlib import Path
from typing import Any

from ..lazy import np
from .stamps import changed, stamp


def header(file: Any) -> tuple[tuple[int, ...], bool, Any]:
    """Returns (shape, whether columns come first, dtype) of an open .npy file.  Raises ValueError if it is none."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def rows_of(path: Path) -> Any:
    """Returns the rows of a file; in memory if its columns come first.  Raises what NumPy does for a damaged file."""
    with path.open("rb") as file:
        shape, by_columns, _ = header(file)
    return np.load(path, allow_pickle=False) if by_columns and len(shape) > 1 else NpyFile(path)


class NpyFile:
    """An array whose rows are read when they are asked for.  Safe to use from several threads."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed with this object)
        weakref.finalize(self, self._file.close)
        self._opened = stamp(self._file.fileno())
        self.shape, _, self.dtype = header(self._file)
        self.ndim = len(self.shape)
        self._begin = self._file.tell()
        size = math.prod(self.shape) * self.dtype.itemsize
        if self._begin + size > path.stat().st_size:
            raise ValueError(f"it is truncated: it has {path.stat().st_size} of {self._begin + size} bytes")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> Any:
        shape = self.shape[1:]
        size = math.prod(shape) * self.dtype.itemsize
        with self._lock:
            if stamp(self._file.fileno()) != self._opened:
                raise changed(self.path)
            self._file.seek(self._begin + row * size)
            data = self._file.read(size)
            while len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        if len(data) < size:
            raise changed(self.path)
        return np.frombuffer(data, self.dtype).reshape(shape)[()]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.stack([self[row] for row in range(len(self))]).astype(dtype or self.dtype)
