"""The forward pass of a net as pure functions of weights and inputs, which JAX can trace.

`forward` runs every layer in order. It returns the blobs, and the updates of running statistics and carried state. The
Flax model and the training step are built on this function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .graph import Net, Node, Owner, Value
from .layers.base import Phase
from .lazy import Array, jax, jnp

Weights = Mapping[Owner, Array]  # every array once, by the layer that owns it and its index among Caffe's blobs


@dataclass(frozen=True)
class Outcome:
    """The result of a forward pass: the last version of every named blob, the updates of state, and the objective."""

    blobs: dict[str, Array]
    updates: dict[Owner, Array]
    loss: Array  # sum over tops of loss weight x sum of the top


@dataclass
class _Context:
    """The context of one layer (see `layers.base.Context`)."""

    train: bool
    node: Node
    draw: Callable[[], Array]
    updates: dict[Owner, Array] = field(default_factory=dict)

    def rng(self) -> Array:
        return self.draw()

    def update(self, i: int, value: Array) -> None:
        self.updates[self.node.owners[i]] = value


def forward(net: Net, weights: Weights, inputs: Mapping[str, Array], key: Array) -> Outcome:
    """Runs the net on arrays; `key` is a JAX random key for layers that use random numbers."""
    values, updates, loss = forward_part(net, weights, inputs, key, range(len(net.layers)))
    return Outcome({v.name: a for v, a in values.items() if v.name}, updates, loss)


def forward_part(
    net: Net,
    weights: Weights,
    inputs: Mapping[str, Array],
    key: Array,
    part: range,
    probes: Mapping[Value, Array] | None = None,
) -> tuple[dict[Value, Array], dict[Owner, Array], Array]:
    """Runs the layers with the indices `part`. Returns their outputs, their updates of state, and their contribution to
    the objective.

    `inputs` contains by name every blob that these layers use and do not produce. `probes` are added to the values: the
    gradient with respect to a probe of zeros equals the gradient with respect to the value."""
    if any(net.layers[i].overwritten for i in part):
        # Caffe computes the gradient of these layers from values that later layers produce; XLA merges the two passes.
        values, _, _ = _run(net, weights, inputs, key, {}, part)
        ahead = {n.name: values[n.overwritten] for i in part if (n := net.layers[i]).overwritten in values}
    else:
        ahead = {}
    return _run(net, weights, inputs, key, ahead, part, probes)


def every_value(net: Net, weights: Weights, inputs: Mapping[str, Array], key: Array) -> dict[Value, Array]:
    """Returns the outputs of every layer, including those that a later layer overwrites, for inspecting a net."""
    return _run(net, weights, inputs, key, {}, range(len(net.layers)))[0]


@functools.lru_cache(maxsize=16)
def compiled(net: Net, want: str) -> Callable[[Weights, Mapping[str, Array], Array], tuple[Any, dict[Owner, Array]]]:
    """Returns `forward` compiled for one result ("outputs", "blobs" or "loss"), so that XLA can discard the others."""

    def run(weights: Weights, inputs: Mapping[str, Array], key: Array) -> tuple[Any, dict[Owner, Array]]:
        outcome = forward(net, weights, inputs, key)
        if want == "outputs":
            return {name: outcome.blobs[name] for name in net.outputs}, outcome.updates
        return getattr(outcome, want), outcome.updates

    return jax.jit(run)


def _run(
    net: Net,
    weights: Weights,
    inputs: Mapping[str, Array],
    key: Array,
    ahead: Mapping[str, Array],
    part: range,
    probes: Mapping[Value, Array] | None = None,
) -> tuple[dict[Value, Array], dict[Owner, Array], Array]:
    """Returns every value, the updates of state, and the objective."""
    values: dict[Value, Array] = {}
    updates: dict[Owner, Array] = {}
    loss = jnp.zeros((), jnp.float32)
    train = net.phase is Phase.TRAIN
    for i in part:
        node = net.layers[i]
        if node.layer.is_input:
            values.update({v: inputs[v.name] for v in node.tops})
            continue
        context = _Context(train and not node.frozen, node, _drawing(key, i), updates)
        bottoms = [values[v] if v in values else inputs[v.name] for v in node.bottoms]
        with jax.named_scope(node.name):
            tops = _apply(node, weights, bottoms, context)
            if node.name in ahead:
                tops = [_sloped(tops[0], bottoms[0], node.layer.slope_from(ahead[node.name]))]
        for value, array, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            values[value] = array + probes[value].astype(array.dtype) if probes and value in probes else array
            if weight:
                loss = loss + weight * jnp.sum(array)
    return values, updates, loss


def _sloped(y: Array, x: Array, slope: Array) -> Array:
    """Returns y, with dy/dx replaced by `slope`."""
    stop = jax.lax.stop_gradient
    return stop(y) + stop(slope) * (x - stop(x))


def _apply(node: Node, weights: Weights, bottoms: list[Array], context: _Context) -> Sequence[Array]:
    """Returns the tops of one layer. Unneeded gradients are stopped here, so that XLA does not compute them."""
    own = []
    for owner, weight, trained in zip(node.owners, node.weights or (), node.trained, strict=True):
        array = weights[owner]
        array = array if array.shape == weight.shape else array.reshape(weight.shape)  # shared as PERMISSIVE
        own.append(array if trained else jax.lax.stop_gradient(array))
    taken = [b if reached else jax.lax.stop_gradient(b) for b, reached in zip(bottoms, node.reached, strict=True)]
    if node.precision:
        # Biases stay as they are: XLA sums the gradient of a bfloat16 bias over all positions in bfloat16, on CPUs.
        kinds = [s.kind if len(s.shape) > 1 else "bias" for s in node.weights or ()]
        own = [_as(w, node.precision) if kind == "param" else w for w, kind in zip(own, kinds, strict=True)]
        taken = taken if node.layer.takes_indices else [_as(b, node.precision) for b in taken]
    tops = _listed(node.layer.apply(tuple(own), *taken, ctx=context), node)
    return [_as(top, node.top_dtype) for top in tops] if node.top_dtype else tops


def _as(array: Array, dtype: str) -> Array:
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _listed(made: Any, node: Node) -> Sequence[Array]:
    return made if isinstance(made, (list, tuple)) else [made][: len(node.tops)]


def _drawing(key: Array, layer: int) -> Callable[[], Array]:
    """Returns a function that returns random keys for one layer, folded from its index and a counter."""
    drawn = 0

    def draw() -> Array:
        nonlocal drawn
        base = jax.random.fold_in(key, layer)
        drawn += 1
        return jax.random.fold_in(base, drawn)

    return draw
