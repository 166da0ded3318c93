"""Numbered records and the order in which an epoch goes through them.

A `Reader` asks for positions 0, 1, 2, ... without end; `Order` says which record stands there: all of them one after
the other as Caffe does, or a fresh permutation for each epoch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..lazy import np

Permute = Callable[[int], Any]  # epoch -> indices of all its records in order


class Order:
    """Positions to record numbers.  `permute(epoch)` gives an epoch's order; None: 0 to size - 1 in every epoch."""

    def __init__(self, size: int, permute: Permute | None = None):
        self.size, self._permute = size, permute
        self._kept: dict[int, Any] = {}  # the two epochs that a batch can touch
        self._lock = threading.Lock()

    def at(self, start: int, count: int) -> Any:
        """Record numbers at positions `start` to `start + count - 1`."""
        positions = np.arange(start, start + count)
        within = positions % self.size
        if self._permute is None:
            return within
        epochs = positions // self.size
        found = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = self._epoch(int(epoch))[within[here]]
        return found

    def _epoch(self, epoch: int) -> Any:
        with self._lock:
            if epoch not in self._kept:
                while len(self._kept) > 2:
                    del self._kept[min(self._kept)]
                self._kept[epoch] = self._permute(epoch)  # type: ignore[misc]
            return self._kept[epoch]
