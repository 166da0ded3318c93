"""HDF5Data: batches from datasets of HDF5 files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...files import Locate, shown
from ...language.errors import NetdefError
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ...shape import UNKNOWN, Shape
from ..base import Batch, DataLayer, Process, Reader, Table
from ..damage import reading
from ..hdf5_file import KIND, dataset
from ..records import WINDOW, Order, block_edges, blockwise, check_shuffled
from ..stamps import changed, stamp


class Listed(NamedTuple):
    """A file of a list, and its place there: the list and the line."""

    path: Path
    place: str


class HDF5Data(DataLayer, type="HDF5Data", block="hdf5_data_param"):
    """Rows of HDF5 datasets: each top is read from the dataset of the same name, one file after the other.

    Bottoms: none.  Tops: any number, (batch_size, rest of the dataset's shape...).
    A batch continues from the end of a file into the next, and from the last into the first.  With `shuffle`, the files
    and the rows within each file are shuffled in each epoch; rows of different files are mixed only by `shuffle_block`.
    Source: BVLC/caffe src/caffe/layers/hdf5_data_layer.cpp.
    Differs: the random order is netdef's own; names in the list may also be relative to the list; `shuffle_block` and
    `shuffle_window` are netdef's.
    """

    source: str = param("Text file with the name of one HDF5 file per line.", default="")
    batch_size: int = param("Number of rows in a batch.", default=0, at_least=1)
    shuffle: bool = param("Shuffle the files, and the rows within each file, in each epoch.", default=False)
    shuffle_block: int = param(
        "Shuffle blocks of this many consecutive rows of all files, and mix the rows of a window, which are in memory "
        "instead of whole files; 0: shuffle files.",
        default=0,
        at_least=0,
    )
    shuffle_window: int = param(
        "Number of rows, of several blocks, that are mixed with each other.", default=WINDOW, at_least=1
    )

    def files(self, locate: Locate) -> list[Listed]:
        """Returns the files of the list.  Raises NetdefError if it is empty or a file is missing."""
        path = self.source_path(locate, self.source, "the list of HDF5 files", is_file=True)
        with self.reading(path, "list of HDF5 files"):
            content = path.read_bytes()
        if content[:8] == b"\x89HDF\r\n\x1a\n":
            raise self.fault(f"{path} is itself an HDF5 file; `source` must be a text file with names of HDF5 files.")
        lines = enumerate(content.split(b"\n"), 1)
        found = [file for n, line in lines for file in self._files_of_line(line.strip(), path, n, locate)]
        if not found:
            raise self.fault(f"{path} lists no files; write the name of one HDF5 file on each line.")
        return found

    def _files_of_line(self, line: bytes, path: Path, number: int, locate: Locate) -> list[Listed]:
        """Returns the file that a line of a list names, which may contain spaces, or several, as Caffe reads words."""
        found = []
        place = f"{path}:{number}"
        for name in [line] if _existing(line, path, locate) else line.split():
            file = _existing(name, path, locate)
            if file is None:
                missing = os.fsdecode(name if found else line)
                raise self.fault(f"{place}: {shown(locate(missing))} does not exist.")
            found.append(Listed(file, place))
        return found

    def fault_in(self, listed: Listed) -> Callable[[str], NetdefError]:
        """Returns a function that makes the errors of a file, which name its line in the list."""
        return lambda text: self.fault(f"{listed.place}: {text}")

    def read_header(self, listed: Listed) -> dict[str, Shape]:
        """Returns the shape of each top's dataset in one file.  Raises NetdefError if one is missing or differs."""
        import h5py

        path, fault = listed.path, self.fault_in(listed)
        with reading(path, KIND, fault), h5py.File(path, "r") as file:
            shapes = {top: dataset(file, path, top, fault).shape for top in self.top}
        rows = {shape[0] if shape else 0 for shape in shapes.values()}
        if len(rows) > 1 or rows == {0}:
            sizes = ", ".join(f"`{top}` {shape[0] if shape else 'none'}" for top, shape in shapes.items())
            raise fault(f"{path}: all datasets must have the same number of rows, at least 1, not {sizes}.")
        return shapes

    def shapes(self, locate: Locate) -> list[Shape]:
        first = self.read_header(self.files(locate)[0])
        return [(self.batch_size or UNKNOWN, *first[top][1:]) for top in self.top]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return HDF5Reader(self, self.files(locate), seed, process)


def _existing(name: bytes, path: Path, locate: Locate) -> Path | None:
    """Returns the file of a name in the list `path`, beside the net or beside the list; None if there is none."""
    places = (locate(os.fsdecode(name)), path.parent / os.fsdecode(name))
    return next((p for p in places if name and os.path.exists(p)), None)


class HDF5Reader(Reader):
    """Batches of rows.  At most two files are in memory or, with `shuffle_block`, the blocks of two windows."""

    steady = True

    def __init__(self, layer: HDF5Data, files: list[Listed], seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: HDF5Data = layer
        self.files = files
        with layer.reading(files[0].path, KIND):
            self._opened = [stamp(listed.path) for listed in files]
        headers = [layer.read_header(listed) for listed in files]
        for listed, header in zip(files, headers, strict=True):
            for top in layer.top:
                if header[top][1:] != headers[0][top][1:]:
                    raise layer.fault_in(listed)(
                        f"rows of `{top}` are {header[top][1:]} in {listed.path}, but {headers[0][top][1:]} in "
                        f"{files[0].path}."
                    )
        self._headers = headers
        rows = [header[layer.top[0]][0] for header in headers]
        self.starts = np.cumsum([0, *rows])  # index of the first record of each file
        self.size: int = int(self.starts[-1])
        if not layer.shuffle:
            check_shuffled(layer, layer.shuffle_block)
        self.order = Order(self.size, self._permute if layer.shuffle else None)
        block = layer.shuffle_block or self.size
        self._parts = block_edges(self.starts, block)  # first row of each part, a file or block, that is read at once
        self._most_loaded = 2 * -(-layer.shuffle_window // layer.shuffle_block) + 2 if layer.shuffle_block else 2
        self._lock = threading.Lock()
        self._loaded: dict[int, Any] = {}  # part -> its rows; the last that were used

    def _permute(self, epoch: int) -> Any:
        rng = self.random("shuffle", epoch)
        if self.layer.shuffle_block:
            return blockwise(self._parts, self.layer.shuffle_window, self.batch_size, rng)
        files = rng.permutation(len(self.files))
        return np.concatenate([self.starts[f] + rng.permutation(self.starts[f + 1] - self.starts[f]) for f in files])

    def batch(self, position: int) -> Batch:
        records = self.numbers(position)
        of = np.searchsorted(self._parts, records, side="right") - 1  # part of each record
        made: Batch = {}
        for part in dict.fromkeys(of.tolist()):
            here = np.flatnonzero(of == part)
            data = self._load(part)
            for top in self.layer.top:
                if top not in made:
                    made[top] = np.empty((len(records), *data[top].shape[1:]), np.float32)
                made[top][here] = data[top][records[here] - self._parts[part]]
        return made

    def numbers(self, position: int) -> Any:
        return self.order.at(position, self.batch_size)[self.rows]

    def name_of(self, position: int, row: int) -> str:
        record = int(self.numbers(position)[row])
        file = int(np.searchsorted(self.starts, record, side="right")) - 1
        return f"row {record - int(self.starts[file])} of {self.files[file].path}"

    def sources(self) -> list[Path]:
        return [listed.path for listed in self.files]

    def resident(self, budget: int) -> Table | None:
        rows = self.layer.read_header(self.files[0])
        if sum(4 * self.size * int(np.prod(shape[1:])) for shape in rows.values()) > budget:
            return None
        parts = [self.read_part(part) for part in range(len(self._parts) - 1)]
        return {top: np.concatenate([part[top] for part in parts]).astype(np.float32) for top in self.layer.top}

    def _load(self, part: int) -> dict[str, Any]:
        """Loads a whole part, a file as in Caffe or a block, because random rows of a dataset are slow to read."""
        with self._lock:
            if part not in self._loaded:
                while len(self._loaded) >= self._most_loaded:
                    del self._loaded[next(iter(self._loaded))]
                self._loaded[part] = self.read_part(part)
            return self._loaded[part]

    def read_part(self, part: int) -> dict[str, Any]:
        import h5py

        first, end = self._parts[part], self._parts[part + 1]
        number = int(np.searchsorted(self.starts, first, side="right")) - 1
        rows = slice(first - self.starts[number], end - self.starts[number])
        path, fault = self.files[number].path, self.layer.fault_in(self.files[number])
        with reading(path, KIND, fault):
            if stamp(path) != self._opened[number]:
                raise fault(str(changed(path)))
        with reading(path, KIND, fault), h5py.File(path, "r") as file:
            sets = {top: dataset(file, path, top, fault) for top in self.layer.top}
            if {top: found.shape for top, found in sets.items()} != self._headers[number]:  # a copy may keep the time
                raise fault(str(changed(path)))
            return {top: found[rows] for top, found in sets.items()}
