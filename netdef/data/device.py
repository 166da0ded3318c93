"""Data sets kept on the device: records are stored there as bytes, and batches are made inside the compiled step.

    resident = on_device(feed, budget=2 << 30)          # None if the data does not fit or needs the host
    step = jax.jit(lambda table, plan: loss(resident.make(table, plan)))
    step(resident.table, next(resident))                # a plan has a few numbers per record

`make` returns the batches that the `Feed` would deliver, bit for bit: the same records, crops and mirroring.
`resident` continues at the feed's position, and has its `state`, `restore`, `size`, `batch_size` and `close`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lazy import jax, np
from . import labels
from .base import Batch, Table
from .feed import Feed

Plans = dict[str, Batch]  # layer -> name -> a small array with one row per record
Tables = dict[str, Table]  # layer -> name -> records or constants, on the device


class Resident:
    """A feed with its records on the device.  `table` is an argument of `make`, so that it is not compiled in."""

    def __init__(self, feed: Feed, table: Tables):
        self.feed, self.table = feed, table
        self.size, self.batch_size = feed.size, feed.batch_size

    def __iter__(self) -> Resident:
        return self

    def __next__(self) -> Plans:
        return self.feed.advance(lambda reader, position: reader.plan(position))

    def first_rows(self, count: int) -> Plans:
        """Returns the plans of the first `count` records of the next batch, as `Feed.first_rows`."""
        size, readers = self.batch_size, self.feed.readers
        rows = {name: count if reader.batch_size == size else reader.batch_size for name, reader in readers.items()}
        return {name: {k: a[: rows[name]] for k, a in plan.items()} for name, plan in next(self).items()}

    def make(self, table: Tables, plan: Plans) -> dict[str, Any]:
        """Returns the batch {top: float32 array} of a plan: a pure function, which JAX traces."""
        batch: dict[str, Any] = {}
        for name, reader in self.feed.readers.items():
            batch |= reader.take(table[name], plan[name])
        return batch

    def state(self) -> dict[str, Any]:
        """Returns the state of the feed."""
        return self.feed.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the state of the feed."""
        self.feed.restore(state)

    def close(self) -> None:
        """Closes the feed."""
        self.feed.close()


def on_device(feed: Feed, budget: int, device: Any = None) -> Resident | None:
    """Puts the feed's records on the device (or a sharding).  Returns None if they exceed `budget` bytes, differ in
    shape, or require transformations on the host.  Raises NetdefError for a label that is out of range for the net."""
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
    """Checks the labels of all records against the net, once."""
    reader = feed.readers[name]
    for top, array in reader.labels(records, feed.limits.keys() & set(reader.layer.top)).items():
        labels.check(name, array, feed.limits[top]._replace(axis=0), reader.name_of_record)
