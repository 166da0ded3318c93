"""Cached frozen features: the outputs of the first frozen layers are computed only once per record.

    split = prefix_of(net)                  # these layers, and their values that the other layers use
    cached = cache(net, split, ...)         # computes these values for each record; training then uses them as input

A layer belongs to the prefix if its parameters are frozen, it uses no random numbers, updates no statistics and
processes each record independently (which is verified on a batch), and if all of its inputs come from the data or from
the prefix.  Data with random augmentation are not cached.  The results of a run are the same with and without the
cache, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.feed import Feed
from ..files import Locate, locator
from ..forward import every_value, jit
from ..graph import Net, Node, Owner, Value
from ..layers.base import Phase
from ..layers.input import Input
from ..lazy import Array
from .placement import Placement

WORTH = 1e6  # smallest number of multiply-adds per record for which a cache is used


@dataclass(frozen=True)
class Split:
    """A net split after its frozen prefix: the layers of the prefix, and the values that the other layers use."""

    prefix: tuple[Node, ...]
    crossing: tuple[Value, ...]
    work: float  # multiply-adds of the prefix for one record


class Cached:
    """A source of record indices instead of batches; `make` looks up their features in `table`."""

    def __init__(self, feed: Feed, table: dict[str, Array]):
        self.feed, self.table = feed, table

    def __next__(self) -> dict[str, Any]:
        numbers = self.feed.advance(lambda reader, position: reader.numbers(position).astype(np.int32))
        return {"record": next(iter(numbers.values()))}

    def make(self, table: Mapping[str, Array], item: Mapping[str, Array]) -> dict[str, Array]:
        """Returns {blob: array} of a batch."""
        return {name: rows[item["record"]] for name, rows in table.items()}

    def state(self) -> dict[str, Any]:
        """The state of the feed."""
        return self.feed.state()


def prefix_of(net: Net) -> Split | None:
    """Splits a net after its first frozen layers; None if there are none, or caching them saves too little work."""
    source = _only_data_layer(net)
    shape = net.blobs[source.tops[0].name].shape if source else None
    if source is None or not shape:
        return None
    records = shape[0]  # of a batch
    prefix = _frozen_above(net, source, records)
    crossing = _crossing(net, (source, *prefix))
    work = sum(_multiply_adds(net, node) for node in prefix) / records
    by_name = {value.name for value in crossing}  # inputs have names, so only one version of each blob is possible
    if work < WORTH or len(by_name) < len(crossing):
        return None
    return Split(prefix, crossing, work)


def _only_data_layer(net: Net) -> Node | None:
    """The data layer, if it is the net's only input layer; else None."""
    inputs = [node for node in net.layers if node.layer.is_input]
    return inputs[0] if len(inputs) == 1 and inputs[0].layer.is_data else None


def _frozen_above(net: Net, source: Node, records: int) -> tuple[Node, ...]:
    """The layers after the data layer that always compute the same outputs for a record."""
    same = set(source.tops)  # values that are always the same for a record
    found = []
    for node in net.layers:
        learns = any(node.trained) or any(node.loss_weights)
        if node.bottoms and same.issuperset(node.bottoms) and not learns and _settled(net, node, records):
            found.append(node)
            same.update(node.tops)
    return tuple(found)


def _crossing(net: Net, below: tuple[Node, ...]) -> tuple[Value, ...]:
    """The values of these layers that other layers use, or that are outputs of the net, sorted by name."""
    made = {value for node in below for value in node.tops}
    names = {node.name for node in below}
    taken = {value for node in net.layers if node.name not in names for value in node.bottoms}
    return tuple(sorted((v for v in made if v in taken or v.name in net.outputs), key=lambda v: v.name))


def _multiply_adds(net: Net, node: Node) -> int:
    bottoms, tops = ([net.shapes[value] or () for value in values] for values in (node.bottoms, node.tops))
    return node.layer.multiply_adds(bottoms, tops)


