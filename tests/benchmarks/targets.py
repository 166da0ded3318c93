"""Cost of netdef's training step on an absent TPU, compared with the same net written in Flax by hand.

usage: python tests/benchmarks/targets.py [--nets face_bn resnet50] [--precision float32 bfloat16] [--target v5e:2x2]

Needs `pip install libtpu` and no TPU. All steps are compiled for one device: loss, gradients, momentum, weight decay
and running statistics. netdef's step also keeps weights and history as they are after a loss that is not finite, and
finds gradients that are not. There are two peers: the step that a user of Flax and optax writes, and the same one with
optax's guard, which waits for all gradients. Each line has a value of netdef, and for each peer its value and netdef's
divided by it; a ratio above 1 is a loss for netdef. Compiling takes one to three minutes for each program, on one core.

Traffic is XLA's count: it includes arrays that stay in on-chip memory, and counts a copy to or from there several times.
Temporary memory includes the gaps between buffers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import SingleDeviceSharding

import netdef
from netdef.inspect.estimate import estimate
from netdef.inspect.target import Target, devices_of, environment, require_compiler, target_of

NETS = Path(__file__).parent / "nets"
PERSONS = 14_700


class Face(nnx.Module):
    """The net of `nets/face_bn.net`."""

    def __init__(self, dtype: Any, rngs: nnx.Rngs):
        widths = (1, 32, 64, 64, 128, 96, 192, 160, 320)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.convs = nnx.List([nnx.Conv(i, o, (3, 3), dtype=dtype, rngs=rngs) for i, o in pairs])
        self.norms = nnx.List([nnx.BatchNorm(o, dtype=dtype, rngs=rngs) for _, o in pairs])
        self.person = nnx.Linear(widths[-1], PERSONS, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = nnx.relu(norm(conv(x)))
            if i in (1, 3, 5):
                x = nnx.max_pool(x, (2, 2), (2, 2), padding="SAME")
        return self.person(x.mean((1, 2)))


class ConvNorm(nnx.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dtype: Any, rngs: nnx.Rngs):
        size, strides = (kernel, kernel), (stride, stride)
        self.conv = nnx.Conv(inputs, outputs, size, strides, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = nnx.BatchNorm(outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Block(nnx.Module):
    """A bottleneck as in `std/resnet.net`, with the stride in its first convolution."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool, dtype: Any, rngs: nnx.Rngs):
        make = lambda i, o, k, s: ConvNorm(i, o, k, s, dtype, rngs)
        self.reduce, self.conv = make(inputs, width, 1, stride), make(width, width, 3, 1)
        self.expand = make(width, 4 * width, 1, 1)
        self.shortcut = make(inputs, 4 * width, 1, stride) if project else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.expand(nnx.relu(self.conv(nnx.relu(self.reduce(x)))))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet50(nnx.Module):
    """The net of `nets/resnet50.net`."""

    def __init__(self, dtype: Any, rngs: nnx.Rngs):
        self.stem, self.blocks, inputs = ConvNorm(3, 64, 7, 2, dtype, rngs), nnx.List(), 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                self.blocks.append(Block(inputs, width, stride if i == 0 else 1, i == 0, dtype, rngs))
                inputs = 4 * width
        self.fc = nnx.Linear(inputs, 1000, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.stem(x)), (3, 3), (2, 2), padding="SAME")
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((1, 2)))


TWINS: dict[str, tuple[Callable[..., nnx.Module], tuple[int, ...]]] = {
    "face_bn": (Face, (256, 50, 50, 1)),
    "resnet50": (ResNet50, (32, 224, 224, 3)),
}


def flax_step(net: str, dtype: Any, target: Target, guard: bool = False) -> Any:
    """Compiles the training step that a user of Flax and optax writes, for one device of a target.

    With `guard`, it changes nothing if a gradient is not finite."""
    make, shape = TWINS[net]
    place = SingleDeviceSharding(devices_of(target)[0])
    graph, params, rest = nnx.split(nnx.eval_shape(lambda: make(dtype, nnx.Rngs(0))), nnx.Param, ...)
    rule = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9))
    rule = optax.apply_if_finite(rule, max_consecutive_errors=2**31 - 1) if guard else rule

    def step(params: Any, rest: Any, state: Any, images: jax.Array, labels: jax.Array) -> Any:
        def objective(params: Any) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            scores = model(images).astype(jnp.float32)
            loss = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
            return loss, nnx.state(model, nnx.Not(nnx.Param))

        (loss, kept), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, state = rule.update(grads, state, params)
        if guard:
            kept = jax.tree.map(partial(jnp.where, state.last_finite), kept, rest)
        return optax.apply_updates(params, updates), kept, state, loss

    spec = lambda tree: jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), tree)
    images, labels = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape[:1], jnp.int32)
    given = spec((params, rest, jax.eval_shape(rule.init, params), images, labels))
    traced = jax.jit(step, donate_argnums=(0, 1, 2)).trace(*given)
    lowered = traced.lower(lowering_platforms=(target.chip.platform,))
    return lowered.compile(compiler_options=dict(target.chip.options) or None)


def compare(net: str, precision: str, target: Target) -> None:
    """Prints FLOP, traffic and memory of netdef and of both peers, in units of 10^9 and 10^6."""
    settings = {"solver.precision": "BF16"} if precision == "bfloat16" else {}
    own = estimate(netdef.load(NETS / f"{net}.net", phase="TRAIN", set=settings), target, devices=1).program
    peers = [flax_step(net, jnp.dtype(precision), target, guard) for guard in (False, True)]
    costs, plans = [p.cost_analysis() for p in peers], [p.memory_analysis() for p in peers]
    rows = (
        ("GFLOP", own.flop, [cost["flops"] for cost in costs], 1e9),
        ("traffic GB", own.traffic, [cost["bytes accessed"] for cost in costs], 1e9),
        ("temporary MB", own.temporary, [plan.temp_size_in_bytes for plan in plans], 1e6),
        ("arguments MB", own.arguments, [plan.argument_size_in_bytes for plan in plans], 1e6),
    )
    for what, mine, others, unit in rows:
        compared = "".join(f"{other / unit:10.2f}{mine / other:8.2f}" for other in others)
        print(f"{net:10}{precision:10}{what:14}{mine / unit:10.2f}{compared}", flush=True)


def options(what: str, target: str) -> argparse.Namespace:
    """Reads the command line of a program that compiles these nets for a device that is not there."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--nets", nargs="+", choices=list(TWINS), default=list(TWINS))
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--target", type=target_of, default=target_of(target), metavar="CHIP:SHAPE")
    given = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    require_compiler(given.target)
    print(f"one device of {given.target}, jax {jax.__version__}")
    return given


def main() -> None:
    given = options(__doc__.splitlines()[0], "v5e:2x2")
    print(f"{'net':10}{'precision':10}{'':14}{'netdef':>10}{'Flax':>10}{'ratio':>8}{'guarded':>10}{'ratio':>8}")
    with environment(given.target):
        for net in given.nets:
            for precision in given.precision:
                compare(net, precision, given.target)


if __name__ == "__main__":
    main()
