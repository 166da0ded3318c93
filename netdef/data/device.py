"""Data sets that stay on the device: records are there as bytes, and batches are made inside the compiled step.

    resident = on_device(feed, budget=2 << 30)          # None if the data do not fit or need the host
    step = jax.jit(lambda table, plan: loss(resident.make(table, plan)))
    step(resident.table, next(resident))                # a plan is a few numbers for each record

What a `Feed` would deliver is what `make` makes, bit for bit: the same records, cuts and mirrorings.  `resident` goes
on where the feed stands, and has its `state`, `restore`, `size`, `batch_size` and `close`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lazy import jax, np
from . import labels
from .base import Batch, Table
from .feed import Feed

Plans = dict[str, Batch]  # layer -> name -> a small array with a row for each record
Tables = dict[str, Table]  # layer -> name -> records or constants, on the device


class Resident:
    """A feed whose records are on the device.  `table` is an argument of `make`, so that it is not compiled in."""

    def __init__(self, feed: Feed, table: Tables):
        self.feed, self.table = feed, table
        self.size, self.batch_size = feed.size, feed.batch_size

    def __iter__(self) -> Resident:
        return self

    def __next__(self) -> Plans:
        return self.feed.advance(lambda reader, position: reader.plan(position))

    def make(self, table: Tables, plan: Plans) -> dict[str, Any]:
        """The batch {top: float32 array} of a plan: pure, to be traced by jax."""
        batch: dict[str, Any] = {}
        for name, reader in self.feed.readers.items():
            batch |= reader.take(table[name], plan[name])
        return batch

    def state(self) -> dict[str, Any]:
        """As the feed's."""
        return self.feed.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """As the feed's."""
        self.feed.restore(state)

    def close(self) -> None:
        """As the feed's."""
        self.feed.close()


def on_device(feed: Feed, budget: int, device: Any = None) -> Resident | None:
    """The feed's records on the device (or a sharding), or None: if they take more than `budget` bytes, differ in
    shape, or are varied in ways that only the host knows.  NetdefError for a label that the net has no class for."""
    table: Tables = {}
    for name, reader in feed.readers.items():
        records = reader.resident(budget)
        if records is None:
            return None
        budget -= sum(np.asarray(array).nbytes for array in records.values())
        _check_labels(feed, name, records)
        table[name] = records
    return Resident(feed, jax.device_put(table, device)) if table else None


def _check_labels(feed: Feed, name: str, records: Table) -> None:
    """The labels of all records against the net, once."""
    for top in records.keys() & feed.limits.keys():
        labels.check(name, records[top], feed.limits[top], lambda row: f"record {row}")
