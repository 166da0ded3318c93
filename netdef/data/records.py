"""Numbered records, and their order in each epoch.

A `Reader` requests positions 0, 1, 2, ... without end; an `Order` maps positions to records: in file order as in Caffe,
or in a new permutation for each epoch.  `Sampling` selects among the records of any data layer.
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


class Sampling(Block):
    """`sample_param { }`: which records a data layer uses, and in which order.  An addition of netdef's."""

    shuffle: bool = param("Shuffle the records in each epoch, without loading them.", default=False)
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
    layer: DataLayer, sampling: Sampling, size: int, classes: Any, phase: Phase, seed: int, *, shuffle: bool = False
) -> Order:
    """Returns the order in which `layer` reads `size` records; `classes` is the class of each, or None.

    With classes, the split keeps their proportions.  Raises NetdefError if no records are left."""
    chosen = _chosen(layer, sampling, size, classes, phase)
    shuffle = shuffle or sampling.shuffle
    draw = lambda epoch: generator(seed, f"{layer.name}/shuffle", epoch)
    if sampling.balance and phase is Phase.TRAIN:
        if classes is None:
            raise layer.fault("`balance` requires one integer label for each record, but these records have none.")
        kinds = classes[chosen]
        return Order(len(chosen), lambda epoch: chosen[_balanced(kinds, draw(epoch))])
    if shuffle:
        return Order(len(chosen), lambda epoch: chosen[draw(epoch).permutation(len(chosen))])
    return Order(len(chosen), None if len(chosen) == size else lambda epoch: chosen)


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
