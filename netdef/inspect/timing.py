"""How fast a net is: its passes and its training step measured whole, and XLA's count of what each layer takes.

Takes a `Net`; `measure` gives a `Timing`, which writes itself as a table (`str`) or as JSON values (`as_dict`).  Inputs
are random arrays, so that reading data is not measured.  Each pass is compiled for itself and waited for, iteration by
iteration.

FLOP and bytes of a layer are XLA's cost analysis of the layer lowered alone, under the name of its scope; backward is
what forward and backward take together, less forward.  Bytes are those before fusion, an upper bound.  XLA counts the
body of a loop once: a layer that is a loop on the CPU alone is counted in its other form, and one that is a loop
everywhere (LSTM, RNN) by its own multiply-adds.  A layer's time alone is longer than its share of the whole, where XLA
joins layers; it says where to look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.labels import limits
from ..forward import forward, forward_part
from ..graph import Net, Node
from ..language.errors import NetdefError
from ..model import Model
from ..passes.freeze import frozen
from ..passes.precision import in_half
from ..shape import Shape, show
from ..solvers.base import Precision
from ..training.params import arrays_of, partition_of
from ..training.prepare import first_state
from ..training.step import make_single, make_step
from .summary import size, summarize

MOST = 50  # iterations of a pass, as in Caffe
LEAST = 5
ALONE = 10  # iterations of a layer alone
SECONDS = 10.0  # that a pass may take, if nobody says how many iterations
OTHER = ("cuda",)  # a platform whose programs have no loops of the CPU's


@dataclass(frozen=True)
class Pass:
    """One compiled program: seconds, `flop` of one iteration, and bytes by XLA's plan."""

    name: str
    compile_s: float
    first_s: float  # the first iteration
    iterations: int
    median_s: float
    fastest_s: float
    slowest_s: float
    middle_s: tuple[float, float]  # half of the iterations took between these
    images: int  # of one iteration
    flop: float
    memory: int | None  # arguments, results and what stands between them
    traffic: float | None  # bytes read and written, after fusion

    @property
    def images_per_s(self) -> float:
        return self.images / self.median_s

    @property
    def flop_per_s(self) -> float:
        return self.flop / self.median_s


@dataclass(frozen=True)
class Cost:
    """What one layer takes by XLA's analysis, forward and backward (`own_count` where that cannot see it), and its time
    alone, if that was measured."""

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


@dataclass(frozen=True)
class Timing:
    """Everything that was measured of a net."""

    net: str
    phase: str
    batch: int
    device: str
    jax: str
    warm_up: int
    passes: tuple[Pass, ...]
    layers: tuple[LayerCost, ...]
    device_peak: int | None  # bytes in use at most, where the device tells

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        passes = [asdict(p) | {"images_per_s": p.images_per_s, "flop_per_s": p.flop_per_s} for p in self.passes]
        layers = [
            {"name": x.name, "type": x.type, "output": list(x.output or ())} | asdict(x.cost) for x in self.layers
        ]
        return asdict(self) | {"passes": passes, "layers": layers}

    def __str__(self) -> str:
        head = (
            f"net {self.net or '(no name)'}, phase {self.phase}, batch {self.batch}, on {self.device}, jax {self.jax}"
        )
        lines = [head, "", *table(_PASS_HEAD, map(_pass_cells, self.passes)), ""]
        counts = ", ".join(f"{p.name} {p.iterations}" for p in self.passes)
        lines.append(f"iterations: {counts}, each after {self.warm_up} to warm up; middle: half of them lie there")
        lines.append(
            "memory: by XLA's plan" + (f"; in use at most: {size(self.device_peak)}" if self.device_peak else "")
        )
        timed = any(x.cost.forward_s is not None for x in self.layers)
        head, width = (_LAYER_HEAD, None) if timed else (_LAYER_HEAD[:_UNTIMED], _UNTIMED)
        rows = [*map(_layer_cells, self.layers), self._total()]
        lines += ["", *table(head, [row[:width] for row in rows], 3)]
        if any(x.cost.own_count for x in self.layers):
            lines += ["", "* a loop, whose body XLA counts once: by the layer's own multiply-adds"]
        return "\n".join(lines)

    def _total(self) -> tuple[str, ...]:
        sums = [sum(getattr(x.cost, name) for x in self.layers) for name in _NUMBERS]
        alone = [sum(getattr(x.cost, name) or 0.0 for x in self.layers) for name in ("forward_s", "backward_s")]
        return ("in all", "", "", *_numbers(sums[:2]), *(size(int(n)) for n in sums[2:]), *map(_ms, alone))


