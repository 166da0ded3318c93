"""HDF5Output: writes blobs to a file, batch by batch."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

from ..language.errors import NetdefError
from ..lazy import Array, jax, np
from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Context, Example, Layer

NAMES = ("data", "label")  # of the datasets, the defaults of HDF5Data


class HDF5Output(Layer, type="HDF5Output", block="hdf5_output_param"):
    """Appends its bottoms to the datasets `data` and `label` of an HDF5 file each time the net is run.

    Bottoms: data (n, ...); label (n, ...).  Tops: none.
    As in Caffe, arrays are written with four axes (n, c, h, w); missing axes are 1.  The first batch of a model
    overwrites the file.  The path is relative to the working directory.
    Source: BVLC/caffe src/caffe/layers/hdf5_output_layer.cpp.
    Differs: later batches are appended, where Caffe fails at the second.
    """

    float32 = "the file contains it"
    n_bottoms = 2
    n_tops = 0

    file_name: str = param("Output file.")

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
            raise ShapeError(
                f"data is {show(data)} and label is {show(label)}; their first axes, the batch, must be equal.",
                bottom=1,
            )
        return []

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        from jax.experimental import io_callback

        # Not `ordered`, which would restrict the net to one device; batches of one device are in order anyway.
        io_callback(self._writer.write, None, *(jax.lax.stop_gradient(b) for b in bottoms))
        return []

    @cached_property
    def _writer(self) -> _Writer:
        return _Writer(self.file_name, self.name)


class _Writer:
    """One file: created by the first batch, open only while a batch is written."""

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
    """Appends rows (n, ...) to the dataset `name`."""
    rows = rows.reshape(*rows.shape, *[1] * (4 - rows.ndim))
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
        return
    dataset = file[name]
    before = dataset.shape[0]
    dataset.resize(before + len(rows), axis=0)
    dataset[before:] = rows
