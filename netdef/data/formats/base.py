"""The contract of a data set that only the tools read.

class Cifar(DataSet, name="cifar"):
    @classmethod
    def reads(cls, path): ...       # how well the path fits
    @staticmethod
    def load(path): ...             # images (n, c, h, w) and labels (n)
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from ...lazy import np
from ...registry import Registry
from ..base import Fit
from ..layers._image_layer import Record, Records

FORMATS: Registry[DataSet] = Registry("data set", "netdef.data.formats")


class DataSet(Records):
    """Images (n, c, h, w) and labels (n) in memory.  Raises NetdefError if the files do not match."""

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            FORMATS.add(name, cls)

    def __init__(self, path: Path):
        self.path = path
        self.images, self.labels = self.load(path)
        self.size = len(self.images)

    @classmethod
    def open_path(cls, path: Path, **fields: Any) -> Records:
        """Returns the records of a path; `fields`, which are those of layers, are ignored."""
        return cls(path)

    @classmethod
    @abstractmethod
    def reads(cls, path: Path) -> Fit:
        """Returns how well an existing path fits this format."""

    @staticmethod
    @abstractmethod
    def load(path: Path) -> tuple[Any, Any]:
        """Returns images (n, c, h, w), and labels (n) or None."""

    def read(self, numbers: Any) -> list[int]:
        return [int(number) for number in numbers]

    def decode(self, raw: int) -> Record:
        labels = () if self.labels is None else (self.labels[raw],)
        return Record(self.images[raw], labels, f"record {raw} of {self.path}")

    def classes(self) -> Any:
        return None if self.labels is None else self.labels.astype(np.int64)