def measure(net: Net, iterations: int | None = None, warm_up: int = 3, layers: bool = False) -> Timing:
    """Time a net's forward pass; forward and backward where it has a loss; and a whole step where it has a solver.

    `iterations` of each pass (None: 50, or what ten seconds allow, at least 5); `layers`: time each layer alone too, in
    at most as many.  NetdefError for a net whose shapes are
    not known.  Seconds are those of the device, waited for."""
    if net.solver is not None:
        net = frozen(net, net.solver.freeze)
        net = in_half(net, "bfloat16") if net.solver.precision is Precision.BF16 else net
    model = Model(net)
    costs = layer_costs(net, (iterations or ALONE) if layers else 0)
    flops = [sum(getattr(c.cost, name) for c in costs) for name in _NUMBERS[:2]]
    batch = summarize(net).batch or 1
    run = lambda name, made, flop, images: _timed(name, made, iterations, warm_up, flop, images)
    passes = [run("forward", _forward(net, model), flops[0], batch)]
    if any(any(node.trained) for node in net.layers) and any(any(node.loss_weights) for node in net.layers):
        passes.append(run("forward+backward", _backward(net, model), sum(flops), batch))
        if net.solver is not None and net.phase.name == "TRAIN":
            n = net.solver.iter_size
            passes.append(run("step", _step(net, model), sum(flops) * n, batch * n))
    device = jax.devices()[0]
    named = device.platform if device.platform == "cpu" else f"{device.platform} {device.device_kind}"
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")  # None on a CPU
    return Timing(net.name, net.phase.name, batch, named, jax.__version__, warm_up, tuple(passes), tuple(costs), peak)


# The programs: (what is compiled, its arguments, from a result to the next arguments)

Program = tuple[Any, tuple[Any, ...], Callable[[tuple[Any, ...], Any], tuple[Any, ...]]]


def _forward(net: Net, model: Model) -> Program:
    def run(weights: Any, inputs: Any, key: Any) -> Any:
        outcome = forward(net, weights, inputs, key)
        return {name: outcome.blobs[name] for name in net.outputs}, outcome.updates

    return jax.jit(run), (_weights(net, model), inputs_of(net), jax.random.key(0)), lambda given, _: given


def _backward(net: Net, model: Model) -> Program:
    trained = [t.owner for t in partition_of(net).trained]

    def run(moving: Any, weights: Any, inputs: Any, key: Any) -> Any:
        def objective(moving: Any) -> Any:
            outcome = forward(net, weights | dict(zip(trained, moving, strict=True)), inputs, key)
            return outcome.loss, outcome.updates

        return jax.value_and_grad(objective, has_aux=True)(moving)

    weights = _weights(net, model)
    given = ([weights[o] for o in trained], weights, inputs_of(net), jax.random.key(0))
    return jax.jit(run), given, lambda given, _: given


def _step(net: Net, model: Model) -> Program:
    solver, parts = net.solver, partition_of(net)
    step = make_single(make_step(net, solver, parts, jax.random.key(0)))
    items = {name: jnp.stack([array] * solver.iter_size)[None] for name, array in inputs_of(net).items()}
    state, fixed = first_state(solver, model, parts), arrays_of(model, parts.fixed)
    return step, (state, fixed, items, jnp.int32(1)), lambda given, made: (made[0], *given[1:])


def _weights(net: Net, model: Model) -> dict[Any, Any]:
    return {owner: model.weights[owner.layer][str(owner.index)][...] for owner, _ in net.owned}


def inputs_of(net: Net) -> dict[str, Any]:
    """Random arrays for a net: labels in their range, all else normal."""
    rng, bounds, found = np.random.default_rng(0), limits(net), {}
    for name in net.inputs:
        shape: Any = net.blobs[name].shape
        if name in bounds:
            found[name] = rng.integers(0, bounds[name].classes, shape)
        else:
            found[name] = rng.normal(size=shape) if len(shape) > 1 else np.zeros(shape)
    return {name: jnp.asarray(array, jnp.float32) for name, array in found.items()}


