"""A net on arrays: pure functions of weights and inputs, for jax to trace.

`forward` runs every layer in order; what layers keep (running statistics, carried state) comes back beside the blobs.  The
Flax model and the training step stand on this one function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .graph import Net, Node, Owner, Value
from .layer import Array, Phase
from .lazy import jax, jnp

Weights = Mapping[Owner, Array]  # every array once, by the layer that owns it and its place among Caffe's blobs


@dataclass(frozen=True)
class Outcome:
    """What a forward pass gives: the last version of every named blob, what layers want kept, and the objective."""

    blobs: dict[str, Array]
    updates: dict[Owner, Array]
    loss: Array  # sum over tops of loss weight x sum of the top


@dataclass
class _Context:
    """What one layer may ask for (see `layer.Context`)."""

    train: bool
    node: Node
    draw: Callable[[], Array]
    updates: dict[Owner, Array] = field(default_factory=dict)

    def rng(self) -> Array:
        return self.draw()

    def update(self, i: int, value: Array) -> None:
        self.updates[self.node.owners[i]] = value


def forward(net: Net, weights: Weights, inputs: Mapping[str, Array], key: Array | Callable[[], Array]) -> Outcome:
    """Run the net.  `key` is a jax random key, or a function that makes one if some layer draws random numbers."""
    values: dict[Value, Array] = {}
    updates: dict[Owner, Array] = {}
    loss = jnp.zeros((), jnp.float32)
    train = net.phase is Phase.TRAIN
    for i, node in enumerate(net.layers):
        if node.layer.is_input:
            values.update({v: inputs[v.name] for v in node.tops})
            continue
        context = _Context(train, node, _drawing(key, i), updates)
        own = tuple(weights[owner] for owner in node.owners)
        own = tuple(w if w.shape == s.shape else w.reshape(s.shape) for w, s in zip(own, node.weights or (), strict=True))
        with jax.named_scope(node.name):
            tops = _apply(node, own, [values[v] for v in node.bottoms], context)
        for value, array, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            values[value] = array
            if weight:
                loss = loss + weight * jnp.sum(array)
    return Outcome({v.name: a for v, a in values.items() if v.name}, updates, loss)


def _apply(node: Node, weights: tuple[Array, ...], bottoms: list[Array], context: _Context) -> Sequence[Array]:
    for i, goes_on in enumerate(node.layer.propagate_down[: len(bottoms)]):
        if not goes_on:
            bottoms[i] = jax.lax.stop_gradient(bottoms[i])
    made = node.layer.apply(weights, *bottoms, ctx=context)
    return made if isinstance(made, (list, tuple)) else [made][: len(node.tops)]


def _drawing(key: Array | Callable[[], Array], layer: int) -> Callable[[], Array]:
    """Keys for one layer: fold_in by its place in the net and by the number of the draw."""
    drawn = 0

    def draw() -> Array:
        nonlocal drawn
        base = jax.random.fold_in(key() if callable(key) else key, layer)
        drawn += 1
        return jax.random.fold_in(base, drawn)

    return draw
