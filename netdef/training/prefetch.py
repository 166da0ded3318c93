"""Prefetching of batches for several iterations, which are copied to the device while the preceding piece runs.

A piece for n <= `steps` iterations is a pytree of arrays with the leading axes (steps, iter_size), with only the first
n steps filled, and the position of the data after it, which a snapshot requires.  Its items are batches {blob: array},
or, if the records are already on the device, the indices of the records of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from .placement import ROWS, Placement


class Piece(NamedTuple):
    """The input of one dispatch."""

    begin: int
    end: int
    items: Any
    position: dict[str, Any]  # of the feed after it


class Batches:
    """An iterator of pieces.  A thread prepares the batches of the next piece."""

    def __init__(self, feed: Any, pieces: Iterator[tuple[int, int]], steps: int, iter_size: int, placement: Placement):
        self._feed, self._pieces, self._steps, self._iter_size = feed, pieces, steps, iter_size
        self._placement = placement
        self._pool = ThreadPoolExecutor(1, "netdef-batches")
        self._next: Future[Piece | None] = self._pool.submit(self._make)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Piece:
        piece = self._next.result()
        if piece is None:
            raise StopIteration
        self._next = self._pool.submit(self._make)
        return piece

    def _make(self) -> Piece | None:
        bounds = next(self._pieces, None)
        if bounds is None:
            return None
        begin, end = bounds
        drawn = [self._draw() for _ in range((end - begin) * self._iter_size)]
        stacked = jax.tree.map(lambda *arrays: self._stack(arrays), *drawn)
        return Piece(begin, end, self._placement.put_rows(stacked, ROWS), self._feed.state())

    def _draw(self) -> Any:
        """One batch of the run.  Of n batches of the file, device r takes the records whose number modulo n is r, as in
        Caffe (data_layer.cpp, DataLayer::Skip).  Of p processes, process i reads those whose number modulo p is i, so
        that its device j has those with i + p j."""
        n, numbered = self._placement.batches, self._placement.numbered
        drawn = [next(self._feed) for _ in range(n)]
        mine = max(1, n // self._placement.process[1])  # devices of this process that have batches of their own
        dealt = lambda rows: np.concatenate([rows[r::mine] for r in range(mine)])
        labels = {
            top: how.divided([batch[top] for batch in drawn], dealt(np.arange(n * how.images)))
            for top, how in numbered.items()
        }
        if labels:
            drawn = [{top: rows for top, rows in batch.items() if top not in labels} for batch in drawn]
        made = drawn[0] if n == 1 else jax.tree.map(lambda *arrays: dealt(np.concatenate(arrays)), *drawn)
        return made | labels if labels else made

    def _stack(self, arrays: tuple[Any, ...]) -> Any:
        whole = np.zeros((self._steps * self._iter_size, *arrays[0].shape), arrays[0].dtype)
        for i, array in enumerate(arrays):
            whole[i] = array
        return whole.reshape(self._steps, self._iter_size, *arrays[0].shape)

    def close(self) -> None:
        """Stops the thread."""
        self._next.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