def _timed(name: str, made: Program, wanted: int | None, warm_up: int, flop: float, images: int) -> Pass:
    program, given, after = made
    begin = time.perf_counter()
    compiled = program.lower(*given).compile()
    compiling = time.perf_counter() - begin
    seconds: list[float] = []
    while len(seconds) < warm_up + (wanted or _affordable(seconds[1:])):
        begin = time.perf_counter()
        result = jax.block_until_ready(compiled(*given))
        seconds.append(time.perf_counter() - begin)
        given = after(given, result)
    some = np.array(seconds[warm_up:])
    low, middle, high = np.quantile(some, (0.25, 0.5, 0.75))
    return Pass(
        name, compiling, seconds[0], len(some), float(middle), float(some.min()), float(some.max()),
        (float(low), float(high)), images, flop, _memory(compiled), _analysis(compiled).get("bytes accessed"),
    )  # fmt: skip


def _affordable(seconds: list[float]) -> int:
    """Iterations for which there is time, by those that were made."""
    return int(min(MOST, max(LEAST, SECONDS / float(np.median(seconds))))) if seconds else MOST


def _memory(compiled: Any) -> int | None:
    plan = compiled.memory_analysis()
    if plan is None:
        return None
    parts = (plan.argument_size_in_bytes, plan.output_size_in_bytes, plan.temp_size_in_bytes)
    return int(sum(parts) - plan.alias_size_in_bytes)


def _analysis(program: Any) -> Mapping[str, float]:
    """XLA's cost analysis of a lowered or compiled program; nothing where it gives none."""
    try:
        found = program.cost_analysis()
    except (RuntimeError, NotImplementedError):
        return {}
    return (found[0] if isinstance(found, list) else found) or {}


# Layer by layer


def layer_costs(net: Net, iterations: int = 0) -> list[LayerCost]:
    """What each layer takes forward and backward, and if there are iterations its time alone; layers that are alike are
    looked at once."""
    known: dict[str, Cost] = {}
    found = []
    for i, node in enumerate(net.layers):
        _refuse_unknown(net, node)
        alike = _likeness(net, node)
        if alike not in known:
            known[alike] = Cost() if node.layer.is_input else _cost(net, i, iterations)
        output = net.shapes.get(node.tops[0]) if node.tops else None
        found.append(LayerCost(node.name, node.type, output, known[alike]))
    return found


def _refuse_unknown(net: Net, node: Node) -> None:
    for value in (*node.bottoms, *node.tops):
        shape = net.shapes.get(value)
        if shape is None or not all(isinstance(d, int) for d in shape):
            raise NetdefError(f"the shape of `{value.name}` is {show(shape)}; the data of the net must be there")


def _likeness(net: Net, node: Node) -> str:
    """Equal for layers whose programs are equal."""
    names = ("name", "top", "bottom", "param", "include", "exclude", "phase")
    fields = {name: getattr(node.layer, name) for name in node.layer.params() if name not in names}
    shapes = [net.shapes.get(v) for v in (*node.bottoms, *node.tops)]
    same = [node.bottoms.index(v) for v in node.bottoms]
    return repr((node.type, fields, shapes, same, node.trained, node.reached, node.frozen, node.precision))


def _cost(net: Net, i: int, iterations: int) -> Cost:
    node, part = net.layers[i], range(i, i + 1)
    struct = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    shapes = {owner: weight.shape for owner, weight in net.owned}
    weights = {owner: struct(shapes[owner]) for owner in node.owners}
    trained = {o: weights[o] for o, moved in zip(node.owners, node.trained, strict=True) if moved}
    blobs = {v.name: struct(net.shapes[v]) for v in node.bottoms}
    reached = {v.name: blobs[v.name] for v, wanted in zip(node.bottoms, node.reached, strict=True) if wanted}
    key = jax.random.key(0)

    def run(moving: Any, some: Any, weights: Any, blobs: Any) -> Any:
        values, updates, _ = forward_part(net, weights | moving, blobs | some, key, part)
        return [values[top] for top in node.tops], updates

    def both(moving: Any, some: Any, weights: Any, blobs: Any) -> Any:
        made, back, updates = jax.vjp(lambda m, s: run(m, s, weights, blobs), moving, some, has_aux=True)
        return made, updates, back([jnp.ones_like(top) for top in made])

    given = (trained, reached, weights, blobs)
    f_flop, f_bytes, loops = _lowered(run, given)
    seconds = _alone(run, given, iterations)
    if not trained and not reached:
        total, total_bytes, whole = f_flop, f_bytes, None
    else:
        total, total_bytes, more = _lowered(both, given)
        loops, whole = loops or more, _alone(both, given, iterations)
    if loops:
        sizes: Any = [[net.shapes[v] for v in values] for values in (node.bottoms, node.tops)]
        f_flop = 2.0 * node.layer.multiply_adds(*sizes)
        total = f_flop * (1 + bool(trained) + bool(reached))
    backward_s = None if whole is None or seconds is None else max(whole - seconds, 0.0)
    return Cost(f_flop, max(total - f_flop, 0.0), f_bytes, max(total_bytes - f_bytes, 0.0), loops, seconds, backward_s)


