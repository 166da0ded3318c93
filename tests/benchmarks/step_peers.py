"""One training step of the same net in netdef and its peers: forward, backward, and SGD with momentum.

usage: python tests/benchmarks/step_peers.py                       every net, with every peer that is installed
       python tests/benchmarks/step_peers.py face,lenet --seconds 60 --peers torch,torch_cl

Peers: PyTorch with images as (n, c, h, w) and channels-last, JAX by hand (channels-last, XLA's own operations, default
compiler options), and Keras on JAX.  All run in turns in this process, and the best time of each is used, so that other
load affects all of them equally.  The last column is netdef's time as a multiple of the best of PyTorch's.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from netdef.cli import keep_freed_memory
from netdef.model import Model
from netdef.training.params import arrays_of, partition_of
from netdef.training.prepare import first_state
from netdef.training.solver_nets import nets_of
from netdef.training.step import make_single, make_step

RATE, MOMENTUM = 1e-4, 0.9


@dataclass(frozen=True)
class Conv:
    out: int
    kernel: int = 3
    stride: int = 1
    pad: int = 1
    groups: int = 1
    bias: bool = True


@dataclass(frozen=True)
class MaxPool:
    kernel: int = 2
    stride: int = 2
    pad: int = 0


@dataclass(frozen=True)
class Dense:
    out: int


@dataclass(frozen=True)
class Residual:
    """relu(body(x) + shortcut(x))."""

    body: tuple[Any, ...]
    shortcut: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Norm:
    """Batch normalization with scale and shift."""


@dataclass(frozen=True)
class Relu:
    pass


@dataclass(frozen=True)
class MeanPool:
    """The mean of each channel."""


@dataclass(frozen=True)
class Net:
    batch: int
    channels: int
    side: int
    classes: int
    layers: tuple[Any, ...]

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(0)
        images = random.standard_normal((self.batch, self.channels, self.side, self.side), np.float32)
        return images, random.integers(0, self.classes, self.batch)


def face(norm: bool) -> Net:
    layers: list[Any] = []
    for i, widths in enumerate([(32, 64), (64, 128), (96, 192), (160, 320)]):
        layers += [MaxPool()] if i else []
        for width in widths:
            layers += [Conv(width), *([Norm()] if norm else []), Relu()]
    return Net(64, 1, 50, 14700, (*layers, MeanPool(), Dense(14700)))


def lenet() -> Net:
    features = (Conv(20, 5, pad=0), MaxPool(), Conv(50, 5, pad=0), MaxPool())
    return Net(64, 1, 28, 10, (*features, Dense(500), Relu(), Dense(10)))


def alexnet() -> Net:
    first = (Conv(96, 11, 4, 0), Relu(), MaxPool(3), Conv(256, 5, 1, 2, 2), Relu(), MaxPool(3))
    second = (Conv(384), Relu(), Conv(384, groups=2), Relu(), Conv(256, groups=2), Relu(), MaxPool(3))
    return Net(16, 3, 227, 1000, (*first, *second, Dense(4096), Relu(), Dense(4096), Relu(), Dense(1000)))


def mobilenet() -> Net:
    layers, channels = [Conv(32, 3, 2, 1, bias=False), Norm(), Relu()], 32
    steps = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (1024, 2), (1024, 1)]
    for width, stride in steps:
        layers += [Conv(channels, 3, stride, 1, channels, False), Norm(), Relu()]
        layers += [Conv(width, 1, 1, 0, bias=False), Norm(), Relu()]
        channels = width
    return Net(16, 3, 128, 1000, (*layers, MeanPool(), Dense(1000)))


def resnet50() -> Net:
    layers: list[Any] = [Conv(64, 7, 2, 3, bias=False), Norm(), Relu(), MaxPool(3, 2, 1)]
    for stage, blocks in enumerate([3, 4, 6, 3]):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            body = (Conv(width, 1, 1, 0, bias=False), Norm(), Relu(), Conv(width, 3, stride, 1, bias=False), Norm())
            body += (Relu(), Conv(4 * width, 1, 1, 0, bias=False), Norm())
            layers.append(Residual(body, () if block else (Conv(4 * width, 1, stride, 0, bias=False), Norm())))
    return Net(8, 3, 224, 1000, (*layers, MeanPool(), Dense(1000)))


NETS: dict[str, Callable[[], Net]] = {
    "lenet": lenet,
    "face": lambda: face(False),
    "face_bn": lambda: face(True),
    "alexnet": alexnet,
    "mobilenet": mobilenet,
    "resnet50": resnet50,
}


# netdef


def text(net: Net) -> str:
    """Returns the net and its solver in netdef's language."""
    lines = [
        'layer { name: "in" type: "Input" top: "data" top: "label" input_param { '
        f"shape {{ dim: [{net.batch}, {net.channels}, {net.side}, {net.side}] }} shape {{ dim: {net.batch} }} }} }}"
    ]
    made: list[str] = []

    def layer(type: str, bottoms: str, block: str = "", in_place: bool = False) -> str:
        name = f"{type.lower()}{len(made)}"
        made.append(name)
        top = bottoms if in_place else name
        used = " ".join(f'bottom: "{b}"' for b in bottoms.split())
        lines.append(f'layer {{ name: "{name}" type: "{type}" {used} top: "{top}" {block} }}')
        return top

    def add(layers: tuple[Any, ...], blob: str) -> str:
        for one in layers:
            match one:
                case Conv():
                    fields = f"num_output: {one.out} kernel_size: {one.kernel} stride: {one.stride} pad: {one.pad} "
                    fields += f"group: {one.groups} bias_term: {str(one.bias).lower()}"
                    filler = 'weight_filler { type: "msra" }'
                    blob = layer("Convolution", blob, f"convolution_param {{ {fields} {filler} }}")
                case Norm():
                    blob = layer("BatchNorm", blob, "batch_norm_param { scale_bias: true }", in_place=True)
                case Relu():
                    blob = layer("ReLU", blob, in_place=True)
                case MaxPool():
                    fields = f"pool: MAX kernel_size: {one.kernel} stride: {one.stride} pad: {one.pad}"
                    blob = layer("Pooling", blob, f"pooling_param {{ {fields} }}")
                case MeanPool():
                    blob = layer("Pooling", blob, "pooling_param { pool: AVE global_pooling: true }")
                case Dense():
                    fields = f'num_output: {one.out} weight_filler {{ type: "xavier" }}'
                    blob = layer("InnerProduct", blob, f"inner_product_param {{ {fields} }}")
                case Residual():
                    both = f"{add(one.body, blob)} {add(one.shortcut, blob)}"
                    blob = layer("ReLU", layer("Eltwise", both), in_place=True)
        return blob

    lines.append(
        f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{add(net.layers, "data")}" bottom: "label" }}'
    )
    lines.append(f'solver {{ base_lr: {RATE} momentum: {MOMENTUM} lr_policy: "fixed" max_iter: 1 }}')
    return "\n".join(lines)


