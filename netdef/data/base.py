"""The contract of a data layer and of the reader that delivers its batches.

A data layer declares fields and shapes like any layer; `open` returns a `Reader`.  A batch is a pure function of the
seed and of a position, the number of records before the batch: `reader.batch(position)`.  Therefore one number is
enough to resume a run in the middle of an epoch, and any number of threads may make batches in any order.
"""

from __future__ import annotations

import enum
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ..files import Locate, shown
from ..language.errors import NetdefError
from ..layers.base import Context, Layer, Phase
from ..lazy import Array, jnp, np
from ..shape import Shape, Unavailable
from .damage import is_missing, obstacle, reading

Batch = dict[str, Any]  # top -> float32 array, batch first
Table = dict[str, Any]  # top -> all records of a layer, an array with one row per record
# (index, count): index of this process, and number of processes, each of which has a contiguous part of a batch.  With
# True behind them, it has every count-th row instead; in Caffe, GPU r of n has the records r, r + n, r + 2 n and so on.
Process = tuple[int, int] | tuple[int, int, bool]


class Fit(enum.IntEnum):
    """How well a path matches a reader; the best match opens it."""

    NO = 0
    ANY = 1  # possible, as any text file may be a list
    NAME = 2  # by its name, or by the names of its files
    CONTENT = 3  # by its contents


