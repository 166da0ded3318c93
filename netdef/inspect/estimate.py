"""The cost of a net on a device that is not present, from a program compiled ahead of time for it (`target`).

`estimate` accepts a `Net` and a `Target` and returns an `Estimate`, which converts to a table (`str`) or to JSON values
(`as_dict`).  The arrays are abstract: nothing of the size of the weights or of a batch is allocated.  The program runs
on several devices as one, which divide the first axis of each input and what a run divides (`training.placement`);
everything else is copied to each.  Random data (DummyData) count as inputs.

FLOP and traffic are those of the compiled program, as counted by XLA.  Traffic counts the operands and results of each
fusion, including those that the compiler keeps in on-chip memory, so no bound follows from it.  The bound follows from
the FLOP, and from the arguments and results, which pass the memory once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..graph import Net
from ..language.errors import NetdefError
from ..layers.input import Input
from ..solvers.base import Precision
from ..training.params import partition_of
from ..training.placement import Placement
from ..training.step import initial, make_step, single
from .collectives import Collective, collectives
from .layer_cost import LayerCost, analysis, layer_costs
from .summary import size, summarize
from .target import Chip, Target, devices_of
from .timing import (
    LABELS,
    Pass,
    as_trained,
    backward_pass,
    collective_table,
    dividing,
    forward_pass,
    has_step,
    layer_dicts,
    layer_table,
    learns,
    planned,
    table,
)


@dataclass(frozen=True)
class Bound:
    """A lower bound of the time of a program, in seconds, and its reason."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Compiled:
    """One compiled program; values of one device.  What the compiler does not report is None."""

    name: str
    images: int  # per iteration, on all devices
    compile_s: float
    flop: float
    traffic: float | None  # bytes read and written, after fusion
    arguments: int | None  # bytes
    results: int | None  # bytes, of which the step writes most over its arguments
    temporary: int | None  # bytes
    memory: int | None  # arguments, results and temporary buffers
    fits: bool
    refusal: str  # by the compiler, if the program does not fit
    collectives: tuple[Collective, ...]
    loops: bool  # whether the program contains loops, which XLA counts once


@dataclass(frozen=True)
class Estimate:
    """The cost of a net on a target, as far as it is known without running it."""

    net: str
    phase: str
    batch: int
    target: Target
    devices: int  # that the batch is divided among
    precision: str
    jax: str
    program: Compiled
    layers: tuple[LayerCost, ...]  # for the whole batch

    @property
    def chip(self) -> Chip:
        return self.target.chip

    @property
    def bound(self) -> Bound:
        """The larger of two lower bounds: of the FLOP, and of the bytes that must pass the memory."""
        peak, dtype = self.chip.peak(self.precision)
        compute = Bound(self.program.flop / peak, f"{_short(self.program.flop)}FLOP at {_short(peak)}FLOP/s ({dtype})")
        moved = (self.program.arguments or 0) + (self.program.results or 0)
        if self.program.traffic is not None and self.program.traffic < moved:
            moved = self.program.traffic  # of a table of rows, for example, only some are read
        reason = f"{size(int(moved))} of arguments and results at {_short(self.chip.bandwidth)}B/s"
        return max(compute, Bound(moved / self.chip.bandwidth, reason), key=lambda bound: bound.seconds)

    @property
    def traffic_s(self) -> float | None:
        """Seconds of the traffic at the peak bandwidth, if nothing of it stays on the chip."""
        return None if self.program.traffic is None else self.program.traffic / self.chip.bandwidth

    def as_dict(self) -> dict[str, Any]:
        """Returns the estimate as JSON values, with the names that `Timing` has; its times are None."""
        unknown = {f.name: None for f in fields(Pass) if f.name != "collectives"} | {
            "images_per_s": None,
            "flop_per_s": None,
        }
        own = {"bound_s": self.bound.seconds, "bound": self.bound.reason, "traffic_s": self.traffic_s}
        names = ("net", "phase", "batch", "devices", "precision", "jax")
        return {name: getattr(self, name) for name in names} | {
            "target": str(self.target),
            "device": self.chip.title,
            "chip": {
                "memory": self.chip.memory,
                "bandwidth": self.chip.bandwidth,
                "flop_per_s": dict(self.chip.peaks),
                "source": self.chip.source,
            },
            "passes": [unknown | asdict(self.program) | own],
            "layers": layer_dicts(self.layers),
            "warm_up": None,
            "device_peak": None,
        }

    def __str__(self) -> str:
        each = f" ({self.batch // self.devices} on each of {self.devices} devices)" if self.devices > 1 else ""
        total = self.target.devices
        used = f"{self.devices} of the {total} devices" if self.devices < total else f"{total} devices"
        return "\n".join(
            [
                f"net {self.net or '(no name)'}, phase {self.phase}, batch {self.batch}{each}, jax {self.jax}",
                f"compiled for {self.chip.title}, {used} of {self.target}; not run",
                "",
                *table(_HEAD, [_cells(self.program, self.devices)]),
                "",
                *self._notes(),
                "",
                *collective_table("collective", self.program.collectives),
                "layers, for the whole batch, before fusion:",
                *layer_table(self.layers),
            ]
        )

    def _notes(self) -> list[str]:
        program, label = self.program, LABELS[self.program.name]
        limit = f"{size(self.chip.memory)} of memory"
        fits = f"{size(program.memory)} of {limit}" if program.memory is not None else limit
        lines = [f"{'fits' if program.fits else 'does not fit'}: {program.refusal or fits}"]
        lines.append(f"no {label} is faster than {_time(self.bound.seconds)}: {self.bound.reason}")
        if self.traffic_s is not None:
            at = f"{_time(self.traffic_s)} at {_short(self.chip.bandwidth)}B/s"
            lines.append(f"traffic: {at}, less where buffers stay in on-chip memory")
        if program.loops:
            lines.append("the program contains a loop, which XLA counts once: FLOP are the sum of the layers")
        elif program.traffic is None and not program.refusal:
            lines.append("traffic: not reported by this compiler; FLOP are the sum of the layers")
        if self.chip.platform == "cuda":
            lines.append("temporary memory: without the workspaces that cuDNN selects on the device")
        return [*lines, f"peaks: {self.chip.source}"]