def netdef_step(net: Net) -> Callable[[], Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peer.net"
        path.write_text(text(net))
        nets = nets_of(path)
    model = Model(nets.train, 0)
    parts = partition_of(nets.train)
    state = first_state(nets.solver, model, parts)
    step = make_single(make_step(nets.train, nets.solver, parts, jax.random.key(0)))
    fixed = arrays_of(model, parts.fixed)
    x, y = net.data()
    batch = {"data": jax.device_put(x[None, None]), "label": jax.device_put(y.astype(np.float32)[None, None])}

    def go() -> None:
        nonlocal state
        state, metrics = step(state, fixed, batch, np.int32(1))
        jax.block_until_ready((state, metrics))

    return go


# PyTorch


def torch_step(net: Net, channels_last: bool) -> Callable[[], Any]:
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)

    class Added(nn.Module):
        def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.relu(self.body(x) + self.shortcut(x), inplace=True)

    def sequence(layers: tuple[Any, ...], channels: int, side: int) -> tuple[nn.Sequential, int, int]:
        made: list[nn.Module] = []
        flat = False
        for one in layers:
            match one:
                case Conv():
                    args = (channels, one.out, one.kernel, one.stride, one.pad, 1, one.groups, one.bias)
                    made.append(nn.Conv2d(*args))
                    channels, side = one.out, (side + 2 * one.pad - one.kernel) // one.stride + 1
                case Norm():
                    made.append(nn.BatchNorm2d(channels))
                case Relu():
                    made.append(nn.ReLU(inplace=True))
                case MaxPool():
                    made.append(nn.MaxPool2d(one.kernel, one.stride, one.pad, ceil_mode=True))
                    side = -(-(side + 2 * one.pad - one.kernel) // one.stride) + 1
                case MeanPool():
                    made.append(nn.AdaptiveAvgPool2d(1))
                    side = 1
                case Dense():
                    made += [] if flat else [nn.Flatten()]
                    made.append(nn.Linear(channels * side * side, one.out))
                    flat, channels, side = True, one.out, 1
                case Residual():
                    body, width, after = sequence(one.body, channels, side)
                    made.append(Added(body, sequence(one.shortcut, channels, side)[0]))
                    channels, side = width, after
        return nn.Sequential(*made), channels, side

    model = sequence(net.layers, net.channels, net.side)[0].train()
    images, labels = net.data()
    x, y = torch.tensor(images), torch.tensor(labels)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    update, loss = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM), nn.CrossEntropyLoss()

    def go() -> None:
        update.zero_grad()
        loss(model(x), y).backward()
        update.step()

    return go