def generator(seed: int, stream: str, *numbers: int) -> Any:
    """Returns a NumPy Generator that depends only on the seed, the name of a stream and up to two integers."""
    counter = np.array([0, 0, *(n & _WORD for n in (*numbers, 0, 0)[:2])], np.uint64)
    key = np.array([seed & _WORD, zlib.crc32(stream.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


_WORD = 0xFFFFFFFFFFFFFFFF


class DataLayer(Layer):
    """A layer whose tops are read from files.  Subclasses define `shapes` and `open`."""

    n_bottoms = 0
    n_tops = (1, None)
    is_input = True
    is_data = True

    def top_shapes(self, locate: Locate) -> list[Shape]:
        """Returns the shapes of the tops from the file headers.  Raises Unavailable if they cannot be read here."""
        try:
            return self.shapes(locate)
        except NetdefError as error:
            words = str(error).removeprefix(f"layer `{self.name}`: ")
            raise Unavailable(words, self.declared_shapes()) from error

    def declared_shapes(self) -> list[Shape] | None:
        """Returns the shapes that follow from the fields, with UNKNOWN dimensions; None if a rank is unknown."""
        return None

    def record_axis(self, top: str) -> int:
        """Returns the axis of a top along which its records are: 0, or 1 for sequences with the time first."""
        return 0

    def shapes(self, locate: Locate) -> list[Shape]:
        """Returns the shapes of the tops.  Raises NetdefError for an unreadable file, ShapeError for a wrong shape."""
        raise NotImplementedError

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        """Returns a reader at the first batch.  Raises NetdefError if a file is missing or broken."""
        raise NotImplementedError

    def infer(self, *bottoms: Shape) -> list[Shape]:
        raise AssertionError("the shapes of a data layer come from its files")

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        raise AssertionError("a data layer computes nothing; its tops are fed")

    def fault(self, text: str) -> NetdefError:
        """Returns an error of one line that names this layer; one that was made to read a path has no name."""
        return NetdefError(f"layer `{self.name}`: {text}" if self.name else text)

    def reading(self, path: Path, kind: str) -> AbstractContextManager[None]:
        """Replaces what a library raises for a damaged file by an error that names this layer and the file."""
        return reading(path, kind, self.fault)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Adds the name of this layer to errors of its files."""
        try:
            yield
        except NetdefError as error:
            raise self.fault(str(error)) from error

    def source_path(self, locate: Locate, name: str, what: str, *, is_file: bool = False) -> Path:
        """Returns the path of a file.  Raises NetdefError if it does not exist or cannot be reached."""
        if not name:
            raise self.fault(f"`source` is not given; set it to the path of {what}.")
        path = locate(name)
        if is_missing(path):
            raise self.fault(
                f"{what} {shown(path)} does not exist; paths are relative to the net's file or the working directory."
            )
        if why := obstacle(path, is_file):
            raise self.fault(f"`source`: {what} {shown(path)} cannot be read ({why}).")
        return path


class Reader(ABC):
    """Delivers the batches of one data layer, in order or at any position.

    `batch_size` is the number of records in a batch over all processes; each process delivers an equal share of them,
    so a run on several hosts sees the same batches as a run on one.  `size` is the number of records in an epoch, or
    None.
    """

    size: int | None = None
    steady: bool = False  # whether a record is the same in every epoch, so that values computed from it can be cached
    divisible: bool = True  # whether the first axis of every top is that of the records, or `numbered`
    # The top (1, 1, rows, values) whose rows begin with the index of their image in the batch, or are -1; the rows of
    # all other tops are those of the records.
    numbered: str = ""
    label_rows: int = 0  # number of rows of this top

    def __init__(self, layer: DataLayer, batch_size: int, seed: int, process: Process):
        index, count, *deals = process
        if not 0 <= index < count:
            raise layer.fault(f"process {index} of {count} does not exist; processes are numbered from 0.")
        if batch_size < 1:
            raise layer.fault("`batch_size` is not given; it must be at least 1.")
        if batch_size % count:
            raise layer.fault(
                f"`batch_size` is {batch_size}, which {count} processes cannot share evenly; use a multiple of {count}."
            )
        self.layer, self.batch_size, self.seed, self.position = layer, batch_size, seed, 0
        self.skipped: set[str] = set()  # the errors of records that were skipped
        share = batch_size // count
        # the rows of each batch that belong to this process
        self.rows = slice(index, batch_size, count) if any(deals) else slice(index * share, (index + 1) * share)

    @abstractmethod
    def batch(self, position: int) -> Batch:
        """Returns the batch that begins after `position` records: a pure function, called from several threads."""

    def numbers(self, position: int) -> Any:
        """Returns the indices of the records of a batch, if the layer's records are numbered."""
        raise NotImplementedError

    def name_of(self, position: int, row: int) -> str:
        """Returns the name of a record of the batch at `position`, for messages."""
        number = position + self.row_of(row)
        return f"record {number if self.size is None else number % self.size}"

    def name_of_record(self, number: int) -> str:
        """Returns the name of the record with an index, for messages."""
        return f"record {number}"

    def row_of(self, row: int) -> int:
        """Returns the row in the batch of all processes, from that in the part of this one."""
        return range(self.batch_size)[self.rows][row]

    def most_numbered(self, images: int) -> int:
        """Returns the largest number of rows of the top `numbered` that belong to so many images."""
        raise NotImplementedError

    def resident(self, budget: int) -> Table | None:
        """Returns all records, to be kept on a device: {top: array with one row per record}, and constants for `take`.

        None if they exceed `budget` bytes, or if only the host can make batches of them."""
        return None

    def labels(self, table: Table, tops: Collection[str]) -> Table:
        """Returns those of these tops that are labels in a table of `resident`, with one row per record."""
        return {top: table[top] for top in tops if top in table}

    def plan(self, position: int) -> Batch:
        """Returns the input of `take` for the batch at `position`: small arrays with one row per record."""
        return {"record": self.numbers(position).astype(np.int32)}

    def take(self, table: Table, plan: Batch) -> Batch:
        """Returns the batch of a plan from the records on the device, equal to that of `batch`; JAX traces it."""
        return {top: table[top][plan["record"]].astype(jnp.float32) for top in self.layer.top}

    def sources(self) -> Sequence[Path]:
        """Returns the files that the records are read from, of which snapshots keep size and time."""
        return ()

    def next(self) -> Batch:
        """Returns the next batch."""
        made = self.batch(self.position)
        self.position += self.batch_size
        return made

    def state(self) -> dict[str, int]:
        """Returns the reader's position, as JSON values."""
        return {"position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        """Continues from a saved `state`."""
        self.position = int(state["position"])

    def random(self, stream: str, *numbers: int) -> Any:
        """Returns the random generator of one stream of this layer."""
        return generator(self.seed, f"{self.layer.name}/{stream}", *numbers)

    def close(self) -> None:  # noqa: B027  (most readers keep no file open)
        """Closes the files."""
