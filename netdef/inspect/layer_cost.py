"""The cost of each layer: floating-point operations and bytes as counted by XLA, and the time of the layer alone.

FLOP and bytes are XLA's cost analysis of each layer, lowered on its own under the name of its scope; backward is the
difference between forward plus backward and forward.  Bytes are counted before fusion, so they are an upper bound.
Forms that are specific to CPUs multiply zeros or contain loops, of which XLA counts the body once; layers are therefore
analyzed as lowered for another platform, and for a layer that contains a loop there, too (LSTM, RNN), its own
multiply-adds are used.  The time of a layer alone is more than its share of the whole wherever XLA fuses layers, but it
shows where time is spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..forward import forward_part, jit
from ..graph import Net, Node
from ..language.errors import NetdefError
from ..shape import Shape, show

OTHER = "cuda"  # a platform without the forms that are specific to CPUs


@dataclass(frozen=True)
class Cost:
    """The cost of one layer by XLA's analysis, forward and backward, and its time alone, if measured.

    `own_count`: computed from the layer's own multiply-adds, because of a loop."""

    forward_flop: float = 0.0
    backward_flop: float = 0.0
    forward_bytes: float = 0.0
    backward_bytes: float = 0.0
    own_count: bool = False
    forward_s: float | None = None  # measured alone
    backward_s: float | None = None


@dataclass(frozen=True)
class LayerCost:
    """A layer and its cost."""

    name: str
    type: str
    output: Shape | None
    cost: Cost


def layer_costs(net: Net, iterations: int = 0, platform: str | None = None) -> list[LayerCost]:
    """Returns the cost of each layer, and its time alone if `iterations` is not 0.

    `platform`: as lowered for this platform of JAX, for which no compiler is required.  Layers with equal programs are
    analyzed once.  NetdefError if a shape is not known."""
    known: dict[str, Cost] = {}
    found = []
    for i, node in enumerate(net.layers):
        _refuse_unknown(net, node)
        alike = _likeness(net, node)
        if alike not in known:
            known[alike] = Cost() if node.layer.is_input else _cost(net, i, iterations, platform)
        output = net.shapes.get(node.tops[0]) if node.tops else None
        found.append(LayerCost(node.name, node.type, output, known[alike]))
    return found


def _refuse_unknown(net: Net, node: Node) -> None:
    for value in (*node.bottoms, *node.tops):
        shape = net.shapes.get(value)
        if shape is None or not all(isinstance(d, int) for d in shape):
            raise NetdefError(f"the shape of `{value.name}` is {show(shape)}; the data files of the net must exist")


def _likeness(net: Net, node: Node) -> str:
    """A key that is equal for layers with equal programs."""
    names = ("name", "top", "bottom", "param", "include", "exclude", "phase")
    fields = {name: getattr(node.layer, name) for name in node.layer.params() if name not in names}
    shapes = [net.shapes.get(v) for v in (*node.bottoms, *node.tops)]
    same = [node.bottoms.index(v) for v in node.bottoms]
    dtypes = [node.precision, node.top_dtype, *(net.producers[v].top_dtype for v in node.bottoms)]
    return repr((node.type, fields, shapes, same, node.trained, node.reached, node.frozen, dtypes))


class Alone(NamedTuple):
    """The programs of one layer and the shapes of their arguments; `both` is None if no gradient is computed."""

    run: Callable[..., Any]
    both: Callable[..., Any] | None
    back: Callable[..., Any]  # forward; returns the tops, and the backward pass as a function with its stored values
    given: tuple[Any, ...]
    passes: int  # forward, and backward with respect to weights and inputs


def _cost(net: Net, i: int, iterations: int, platform: str | None) -> Cost:
    alone, node = _layer_alone(net, i), net.layers[i]
    forth, forth_s = _count(alone.run, alone.given, platform), _median(alone.run, alone.given, iterations)
    total = forth if alone.both is None else _count(alone.both, alone.given, platform)
    loops = forth.loops or total.loops
    forward_flop, flop = forth.flop, total.flop
    if loops:
        sizes: Any = [[net.shapes[v] for v in values] for values in (node.bottoms, node.tops)]
        forward_flop = 2.0 * node.layer.multiply_adds(*sizes)
        flop = forward_flop * alone.passes
    return Cost(
        forward_flop=forward_flop,
        backward_flop=max(flop - forward_flop, 0.0),
        forward_bytes=forth.bytes,
        backward_bytes=max(total.bytes - forth.bytes, 0.0),
        own_count=loops,
        forward_s=forth_s,
        backward_s=_backward_median(alone, iterations),
    )


