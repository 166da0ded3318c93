"""Batches for several iterations at a time, put on the device while the piece before them runs.

A piece for n <= k iterations comes as {blob: (k, iter_size, batch, ...)}, of which the first n are filled, with the
position of the data after it: what a snapshot taken there needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from ..data.feed import Feed


class Piece(NamedTuple):
    """The input of one dispatch."""

    begin: int
    end: int
    inputs: dict[str, Any]
    position: dict[str, Any]  # of the feed after it


class Batches:
    """An iterator of pieces.  Batches are drawn by one thread, one piece ahead."""

    def __init__(self, feed: Feed, pieces: Iterator[tuple[int, int]], k: int, iter_size: int):
        self._feed, self._pieces, self._k, self._iter_size = feed, pieces, k, iter_size
        self._place: Callable[[Any], Any] = jax.device_put
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
        drawn = [next(self._feed) for _ in range((end - begin) * self._iter_size)]
        stacked = {name: self._stack([batch[name] for batch in drawn]) for name in drawn[0]}
        return Piece(begin, end, self._place(stacked), self._feed.state())

    def _stack(self, arrays: list[Any]) -> Any:
        whole = np.zeros((self._k * self._iter_size, *arrays[0].shape), arrays[0].dtype)
        for i, array in enumerate(arrays):
            whole[i] = array
        return whole.reshape(self._k, self._iter_size, *arrays[0].shape)

    def close(self) -> None:
        """Stop the thread."""
        self._next.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