def estimate(net: Net, target: Target, devices: int | None = None) -> Estimate:
    """Compiles the training step of a net for an absent device, or its forward pass if it has no step.

    `devices`: the number of devices that the batch is divided among; by default, all devices of the target.
    TargetError if the compiler does not know the target or the batch cannot be divided, NetdefError if a shape is
    unknown or the compiler does not support the net."""
    net, chip = _fed(as_trained(net)), target.chip
    batch = summarize(net).batch or 1
    placement = dividing(net, devices_of(target), devices, f"of {target}")
    costs = layer_costs(net, platform=chip.platform)
    iter_size = net.solver.iter_size if net.solver is not None and has_step(net) else 1
    flop = sum(c.cost.forward_flop + c.cost.backward_flop * learns(net) for c in costs) * iter_size
    return Estimate(
        net=net.name,
        phase=net.phase.name,
        batch=batch,
        target=target,
        devices=placement.count,
        precision="bfloat16" if net.solver is not None and net.solver.precision is Precision.BF16 else "float32",
        jax=jax.__version__,
        program=_compiled(program_of(net, placement), chip, flop / placement.count),
        layers=tuple(costs),
    )


def _fed(net: Net) -> Net:
    """The net with inputs in place of random data, for which a run has records that its devices divide."""
    fed = lambda layer: Input(name=layer.name, top=layer.top) if layer.type == "DummyData" else layer
    return replace(net, layers=tuple(replace(node, layer=fed(node.layer)) for node in net.layers))


# The program and its abstract arguments


class Program(NamedTuple):
    """A program to compile, and its abstract arguments."""

    name: str
    run: Callable[..., Any]
    given: tuple[Any, ...]
    images: int
    results: Any  # shardings; None: as the compiler chooses
    donated: tuple[int, ...] = ()