def _alone(function: Callable[..., Any], given: tuple[Any, ...], iterations: int) -> float | None:
    """The median of a program's time on random arrays, in seconds; None without iterations."""
    if not iterations:
        return None
    rng = np.random.default_rng(0)
    fill = lambda s: jnp.asarray(rng.normal(size=s.shape) if len(s.shape) > 1 else np.zeros(s.shape), s.dtype)
    arrays = jax.tree.map(fill, given)
    compiled = jax.jit(function).lower(*arrays).compile()
    seconds = []
    for _ in range(1 + iterations):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[1:]))


def _lowered(function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[float, float, bool]:
    """(FLOP, bytes, whether there is a loop in it, which XLA counts once)."""
    traced = jax.jit(function).trace(*given)
    lowered = traced.lower()
    loops = "stablehlo.while" in lowered.as_text()
    if loops and jax.default_backend() == "cpu":
        try:
            other = traced.lower(lowering_platforms=OTHER)
        except Exception:  # of many kinds; what only a CPU can do stays as it is
            other = lowered
        if "stablehlo.while" not in other.as_text():
            lowered, loops = other, False
    found = _analysis(lowered)
    return float(found.get("flops", 0.0)), float(found.get("bytes accessed", 0.0)), loops


# How it is shown

_NUMBERS = ("forward_flop", "backward_flop", "forward_bytes", "backward_bytes")
_PASS_HEAD = ("", "median", "fastest", "slowest", "middle", "images/s", "GFLOP", "GFLOP/s", "compiled in", "memory")
_LAYER_HEAD = (
    *("layer", "type", "output", "MFLOP forward", "backward", "bytes forward", "backward"),
    *("ms alone forward", "backward"),
)
_UNTIMED = 7  # columns of it that need no measuring


def _pass_cells(p: Pass) -> tuple[str, ...]:
    middle = f"{_ms(p.middle_s[0])} to {_ms(p.middle_s[1])}"
    return (
        p.name, f"{_ms(p.median_s)} ms", _ms(p.fastest_s), _ms(p.slowest_s), middle, f"{p.images_per_s:,.0f}",
        f"{p.flop / 1e9:,.3f}", f"{p.flop_per_s / 1e9:,.1f}", f"{p.compile_s:.2f} s",
        "?" if p.memory is None else size(p.memory),
    )  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def _layer_cells(x: LayerCost) -> tuple[str, ...]:
    name = f"{x.name}*" if x.cost.own_count else x.name
    moved = [size(int(n)) if n else "" for n in (x.cost.forward_bytes, x.cost.backward_bytes)]
    alone = ["" if s is None else _ms(s) for s in (x.cost.forward_s, x.cost.backward_s)]
    return name, x.type, show(x.output), *_numbers((x.cost.forward_flop, x.cost.backward_flop)), *moved, *alone


def _numbers(flops: Iterable[float]) -> list[str]:
    return [f"{n / 1e6:,.3f}" if n else "" for n in flops]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], words: int = 1) -> list[str]:
    """Lines of a table: the first `words` columns to the left, numbers to the right."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    place = lambda i, c: f"{c:<{widths[i]}}" if i < words else f"{c:>{widths[i]}}"
    return ["  ".join(place(i, c) for i, c in enumerate(row)).rstrip() for row in cells]
