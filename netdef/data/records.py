"""Numbered records, and their order in each epoch.

A `Reader` requests positions 0, 1, 2, ... without end; an `Order` maps positions to records: in file order as in Caffe,
or in a new permutation for each epoch, of all records or by blocks (`blockwise`).  `Sampling` selects among the records
of any data layer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..layers.base import Phase
from ..lazy import np
from ..schema import Block, param
from .base import DataLayer, generator

Permute = Callable[[int], Any]  # epoch -> the records of that epoch in order
WINDOW = 8192  # default number of records that are mixed with each other where blocks are shuffled
SHARD_BLOCKS, MOST_BLOCK = 64, 512  # default number of blocks of shards, and of records in one of these blocks


class Sampling(Block):
    """`sample_param { }`: which records a data layer uses, and in which order.  An addition of netdef's."""

    shuffle: bool = param("Shuffle the records in each epoch, without loading them.", default=False)
    shuffle_block: int = param(
        "Where records are shuffled: permute blocks of this many consecutive records, and mix the records of a window, "
        "so that each process reads a few places of the source at a time.  0: permute single records; in shards, "
        "blocks of at most 512 records.",
        default=0,
        at_least=0,
    )
    shuffle_window: int = param(
        "Number of records, of several blocks, that are mixed with each other.", default=WINDOW, at_least=1
    )
    split: float = param(
        "Fraction of the records that phase TRAIN uses; TEST uses the others.  0: both use all.",
        default=0.0,
        at_least=0,
        at_most=1,
    )
    split_seed: int = param("Random seed of the split.", default=0, at_least=0)
    limit: int = param("Use only this many of the selected records, from the first; 0: all.", default=0, at_least=0)
    balance: bool = param("Draw all classes equally often, in phase TRAIN.", default=False)
    class_weights: bool = param(
        "The last top is the weight of each record: number of records / (classes * records of its class).",
        default=False,
    )
    skip_corrupt: bool = param("Replace a record that cannot be read by the next one, and count it.", default=False)

    @property
    def needs_classes(self) -> bool:
        """Whether the class of every record must be known before the first batch."""
        return self.balance or self.class_weights or self.split > 0


class Order:
    """Maps positions to record indices.  `permute(epoch)` returns an order; None: 0 to size - 1 in every epoch."""

    def __init__(self, size: int, permute: Permute | None = None):
        self.size, self._permute = size, permute
        self._kept: dict[int, Any] = {}  # the epochs of the batches in progress
        self._lock = threading.Lock()

    def at(self, start: int, count: int) -> Any:
        """Returns the record indices at positions `start` to `start + count - 1`."""
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