def program_of(net: Net, placement: Placement) -> Program:
    """The training step, or the forward and backward pass without a solver, or the forward pass without a loss.

    All arguments are abstract, and the results are where the next step expects them."""
    batch, parts, everywhere = summarize(net).batch or 1, partition_of(net), placement.everywhere
    plain = {o: jax.ShapeDtypeStruct(placement.held(o, weight.shape), jnp.float32) for o, weight in net.owned}
    weights = {owner: _placed(array, placement.of(owner, array)) for owner, array in plain.items()}
    key = jax.tree.map(lambda k: _placed(k, everywhere), jax.eval_shape(lambda: jax.random.key(0)))
    if not learns(net):
        given = (weights, _inputs(net, placement), key)
        return Program("forward", forward_pass(net), given, batch, (None, everywhere))
    moving = tuple(weights[t.owner] for t in parts.trained)
    if not has_step(net):
        given = (list(moving), weights, _inputs(net, placement), key)
        results = (everywhere, [array.sharding for array in moving])
        return Program("forward+backward", backward_pass(net), given, batch, results)
    solver = net.solver
    state = jax.eval_shape(partial(initial, solver, partition=parts), moving, tuple(weights[o] for o in parts.kept))
    places = placement.of_state(state, parts)
    step = single(make_step(net, solver, parts, jax.random.key(0)))
    given = (
        jax.tree.map(_placed, state, places),
        tuple(weights[o] for o in parts.fixed),
        _inputs(net, placement, (1, solver.iter_size)),
        _placed(jax.ShapeDtypeStruct((), jnp.int32), everywhere),
    )
    return Program("step", step, given, batch * solver.iter_size, (places, everywhere), (0,))


def _placed(array: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


def _inputs(net: Net, placement: Placement, before: tuple[int, ...] = ()) -> dict[str, Any]:
    """The inputs with the axes `before` in front; those whose first axis is the batch are divided along it."""
    shapes = {name: (*before, *(net.blobs[name].shape or ())) for name in net.inputs}
    plain = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    return {name: _placed(array, placement.of_rows(array.shape, len(before))) for name, array in plain.items()}


def _compiled(program: Program, chip: Chip, flop: float) -> Compiled:
    """Compiles a program.  `flop` is used if the compiler reports none, or cannot count them because of a loop."""
    begin = time.perf_counter()
    run = jax.jit(program.run, donate_argnums=program.donated, out_shardings=program.results)
    made: Any = None
    refusal = ""
    try:
        lowered = run.trace(*program.given).lower(lowering_platforms=(chip.platform,))
        made = lowered.compile(compiler_options=dict(chip.options) or None)
    except Exception as error:  # of many types, for what a platform does not support
        if "RESOURCE_EXHAUSTED" not in str(error):
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise NetdefError(f"the net cannot be compiled for {chip.title}: {why}") from error
        refusal = refused(str(error))
    seconds = time.perf_counter() - begin
    hlo: str = "" if made is None else made.as_text()
    found = {} if made is None else analysis(made)
    loops = bool(re.search(r"\bwhile\(", hlo))
    plan = None if made is None else made.memory_analysis()
    memory = None if plan is None else planned(plan)
    return Compiled(
        name=program.name,
        images=program.images,
        compile_s=seconds,
        flop=flop if loops or "flops" not in found else found["flops"],
        traffic=None if loops else found.get("bytes accessed"),
        arguments=None if plan is None else plan.argument_size_in_bytes,
        results=None if plan is None else plan.output_size_in_bytes,
        temporary=None if plan is None else plan.temp_size_in_bytes,
        memory=memory,
        fits=not refusal and (memory is None or memory <= chip.memory),
        refusal=refusal,
        collectives=collectives(hlo),
        loops=loops,
    )


def refused(message: str) -> str:
    """The sentence of a compiler that says how much memory a program needs."""
    line = message.splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")
    line = re.sub(r"^E\d+: \w+: ", "", line)
    return line.partition(" HLO module")[0].rstrip(".")


# The table

_HEAD = ("each device", "images", "GFLOP", "traffic", "arguments", "results", "temporary", "memory", "compile time")


def _cells(p: Compiled, devices: int) -> tuple[str, ...]:
    amounts = (p.traffic, p.arguments, p.results, p.temporary, p.memory)
    return (
        p.name,
        f"{p.images // devices:,}",
        f"{p.flop / 1e9:,.3f}",
        *("?" if n is None else size(int(n)) for n in amounts),
        f"{p.compile_s:.0f} s",
    )


def _time(seconds: float) -> str:
    unit, scale = next((u for u in (("s", 1.0), ("ms", 1e-3)) if seconds >= u[1]), ("us", 1e-6))
    return f"{seconds / scale:.3g} {unit}"


def _short(number: float) -> str:
    """`197 T`, before a unit."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.4g} {prefix}"
    return f"{number:.4g} "
