"""Statistics of batch normalization, estimated again from training batches with the present weights.

The running statistics of a run average over past weights.  At high learning rates they lag behind, and the scores of a
test are far below those of the same net a few iterations later.  With `bn_recalibrate: N`, the net is tested and saved
with the plain means over the first N batches of the training data, which the layers compute as in training; the running
statistics of the training itself do not change.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ..data.feed import Feed
from ..forward import forward, jit
from ..graph import Net, Owner
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..layers.batch_norm import STATISTICS, BatchNormalization, Rule
from ..lazy import Array
from .placement import ONE, Placement

MARK = "tested"  # the suffix of the names of these statistics in a snapshot


class Recalibration:
    """Estimates the statistics of a net again; `batches` of its training data are read each time."""

    def __init__(self, net: Net, batches: int, seed: int, placement: Placement = ONE):
        if placement.apart or placement.process[1] > 1:
            raise NetdefError(
                "`bn_recalibrate` estimates the statistics on all devices of one process together; it does not support "
                "several processes, or `statistics: DEVICE`. Remove it from the solver."
            )
        self.net, self.batches, self._placement = net, batches, placement
        self.factors = _factors(net)
        self._feed = Feed(net, seed=seed)
        self._start = self._feed.state()
        self._key = jax.random.fold_in(jax.random.key(seed), 2)
        self._add = jit(self._one, donate_argnums=1)

    def _one(self, weights: Mapping[Owner, Array], sums: dict[Owner, Array], batch: Mapping[str, Array], key: Array):
        zeros = {owner: jnp.zeros_like(weights[owner]) for owner in sums}
        updates = forward(self.net, {**weights, **zeros}, batch, key).updates
        return {owner: total + updates[owner] for owner, total in sums.items()}

    def __call__(self, weights: Mapping[Owner, Array]) -> dict[Owner, Array]:
        """Returns the statistics that fit these weights, by owner."""
        if not self.factors:
            return {}
        self._feed.restore(self._start)
        sums = {owner: jnp.zeros_like(weights[owner]) for owner in self.factors}
        for i in range(self.batches):
            batch = self._placement.put_rows(next(self._feed), 0)
            sums = self._add(dict(weights), sums, batch, jax.random.fold_in(self._key, i))
        return {owner: total * (self.factors[owner] / self.batches) for owner, total in sums.items()}

    def close(self) -> None:
        """Closes the data."""
        self._feed.close()


def _factors(net: Net) -> dict[Owner, float]:
    """The statistics that the layers update, each with the factor from its update, starting at 0, to the statistic of
    the batch."""
    found = {}
    for node in net.layers:
        layer = node.layer
        if not isinstance(layer, BatchNormalization) or node.frozen or layer.uses_stored(net.phase is Phase.TRAIN):
            continue
        storage = layer.storage()
        factor = 1 / (1 - layer.keep()) if storage.rule is Rule.AVERAGE and layer.keep() < 1 else 1.0
        for name, owner in zip(storage.blobs, node.owners, strict=True):
            if name in STATISTICS and (name != "factor" or storage.rule is Rule.SUM):
                found[owner] = factor
    return found
