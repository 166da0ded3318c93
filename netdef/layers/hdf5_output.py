"""HDF5Output: writes what a net computes to a file, batch after batch."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

from ..language.errors import NetdefError
from ..lazy import Array, jax, np
from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Context, Example, Layer

NAMES = ("data", "label")  # of the datasets, those that HDF5Data looks for by default


class HDF5Output(Layer, type="HDF5Output", block="hdf5_output_param"):
    """Appends its bottoms to the datasets `data` and `label` of an HDF5 file, each time the net is run.

    Bottoms: data (n, ...), label (n, ...).  Tops: none.
    Each row is written with four axes as Caffe has it (n, c, h, w), missing ones being 1.  The first batch that a model
    writes begins the file anew; its path is relative to the working directory.
    Source: BVLC/caffe src/caffe/layers/hdf5_output_layer.cpp.
    Differs: later batches are appended, where Caffe fails at the second.
    """

    n_bottoms = 2
    n_tops = 0

    file_name: str = param("File that is written.")

    examples = (
        Example(
            'layer { name: "keep" type: "HDF5Output" bottom: "x" bottom: "y"\n'
            '        hdf5_output_param { file_name: "features.h5" } }',
            {"x": (2, 3), "y": (2,)},
            differentiable=False,
        ),
    )

    def infer(self, data: Shape, label: Shape) -> list[Shape]:
        if not data or not label or data[0] != label[0]:
            raise ShapeError(f"data {show(data)} and label {show(label)} differ in their number of rows.", bottom=1)
        return []

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        from jax.experimental import io_callback

        # not `ordered`: that would tie the net to one device, and batches of one device come in order anyway
        io_callback(self._writer.write, None, *(jax.lax.stop_gradient(b) for b in bottoms))
        return []

    @cached_property
    def _writer(self) -> _Writer:
        return _Writer(self.file_name, self.name)


class _Writer:
    """One file: begun by the first batch, open only while a batch is written."""

    def __init__(self, path: str, layer: str):
        self.path, self.layer, self.begun = path, layer, False
        self.lock = threading.Lock()

    def write(self, *bottoms: Any) -> None:
        with self.lock:
            import h5py

            try:
                with h5py.File(self.path, "a" if self.begun else "w") as file:
                    for name, rows in zip(NAMES, bottoms, strict=True):
                        _append(file, name, np.asarray(rows, np.float32))
                self.begun = True
            except OSError as error:
                raise NetdefError(f"{self.path}: layer `{self.layer}` cannot write to it: {error}") from None


def _append(file: Any, name: str, rows: Any) -> None:
    """Rows (n, ...) behind those of dataset `name`."""
    rows = rows.reshape(*rows.shape, *[1] * (4 - rows.ndim))
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
        return
    dataset = file[name]
    before = dataset.shape[0]
    dataset.resize(before + len(rows), axis=0)
    dataset[before:] = rows
