"""Diagnosis of a net that does not learn: the first non-finite value, and statistics of the layers at each display.

Each function runs the net again in a program of its own, so that training itself has no overhead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.base import DataLayer
from ..data.feed import Feed
from ..forward import every_value, forward, jit
from ..graph import Net, Node
from ..lazy import Array
from ..shape import show
from .params import Partition
from .step import BAD_GRADIENT, State

NEAR = 0.01  # distance from a limit within which a value counts as saturated
MICRO = 0  # index of the batch, of the iter_size batches of an iteration, that `watch` uses


class Culprit(NamedTuple):
    """The origin of the first non-finite value."""

    text: str  # one or two sentences without the last period; empty: all values are finite
    layer: str = ""  # the data layer that has read the value; empty: it was computed
    row: int = 0  # its record in the batch
    micro: int = 0  # index of the batch, of the iter_size batches of the iteration
    of_weights: bool = False  # whether a parameter was not finite before the iteration


def culprit(
    net: Net,
    partition: Partition,
    state: State,
    fixed: tuple[Array, ...],
    batches: Sequence[Mapping[str, Array]],
    key: Array,
) -> Culprit:
    """Finds the origin of the first non-finite value of an iteration that `state.bad` calls bad; `batches` are its
    batches."""
    here = jax.random.fold_in(key, state.iteration)
    for i, batch in enumerate(batches):
        found = _first_bad(net, partition, state, fixed, batch, jax.random.fold_in(here, i))
        if found.text:
            return found._replace(micro=i)
    if int(state.bad) < BAD_GRADIENT:
        return Culprit("All values are finite when the iteration is repeated")
    owner = partition.trained[int(state.bad) - BAD_GRADIENT].owner
    place = f"parameter {owner.index} of layer `{owner.layer}`"
    return Culprit(f"The first non-finite gradient is the one of {place}")


def _first_bad(net: Net, partition: Partition, state: State, fixed: Any, batch: Any, key: Array) -> Culprit:
    named = partition.weights(state.trained, fixed, state.kept)
    before = named if int(state.bad) < BAD_GRADIENT else {}  # after a bad gradient they are those after the iteration
    for owner, array in before.items():
        if not bool(jnp.all(jnp.isfinite(array))):
            text = f"Parameter {owner.index} of layer `{owner.layer}` was not finite before: {_range(array)}"
            return Culprit(text, of_weights=True)
    tops = [top for node in net.layers for top in node.tops]
    found = jit(lambda w, x, k: [every_value(net, w, x, k)[top] for top in tops])(named, batch, key)
    values = dict(zip(tops, found, strict=True))
    for node in net.layers:
        for top in node.tops:
            finite = np.isfinite(np.asarray(values[top], np.float64))
            if not finite.all():
                first = f"The first non-finite blob is `{top.name}` of layer `{node.name}`"
                if isinstance(node.layer, DataLayer) and finite.ndim:
                    row = int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
                    return Culprit(f"{first}, which the data contain", node.name, row)
                read = ", ".join(f"`{v.name}` {_range(values[v])}" for v in node.bottoms)
                inputs = f", computed from {read}" if read else ""
                return Culprit(first + inputs)
    return Culprit("")


def _range(array: Array) -> str:
    a = np.asarray(array, np.float64)
    finite = a[np.isfinite(a)]
    bounds = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "no finite values"
    bad = a.size - finite.size
    return f"({show(a.shape)}: {bounds}{f', {bad} not finite' if bad else ''})"


def strange_inputs(net: Net, feed: Feed) -> list[str]:
    """Warnings about inputs of the first batch with a scale that most nets do not learn from; the feed does not
    advance."""
    if not feed.readers:
        return []
    batch: dict[str, Any] = {}
    for reader in feed.readers.values():
        batch |= reader.batch(reader.position if isinstance(feed, Feed) else 0)
    lines = []
    words = _looked_up(net)
    for name, array in batch.items():
        if array.ndim < 2 or array[0].size < 2 or "label" in name or name in words:
            continue
        mean, deviation = float(np.mean(array)), float(np.std(array))
        if abs(mean) > 3 + 3 * deviation or deviation > 8 or deviation < 0.01:
            lines.append(
                f"`{name}` has mean {mean:.4g} and standard deviation {deviation:.4g} in the first batch; most nets "
                "learn faster from inputs with mean 0 and standard deviation 1 (mean_value and scale in "
                "transform_param)."
            )
    return lines


def _looked_up(net: Net) -> set[str]:
    """Names of blobs that a layer uses as indices, such as word ids: their scale has no meaning."""
    found: set[str] = set()
    for node in reversed(net.layers):
        if node.layer.takes_indices or any(top.name in found for top in node.tops):
            found.update(bottom.name for bottom in node.bottoms)
    return found


# Statistics of layers, for `watch` and `debug_info`


def make_watch(net: Net, partition: Partition, solver: Any, key: Array) -> Any:
    """Returns a function (run, piece) -> {"watch/LAYER/STATISTIC": scalar} for the last iteration of a piece, on the
    device.

    Per layer: `activation`: mean |top|; `zeros`: fraction of top values that are 0, and `dead`: fraction of channels
    that are 0 in the whole batch (ReLU and similar layers); `saturated`: fraction within 0.01 of a limit (Sigmoid,
    TanH); `weight`, `gradient`: L2 norms of its trained arrays; `update`: norm of a plain gradient step,
    lr * gradient, divided by the norm of the weights.
    """

    names: list[str] = []  # in the order of the net, because jax sorts the keys of a dict

    def measure(state: State, fixed: Any, batch: Any) -> list[Array]:
        here = jax.random.fold_in(jax.random.fold_in(key, state.iteration), MICRO)
        named = partition.weights(state.trained, fixed, state.kept)
        values = every_value(net, named, batch, here)
        grads = jax.grad(lambda t: forward(net, partition.weights(t, fixed, state.kept), batch, here).loss)(
            state.trained
        )
        rate = solver.rate(state.iteration, state.policy)
        shown: dict[str, Array] = {}
        for node in net.layers:
            shown |= _activations(node, values)
        for layer in dict.fromkeys(spec.owner.layer for spec in partition.trained):
            mine = [i for i, spec in enumerate(partition.trained) if spec.owner.layer == layer]
            weight = _norm([state.trained[i] for i in mine])
            gradient = _norm([grads[i] for i in mine])
            shown |= {f"watch/{layer}/weight": weight, f"watch/{layer}/gradient": gradient}
            shown[f"watch/{layer}/update"] = rate * gradient / jnp.maximum(weight, 1e-12)
        names[:] = shown
        return list(shown.values())

    measured = jit(measure)

    def watch(run: Any, piece: Any) -> dict[str, Any]:
        last = piece.end - piece.begin - 1
        batch = run.batch(piece, last, MICRO)
        found = measured(run.state, run.fixed, batch)  # the first call traces `measure`, which fills `names`
        return dict(zip(names, found, strict=True))

    return watch


def _norm(arrays: list[Array]) -> Array:
    return jnp.sqrt(sum((jnp.sum(a * a) for a in arrays), jnp.float32(0)))


def _activations(node: Node, values: Mapping[Any, Array]) -> dict[str, Array]:
    if node.layer.is_input or not node.tops:
        return {}
    top = values[node.tops[0]]
    if not jnp.issubdtype(top.dtype, jnp.floating):
        return {}
    name = f"watch/{node.name}"
    shown = {f"{name}/activation": jnp.mean(jnp.abs(top))}
    if node.layer.rectifies:
        shown[f"{name}/zeros"] = jnp.mean(top == 0)
        axes = tuple(i for i in range(top.ndim) if i != 1)
        shown[f"{name}/dead"] = jnp.mean(jnp.all(top == 0, axis=axes)) if top.ndim > 1 else jnp.float32(0)
    if node.layer.limits is not None:
        low, high = node.layer.limits
        shown[f"{name}/saturated"] = jnp.mean((top < low + NEAR) | (top > high - NEAR))
    return shown


def table(extra: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """The rows of a table: (layer, {statistic: value}) of a display, in the order of the net."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in extra.items():
        if name.startswith("watch/"):
            layer, what = name.removeprefix("watch/").rsplit("/", 1)
            rows.setdefault(layer, {})[what] = value
    return list(rows.items())
