"""What a GPU that is not present would run in netdef's training step, compared with the same net written in Flax by
hand: the calls of cuDNN and cuBLAS, and the arrays that are transposed or copied between them.

usage: python tests/benchmarks/gpu_calls.py [--nets face_bn resnet50] [--precision float32 bfloat16] [--target h100:1]

Needs JAX's compiler for CUDA (`netdef time --target h100:1` names its packages) and no GPU. A moved array is the result
of an operation, or of a fusion, that transposes or copies. Those of filters have the sizes of trained weights; moved
images would mean that convolutions and their neighbors disagree about the order of axes.
"""

from __future__ import annotations

import re
from collections import Counter
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from targets import NETS, flax_step, options

import netdef
from netdef.inspect.estimate import program_of
from netdef.inspect.target import Target, devices_of, environment
from netdef.inspect.timing import as_trained, dividing

ARRAY = re.compile(r"\b(f32|bf16)\[([\d,]*)\]")
SMALL = 4096  # elements; smaller arrays are not counted


def netdef_step(net: str, precision: str, target: Target) -> Any:
    """Compiles netdef's training step for one device of a target."""
    settings = {"solver.precision": "BF16"} if precision == "bfloat16" else {}
    loaded = as_trained(netdef.load(NETS / f"{net}.net", phase="TRAIN", set=settings))
    program = program_of(loaded, dividing(loaded, devices_of(target), 1, f"of {target}"))
    run = jax.jit(program.run, donate_argnums=program.donated, out_shardings=program.results)
    lowered = run.trace(*program.given).lower(lowering_platforms=(target.chip.platform,))
    return lowered.compile(compiler_options=dict(target.chip.options) or None)


def filters(net: str) -> set[tuple[int, ...]]:
    """Returns the sizes of the weights of a net, in ascending order, without axes of 1."""
    owned = netdef.load(NETS / f"{net}.net", phase="TRAIN").owned
    return {_sizes(weight.shape) for _, weight in owned}


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(sorted(n for n in shape if n != 1))


def moved(hlo: str) -> list[tuple[str, tuple[int, ...]]]:
    """Returns dtype and shape of each result of the entry computation that was transposed or copied."""
    bodies = dict(re.findall(r"\n%?([\w.\-]+) \([^\n]*\{\n(.*?)\n\}", hlo, re.S))
    entry = hlo[hlo.index("\nENTRY") :]
    found = []
    for kind, operation, rest in re.findall(r"= (\(.*?\)|\S+) (transpose|copy|fusion)\(([^\n]*)", entry):
        body = bodies.get(re.search(r"calls=%([\w.\-]+)", rest).group(1), "") if operation == "fusion" else kind
        if operation == "fusion" and not re.search(r" (transpose|copy)\(", body):
            continue
        shapes = [(dtype, tuple(map(int, filter(None, dims.split(","))))) for dtype, dims in ARRAY.findall(kind)]
        found += [(dtype, shape) for dtype, shape in shapes if prod(shape) >= SMALL]
    return found


def report(name: str, net: str, precision: str, step: Any) -> None:
    """Prints the calls of a step, and how many arrays of how many MB are moved."""
    hlo, own = step.as_text(), filters(net)
    entry = hlo[hlo.index("\nENTRY") :]
    calls = Counter(re.findall(r'custom_call_target="__(\w+\$\w+)', entry))
    size = lambda arrays: sum(prod(shape) * (2 if dtype == "bf16" else 4) for dtype, shape in arrays) / 1e6
    arrays = moved(hlo)
    weights = [array for array in arrays if _sizes(array[1]) in own]
    images = [array for array in arrays if _sizes(array[1]) not in own]
    left = len(re.findall(r" convolution\(", hlo))
    print(f"{net:10}{precision:10}{name:8}", ", ".join(f"{n} {call}" for call, n in sorted(calls.items())))
    parts = f"{len(weights)} filters moved ({size(weights):.1f} MB), {len(images)} images ({size(images):.1f} MB)"
    print(f"{'':28} {parts}, {left} convolutions that are no calls", flush=True)


def main() -> None:
    given = options(__doc__.partition("\n\n")[0], "h100:1")
    with environment(given.target):
        for net in given.nets:
            for precision in given.precision:
                report("netdef", net, precision, netdef_step(net, precision, given.target))
                report("Flax", net, precision, flax_step(net, jnp.dtype(precision), given.target))


if __name__ == "__main__":
    main()
