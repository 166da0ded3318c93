"""Tests during training: the mean of a test net's outputs over `test_iter` batches, with the current weights; of
evaluated detections, the mean average precision.

Layers with the same name share their arrays; layers that only the test net has keep their own.  As in Caffe, a test
continues with the data after those of the previous test.  Source: BVLC/caffe src/caffe/solver.cpp, Solver::Test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.device import on_device
from ..data.feed import Feed
from ..forward import forward, jit
from ..graph import Net, Owner
from ..language.errors import NetdefError
from ..lazy import Array
from ..model import filled
from ..shape import show
from .detections import evaluated, mean_average_precision, refuse_other_outputs
from .placement import ONE, Placement, for_tests
from .step import shown_outputs

MOST_RECORDS = 128 << 20  # bytes of test data that are kept on the device, at most


class Scores(NamedTuple):
    """Means over a test."""

    loss: float
    outputs: dict[str, Any]
    images: int


class Evaluator:
    """One test net, its data, and the number of batches of a test."""

    def __init__(self, net: Net, batches: int, seed: int, train: Net, placement: Placement = ONE):
        self.net, self.batches = net, batches
        refuse_inputs(net, "tested")
        refuse_other_outputs(net)
        self._rows = evaluated(net)
        self._means = tuple(name for name in shown_outputs(net) if name not in self._rows)
        self._owners = [(owner, weight.kind) for owner, weight in net.owned]
        self._source = {owner: found for owner, _ in self._owners if (found := _source(owner, net, train)) is not None}
        self._own: dict[Owner, Array] = {}
        if len(self._source) < len(self._owners):
            self._own = {o: placement.put(filled(w, seed, o)) for o, w in net.owned if o not in self._source}
        self.feed = Feed(net, seed=seed)
        self._placement = for_tests(placement, self.feed)
        if placement.process[1] > 1 and len(self._placement.rows) == len(
            {r.batch_size for r in self.feed.readers.values()}
        ):
            self.feed.close()
            self.feed = Feed(net, seed=seed, process=placement.process)
        alone = placement.process[1] == 1
        self.resident = on_device(self.feed, MOST_RECORDS, placement.everywhere) if alone else None
        self._records = self.resident.table if self.resident else None
        self._key = jax.random.fold_in(jax.random.key(seed), 1)
        places = None if placement.everywhere is None else (placement.everywhere, None, placement.everywhere)
        self._add = jit(self._one, donate_argnums=1, out_shardings=places)
        if batches == 0:
            self.batches = _whole_pass(net, self.feed)

    def _one(self, weights: list[Array], sums: Any, item: Any, key: Array, records: Any) -> Any:
        """Returns the sums including one more batch, the arrays as the layers updated them, and the rows of evaluated
        detections."""
        inputs = self.resident.make(records, item) if self.resident else item
        named = dict(zip((owner for owner, _ in self._owners), weights, strict=True))
        outcome = forward(self.net, named, inputs, key)
        shown = {name: outcome.blobs[name] for name in self._means}
        kept = [outcome.updates.get(owner, w) for owner, w in named.items()]
        rows = {name: outcome.blobs[name] for name in self._rows}
        return jax.tree.map(jnp.add, sums, (outcome.loss, shown)), kept, rows

    def test(self, weights: Mapping[Owner, Array], iteration: int) -> Scores:
        """Runs the test with the arrays of the training net."""
        arrays = [weights[self._source[o]] if o in self._source else self._own[o] for o, _ in self._owners]
        key = jax.random.fold_in(self._key, iteration)
        shapes = {name: self.net.blobs[name].shape for name in self._means}
        sums: Any = (np.float32(0), {name: np.zeros(shape or (), np.float32) for name, shape in shapes.items()})
        images, found = 0, []
        for i in range(self.batches):
            item = self._placement.put_rows(next(self.resident or self.feed), 0)
            sums, arrays, rows = self._add(arrays, sums, item, jax.random.fold_in(key, i), self._records)
            found.append(rows)
            images += self.feed.batch_size or 1
        loss, outputs = jax.device_get(sums)
        means = {n: np.asarray(v) / self.batches for n, v in outputs.items()}
        return Scores(float(loss) / self.batches, means | self._precisions(jax.device_get(found)), images)

    def _precisions(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Returns the mean average precision of each evaluated output, and of each class as the solver specifies."""
        solver, made = self.net.solver, {}
        version = "Integral" if solver is None else solver.ap_version
        for name in self._rows:
            mean, each = mean_average_precision([rows[name] for rows in found], version)
            if solver is not None and solver.show_per_class_result:
                made |= {f"{name}/class{label}": np.float32(value) for label, value in each.items()}
            made[name] = np.float32(mean)
        return made

    def close(self) -> None:
        self.feed.close()


def refuse_inputs(net: Net, what: str) -> None:
    """Raises a NetdefError for Input layers, because a solver's nets read their own data."""
    for node in net.layers:
        if node.layer.is_input and not node.layer.is_data:
            raise NetdefError(
                f"layer `{node.name}` expects `{node.layer.top[0]}` as input, but a net that is {what} by a solver "
                "must read its own data; use a data layer, or write your own loop around netdef.compile."
            )


def _source(owner: Owner, net: Net, train: Net) -> Owner | None:
    """The array of the training net that a test net uses: the one of the layer with the same name, or None."""
    node = next(n for n in net.layers if n.name == owner.layer)
    other = next((n for n in train.layers if n.name == owner.layer and n.weights), None)
    if other is None or not node.weights or node.weights[owner.index].kind == "carry":
        return None
    shapes = [[w.shape for w in n.weights or ()] for n in (node, other)]
    if len(shapes[0]) != len(shapes[1]) or shapes[0][owner.index] != shapes[1][owner.index]:
        there = show(shapes[1][owner.index]) if owner.index < len(shapes[1]) else "missing"
        raise NetdefError(
            f"parameter {owner.index} of layer `{owner.layer}` is {show(shapes[0][owner.index])} in the test net and "
            f"{there} in the training net; layers with the same name share parameters, so the shapes must be equal."
        )
    return other.owners[owner.index]


def _whole_pass(net: Net, feed: Feed) -> int:
    """The number of batches of one pass over the data, used without `test_iter`."""
    size, batch = feed.size, feed.batch_size
    return -(-size // batch) if size and batch else 1