def sampled_order(
    layer: DataLayer,
    sampling: Sampling,
    size: int,
    classes: Any,
    phase: Phase,
    seed: int,
    *,
    shuffle: bool = False,
    batch_size: int = 1,
    shards: Any = None,
) -> Order:
    """Returns the order in which `layer` reads `size` records; `classes` is the class of each, or None.

    `shards`: where each file of many records begins, and `size`.  With classes, the split keeps their proportions.
    Raises NetdefError if no records are left."""
    chosen = _chosen(layer, sampling, size, classes, phase)
    shuffle = shuffle or sampling.shuffle
    block, window = sampling.shuffle_block, sampling.shuffle_window
    draw = lambda epoch: generator(seed, f"{layer.name}/shuffle", epoch)
    if sampling.balance and phase is Phase.TRAIN:
        if classes is None:
            raise layer.fault("`balance` requires one integer label for each record, but these records have none.")
        if block:
            raise layer.fault(
                f"`balance` draws from the whole source, but `shuffle_block` is {block}; remove one of them."
            )
        kinds = classes[chosen]
        return Order(len(chosen), lambda epoch: chosen[_balanced(kinds, draw(epoch))])
    if shuffle and (block or shards is not None):
        block = block or min(MOST_BLOCK, -(-size // SHARD_BLOCKS))
        edges = block_edges(np.searchsorted(chosen, [0, size] if shards is None else shards), block)
        return Order(len(chosen), lambda epoch: chosen[blockwise(edges, window, batch_size, draw(epoch))])
    if shuffle:
        return Order(len(chosen), lambda epoch: chosen[draw(epoch).permutation(len(chosen))])
    check_shuffled(layer, block, phase)
    return Order(len(chosen), None if len(chosen) == size else lambda epoch: chosen)


def check_shuffled(layer: DataLayer, block: int, phase: Phase = Phase.TRAIN) -> None:
    """Raises NetdefError for a `shuffle_block` without effect: the records of phase TRAIN are not shuffled."""
    if block and phase is Phase.TRAIN:
        raise layer.fault(
            f"`shuffle_block` is {block}, but the records are not shuffled; set `shuffle: true`, or remove it."
        )


def block_edges(shards: Any, block: int) -> Any:
    """Returns the first record of each block, and the number of records.  A block is within one shard, and has `block`
    records or, at the end of a shard, fewer."""
    starts = [np.arange(a, b, block) for a, b in zip(shards[:-1], shards[1:], strict=True) if b > a]
    return np.concatenate([*starts, shards[-1:]])


def blockwise(edges: Any, window: int, batch_size: int, rng: Any) -> Any:
    """Returns a permutation of the records of blocks, which begin at `edges`: the blocks are permuted, and the records
    within each `window` of their sequence are mixed."""
    blocks = rng.permutation(len(edges) - 1)
    sizes = np.diff(edges)[blocks]
    begins = np.cumsum(sizes) - sizes  # of the blocks in the sequence
    sequence = np.repeat(edges[:-1][blocks] - begins, sizes) + np.arange(edges[-1])
    return np.concatenate(
        [_mixed(sequence[at : at + window], batch_size, rng) for at in range(0, len(sequence), window)]
    )


def _mixed(records: Any, batch_size: int, rng: Any) -> Any:
    """Returns the records of a window in the order of batches: a batch has one random record of each run of the window.

    Row r of all batches comes from run r.  The rows of a process are therefore a part of the window that is contiguous,
    whatever the number of processes, and the order does not depend on that number.
    """
    places = np.arange(len(records))
    run = places % batch_size
    sizes = np.bincount(run, minlength=batch_size)
    within = np.argsort(np.repeat(np.arange(batch_size), sizes) + rng.random(len(records)))  # permutes each run
    return records[within][(np.cumsum(sizes) - sizes)[run] + places // batch_size]


def _chosen(layer: DataLayer, sampling: Sampling, size: int, classes: Any, phase: Phase) -> Any:
    """Returns the indices of the records that this phase uses, ascending."""
    chosen = np.arange(size)
    if sampling.split:
        train = _split(size, classes, sampling.split, sampling.split_seed)
        chosen = np.flatnonzero(train if phase is Phase.TRAIN else ~train)
    if sampling.limit:
        chosen = chosen[: sampling.limit]
    if len(chosen) == 0:
        raise layer.fault(
            f"`split` is {sampling.split:g}, which leaves none of the {size} records for phase {phase.name}; change it."
        )
    return chosen


def _split(size: int, classes: Any, part: float, seed: int) -> Any:
    """Returns which records belong to TRAIN: the same fraction of each class, rounded."""
    rng = generator(seed, "split")
    ranks = rng.permutation(size)
    if classes is None:
        return ranks < round(part * size)
    train = np.zeros(size, bool)
    for kind in np.unique(classes):
        members = np.flatnonzero(classes == kind)
        train[members[np.argsort(ranks[members])][: round(part * len(members))]] = True
    return train


def _balanced(classes: Any, rng: Any) -> Any:
    """Returns one index per record, with every class equally often; a class that runs out starts again."""
    kinds = np.unique(classes)
    each = -(-len(classes) // len(kinds))
    drawn = []
    for kind in kinds:
        members = np.flatnonzero(classes == kind)
        rounds = -(-each // len(members))
        drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:each])
    return rng.permutation(np.concatenate(drawn))[: len(classes)]


def class_weights(classes: Any) -> Any:
    """Returns the weight of each record, n / (k * n_class): all classes weigh the same, and the mean weight is 1."""
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return (len(classes) / (len(counts) * counts[which])).astype(np.float32)
