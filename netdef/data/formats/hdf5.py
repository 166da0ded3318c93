"""A single HDF5 file; the layer HDF5Data reads lists of them, as rows of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...language.errors import NetdefError
from ..base import Fit
from ..damage import reading
from ..hdf5_file import KIND, dataset
from .base import DataSet


class Hdf5(DataSet, name="hdf5"):
    """An HDF5 file with the datasets `data` and `label`."""

    @classmethod
    def reads(cls, path: Path) -> Fit:
        return Fit.NAME if path.suffix in (".h5", ".hdf5") else Fit.NO

    @staticmethod
    def load(path: Path) -> tuple[Any, Any]:
        import h5py

        with reading(path, KIND), h5py.File(path, "r") as file:
            images = dataset(file, path, "data")[:]
            labels = dataset(file, path, "label")[:] if "label" in file else None
        if images.ndim == 0 or len(images) == 0:
            raise NetdefError(f"{path} has no records: its dataset `data` has the shape {images.shape}.")
        if labels is not None and labels.ndim == 1 and len(labels) != len(images):
            raise NetdefError(f"{path} has {len(images)} images, but {len(labels)} labels.")
        if images.ndim < 4:
            images = images.reshape(len(images), *(1,) * (4 - images.ndim), *images.shape[1:])
        return images, None if labels is None or labels.ndim != 1 else labels
