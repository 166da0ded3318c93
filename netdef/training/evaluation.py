"""Tests: the means of a test net's outputs over its data, with the current weights; of evaluated detections, the mean
average precision.

Without `test_iter` a test is exact: it reads each record once, always in the same order.  A last batch with fewer
records runs at its size, as a second program.  The scores are those of all records as one batch, for outputs that are
means over records, or over positions that are not ignored (`Layer.counted`).  Other outputs, such as the area under a
curve, are means over the batches, weighted by their records.

With `test_iter` a test is as in Caffe: the plain mean over so many batches, which continue with the data after those of
the previous test.  Source: BVLC/caffe src/caffe/solver.cpp, Solver::Test.

Layers with the same name share their arrays; layers that only the test net has keep their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.base import DataLayer
from ..data.device import on_device
from ..data.feed import Feed
from ..forward import forward_part, jit
from ..graph import Net, Owner, Value
from ..language.errors import NetdefError
from ..lazy import Array
from ..model import check_shapes, filled
from ..shape import show
from .coco import Compared, average_precisions, check_package, compared, measured
from .detections import evaluated, mean_average_precision, refuse_other_outputs
from .placement import ONE, Placement, for_tests
from .step import shown_outputs

MOST_RECORDS = 128 << 20  # bytes of test data that are kept on the device, at most

Sums = dict[str, tuple[Array, Array]]  # of an output, or of a term of the loss: (weighted sum, sum of the weights)


class Scores(NamedTuple):
    """Means over a test, and the number of records."""

    loss: float
    outputs: dict[str, Any]
    images: int


class Evaluator:
    """One test net, its data, and the number of batches of a test; 0 for all records once.

    `notes` are warnings about the data."""

    def __init__(self, net: Net, batches: int, seed: int, train: Net, placement: Placement = ONE):
        self.net, self.exact = net, batches == 0
        refuse_inputs(net, "tested")
        refuse_other_outputs(net)
        check_package(net)
        self._rows = evaluated(net)
        self._means = tuple(name for name in shown_outputs(net) if name not in self._rows)
        self._owners = [(owner, weight.kind) for owner, weight in net.owned]
        self._source = {owner: found for owner, _ in self._owners if (found := _source(owner, net, train)) is not None}
        self._own: dict[Owner, Array] = {}
        if len(self._source) < len(self._owners):
            self._own = {o: placement.put(filled(w, seed, o)) for o, w in net.owned if o not in self._source}
        alone = placement.process[1] == 1
        self._shared = not alone and _divide(net, placement.count)
        self.feed = Feed(net, seed=seed, process=placement.process if self._shared else (0, 1))
        self._first = self.feed.state()
        self._placement = for_tests(placement, self.feed)
        self.resident = on_device(self.feed, MOST_RECORDS, placement.everywhere) if alone else None
        self._records = self.resident.table if self.resident else None
        self._key = jax.random.fold_in(jax.random.key(seed), 1)
        places = None if placement.everywhere is None else (placement.everywhere, None, placement.everywhere)
        self._add = jit(self._one, donate_argnums=1, out_shardings=places)
        self._last, self.notes = _last_batch(net, self.feed) if self.exact else (0, ())
        self.batches = batches or _whole_pass(self.feed)

    def _one(self, weights: list[Array], sums: Sums, item: Any, key: Array, records: Any) -> Any:
        """Returns the sums including one more batch, the arrays as the layers updated them, and the rows of evaluated
        detections."""
        found, kept, rows = self._measured(weights, item, key, records)
        return jax.tree.map(jnp.add, sums, found), kept, rows

    def _measured(self, weights: list[Array], item: Any, key: Array, records: Any) -> Any:
        inputs = self.resident.make(records, item) if self.resident else item
        named = dict(zip((owner for owner, _ in self._owners), weights, strict=True))
        values, updates, loss = forward_part(self.net, named, inputs, key, range(len(self.net.layers)))
        last = {v.name: v for node in self.net.layers for v in node.tops if v.name}
        shown = {name: last[name] for name in self._means}
        if self.exact:
            size = next((values[v].shape[_record_axis(self.net, v)] for v in _data_tops(self.net)), 1)
            found = {name: self._weighted(v, values, size) for name, v in shown.items()}
            terms = {v: self._weighted(v, values, size, summed=True) for v, _ in _terms(self.net)}
            found |= {_term(i): terms[v] for i, (v, _) in enumerate(_terms(self.net))}
        else:
            one = jnp.float32(1)
            found = {name: (values[v], one) for name, v in shown.items()} | {_term(0): (loss, one)}
        if measured(self.net):
            rows = {name: tuple(values[v] for v in compared(self.net, name)) for name in self._rows}
        else:
            rows = {name: values[last[name]] for name in self._rows}
        return found, [updates.get(owner, w) for owner, w in named.items()], rows

    def _weighted(
        self, value: Value, values: Mapping[Value, Array], rows: int, summed: bool = False
    ) -> tuple[Array, Array]:
        """Returns a value of a batch, or its sum, multiplied by its weight in the mean; and the weight."""
        node, top = self.net.producers[value], values[value].astype(jnp.float32)
        whole, own = self.net.shapes[value] or (), node.layer.counted(*(values[v] for v in node.bottoms))
        i = node.tops.index(value)
        weight = own[i].astype(jnp.float32) if i < len(own) else jnp.float32(rows)
        if summed:  # a value for each record of a smaller batch: as if it had all of its records
            return jnp.sum(top) * (math.prod(whole) / math.prod(top.shape)) * weight, jnp.sum(weight)
        found = top * weight, jnp.broadcast_to(weight, top.shape)
        if top.shape == whole:
            return found
        missing = [(0, (full or 0) - there) for full, there in zip(whole, top.shape, strict=True)]
        return jnp.pad(found[0], missing), jnp.pad(found[1], missing)

    def test(self, weights: Mapping[Owner, Array], iteration: int) -> Scores:
        """Runs the test with the arrays of the training net."""
        arrays = [weights[self._source[o]] if o in self._source else self._own[o] for o, _ in self._owners]
        key = self._key if self.exact else jax.random.fold_in(self._key, iteration)
        if self.exact:
            self.feed.restore(self._first, self.batches - bool(self._last))
        sums, images, rows = self._zeros(), 0, []
        for i in range(self.batches):
            is_last = bool(self._last) and i == self.batches - 1
            item = self._last_item() if is_last else self._item()
            sums, arrays, found = self._add(arrays, sums, item, jax.random.fold_in(key, i), self._records)
            size = self._last if is_last else self.feed.batch_size or _first_size(self.net)
            rows.append((found, size))
            images += size
        means = {name: _mean(*found) for name, found in jax.device_get(sums).items()}
        means |= self._precisions(jax.device_get(rows))
        if not self.exact:
            return Scores(float(means.pop(_term(0))), means, images)
        terms = [weight * float(means.pop(_term(i))) for i, (_, weight) in enumerate(_terms(self.net))]
        return Scores(sum(terms), means, images)

    def _item(self) -> Any:
        item = next(self.resident or self.feed)
        share = self._shared or self._placement.process[1] == 1
        return self._placement.put_rows(item, 0) if share else self._placement.put(item)

    def _last_item(self) -> Any:
        """Returns the last batch with fewer records, which the devices do not divide."""
        return self._placement.put((self.resident or self.feed).first_rows(self._last))

    def _zeros(self) -> Any:
        """Returns sums of no batches."""
        shapes = {name: self.net.blobs[name].shape or () for name in self._means}
        terms = len(_terms(self.net)) if self.exact else 1
        shapes |= {_term(i): () for i in range(terms)}
        zeros = lambda shape: np.zeros(shape, np.float32)
        weights = {name: shape if self.exact else () for name, shape in shapes.items()}
        return self._placement.put({name: (zeros(shape), zeros(weights[name])) for name, shape in shapes.items()})

    def _precisions(self, found: list[tuple[dict[str, Any], int]]) -> dict[str, Any]:
        """Returns the mean average precision of each evaluated output, and of each class as the solver specifies, from
        the rows of each batch and the number of its images."""
        solver, made = self.net.solver, {}
        version = "Integral" if solver is None else solver.ap_version
        for name in self._rows:
            if measured(self.net):
                made |= average_precisions(self.net, name, [Compared(*rows[name], images=n) for rows, n in found])
                continue
            mean, each = mean_average_precision([rows[name] for rows, _ in found], version)
            if solver is not None and solver.show_per_class_result:
                made |= {f"{name}/class{label}": np.float32(value) for label, value in each.items()}
            made[name] = np.float32(mean)
        return made

    def close(self) -> None:
        self.feed.close()


def _mean(total: Any, weight: Any) -> Any:
    """Returns a weighted sum divided by the weights; 0 where nothing has a weight, as a metric of no positions."""
    return np.asarray(total / np.where(weight == 0, np.float32(1), weight))


def _term(i: int) -> str:
    """Returns the key of a term of the loss among the outputs, whose names are not empty."""
    return f"\0{i}"


def _terms(net: Net) -> list[tuple[Value, float]]:
    """Returns the values of the objective with their weights."""
    pairs = [pair for node in net.layers for pair in zip(node.tops, node.loss_weights, strict=True)]
    return [(value, weight) for value, weight in pairs if weight]


def _data_tops(net: Net) -> list[Value]:
    return [top for node in net.layers if node.layer.is_data for top in node.tops]


def _record_axis(net: Net, top: Value) -> int:
    """Returns the axis of a top of a data layer along which its records are."""
    layer = net.producers[top].layer
    return layer.record_axis(top.name) if isinstance(layer, DataLayer) else 0


def _first_size(net: Net) -> int:
    """Returns the size of the first axis of the first value, the batch of a net without files."""
    shape = next((net.shapes.get(top) for node in net.layers for top in node.tops), None)
    return shape[0] if shape else 1


def _batch_sizes(net: Net) -> set[int]:
    tops = (top for node in net.layers if node.layer.is_data for top in node.tops[:1])
    return {shape[_record_axis(net, top)] for top in tops if (shape := net.shapes.get(top))}


def _divide(net: Net, devices: int) -> bool:
    """Returns whether the processes can divide the batches of a net: not if the rows of a label have the index of their
    image, or if the devices do not divide the number of records."""
    numbered = any(node.layer.is_data and node.layer.pads_rows for node in net.layers)
    return not numbered and all(size % devices == 0 for size in _batch_sizes(net))


def _last_batch(net: Net, feed: Feed) -> tuple[int, tuple[str, ...]]:
    """Returns the number of records of the last batch of a pass if it has fewer than the others, else 0; and a warning
    if the net works only on whole batches, so that the last one is filled with the first records."""
    size, batch = feed.size, feed.batch_size
    if not size or not batch or size % batch == 0:
        return 0, ()
    rows = size % batch
    carried = [node.name for node in net.layers if any(w.kind == "carry" for w in node.weights or ())]
    shapes = {top.name: net.shapes[top] or () for top in _data_tops(net)}
    axes = {top.name: _record_axis(net, top) for top in _data_tops(net)}
    smaller = lambda shape, i: (*shape[:i], rows, *shape[i + 1 :]) if shape[i : i + 1] == (batch,) else shape
    shapes = {name: smaller(shape, axes[name]) for name, shape in shapes.items()}
    try:
        if carried:
            raise NetdefError(f"layer `{carried[0]}` carries a state from batch to batch")
        check_shapes(net, tuple(shapes.items()))
    except NetdefError as error:
        count = f"a test reads {size:,} records in batches of {batch}, and counts {batch - rows} of them twice"
        return 0, (f"{count}, because {error}; choose a batch size that divides {size:,}",)
    return rows, ()


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


def _whole_pass(feed: Feed) -> int:
    """Returns the number of batches of one pass over the data; 1 if it has no end."""
    size, batch = feed.size, feed.batch_size
    return -(-size // batch) if size and batch else 1
