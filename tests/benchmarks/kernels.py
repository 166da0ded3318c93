"""Speed of netdef's convolutions, matrix products and poolings, compared with XLA's own operations.

usage: python tests/benchmarks/kernels.py [SECONDS]        (per line, default 2)

Images have the channels last.  Each line: a layer, the values computed, milliseconds of XLA and of netdef, and their
ratio.  Both are compiled with netdef's options for this device.  The two alternate, and the best time of each is used,
so that other load affects both equally.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from netdef.cli import keep_freed_memory
from netdef.forward import jit
from netdef.layers._convolve import reference, transposed_reference
from netdef.layers.convolution import Convolution, Deconvolution
from netdef.layers.inner_product import InnerProduct
from netdef.layers.pooling import Pooling, PoolMethod

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from contexts import LAST

CONVOLUTIONS = {
    "3x3, 32 to 64, 50x50": ((16, 32, 50, 50), Convolution(num_output=64, kernel_size=(3,), pad=(1,))),
    "3x3, 64 to 64, 56x56": ((8, 64, 56, 56), Convolution(num_output=64, kernel_size=(3,), pad=(1,))),
    "3x3, 256 to 256, 14x14": ((16, 256, 14, 14), Convolution(num_output=256, kernel_size=(3,), pad=(1,))),
    "5x5, 32 to 32, 32x32": ((16, 32, 32, 32), Convolution(num_output=32, kernel_size=(5,), pad=(2,))),
    "5x5, 1 to 20, 28x28": ((64, 1, 28, 28), Convolution(num_output=20, kernel_size=(5,))),
    "5x5, 32 to 3, 64x64": ((16, 32, 64, 64), Convolution(num_output=3, kernel_size=(5,), pad=(2,))),
    "3x3 by 2, 256 to 256, 29x29": (
        (8, 256, 29, 29),
        Convolution(num_output=256, kernel_size=(3,), stride=(2,), pad=(1,)),
    ),
    "1x1, 64 to 256, 56x56": ((8, 64, 56, 56), Convolution(num_output=256, kernel_size=(1,))),
    "1x1, 256 to 64, 56x56": ((8, 256, 56, 56), Convolution(num_output=64, kernel_size=(1,))),
    "7x7 by 2, 3 to 64, 112x112": (
        (4, 3, 112, 112),
        Convolution(num_output=64, kernel_size=(7,), stride=(2,), pad=(3,)),
    ),
    "11x11 by 4, 3 to 96, 227x227": ((2, 3, 227, 227), Convolution(num_output=96, kernel_size=(11,), stride=(4,))),
    "5x5, 96 to 256, 27x27, 2 groups": (
        (4, 96, 27, 27),
        Convolution(num_output=256, kernel_size=(5,), pad=(2,), group=2),
    ),
    "3x3, depthwise, 64 channels, 56x56": (
        (4, 64, 56, 56),
        Convolution(num_output=64, kernel_size=(3,), pad=(1,), group=64),
    ),
    "transposed 4x4 by 2, 64 to 64": (
        (2, 64, 32, 32),
        Deconvolution(num_output=64, kernel_size=(4,), stride=(2,), pad=(1,)),
    ),
    "transposed 4x4 by 2, depthwise, 21 channels": (
        (8, 21, 32, 32),
        Deconvolution(num_output=21, kernel_size=(4,), stride=(2,), pad=(1,), group=21),
    ),
    "transposed 16x16 by 8, depthwise, 21 channels": (
        (8, 21, 16, 16),
        Deconvolution(num_output=21, kernel_size=(16,), stride=(8,), pad=(4,), group=21),
    ),
}
PRODUCTS = {
    "1 x 9216 to 4096": ((1, 9216), InnerProduct(num_output=4096, bias_term=False)),
    "16 x 9216 to 4096": ((16, 9216), InnerProduct(num_output=4096, bias_term=False)),
    "64 x 320 to 14700": ((64, 320), InnerProduct(num_output=14700, bias_term=False)),
    "1024 x 1024 to 1024": ((1024, 1024), InnerProduct(num_output=1024, bias_term=False)),
}
POOLINGS = {
    "2x2 by 2, 32 x 50x50": ((16, 32, 50, 50), dict(kernel_size=(2,), stride=(2,))),
    "3x3 by 2, 64 x 56x56": ((8, 64, 56, 56), dict(kernel_size=(3,), stride=(2,))),
    "3x3 by 1, 64 x 28x28": ((8, 64, 28, 28), dict(kernel_size=(3,), pad=(1,))),
}


def main(seconds: float = 2.0) -> None:
    keep_freed_memory()
    print(f"{'':60}{'':12}{'XLA ms':>9}{'netdef ms':>11}{'ratio':>8}")
    for name, (shape, layer) in CONVOLUTIONS.items():
        x = image(shape)
        w = jax.random.normal(jax.random.key(1), layer.weights(shape)[0].shape)
        mine = lambda w, x, layer=layer: layer.slide(x, w)
        compare(f"convolution {name}", mine, plain_convolution(layer, shape), w, x, seconds)
    for name, (shape, layer) in PRODUCTS.items():
        x, w = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate((shape, layer.weights(shape)[0].shape)))
        mine = lambda w, x, layer=layer: layer.apply((w,), x, ctx=LAST)
        compare(f"product {name}", mine, lambda w, x: x @ w.T, w, x, seconds)
    for name, (shape, fields) in POOLINGS.items():
        x = jax.nn.relu(image(shape))
        for pool in (PoolMethod.MAX, PoolMethod.AVE):
            layer = Pooling(pool=pool, **fields)
            mine = lambda _, x, layer=layer: layer.apply((), x, ctx=LAST)[0]
            compare(f"pooling {pool.name} {name}", mine, plain_pooling(layer, shape), None, x, seconds)


def image(shape: tuple[int, ...]) -> jax.Array:
    n, c, h, w = shape
    return jax.random.normal(jax.random.key(0), (n, h, w, c))


def plain_convolution(layer: Convolution | Deconvolution, shape: tuple[int, ...]) -> Callable:
    slide = layer.sliding(2, layer.groups(shape[1]))
    if isinstance(layer, Convolution):
        return lambda w, x: reference(x, w, slide)
    return lambda w, x: transposed_reference(x, w, slide, layer.infer(shape)[0][2:])


def plain_pooling(layer: Pooling, shape: tuple[int, ...]) -> Callable:
    windows = layer.windows(shape)[::-1]
    sizes, strides = (1, *(v.size for v in windows), 1), (1, *(v.stride for v in windows), 1)
    after = [max(0, v.stride * (v.steps - 1) + v.size - shape[v.axis] - v.before) for v in windows]
    pads = [(0, 0), *((v.before, a) for v, a in zip(windows, after, strict=True)), (0, 0)]
    if layer.pool is PoolMethod.MAX:
        return lambda _, x: lax.reduce_window(x, -jnp.inf, lax.max, sizes, strides, pads)
    return lambda _, x: lax.reduce_window(x, 0.0, lax.add, sizes, strides, pads) / (sizes[1] * sizes[2])


def compare(name: str, mine: Callable, plain: Callable, w: jax.Array | None, x: jax.Array, seconds: float) -> None:
    dy = jax.random.normal(jax.random.key(2), jax.eval_shape(mine, w, x).shape)
    kinds: dict[str, Callable] = {
        "value": lambda f: lambda w, x, dy: f(w, x),
        "to image": lambda f: lambda w, x, dy: jax.vjp(lambda x: f(w, x), x)[1](dy),
    }
    if w is not None:
        kinds["to filters"] = lambda f: lambda w, x, dy: jax.vjp(lambda w: f(w, x), w)[1](dy)
    for kind, of in kinds.items():
        xla, own = fastest([jit(of(plain)), jit(of(mine))], (w, x, dy), seconds)
        print(f"{name:60}{kind:12}{xla:9.2f}{own:11.2f}{xla / own:8.1f}", flush=True)


def fastest(functions: list[Callable], arguments: tuple, seconds: float) -> list[float]:
    """Returns the best time of each function in milliseconds."""
    for f in functions:
        jax.block_until_ready(f(*arguments))
    best, end = [float("inf")] * len(functions), time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, f in enumerate(functions):
            start = time.perf_counter()
            jax.block_until_ready(f(*arguments))
            best[i] = min(best[i], 1e3 * (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
