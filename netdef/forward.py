"""The forward pass of a net as pure functions of weights and inputs, which JAX can trace.

`forward` runs every layer in order. It returns the blobs, and the updates of running statistics and carried state. The
Flax model and the training step are built on this function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

from .files import Locate, locator
from .graph import Net, Node, Owner, Value
from .layers._channels import with_channels_first, with_channels_last
from .layers._classes import without_padding
from .layers.base import Phase
from .lazy import Array, jax, jnp, np
from .passes.channels_last import IMAGE, Stretches, stretches
from .passes.recompute import crossing, segment_of

Weights = Mapping[Owner, Array]  # every array once, by the layer that owns it and its index among Caffe's blobs
Made = tuple[dict[Value, Array], dict[Owner, Array], list[Array]]  # values, updates of state, terms of the objective


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
    channels_last: bool
    node: Node
    draw: Callable[[], Array]
    locate: Locate
    updates: dict[Owner, Array] = field(default_factory=dict)

    def rng(self) -> Array:
        return self.draw()

    def update(self, i: int, value: Array) -> None:
        self.updates[self.node.owners[i]] = value


def forward(net: Net, weights: Weights, inputs: Mapping[str, Array], key: Array) -> Outcome:
    """Runs the net on arrays; `key` is a JAX random key for layers that use random numbers."""
    values, updates, loss = forward_part(net, weights, inputs, key, range(len(net.layers)))
    last = {v.name: v for node in net.layers for v in node.tops if v.name}
    return Outcome({name: values[v] for name, v in last.items() if v in values}, updates, loss)


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
        values, _, _ = _run(net, weights, inputs, key, {}, part, whole=True)
        ahead = {n.name: values[n.overwritten] for i in part if (n := net.layers[i]).overwritten in values}
    else:
        ahead = {}
    return _run(net, weights, inputs, key, ahead, part, probes)


def every_value(net: Net, weights: Weights, inputs: Mapping[str, Array], key: Array) -> dict[Value, Array]:
    """Returns the outputs of every layer, including those that a later layer overwrites, for inspecting a net."""
    return _run(net, weights, inputs, key, {}, range(len(net.layers)), whole=True)[0]


def without_empty_rows(net: Net, blobs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns blobs without the rows that only pad them to the size of the compiled program, such as those after the
    detections. Arrays that JAX is tracing are returned as they are, because the number of rows is not known."""
    rows = {name: trimmed(blobs[name]) for name in net.padded if name in blobs and name not in net.regions}
    regions = {n: _of_regions(blobs[n], blobs[r]) for n, r in net.regions.items() if n in blobs and r in blobs}
    return {**blobs, **rows, **regions}


def trimmed(array: Array) -> Array:
    """Returns (1, 1, rows, values) without the last rows of -1."""
    try:
        host = np.asarray(array)
    except jax.errors.TracerArrayConversionError:
        return array
    filled = np.flatnonzero((host[0, 0] != -1).any(1))
    rows = int(filled[-1]) + 1 if len(filled) else 0
    return array if rows == host.shape[2] else jax.device_put(host[:, :, :rows])


def _of_regions(array: Array, regions: Array) -> Array:
    """Returns (rows, ...) without the last rows, which belong to regions of -1."""
    try:
        filled = np.flatnonzero((np.asarray(regions) != -1).any(1))
    except jax.errors.TracerArrayConversionError:
        return array
    rows = int(filled[-1]) + 1 if len(filled) else 0
    return array if rows == array.shape[0] else jax.device_put(np.asarray(array)[:rows])


@cache
def options_for_cpus() -> dict[str, str]:
    """Returns the options of programs for a CPU; none on other devices.

    Without them XLA passes convolutions, products and sums to YNNPACK, whose convolutions take 1.2 to 4 times as long
    as XLA's own."""
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a version of XLA without this option
        return {}
    return options


def compiler_options(net: Net) -> dict[str, str]:
    """Returns the options with which XLA must compile a program that contains the gradient of a net.

    For CPUs, XLA removes the barriers around recomputed segments before it merges equal operations, and so would store
    their values."""
    recomputes = any(segment_of(node) is not None for node in net.layers)
    kept = {"xla_disable_hlo_passes": "cse_barrier_expander"} if recomputes and jax.default_backend() == "cpu" else {}
    return {**options_for_cpus(), **kept}


def jit(function: Callable[..., Any], net: Net | None = None, **arguments: Any) -> Any:
    """`jax.jit` with the options for this device and for the gradient of a net. JAX does not allow options inside
    another of its transformations."""
    options = options_for_cpus() if net is None else compiler_options(net)
    return jax.jit(function, compiler_options=options or None, **arguments)


@lru_cache(maxsize=32)
def compiled(
    net: Net, want: str, outermost: bool = True
) -> Callable[[Sequence[Array], Mapping[str, Array], Array, Array], tuple[Any, dict[Owner, Array], Array]]:
    """Returns `forward` compiled for one result ("outputs", "blobs" or "loss"), so that XLA can discard the others.

    Its arguments are the arrays in the order of `net.owned`, the inputs, a random key, and how often the key was used;
    its results are the wanted one, the updates of state, and the next count. All of this is one program, because each
    operation outside of it would take longer than a small net. `outermost`: whether it is called outside of the
    transformations of JAX."""
    owners = [owner for owner, _ in net.owned]
    # The regions of an output tell which of its rows are padding.
    shown = dict.fromkeys([*net.outputs, *(net.regions[n] for n in net.outputs if n in net.regions)])

    def run(
        arrays: Sequence[Array], inputs: Mapping[str, Array], key: Array, count: Array
    ) -> tuple[Any, dict[Owner, Array], Array]:
        weights = dict(zip(owners, arrays, strict=True))
        outcome = forward(net, weights, inputs, jax.random.fold_in(key, count))
        wanted = {n: outcome.blobs[n] for n in shown} if want == "outputs" else getattr(outcome, want)
        return wanted, outcome.updates, count + 1

    return jit(run) if outermost else jax.jit(run)