def _layer_alone(net: Net, i: int) -> Alone:
    """Layer `i` as a function of its trained weights, the inputs that a gradient reaches, and everything else."""
    node, part = net.layers[i], range(i, i + 1)
    struct = lambda shape, dtype="": jax.ShapeDtypeStruct(shape, dtype or jnp.float32)
    shapes = {owner: weight.shape for owner, weight in net.owned}
    weights = {owner: struct(shapes[owner]) for owner in node.owners}
    trained = {o: weights[o] for o, moved in zip(node.owners, node.trained, strict=True) if moved}
    blobs = {v.name: struct(net.shapes[v], net.producers[v].top_dtype) for v in node.bottoms}
    reached = {v.name: blobs[v.name] for v, wanted in zip(node.bottoms, node.reached, strict=True) if wanted}
    key = jax.random.key(0)

    def run(moving: Any, some: Any, weights: Any, blobs: Any) -> Any:
        values, updates, _ = forward_part(net, weights | moving, blobs | some, key, part)
        return [values[top] for top in node.tops], updates

    def both(moving: Any, some: Any, weights: Any, blobs: Any) -> Any:
        made, back, updates = jax.vjp(lambda m, s: run(m, s, weights, blobs), moving, some, has_aux=True)
        return made, updates, back([jnp.ones_like(top) for top in made])

    def back(moving: Any, some: Any, weights: Any, blobs: Any) -> Any:
        return jax.vjp(lambda m, s: run(m, s, weights, blobs)[0], moving, some)

    learns = both if trained or reached else None
    return Alone(run, learns, back, (trained, reached, weights, blobs), 1 + bool(trained) + bool(reached))


def _median(function: Callable[..., Any], given: tuple[Any, ...], iterations: int) -> float | None:
    """Returns the median time of a program on random arrays, in seconds; None if `iterations` is 0."""
    return _timed(function, _random(given), iterations) if iterations else None


def _backward_median(alone: Alone, iterations: int) -> float | None:
    """Returns the median time of the backward pass, with what the forward pass stored for it as its input."""
    if not iterations or alone.both is None:
        return None
    tops, back = jit(alone.back)(*_random(alone.given))
    return _timed(lambda back, tops: back(tops), (back, jax.tree.map(jnp.ones_like, tops)), iterations)


def _random(given: tuple[Any, ...]) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    fill = lambda s: jnp.asarray(rng.normal(size=s.shape) if len(s.shape) > 1 else np.zeros(s.shape), s.dtype)
    return jax.tree.map(fill, given)


def _timed(function: Callable[..., Any], arrays: tuple[Any, ...], iterations: int) -> float:
    compiled = jit(function).lower(*arrays).compile()
    seconds = []
    for _ in range(1 + iterations):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[1:]))


class Count(NamedTuple):
    """XLA's cost analysis of a program, and whether it contains a loop, because XLA counts the body once."""

    flop: float
    bytes: float
    loops: bool


def _count(function: Callable[..., Any], given: tuple[Any, ...], platform: str | None) -> Count:
    present = jax.default_backend()
    lowered = _lowered(jax.jit(function).trace(*given), platform or (OTHER if present == "cpu" else present))
    found = analysis(lowered)
    flop, moved = (max(float(found.get(name, 0.0)), 0.0) for name in ("flops", "bytes accessed"))  # -1: not known
    return Count(flop, moved, "stablehlo.while" in lowered.as_text())


def _lowered(traced: Any, platform: str) -> Any:
    """The program as lowered for a platform that may be absent, or else for the present one."""
    try:
        return traced.lower(lowering_platforms=(platform,))
    except Exception:  # of many types, for programs that only a device that is present supports
        return traced.lower()


def analysis(program: Any) -> Mapping[str, float]:
    """Returns XLA's cost analysis of a lowered or compiled program; empty if there is none."""
    try:
        found = program.cost_analysis()
    except (RuntimeError, NotImplementedError):
        return {}
    return (found[0] if isinstance(found, list) else found) or {}