# JAX by hand


def jax_step(net: Net) -> Callable[[], Any]:
    random = np.random.default_rng(0)
    draw = lambda shape, n: jnp.asarray(random.standard_normal(shape, np.float32) * np.sqrt(2 / n))

    def build(layers: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[list[Any], Callable[..., Any], tuple[int, ...]]:
        weights: list[Any] = []
        calls: list[Callable[..., Any]] = []
        for one in layers:
            w: Any = ()
            match one:
                case Conv():
                    per_group = shape[-1] // one.groups
                    w = [draw((one.kernel, one.kernel, per_group, one.out), one.kernel**2 * per_group)]
                    w += [jnp.zeros(one.out)] if one.bias else []
                    call = functools.partial(_conv, one)
                case Norm():
                    w, call = [jnp.ones(shape[-1]), jnp.zeros(shape[-1])], _norm
                case Relu():
                    call = lambda w, x: jax.nn.relu(x)
                case MaxPool():
                    call = functools.partial(_max_pool, one)
                case MeanPool():
                    call = lambda w, x: x.mean((1, 2))
                case Dense():
                    n = int(np.prod(shape[1:]))
                    w = [draw((n, one.out), n), jnp.zeros(one.out)]
                    call = lambda w, x: x.reshape(len(x), -1) @ w[0] + w[1]
                case Residual():
                    (a, body, _), (b, side, _) = build(one.body, shape), build(one.shortcut, shape)
                    w = [a, b]
                    call = lambda w, x, body=body, side=side: jax.nn.relu(body(w[0], x) + side(w[1], x))
            weights.append(w)
            calls.append(call)
            shape = jax.eval_shape(call, w, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
        run = lambda ws, x: functools.reduce(lambda x, pair: pair[0](pair[1], x), zip(calls, ws, strict=True), x)
        return weights, run, shape

    images, labels = net.data()
    x, y = jnp.asarray(images.transpose(0, 2, 3, 1)), jnp.asarray(labels)
    weights, run, _ = build(net.layers, x.shape)
    rule = optax.sgd(RATE, momentum=MOMENTUM)

    def loss(weights: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(run(weights, x), y).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: Any, history: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(weights)
        change, history = rule.update(gradient, history)
        return optax.apply_updates(weights, change), history, value

    history = rule.init(weights)

    def go() -> None:
        nonlocal weights, history
        weights, history, value = step(weights, history)
        jax.block_until_ready((weights, value))

    return go


def _conv(layer: Conv, w: Any, x: jax.Array) -> jax.Array:
    pads = [(layer.pad, layer.pad)] * 2
    names = ("NHWC", "HWIO", "NHWC")
    strides = (layer.stride,) * 2
    y = lax.conv_general_dilated(x, w[0], strides, pads, dimension_numbers=names, feature_group_count=layer.groups)
    return y + w[1] if layer.bias else y


def _norm(w: Any, x: jax.Array) -> jax.Array:
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) * (w[0] * lax.rsqrt(var + 1e-5)) + w[1]


def _max_pool(layer: MaxPool, w: Any, x: jax.Array) -> jax.Array:
    k, s, p = layer.kernel, layer.stride, layer.pad
    after = [(-(n + 2 * p - k)) % s + p for n in x.shape[1:3]]
    pads = [(0, 0), (p, after[0]), (p, after[1]), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, k, k, 1), (1, s, s, 1), pads)


# Keras


def keras_step(net: Net) -> Callable[[], Any]:
    import keras
    from keras import layers as kl

    def add(layers: tuple[Any, ...], x: Any) -> Any:
        for one in layers:
            match one:
                case Conv():
                    x = kl.ZeroPadding2D(one.pad)(x) if one.pad else x
                    args = dict(groups=one.groups, use_bias=one.bias)
                    x = kl.Conv2D(one.out, one.kernel, one.stride, "valid", **args)(x)
                case Norm():
                    x = kl.BatchNormalization()(x)
                case Relu():
                    x = kl.ReLU()(x)
                case MaxPool():
                    x = kl.MaxPooling2D(one.kernel, one.stride, "same")(x)
                case MeanPool():
                    x = kl.GlobalAveragePooling2D()(x)
                case Dense():
                    x = kl.Dense(one.out)(x if len(x.shape) == 2 else kl.Flatten()(x))
                case Residual():
                    x = kl.ReLU()(kl.Add()([add(one.body, x), add(one.shortcut, x)]))
        return x

    image = keras.Input((net.side, net.side, net.channels))
    model = keras.Model(image, add(net.layers, image))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss, jit_compile=True)
    images, labels = net.data()
    x, y = images.transpose(0, 2, 3, 1), labels
    return lambda: model.train_on_batch(x, y)


