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

from ..lazy import jax, jnp, lax, np
from . import labels
from .base import Reader
from .feed import Feed
from .layers._image_layer import ImageReader
from .layers.hdf5 import HDF5Reader
from .layers.memory import MemoryReader
from .statistics import CHUNK

Plan = dict[str, dict[str, Any]]  # layer -> name -> a small array with a row for each record
Table = dict[str, dict[str, Any]]  # layer -> name -> records or constants, on the device


class Resident:
    """A feed whose records are on the device.  `table` is an argument of `make`, so that it is not compiled in."""

    def __init__(self, feed: Feed, table: Table):
        self.feed, self.table = feed, table
        self.size, self.batch_size = feed.size, feed.batch_size

    def __iter__(self) -> Resident:
        return self

    def __next__(self) -> Plan:
        return self.feed.advance(lambda reader, position: plan_of(reader, position))

    def make(self, table: Table, plan: Plan) -> dict[str, Any]:
        """The batch {top: float32 array} of a plan: pure, to be traced by jax."""
        batch: dict[str, Any] = {}
        for name, reader in self.feed.readers.items():
            batch |= make_batch(reader, table[name], plan[name])
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
    table: Table = {}
    for name, reader in feed.readers.items():
        records = _records(reader, budget)
        if records is None:
            return None
        budget -= sum(np.asarray(array).nbytes for array in records.values())
        _check_labels(feed, name, records)
        table[name] = records
    return Resident(feed, jax.device_put(table, device)) if table else None


def _check_labels(feed: Feed, name: str, records: dict[str, Any]) -> None:
    """The labels of all records against the net, once."""
    for i, top in enumerate(feed.readers[name].layer.top):
        column = records.get(top, records.get(f"label{i - 1}"))
        if top in feed.limits and column is not None:
            labels.check(name, column, feed.limits[top], lambda row: f"record {row}")


def _records(reader: Reader, budget: int) -> dict[str, Any] | None:
    if isinstance(reader, MemoryReader):
        arrays = reader.arrays
        return arrays if sum(a.nbytes for a in arrays.values()) <= budget else None
    if isinstance(reader, HDF5Reader):
        return reader.whole(budget)
    if isinstance(reader, ImageReader) and _plain(reader):
        return _images(reader, budget)
    return None


def _plain(reader: ImageReader) -> bool:
    """Whether the records are only cut, mirrored, turned over and normalised."""
    at_work, layer = reader.transformer, reader.layer
    varied = at_work.varied
    by_host = varied.reshapes or varied.noise or varied.cutout or varied.mixup or at_work.soft_labels
    return not (at_work.param.resizes or by_host or layer.sample_param.skip_corrupt or reader.delivers_rows)


def _images(reader: ImageReader, budget: int) -> dict[str, Any] | None:
    """Every record's image and labels; None if they are of several shapes or too large."""
    records = reader.records
    first = records.decode(records.read([0])[0])
    rows: list[Any] = []
    if first.image.nbytes * records.size > budget:
        return None
    images = np.empty((records.size, *first.image.shape), first.image.dtype)
    for start in range(0, records.size, CHUNK):
        numbers = range(start, min(start + CHUNK, records.size))
        for i, raw in zip(numbers, records.read(numbers), strict=True):
            record = records.decode(raw)
            if record.image.shape != first.image.shape or record.image.dtype != first.image.dtype:
                return None
            images[i] = record.image
            rows.append(record.labels)
    columns = [np.array(column, np.float32) for column in zip(*rows, strict=True)]
    if reader.weights is not None:
        columns = [*columns[: len(reader.layer.top) - 2], reader.weights]
    found = {"image": images} | {f"label{i}": column for i, column in enumerate(columns)}
    return found if reader.transformer.mean is None else found | {"mean": reader.transformer.mean}


def plan_of(reader: Reader, position: int) -> dict[str, Any]:
    """Which records a batch has, and where each is cut: int32 arrays with a row for each record."""
    if not isinstance(reader, ImageReader):
        return {"record": reader.numbers(position).astype(np.int32)}
    numbers, places = reader.plan(position)
    return {"record": numbers.astype(np.int32)} | places._asdict()


def make_batch(reader: Reader, table: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """One layer's tops from its records and a plan."""
    if not isinstance(reader, ImageReader):
        return {top: table[top][plan["record"]].astype(jnp.float32) for top in reader.layer.top}
    at_work = reader.transformer
    image = table["image"][plan["record"]]  # (n, c, h, w)
    height, width = at_work.param.crop
    size = (image.shape[1], height or image.shape[2], width or image.shape[3])
    cut = lambda x, plan: lax.dynamic_slice(x, (0, plan["top"], plan["left"]), size)
    places = {name: plan[name] for name in ("top", "left")}
    x = jax.vmap(cut)(image, places).astype(jnp.float32)
    if "mean" in table:
        x = x - jax.vmap(cut, (None, 0))(table["mean"], places)
    x = jnp.where(plan["mirror"][:, None, None, None], x[..., ::-1], x)
    x = jnp.where(plan["over"][:, None, None, None], x[:, :, ::-1], x)
    tops = [at_work.normalised(x, jnp)]
    tops += [table[f"label{i}"][plan["record"]] for i in range(len(table)) if f"label{i}" in table]
    return dict(zip(reader.layer.top, tops, strict=False))
