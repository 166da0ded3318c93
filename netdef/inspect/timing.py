"""Speed of a net: the time of its passes and of its training step, and the cost of each layer (`layer_cost`).

`measure` accepts a `Net` and returns a `Timing`, which converts to a table (`str`) or to JSON values (`as_dict`).  The
inputs are random arrays, so reading data is not measured.  Each pass is a compiled program of its own, and each
iteration is blocked on.  Several devices divide the batch, as in training (`training.placement`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.labels import limits
from ..data.mesh import Devices, chosen, mesh_of
from ..forward import forward, jit
from ..graph import Net, Owner
from ..layers.base import Phase
from ..model import Model
from ..passes.freeze import frozen
from ..passes.precision import as_computed
from ..passes.recompute import recomputed, segment_of
from ..shape import show
from ..training.params import arrays_of, partition_of
from ..training.placement import ONE, ROWS, Placement, with_classes
from ..training.prepare import first_state
from ..training.step import make_single, make_step
from .collectives import Collective, collectives
from .layer_cost import LayerCost, analysis, layer_costs
from .summary import size, summarize
from .target import TargetError

MOST = 50  # iterations of a pass, as in Caffe
LEAST = 5
ALONE = 10  # iterations of a layer alone
SECONDS = 10.0  # for the iterations of a pass, if their number is not given


@dataclass(frozen=True)
class Pass:
    """One compiled program: times in seconds, `flop` of one iteration, and bytes as planned by XLA."""

    name: str
    compile_s: float
    first_s: float  # the first iteration
    iterations: int
    median_s: float
    fastest_s: float
    slowest_s: float
    middle_s: tuple[float, float]  # first and third quartile
    images: int  # per iteration
    flop: float
    memory: int | None  # arguments, results and temporary buffers
    temporary: int | None  # temporary buffers alone: the values that are stored for the backward pass, and others
    traffic: float | None  # bytes read and written, after fusion
    collectives: tuple[Collective, ...] = ()  # between several devices

    @property
    def images_per_s(self) -> float:
        return self.images / self.median_s

    @property
    def flop_per_s(self) -> float:
        return self.flop / self.median_s


@dataclass(frozen=True)
class Timing:
    """All measurements of a net."""

    net: str
    phase: str
    batch: int
    device: str
    jax: str
    warm_up: int
    passes: tuple[Pass, ...]
    layers: tuple[LayerCost, ...]
    device_peak: int | None  # peak bytes in use, if the device reports them
    devices: int = 1  # that divide the batch

    def as_dict(self) -> dict[str, Any]:
        """Returns the measurements as JSON values."""
        passes = [asdict(p) | {"images_per_s": p.images_per_s, "flop_per_s": p.flop_per_s} for p in self.passes]
        return asdict(self) | {"passes": passes, "layers": layer_dicts(self.layers)}

    def __str__(self) -> str:
        name = self.net or "(no name)"
        counts = ", ".join(f"{p.name} {p.iterations}" for p in self.passes)
        last = self.passes[-1]
        peak = f"; peak in use: {size(self.device_peak)}" if self.device_peak else ""
        each = f" ({self.batch // self.devices} on each of {self.devices} devices)" if self.devices > 1 else ""
        exchanged = collective_table(f"collectives of the {LABELS[last.name]}", last.collectives)
        lines = [
            f"net {name}, phase {self.phase}, batch {self.batch}{each}, on {self.device}, jax {self.jax}",
            "",
            *table(_PASS_HEAD, map(_pass_cells, self.passes)),
            "",
            f"iterations: {counts}; warm-up: {self.warm_up} each",
            f"memory: as planned by XLA{', of each device' if self.devices > 1 else ''}{peak}",
            "",
            *exchanged,
            *layer_table(self.layers),
        ]
        return "\n".join(lines)


LABELS = {"forward": "forward pass", "forward+backward": "forward and backward pass", "step": "step"}


def measure(
    net: Net, iterations: int | None = None, warm_up: int = 3, layers: bool = False, devices: Devices = None
) -> Timing:
    """Times a net's forward pass, forward and backward if it has a loss, and a training step if it has a solver.

    `iterations` of each pass (None: up to 50 in about ten seconds, at least 5); `layers`: also time each layer alone,
    on one device; `devices`: those that divide the batch, by default the first one.  Each time includes waiting for the
    devices.  NetdefError for a net with unknown shapes, TargetError for a batch that the devices cannot divide."""
    net = as_trained(net)
    costs = layer_costs(net, (iterations or ALONE) if layers else 0)
    found = [] if devices is None else chosen(devices)
    wanted = None if devices == "all" else len(found)
    placement = dividing(net, found, wanted, "that JAX finds") if found else ONE
    programs = _programs(net, Model(net, shardings=placement.shardings), costs, placement)
    device = jax.devices()[0]
    return Timing(
        net=net.name,
        phase=net.phase.name,
        batch=programs[0].images,
        device=device.platform if device.platform == "cpu" else f"{device.platform} {device.device_kind}",
        jax=jax.__version__,
        warm_up=warm_up,
        passes=tuple(_timed(program, iterations, warm_up) for program in programs),
        layers=tuple(costs),
        device_peak=(device.memory_stats() or {}).get("peak_bytes_in_use"),  # None on a CPU
        devices=placement.count,
    )


def dividing(net: Net, devices: Sequence[Any], wanted: int | None, which: str) -> Placement:
    """Returns the placement of a net on the first `wanted` of some devices, which divide its batch and what a run
    divides; on one if the net has no inputs and `wanted` is not given.  TargetError if they cannot divide the batch;
    `which` devices they are is for its message."""
    batch = summarize(net).batch or 1
    divisible = any((shape := net.blobs[name].shape) and shape[0] == batch for name in net.inputs)
    count = wanted or (len(devices) if divisible else 1)
    if count > len(devices):
        raise TargetError(f"--devices {count}: there are only {len(devices)} devices {which}")
    if count > 1 and not divisible:
        raise TargetError(f"--devices {count}: the net has no inputs to divide among devices; use --devices 1")
    if batch % count:
        fitting = [str(n) for n in range(1, len(devices) + 1) if batch % n == 0]
        raise TargetError(
            f"the batch of {batch} cannot be divided among {count} devices {which}; change the batch size, or use "
            f"--devices {' or '.join(fitting)}"
        )
    return with_classes(Placement(mesh_of(devices[:count]), rows=frozenset({batch})), net)


def as_trained(net: Net) -> Net:
    """Returns the net with the frozen layers, the precision and the recomputed segments that its solver sets."""
    if net.solver is None:
        return net
    net = frozen(net, net.solver.freeze)
    net = as_computed(net)
    return recomputed(net, net.solver.recompute) if net.phase is Phase.TRAIN else net


# The programs


class Program(NamedTuple):
    """A program to time: a jitted function and its arguments; `after` maps arguments and result to new arguments."""

    name: str
    run: Any
    given: tuple[Any, ...]
    images: int  # per iteration
    flop: float
    after: Callable[[tuple[Any, ...], Any], tuple[Any, ...]] = lambda given, _: given


def _programs(net: Net, model: Model, costs: list[LayerCost], placement: Placement) -> list[Program]:
    """The forward pass, forward and backward if there is a loss, and the training step if there is a solver."""
    flops = [sum(getattr(c.cost, name) for c in costs) for name in _NUMBERS[:2]]
    again = sum(c.cost.forward_flop for c, node in zip(costs, net.layers, strict=True) if segment_of(node) is not None)
    learning = sum(flops) + again
    batch = summarize(net).batch or 1
    programs = [_forward(net, model, batch, flops[0], placement)]
    if learns(net):
        programs.append(_backward(net, model, batch, learning, placement))
        if has_step(net):
            n = net.solver.iter_size
            programs.append(_step(net, model, batch * n, learning * n, placement))
    return programs


def learns(net: Net) -> bool:
    """Whether the net has a loss and weights that are trained."""
    return any(any(node.trained) for node in net.layers) and any(any(node.loss_weights) for node in net.layers)


def has_step(net: Net) -> bool:
    """Whether the net has a training step."""
    return learns(net) and net.solver is not None and net.phase.name == "TRAIN"


def forward_pass(net: Net) -> Callable[..., Any]:
    """Returns the forward pass: (weights, inputs, key) -> (outputs, updates)."""

    def run(weights: Any, inputs: Any, key: Any) -> Any:
        outcome = forward(net, weights, inputs, key)
        return {name: outcome.blobs[name] for name in net.outputs}, outcome.updates

    return run


def backward_pass(net: Net) -> Callable[..., Any]:
    """Returns the forward and backward pass: (trained, weights, inputs, key) -> ((loss, updates), gradients)."""
    trained = [t.owner for t in partition_of(net).trained]

    def run(moving: Any, weights: Any, inputs: Any, key: Any) -> Any:
        def objective(moving: Any) -> Any:
            outcome = forward(net, weights | dict(zip(trained, moving, strict=True)), inputs, key)
            return outcome.loss, outcome.updates

        return jax.value_and_grad(objective, has_aux=True)(moving)

    return run


def _forward(net: Net, model: Model, images: int, flop: float, placement: Placement) -> Program:
    given = (_weights(model, placement), placement.put_rows(inputs_of(net), 0), jax.random.key(0))
    return Program("forward", jit(forward_pass(net)), given, images, flop)


def _backward(net: Net, model: Model, images: int, flop: float, placement: Placement) -> Program:
    weights = _weights(model, placement)
    moving = [weights[t.owner] for t in partition_of(net).trained]
    given = (moving, weights, placement.put_rows(inputs_of(net), 0), jax.random.key(0))
    return Program("forward+backward", jit(backward_pass(net), net), given, images, flop)


def _step(net: Net, model: Model, images: int, flop: float, placement: Placement) -> Program:
    solver, parts = net.solver, partition_of(net)
    state = first_state(solver, model, parts, placement)
    placed = None if placement.mesh is None else (placement.of_state(state, parts), placement.everywhere)
    step = make_single(make_step(net, solver, parts, jax.random.key(0)), net, placed)
    items = {name: jnp.stack([array] * solver.iter_size)[None] for name, array in inputs_of(net).items()}
    fixed = placement.put_owned(parts.fixed, arrays_of(model, parts.fixed))
    given = (state, fixed, placement.put_rows(items, ROWS), jnp.int32(1))
    return Program("step", step, given, images, flop, after=lambda given, made: (made[0], *given[1:]))


def _weights(model: Model, placement: Placement) -> dict[Owner, Any]:
    arrays = model.arrays()
    return dict(zip(arrays, placement.put_owned(tuple(arrays), tuple(arrays.values())), strict=True))


def inputs_of(net: Net) -> dict[str, Any]:
    """Returns random inputs for a net: labels within their range, other values normally distributed."""
    rng, bounds, found = np.random.default_rng(0), limits(net), {}
    for name in net.inputs:
        shape: Any = net.blobs[name].shape
        if name in bounds:
            found[name] = rng.integers(0, bounds[name].classes, shape)
        else:
            found[name] = rng.normal(size=shape) if len(shape) > 1 else np.zeros(shape)
    return {name: jnp.asarray(array, jnp.float32) for name, array in found.items()}


def _timed(program: Program, wanted: int | None, warm_up: int) -> Pass:
    """Compiles a program and runs it `wanted` times after `warm_up` runs (None: as often as time allows)."""
    begin = time.perf_counter()
    compiled = program.run.lower(*program.given).compile()
    compiling = time.perf_counter() - begin
    given = program.given
    seconds: list[float] = []
    while len(seconds) < warm_up + (wanted or _affordable(seconds[1:])):
        begin = time.perf_counter()
        result = jax.block_until_ready(compiled(*given))
        seconds.append(time.perf_counter() - begin)
        given = program.after(given, result)
    some = np.array(seconds[warm_up:])
    low, middle, high = (float(q) for q in np.quantile(some, (0.25, 0.5, 0.75)))
    return Pass(
        name=program.name,
        compile_s=compiling,
        first_s=seconds[0],
        iterations=len(some),
        median_s=middle,
        fastest_s=float(some.min()),
        slowest_s=float(some.max()),
        middle_s=(low, high),
        images=program.images,
        flop=program.flop,
        memory=_memory(compiled),
        temporary=None if (plan := compiled.memory_analysis()) is None else int(plan.temp_size_in_bytes),
        traffic=analysis(compiled).get("bytes accessed"),
        collectives=collectives(compiled.as_text()),
    )


def _affordable(seconds: list[float]) -> int:
    """Returns the number of iterations that time allows, estimated from the times so far."""
    return int(min(MOST, max(LEAST, SECONDS / float(np.median(seconds))))) if seconds else MOST


def layer_dicts(layers: Iterable[LayerCost]) -> list[dict[str, Any]]:
    """Returns the costs of layers as JSON values."""
    return [{"name": x.name, "type": x.type, "output": list(x.output or ())} | asdict(x.cost) for x in layers]


def _memory(compiled: Any) -> int | None:
    plan = compiled.memory_analysis()
    return None if plan is None else planned(plan)


def planned(plan: Any) -> int:
    """Returns the bytes that XLA plans: arguments, results that do not overwrite them, and temporary buffers."""
    parts = (plan.argument_size_in_bytes, plan.output_size_in_bytes, plan.temp_size_in_bytes)
    return int(sum(parts) - plan.alias_size_in_bytes)


# The tables

_NUMBERS = ("forward_flop", "backward_flop", "forward_bytes", "backward_bytes")
_PASS_HEAD = (
    *("", "median", "fastest", "slowest", "quartiles", "images/s", "GFLOP", "GFLOP/s", "compile time", "memory"),
    "temporary",
)
_LAYER_HEAD = (
    *("layer", "type", "output", "forward MFLOP", "backward MFLOP", "forward bytes", "backward bytes"),
    *("forward ms (alone)", "backward ms (alone)"),
)
_UNTIMED = 7  # number of columns if layers were not timed alone


def _pass_cells(p: Pass) -> tuple[str, ...]:
    return (
        p.name,
        f"{_ms(p.median_s)} ms",
        _ms(p.fastest_s),
        _ms(p.slowest_s),
        f"{_ms(p.middle_s[0])} to {_ms(p.middle_s[1])}",
        f"{p.images_per_s:,.0f}",
        f"{p.flop / 1e9:,.3f}",
        f"{p.flop_per_s / 1e9:,.1f}",
        f"{p.compile_s:.2f} s",
        *("?" if bytes is None else size(bytes) for bytes in (p.memory, p.temporary)),
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def layer_table(layers: Sequence[LayerCost]) -> list[str]:
    """Returns the lines of a table of layers and their sum; the last two columns only if layers were timed alone."""
    timed = any(x.cost.forward_s is not None for x in layers)
    width = len(_LAYER_HEAD) if timed else _UNTIMED
    rows = [*map(_layer_cells, layers), _total(layers)]
    lines = table(_LAYER_HEAD[:width], [row[:width] for row in rows], 3)
    if any(x.cost.own_count for x in layers):
        lines += ["", "* contains a loop, which XLA counts once; computed from the layer's multiply-adds"]
    return lines


def _total(layers: Sequence[LayerCost]) -> tuple[str, ...]:
    sums = [sum(getattr(x.cost, name) for x in layers) for name in _NUMBERS]
    alone = [sum(getattr(x.cost, name) or 0.0 for x in layers) for name in ("forward_s", "backward_s")]
    return ("total", "", "", *_numbers(sums[:2]), *(size(int(n)) for n in sums[2:]), *map(_ms, alone))


def _layer_cells(x: LayerCost) -> tuple[str, ...]:
    name = f"{x.name}*" if x.cost.own_count else x.name
    moved = [size(int(n)) if n else "" for n in (x.cost.forward_bytes, x.cost.backward_bytes)]
    alone = ["" if s is None else _ms(s) for s in (x.cost.forward_s, x.cost.backward_s)]
    return name, x.type, show(x.output), *_numbers((x.cost.forward_flop, x.cost.backward_flop)), *moved, *alone


def _numbers(flops: Iterable[float]) -> list[str]:
    return [f"{n / 1e6:,.3f}" if n else "" for n in flops]


def collective_table(title: str, found: Sequence[Collective]) -> list[str]:
    """Returns the lines of a table of collectives and an empty line; none if there are no collectives."""
    rows = [(c.kind, f"{c.count}", size(c.bytes)) for c in found]
    return [*table((title, "count", "result"), rows), ""] if rows else []


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], words: int = 1) -> list[str]:
    """Returns the lines of a table: the first `words` columns aligned to the left, the others to the right."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    place = lambda i, c: f"{c:<{widths[i]}}" if i < words else f"{c:>{widths[i]}}"
    return ["  ".join(place(i, c) for i, c in enumerate(row)).rstrip() for row in cells]
