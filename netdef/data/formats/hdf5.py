"""A single HDF5 file; the layer HDF5Data reads lists of them, as rows of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...language.errors import NetdefError
from ..base import Fit
from .base import DataSet


class Hdf5(DataSet, name="hdf5"):
    """An HDF5 file with the datasets `data` and `label`."""

    @classmethod
    def reads(cls, path: Path) -> Fit:
        return Fit.NAME if path.suffix in (".h5", ".hdf5") else Fit.NO

    @staticmethod
    def load(path: Path) -> tuple[Any, Any]:
        import h5py

        try:
            with h5py.File(path, "r") as opened:
                file: Any = opened
                if "data" not in file:
                    raise NetdefError(f"{path} has no dataset `data`; it has {', '.join(file) or 'none'}.")
                images, labels = file["data"][:], file["label"][:] if "label" in file else None
        except OSError as error:
            raise NetdefError(f"{path} is not a readable HDF5 file ({str(error)[:120]}).") from None
        if images.ndim < 4:
            images = images.reshape(len(images), *(1,) * (4 - images.ndim), *images.shape[1:])
        return images, None if labels is None or labels.ndim != 1 else labels
