"""The binary files of CIFAR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...lazy import np
from ..base import Fit
from ..damage import reading
from .base import DataSet

SIDE = 32
IMAGE = 3 * SIDE * SIDE  # bytes


class Cifar(DataSet, name="cifar"):
    """The `.bin` files of CIFAR-10, or of CIFAR-100 (fine labels); red, green, blue becomes blue, green, red."""

    @classmethod
    def reads(cls, path: Path) -> Fit:
        files = _files(path)
        return Fit.CONTENT if files and all(file.suffix == ".bin" and _extra(file) for file in files) else Fit.NO

    @staticmethod
    def load(path: Path) -> tuple[Any, Any]:
        images, labels = [], []
        for file in _files(path):
            with reading(file, "file of CIFAR"):
                rows = np.fromfile(file, np.uint8).reshape(-1, _extra(file) + IMAGE)
            images.append(rows[:, -IMAGE:].reshape(-1, 3, SIDE, SIDE)[:, ::-1])
            labels.append(rows[:, -IMAGE - 1])
        return np.concatenate(images), np.concatenate(labels)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.bin"))


def _extra(file: Path) -> int:
    """Returns the number of label bytes per image: 1 in CIFAR-10, 2 in CIFAR-100; 0 for a file of another size."""
    size = file.stat().st_size
    return next((extra for extra in (1, 2) if size and size % (extra + IMAGE) == 0), 0)
