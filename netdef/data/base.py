"""The contract of a data layer, and of the reader that delivers its batches.

A data layer declares fields and shapes like any layer; `open` gives a `Reader`.  Everything a reader delivers is a
pure function of the seed and of a position, the number of records before the batch: `reader.batch(position)`.  So a run
is resumed in the middle of an epoch by one number, and any number of threads may make batches in any order.
"""

from __future__ import annotations

import enum
import zlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from ..files import Locate
from ..language.errors import NetdefError
from ..layers.base import Context, Layer, Phase
from ..lazy import Array, jnp, np
from ..shape import Shape, Unavailable

Batch = dict[str, Any]  # top -> float32 array, batch first
Table = dict[str, Any]  # top -> all records of a layer, as an array with a row for each
Process = tuple[int, int]  # (index, count): which process of how many


class Fit(enum.IntEnum):
    """How well a path fits what reads it: the best fit opens it."""

    NO = 0
    ANY = 1  # it may, as any text file may be a list
    NAME = 2  # by its name, or the names of its files
    CONTENT = 3  # by the bytes in it


def generator(seed: int, stream: str, *numbers: int) -> Any:
    """A numpy Generator that depends on nothing but the seed, the name of a stream and up to two numbers."""
    counter = np.array([0, 0, *(n & _WORD for n in (*numbers, 0, 0)[:2])], np.uint64)
    key = np.array([seed & _WORD, zlib.crc32(stream.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


_WORD = 0xFFFFFFFFFFFFFFFF


class DataLayer(Layer):
    """A layer whose tops come from files.  Subclasses give `shapes` and `open`."""

    n_bottoms = 0
    n_tops = (1, None)
    is_input = True
    is_data = True

    def top_shapes(self, locate: Locate) -> list[Shape]:
        """Shapes of the tops from the headers of the files alone.  Unavailable if they cannot be read here."""
        try:
            return self.shapes(locate)
        except NetdefError as error:
            words = str(error).removeprefix(f"layer `{self.name}`: ")
            raise Unavailable(words, self.declared_shapes()) from error

    def declared_shapes(self) -> list[Shape] | None:
        """What the fields alone say of the shapes, with UNKNOWN dimensions; None if not even the rank is known."""
        return None

    def shapes(self, locate: Locate) -> list[Shape]:
        """As `top_shapes`, but what cannot be read is a NetdefError, what cannot fit a ShapeError."""
        raise NotImplementedError

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        """A reader at the first batch.  NetdefError if a file is missing or broken, with its name and the remedy."""
        raise NotImplementedError

    def infer(self, *bottoms: Shape) -> list[Shape]:
        raise AssertionError("the shapes of a data layer are in its files")

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        raise AssertionError("a data layer is fed, not computed")

    def fault(self, text: str) -> NetdefError:
        """An error that names this layer."""
        return NetdefError(f"layer `{self.name}`: {text}")

    def source_path(self, locate: Locate, name: str, what: str) -> Path:
        """Where a file is.  NetdefError if there is no such file."""
        if not name:
            raise self.fault(f"`source` is not given; name {what}.")
        path = locate(name)
        if not path.exists():
            raise self.fault(
                f"{what} {path} does not exist; paths are relative to the net's file or the working directory."
            )
        return path


class Reader(ABC):
    """Batches of one data layer, from one position to the next.

    `batch_size` counts the records of a batch over all processes; this process delivers its even share of them, so a
    run on several hosts sees the batches of a run on one.  `size` is the number of records of an epoch, or None.
    """

    size: int | None = None
    steady: bool = False  # whether a record is the same whenever it comes, so that what is computed of it can be kept

    def __init__(self, layer: DataLayer, batch_size: int, seed: int, process: Process):
        index, count = process
        if batch_size < 1:
            raise layer.fault("`batch_size` is not given; it must be at least 1.")
        if batch_size % count:
            raise layer.fault(
                f"`batch_size` is {batch_size}, which {count} processes cannot share evenly; use a multiple."
            )
        self.layer, self.batch_size, self.seed, self.position = layer, batch_size, seed, 0
        self.skipped: set[str] = set()  # what was wrong with records that were left out
        share = batch_size // count
        self.rows = slice(index * share, (index + 1) * share)  # of each batch, those of this process

    @abstractmethod
    def batch(self, position: int) -> Batch:
        """The batch that begins after `position` records: a pure function, safe to call from several threads."""

    def numbers(self, position: int) -> Any:
        """Numbers of the records of a batch, where the layer has numbered records."""
        raise NotImplementedError

    def name_of(self, position: int, row: int) -> str:
        """What messages call a record of the batch at `position`."""
        number = position + self.rows.start + row
        return f"record {number if self.size is None else number % self.size}"

    def resident(self, budget: int) -> Table | None:
        """All records, to be kept on a device: {top: array with a row for each}, and what else `take` needs.

        None if they take more than `budget` bytes, or only the host can make batches of them."""
        return None

    def plan(self, position: int) -> Batch:
        """What `take` needs for the batch at `position`: small arrays with a row for each record."""
        return {"record": self.numbers(position).astype(np.int32)}

    def take(self, table: Table, plan: Batch) -> Batch:
        """The batch of a plan from the records on the device, as `batch` makes it: pure, to be traced by jax."""
        return {top: table[top][plan["record"]].astype(jnp.float32) for top in self.layer.top}

    def next(self) -> Batch:
        """The next batch."""
        made = self.batch(self.position)
        self.position += self.batch_size
        return made

    def state(self) -> dict[str, int]:
        """Where the reader stands, as JSON takes it."""
        return {"position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken."""
        self.position = int(state["position"])

    def random(self, stream: str, *numbers: int) -> Any:
        """The random numbers of one use in this layer."""
        return generator(self.seed, f"{self.layer.name}/{stream}", *numbers)

    def close(self) -> None:  # noqa: B027  (most readers keep nothing open)
        """Let go of files."""
