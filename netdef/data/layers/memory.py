"""MemoryData: arrays passed in Python."""

from __future__ import annotations

from typing import Any

from ...files import Locate
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ...shape import UNKNOWN, Shape
from ..base import Batch, DataLayer, Process, Reader, Table
from ..transform import Transform


class MemoryData(DataLayer, type="MemoryData", block="memory_data_param"):
    """Batches of arrays in memory, passed in Python: `Feed(net, arrays={layer: (data, label)})`.

    Bottoms: none.  Tops: data (batch_size, channels, height, width), label (batch_size).
    Source: BVLC/caffe src/caffe/layers/memory_data_layer.cpp.  Differs: the number of rows need not be a multiple of
    the batch size; a batch continues from the last row to the first.
    """

    n_tops = (1, 2)

    batch_size: int = param("Number of rows in a batch.", default=0, at_least=1)
    channels: int = param("Channels of a row.", default=0, at_least=0)
    height: int = param("Height of a row.", default=0, at_least=0)
    width: int = param("Width of a row.", default=0, at_least=0)
    transform_param: Transform = param("Not applied to arrays, as in Caffe.", default=Transform(), beside=True)

    def shapes(self, locate: Locate) -> list[Shape]:
        dims = [d or UNKNOWN for d in (self.batch_size, self.channels, self.height, self.width)]
        return [tuple(dims), (dims[0],)][: len(self.top)]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        raise self.fault(
            "MemoryData has no file to read; pass its arrays with `Feed(net, arrays={layer: (data, label)})`."
        )

    def open_arrays(self, arrays: tuple[Any, ...], seed: int = 0, process: Process = (0, 1)) -> Reader:
        """Returns a reader of these arrays, one per top."""
        return MemoryReader(self, arrays, seed, process)


class MemoryReader(Reader):
    """Batches of arrays in memory."""

    steady = True

    def __init__(self, layer: MemoryData, arrays: tuple[Any, ...], seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        wanted = [shape[1:] for shape in layer.shapes(lambda _: _)]  # type: ignore[arg-type,return-value]
        made = [np.asarray(array, np.float32) for array in arrays]
        rows = {len(array) for array in made}
        if len(made) != len(layer.top) or len(rows) != 1 or rows == {0}:
            raise layer.fault(
                f"expected {len(layer.top)} arrays with the same number of rows, not {[a.shape for a in made]}."
            )
        for top, array, shape in zip(layer.top, made, wanted, strict=True):
            if array.shape[1:] != shape:
                raise layer.fault(
                    f"rows of `{top}` must have the shape {tuple(shape)}, but the array has {array.shape[1:]}."
                )
        self.arrays = dict(zip(layer.top, made, strict=True))
        self.size: int = rows.pop()

    def batch(self, position: int) -> Batch:
        rows = self.numbers(position)
        return {top: array[rows] for top, array in self.arrays.items()}

    def resident(self, budget: int) -> Table | None:
        return self.arrays if sum(array.nbytes for array in self.arrays.values()) <= budget else None

    def numbers(self, position: int) -> Any:
        return np.arange(position, position + self.batch_size)[self.rows] % self.size
