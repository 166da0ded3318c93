"""Processes that make batches, for hosts with many cores: threads share one Python interpreter, processes do not.

A process opens the data layers itself and receives positions; it returns a batch in shared memory.  Processes are
spawned, because a forked copy of a process that uses JAX would not work.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import NamedTuple

from ..files import locator
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..lazy import np
from .base import Batch, DataLayer, Process, Reader

ALIGNMENT = 64  # bytes; arrays in shared memory begin at multiples of it


class Opening(NamedTuple):
    """The data that a process needs to open the readers."""

    layers: Mapping[str, DataLayer]
    root: Path | str | None
    phase: Phase
    seed: int
    process: Process


class Packed(NamedTuple):
    """Batches in shared memory: (layer, top, shape, dtype, offset) of each array; and the skipped records."""

    memory: str
    arrays: list[tuple[str, str, tuple[int, ...], str, int]]
    skipped: dict[str, set[str]]


class Workers:
    """A pool of `count` processes; `make(positions)` is called from threads and waits for one process."""

    def __init__(self, opening: Opening, count: int):
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, context, initializer=_open, initargs=(opening,))

    def make(self, positions: Mapping[str, int], readers: Mapping[str, Reader]) -> dict[str, Batch]:
        """Returns the batches {layer: {top: array}} at these positions.  Raises NetdefError if a process has died."""
        try:
            packed = self._pool.submit(_make, dict(positions)).result()
        except BrokenProcessPool:
            raise NetdefError(
                "a process that makes batches has died (it was killed, or the host ran out of memory); "
                "use fewer processes, or none."
            ) from None
        for name, errors in packed.skipped.items():
            readers[name].skipped |= errors
        return _unpack(packed)

    def close(self) -> None:
        """Stops the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)


_readers: dict[str, Reader] = {}  # of the worker process, which serves one feed


def _open(opening: Opening) -> None:
    locate = locator(opening.root)
    for name, layer in opening.layers.items():
        _readers[name] = layer.open(locate, phase=opening.phase, seed=opening.seed, process=opening.process)


def _make(positions: dict[str, int]) -> Packed:
    made = {name: _readers[name].batch(position) for name, position in positions.items()}
    arrays, size = [], 0
    for name, batch in made.items():
        for top, array in batch.items():
            arrays.append((name, top, array.shape, array.dtype.str, size))
            size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    memory = SharedMemory(create=True, size=max(size, 1))
    for name, top, shape, dtype, offset in arrays:
        np.ndarray(shape, dtype, memory.buf, offset)[...] = made[name][top]
    memory.close()
    return Packed(memory.name, arrays, {name: _readers[name].skipped for name in positions})


def _unpack(packed: Packed) -> dict[str, Batch]:
    made: dict[str, Batch] = {}
    memory = SharedMemory(packed.memory)
    try:
        for name, top, shape, dtype, offset in packed.arrays:
            made.setdefault(name, {})[top] = np.ndarray(shape, dtype, memory.buf, offset).copy()
    finally:
        memory.close()
        memory.unlink()
    return made