def _run(
    net: Net,
    weights: Weights,
    inputs: Mapping[str, Array],
    key: Array,
    ahead: Mapping[str, Array],
    part: range,
    probes: Mapping[Value, Array] | None = None,
    whole: bool = False,
) -> tuple[dict[Value, Array], dict[Owner, Array], Array]:
    """Returns every value, the updates of state, and the objective. The values inside a segment are left out, unless
    the result must be `whole`."""
    values: dict[Value, Array] = {}
    updates: dict[Owner, Array] = {}
    loss = jnp.zeros((), jnp.float32)
    for segment, indices in groupby(part, lambda i: None if whole else segment_of(net.layers[i])):
        given = (weights, values, inputs, key, tuple(indices))
        made, changed, terms = _layers(net, *given, ahead, probes) if segment is None else _recomputed(net, *given)
        values.update(made)
        updates.update(changed)
        for term in terms:
            loss = loss + term
    last = stretches(net).values
    return {v: _ordered(array, v in last, False) for v, array in values.items()}, updates, loss


def _layers(
    net: Net,
    weights: Weights,
    values: Mapping[Value, Array],
    inputs: Mapping[str, Array],
    key: Array,
    indices: Sequence[int],
    ahead: Mapping[str, Array],
    probes: Mapping[Value, Array] | None = None,
) -> Made:
    """Runs these layers; their bottoms are in `values`, or by name in `inputs`. Values have their channels last where
    the stretches of the net say so, inputs never."""
    order = stretches(net)
    made: dict[Value, Array] = {}
    updates: dict[Owner, Array] = {}
    terms = []
    train, locate = net.phase is Phase.TRAIN, locator(net.folder)
    for i in indices:
        node = net.layers[i]
        if node.layer.is_input:
            made.update({v: inputs[v.name] for v in node.tops})
            continue
        last = i in order.layers
        context = _Context(train and not node.frozen, last, node, _drawing(key, i), locate, updates)
        found = [made[v] if v in made else _given(order, v, values, inputs) for v in node.bottoms]
        bottoms = [_ordered(array, v in order.values, last) for array, v in zip(found, node.bottoms, strict=True)]
        with jax.named_scope(node.name):
            tops = _apply(node, weights, bottoms, context)
            if node.name in ahead:
                top = _ordered(ahead[node.name], False, last)
                tops = [_sloped(tops[0], bottoms[0], node.layer.slope_from(top))]
        for value, array, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            if probes and value in probes:
                array = array + _ordered(probes[value], False, last).astype(array.dtype)
            made[value] = array
            if weight:
                terms.append(weight * jnp.sum(array))
    return made, updates, terms


def _given(order: Stretches, value: Value, values: Mapping[Value, Array], inputs: Mapping[str, Array]) -> Array:
    """Returns a value in the order that the stretches give it."""
    return values[value] if value in values else _ordered(inputs[value.name], False, value in order.values)


def _ordered(array: Array, is_last: bool, wants_last: bool) -> Array:
    """Returns an image with the channels last or first; other arrays as they are."""
    if is_last == wants_last or array.ndim < IMAGE:
        return array
    return with_channels_last(array) if wants_last else with_channels_first(array)


def _recomputed(
    net: Net,
    weights: Weights,
    values: Mapping[Value, Array],
    inputs: Mapping[str, Array],
    key: Array,
    indices: Sequence[int],
) -> Made:
    """Runs the layers of a segment and returns only those of their values that other layers use, so that the backward
    pass has to compute the others again."""
    nodes = [net.layers[i] for i in indices]
    entering, leaving = crossing(net, nodes)

    def run(own: Weights, given: list[Array], key: Array) -> tuple[list[Array], dict[Owner, Array], list[Array]]:
        made, updates, terms = _layers(net, own, dict(zip(entering, given, strict=True)), {}, key, indices, {})
        return [made[v] for v in leaving], updates, terms

    taken = [_given(stretches(net), v, values, inputs) for v in entering]
    own = {owner: weights[owner] for node in nodes for owner in node.owners}
    made, updates, terms = jax.checkpoint(run)(own, taken, key)
    return dict(zip(leaving, made, strict=True)), updates, terms


def _sloped(y: Array, x: Array, slope: Array) -> Array:
    """Returns y, with dy/dx replaced by `slope`."""
    stop = jax.lax.stop_gradient
    return stop(y) + stop(slope) * (x - stop(x))


def _apply(node: Node, weights: Weights, bottoms: list[Array], context: _Context) -> Sequence[Array]:
    """Returns the tops of one layer. Unneeded gradients are stopped here, so that XLA does not compute them."""
    own = []
    for owner, weight, trained in zip(node.owners, node.weights or (), node.trained, strict=True):
        array = weights[owner]
        if array.shape != weight.shape and not (weight.parts > 1 and array.shape[0] % weight.parts == 0):
            array = without_padding(array, weight.shape)  # or shared as PERMISSIVE
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
