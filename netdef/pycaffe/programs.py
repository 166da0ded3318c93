"""Stretches: consecutive layers of a net that run as one compiled program, for certain shapes of their inputs.

A pass over a net is a pass over its pieces in turn (`pieces`): stretches, and between them the layers that Python runs
(`hosted.py`), which may change the shapes of their tops. `Net` reads the blobs before each piece and writes them after
it, and keeps the stretches by their shapes, so that shapes that return are not inferred or compiled again.

As in Caffe, the backward pass is computed layer by layer from the contents of the blobs, and not from a second forward
pass. Only a value that a layer in place has overwritten is computed again, if its gradient depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

import jax
import jax.numpy as jnp
import numpy as np

from ..files import locator
from ..forward import forward_part, jit
from ..graph import Net, Node, Owner, Value
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..lazy import Array
from ..passes.shapes import infer
from ..shape import Shape, show
from .blobs import wait

Named = dict[str, Array]
Owned = dict[Owner, Array]
Diffs = dict[Value, Array]


def pieces(part: range, alone: Collection[int]) -> list[range]:
    """Divides a part of a net into stretches and the layers that run alone, in order."""
    found = []
    for single, indices in groupby(part, lambda i: i if i in alone else None):
        members = list(indices)
        found.append(range(members[0], members[-1] + 1) if single is None else range(single, single + 1))
    return found


def entering(net: Net, part: range) -> list[Value]:
    """Returns the values that a part uses and does not compute: outputs of other layers, and its own inputs."""
    made: set[Value] = set()
    found: dict[Value, None] = {}
    for i in part:
        node = net.layers[i]
        found |= dict.fromkeys(v for v in node.bottoms if v not in made)
        if node.layer.is_input:
            found |= dict.fromkeys(node.tops)
        made.update(node.tops)
    return list(found)


def ends(net: Net, part: range) -> list[Value]:
    """Returns the values of a part that none of its layers uses; the backward pass starts from their gradients."""
    used = {v for i in part for v in net.layers[i].bottoms}
    fed = {v for i in part if net.layers[i].layer.is_input for v in net.layers[i].tops}
    return [v for i in part for v in net.layers[i].tops if v not in used and v not in fed and v.name]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Consecutive layers of a net, with the shapes of their values."""

    net: Net
    part: range

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.net.layers[self.part.start : self.part.stop]

    @cached_property
    def entering(self) -> list[str]:
        """The blobs that the stretch uses and does not compute."""
        return list(dict.fromkeys(v.name for v in entering(self.net, self.part)))

    @cached_property
    def blobs(self) -> list[str]:
        """All blobs that the layers use or output."""
        names = (v.name for node in self.nodes for v in (*node.bottoms, *node.tops) if v.name)
        return list(dict.fromkeys(names))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of the blobs that the layers output."""
        return {v.name: self.net.shapes[v] for node in self.nodes for v in node.tops if v.name}  # type: ignore[misc]

    @cached_property
    def weights(self) -> dict[Owner, tuple[Shape, str]]:
        """The shapes and kinds of the arrays of the layers."""
        stored = ((o, w) for n in self.nodes for w, o in zip(n.weights or (), n.owners, strict=True))
        return {owner: (weight.shape, weight.kind) for owner, weight in stored}

    @cached_property
    def trained(self) -> tuple[Owner, ...]:
        """The arrays whose gradients are computed."""
        owners = (o for n in self.nodes for o, trained in zip(n.owners, n.trained, strict=True) if trained)
        return tuple(dict.fromkeys(owners))

    @cached_property
    def forward(self) -> Callable[[Owned, Named, Array], tuple[Named, Owned]]:
        """(weights, entering blobs, key) -> (the blobs that the layers output, their updates of state), compiled."""

        def run(weights: Owned, given: Named, key: Array) -> tuple[Named, Owned]:
            values, updates, _ = forward_part(self.net, weights, given, key, self.part)
            return self._made(values), updates

        return jit(run)

    def _made(self, values: Mapping[Value, Array]) -> Named:
        fed = {v for node in self.nodes if node.layer.is_input for v in node.tops}
        return {v.name: a for v, a in values.items() if v.name and v not in fed}

    @cached_property
    def backward(self) -> Callable[[Owned, Named, Diffs, Array], tuple[Diffs, Owned]]:
        """(weights, blobs, gradients of values, key) -> (gradients of all values that have one, and of the arrays of
        `trained`), compiled. The given gradients are those that do not come from layers of the stretch."""

        def run(weights: Owned, held: Named, diffs: Sorted, key: Array) -> tuple[Sorted, Owned]:
            made, on_weights = _Backward(self, weights, held, key).run({Value(*k): a for k, a in diffs.items()})
            return _sorted(made), on_weights

        program = jit(run)

        def call(weights: Owned, held: Named, diffs: Diffs, key: Array) -> tuple[Diffs, Owned]:
            made, on_weights = wait(program(weights, held, _sorted(diffs), key))
            return {Value(*k): a for k, a in made.items()}, on_weights

        return call

    @cached_property
    def both(self) -> Callable[[Owned, Named, Diffs, Array], tuple[Named, Owned, Diffs, Owned]]:
        """`forward` and `backward` as one program, which computes nothing twice: (weights, entering blobs, gradients of
        values, key) -> the results of both."""

        def run(weights: Owned, given: Named, diffs: Sorted, key: Array) -> tuple[Named, Owned, Sorted, Owned]:
            values, updates, _ = forward_part(self.net, weights, given, key, self.part)
            backward = _Backward(self, weights, {**given, **self._made(values)}, key)
            backward.values.update(values)
            made, on_weights = backward.run({Value(*k): a for k, a in diffs.items()})
            return self._made(values), updates, _sorted(made), on_weights

        program = jit(run)

        def call(weights: Owned, given: Named, diffs: Diffs, key: Array) -> tuple[Named, Owned, Diffs, Owned]:
            blobs, updates, made, on_weights = wait(program(weights, given, _sorted(diffs), key))
            return blobs, updates, {Value(*k): a for k, a in made.items()}, on_weights

        return call


Sorted = dict[tuple[str, int], Array]  # by name and version: JAX sorts the keys of a dict, and values have no order


def _sorted(diffs: Diffs) -> Sorted:
    return {(v.name, v.version): a for v, a in diffs.items()}


class _Backward:
    """The backward pass of one stretch, traced by JAX."""

    def __init__(self, stretch: Stretch, weights: Owned, held: Named, key: Array):
        self.net, self.part, self.weights, self.key = stretch.net, stretch.part, weights, key
        last = {v.name: v for v in (*entering(self.net, self.part), *(v for n in stretch.nodes for v in n.tops))}
        self.held = held
        self.values = {v: held[name] for name, v in last.items() if name}
        self.makers = {v: i for i in self.part for v in self.net.layers[i].tops}
        self.on_weights: Owned = {}

    def run(self, diffs: Diffs) -> tuple[Diffs, Owned]:
        diffs = dict(diffs)
        used = {v for i in self.part for v in self.net.layers[i].bottoms}
        for i in reversed(self.part):
            node = self.net.layers[i]
            for v, weight in zip(node.tops, node.loss_weights, strict=True):
                if weight and (v in used or not v.name):  # a script cannot set the gradient, so its weight applies
                    _add(diffs, v, jnp.full(self.net.shapes[v], weight, jnp.float32))
            if any(v in diffs for v in node.tops) and not node.layer.is_input:
                self.layer(i, node, diffs)
        return diffs, self.on_weights

    def value(self, v: Value) -> Array:
        """Returns the contents of a value. If a layer has overwritten it, it is computed again, or if its layer is not
        in the stretch, it is what the blob contains now, as in Caffe."""
        if v not in self.makers:
            return self.held[v.name]
        if v not in self.values:
            self.values.update(self.made(self.makers[v], self.weights, self.bottoms(self.makers[v])))
        return self.values[v]

    def bottoms(self, i: int) -> Named:
        return {v.name: self.value(v) for v in self.net.layers[i].bottoms}

    def made(self, i: int, weights: Owned, bottoms: Named) -> dict[Value, Array]:
        return forward_part(self.net, weights, bottoms, self.key, range(i, i + 1))[0]

    def layer(self, i: int, node: Node, diffs: Diffs) -> None:
        """Adds the gradients that one layer propagates to its bottoms and its arrays."""
        reached = {v.name: v for v, is_reached in zip(node.bottoms, node.reached, strict=True) if is_reached}
        trained = [o for o, is_trained in zip(node.owners, node.trained, strict=True) if is_trained]
        if not reached and not trained:
            return
        if node.layer.reads_back and (node.overwritten or node.bottoms[0] not in self.values):
            slope = node.layer.slope_from(self.held[node.tops[0].name])
            _add(diffs, node.bottoms[0], slope * diffs[node.tops[0]])
            return
        bottoms = self.bottoms(i)

        def outputs(weights: Owned, given: Named) -> list[Array]:
            values = self.made(i, self.weights | weights, bottoms | given)
            return [values[v] for v in node.tops]

        moving = {o: self.weights[o] for o in trained}, {name: bottoms[name] for name in reached}
        tops, pull = jax.vjp(outputs, *moving)
        on_weights, on_bottoms = pull([_like(diffs.get(v), top) for v, top in zip(node.tops, tops, strict=True)])
        for name, diff in on_bottoms.items():
            _add(diffs, reached[name], diff)
        for owner, diff in on_weights.items():
            self.on_weights[owner] = self.on_weights[owner] + diff if owner in self.on_weights else diff


def _like(diff: Array | None, top: Array) -> Array:
    """Returns the gradient of a top in its dtype; zero if there is none."""
    if not jnp.issubdtype(top.dtype, jnp.floating):
        return np.zeros(top.shape, jax.dtypes.float0)  # pyright: ignore[reportReturnType]
    return jnp.zeros(top.shape, top.dtype) if diff is None else diff.reshape(top.shape).astype(top.dtype)


def _add(diffs: Diffs, value: Value, diff: Array) -> None:
    diffs[value] = diffs[value] + diff if value in diffs else diff


def stretch(net: Net, part: range, given: Mapping[Value, Shape]) -> Stretch:
    """Returns a stretch for shapes of the values that enter it. Raises NetdefError if they do not work for its layers,
    or if a parameter would change its shape."""
    report = Report()
    nodes = net.layers[part.start : part.stop]
    fed = {v.name: shape for v, shape in given.items()}
    typed, shapes = infer(nodes, locator(net.folder), report, fed, net.trust_python, given)
    inputs = ", ".join(f"`{name}` {show(shape)}" for name, shape in fed.items())
    if report.has_errors:
        problem = next(d.detail for d in report.diagnostics if d.severity == "error")
        raise NetdefError(f"the net does not work on {inputs}: {problem}")
    kept = []
    for now, before in zip(typed, nodes, strict=True):
        for i, (weight, old) in enumerate(zip(now.weights or (), before.weights or (), strict=True)):
            if weight.shape != old.shape and weight.kind != "carry":
                raise NetdefError(
                    f"with {inputs}, parameter {i} of layer `{now.name}` would be {show(weight.shape)}, "
                    f"but it is {show(old.shape)}"
                )
        kept.append(now.but(owners=before.owners))
    layers = (*net.layers[: part.start], *kept, *net.layers[part.stop :])
    return Stretch(replace(net, layers=layers, shapes={**net.shapes, **shapes}), part)