class _Probe:
    """A context that records whether a layer uses random numbers or updates statistics."""

    def __init__(self, train: bool, locate: Locate):
        self.train, self.asked, self.channels_last, self.locate = train, False, False, locate

    def rng(self) -> Any:
        self.asked = True
        return jax.random.key(0)

    def update(self, i: int, value: Any) -> None:
        self.asked = True


def _settled(net: Net, node: Node, records: int) -> bool:
    """Whether a layer uses no random numbers, updates no statistics, and has the records along its first axis."""
    shapes = [net.shapes.get(v) for v in (*node.bottoms, *node.tops)]
    if any(not shape or shape[0] != records for shape in shapes):
        return False
    probe = _Probe(net.phase is Phase.TRAIN and not node.frozen, locator(net.folder))
    array = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    weights = tuple(array(w.shape) for w in node.weights or ())
    bottoms = [array(net.shapes[v]) for v in node.bottoms]
    jax.eval_shape(lambda w, *b: node.layer.apply(w, *b, ctx=probe), weights, *bottoms)
    return not probe.asked


def cache(
    net: Net, split: Split, feed: Feed, weights: Mapping[Owner, Array], budget: int, placement: Placement
) -> tuple[Net, Cached] | None:
    """Returns the net after the prefix and its source of data; None if the data are augmented, or the features need too
    many bytes.

    Runs the prefix once for each record, in batches of the net's batch size."""
    reader = next(iter(feed.readers.values()))
    if not reader.steady or not reader.size:
        return None
    shapes = {v.name: net.shapes[v] or () for v in split.crossing}
    last = int(max(np.max(reader.numbers(at)) for at in range(0, reader.size, reader.batch_size)))
    if sum(4 * (last + 1) * int(np.prod(shape[1:])) for shape in shapes.values()) > budget:
        return None
    below = replace(net, layers=tuple(n for n in net.layers if n in split.prefix or n.layer.is_input))
    compute = jit(lambda w, x: {v.name: every_value(below, w, x, jax.random.key(0))[v] for v in split.crossing})
    used = {owner: weights[owner] for node in split.prefix for owner in node.owners}
    if not _by_record(compute, used, reader.batch(0)):
        return None
    kinds = {v.name: jnp.dtype(net.producers[v].top_dtype or jnp.float32) for v in split.crossing}
    rows = {name: np.zeros((last + 1, *shape[1:]), kinds[name]) for name, shape in shapes.items()}
    for at in range(0, reader.size, reader.batch_size):
        for name, made in jax.device_get(compute(used, reader.batch(at))).items():
            rows[name][reader.numbers(at)] = made
    return _above(net, split), Cached(feed, placement.put(jax.device_put(rows)))


def _by_record(compute: Any, weights: Any, batch: Mapping[str, Any]) -> bool:
    """Whether the features of a record are independent of the others: permuting the records permutes the features."""
    order = np.random.default_rng(0).permutation(len(next(iter(batch.values()))))
    wide = lambda made: {name: np.asarray(array, np.float32) for name, array in made.items()}
    moved = wide(compute(weights, {name: np.asarray(array)[order] for name, array in batch.items()}))
    plain = wide(compute(weights, batch))
    return all(np.allclose(moved[n], plain[n][order], rtol=1e-4, atol=1e-5, equal_nan=True) for n in plain)


def _above(net: Net, split: Split) -> Net:
    """The net without the prefix.  The other layers keep their positions, and with them their random numbers."""
    names = {node.name for node in split.prefix}
    layers, entered = [], False
    for node in net.layers:
        if node.layer.is_input:
            tops = split.crossing if not entered else ()
            layer = Input(name=node.name, top=tuple(v.name for v in tops))
            layers.append(Node(node.name, layer, (), tops, weights=(), loss_weights=(0.0,) * len(tops)))
            entered = True
        elif node.name in names:
            layers.append(Node(node.name, Input(name=node.name), (), (), weights=()))
        else:
            layers.append(node)
    return replace(net, layers=tuple(layers))