PEERS: dict[str, Callable[[Net], Callable[[], Any]]] = {
    "netdef": netdef_step,
    "torch": lambda net: torch_step(net, False),
    "torch_cl": lambda net: torch_step(net, True),
    "jax": jax_step,
    "keras": keras_step,
}


def fastest(steps: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Returns the best time of each step in milliseconds."""
    best = dict.fromkeys(steps, float("inf"))
    for go in steps.values():
        go()
        go()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, go in steps.items():
            time.sleep(0.02)  # the threads of the previous peer wait actively for a while, and would take a core
            start = time.perf_counter()
            go()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("nets", nargs="?", default=",".join(NETS), help="names, separated by commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="names, separated by commas")
    parser.add_argument("--seconds", type=float, default=30, help="for each net")
    args = parser.parse_args()
    keep_freed_memory()  # as `netdef train` does, before jax starts its threads; PyTorch is faster with it, too
    print(f"{'milliseconds':14}" + "".join(f"{peer:>11}" for peer in args.peers.split(",")) + "   netdef / best torch")
    for name in args.nets.split(","):
        net, steps = NETS[name](), {}
        for peer in args.peers.split(","):
            try:
                steps[peer] = PEERS[peer](net)
            except ImportError:
                continue
        best = fastest(steps, args.seconds)
        cells = "".join(f"{best[p]:11.1f}" if p in best else f"{'-':>11}" for p in args.peers.split(","))
        torches = [best[p] for p in best if p.startswith("torch")]
        ratio = f"{best['netdef'] / min(torches):8.2f}" if torches and "netdef" in best else ""
        print(f"{name:14}{cells}   {ratio}", flush=True)


if __name__ == "__main__":
    main()
