"""The compiled passes for pycaffe nets: a range of layers forward, or forward and backward.

Both are jitted pure functions of weights and blobs. `Net` reads the blobs before a pass and writes them after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from ..forward import forward_part, jit
from ..graph import Net, Owner, Value
from ..lazy import Array

Named = dict[str, Array]
Owned = dict[Owner, Array]


def taken(net: Net, part: range) -> list[str]:
    """Returns the blobs that are inputs of a part of the net: inputs of the net, and outputs of other layers."""
    made: set[Value] = set()
    names: dict[str, None] = {}
    for i in part:
        node = net.layers[i]
        names |= {v.name: None for v in node.bottoms if v not in made}
        if node.layer.is_input:
            names |= {v.name: None for v in node.tops}
        made.update(node.tops)
    return list(names)


def forward_program(net: Net, part: range) -> Callable[[Owned, Named, Array], tuple[Named, Owned]]:
    """Returns (weights, input blobs, key) -> (last version of every blob of the part, updates of state)."""

    def run(weights: Owned, given: Named, key: Array) -> tuple[Named, Owned]:
        values, updates, _ = forward_part(net, weights, given, key, part)
        return _made(net, values), updates

    return jit(run)


def _made(net: Net, values: Mapping[Value, Array]) -> Named:
    """Returns the last version of each blob that was computed by a layer."""
    return {v.name: a for v, a in values.items() if v.name and not net.producers[v].layer.is_input}


def backward_program(
    net: Net, part: range, trained: tuple[Owner, ...]
) -> Callable[[Owned, Named, Named, Array], tuple[Named, Owned, Named, Owned]]:
    """Returns (weights, input blobs, gradients of the part's last blobs, key) -> (gradients of all other blobs of the
    part, gradients of the arrays of `trained`, and the results of `forward_program`).

    The gradient of a blob that is overwritten in place is that of its first version, as in Caffe."""
    ends = _ends(net, part)
    first = {v.name: v for v in _first(net, part) if v not in ends}

    def run(weights: Owned, given: Named, seeds: Named, key: Array) -> tuple[Named, Owned, Named, Owned]:
        def objective(moving: Owned, given: Named, probes: Named) -> tuple[Array, tuple[Named, Owned]]:
            added = {first[name]: probe for name, probe in probes.items()}
            values, updates, _ = forward_part(net, weights | moving, given, key, part, added)
            total = sum((jnp.vdot(seeds[v.name], values[v]) for v in ends), jnp.float32(0))
            for v, weight in _consumed_losses(net, part, ends):
                total = total + weight * jnp.sum(values[v])
            return total, (_made(net, values), updates)

        shapes = jax.eval_shape(lambda: [forward_part(net, weights, given, key, part)[0][v] for v in first.values()])
        probes = {name: jnp.zeros(s.shape, s.dtype) for name, s in zip(first, shapes, strict=True)}
        gradient = jax.grad(objective, (0, 1, 2), has_aux=True)
        (on_weights, on_given, on_probes), kept = gradient({o: weights[o] for o in trained}, given, probes)
        return on_probes | on_given, on_weights, *kept

    return jit(run)


def _ends(net: Net, part: range) -> list[Value]:
    """Returns the values of a part that none of its layers uses; the backward pass starts from their gradients."""
    used = {v for i in part for v in net.layers[i].bottoms}
    fed = {v for i in part if net.layers[i].layer.is_input for v in net.layers[i].tops}
    return [v for i in part for v in net.layers[i].tops if v not in used and v not in fed and v.name]


def ends(net: Net, part: range) -> list[str]:
    """Returns the names of the blobs from whose gradients the backward pass of a part starts."""
    return [v.name for v in _ends(net, part)]


def _first(net: Net, part: range) -> list[Value]:
    """Returns the first version of each blob that a part outputs, except for its input blobs."""
    seen, found = set(taken(net, part)), []
    for i in part:
        for v in net.layers[i].tops:
            if v.name and v.name not in seen:
                found.append(v)
            seen.add(v.name)
    return found


def _consumed_losses(net: Net, part: range, ends: list[Value]) -> list[tuple[Value, float]]:
    """Returns the losses that another layer uses too; a script cannot set their gradients, so their weights apply."""
    return [
        (v, weight)
        for i in part
        for v, weight in zip(net.layers[i].tops, net.layers[i].loss_weights, strict=True)
        if weight and (v not in ends or not v.name)
    ]
