"""The compiled passes of a net as pycaffe runs it: some of its layers forward, or forward and backward.

Both are pure functions of weights and blobs, jitted; `Net` reads the blobs before and writes them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from ..forward import forward_part
from ..graph import Net, Owner, Value
from ..lazy import Array

Named = dict[str, Array]
Owned = dict[Owner, Array]


def taken(net: Net, part: range) -> list[str]:
    """Blobs that a part of the net takes from outside of it: fed ones, and what other layers made."""
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
    """(weights, blobs taken, key) -> (the last version of every blob that the part makes, what its layers keep)."""

    def run(weights: Owned, given: Named, key: Array) -> tuple[Named, Owned]:
        values, updates, _ = forward_part(net, weights, given, key, part)
        return _made(net, values), updates

    return jax.jit(run)


def _made(net: Net, values: Mapping[Value, Array]) -> Named:
    """The last version of each blob that a layer computed."""
    return {v.name: a for v, a in values.items() if v.name and not net.makers[v].layer.is_input}


def backward_program(
    net: Net, part: range, trained: tuple[Owner, ...]
) -> Callable[[Owned, Named, Named, Array], tuple[Named, Owned, Named, Owned]]:
    """(weights, blobs taken, gradients on the part's ends, key) -> (gradients on every other blob of the part, those on
    the arrays of `trained`, and what `forward_program` gives).

    In a blob that is written in place stands the gradient on its first version at last, as in Caffe."""
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

    return jax.jit(run)


def _ends(net: Net, part: range) -> list[Value]:
    """Values of a part that none of its layers takes: the backward pass begins with the gradients on these."""
    used = {v for i in part for v in net.layers[i].bottoms}
    fed = {v for i in part if net.layers[i].layer.is_input for v in net.layers[i].tops}
    return [v for i in part for v in net.layers[i].tops if v not in used and v not in fed and v.name]


def ends(net: Net, part: range) -> list[str]:
    """The names of the blobs on whose gradients the backward pass of a part begins."""
    return [v.name for v in _ends(net, part)]


def _first(net: Net, part: range) -> list[Value]:
    """The first version of each blob that a part makes, but for those that it takes from outside."""
    seen, found = set(taken(net, part)), []
    for i in part:
        for v in net.layers[i].tops:
            if v.name and v.name not in seen:
                found.append(v)
            seen.add(v.name)
    return found


def _consumed_losses(net: Net, part: range, ends: list[Value]) -> list[tuple[Value, float]]:
    """Losses that another layer takes as well: nobody can set the gradient on these, so their weight counts."""
    return [
        (v, weight)
        for i in part
        for v, weight in zip(net.layers[i].tops, net.layers[i].loss_weights, strict=True)
        if weight and (v not in ends or not v.name)
    ]
