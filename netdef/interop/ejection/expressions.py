"""The source of layers without weights in an ejected model: JAX expressions, and calls of functions in `parts`."""

from __future__ import annotations

import math

import numpy as np

from ...layers.activation import SELU_ALPHA, SELU_SCALE
from ...layers.eltwise import EltwiseOp
from ...layers.pooling import PoolMethod
from ...layers.reduction import ReductionOp
from ...shape import axis_of
from .emitting import EMITTERS, Emitter, Seen, Written, emits, refuse, unless


@emits("Pooling")
def _pooling(seen: Seen) -> Written:
    layer, x = seen.layer, seen.bottoms[0]
    windows = layer.windows(x)[::-1]
    steps = tuple(w.steps for w in windows)
    if len(seen.node.tops) > 1 or layer.pool is PoolMethod.STOCHASTIC or (*x[:2], *steps) != seen.tops[0]:
        raise refuse(seen, "pooling with a mask, STOCHASTIC pooling, or windows outside the image")
    arguments = [str(tuple(w.size for w in windows))]
    arguments += unless("strides", tuple(w.stride for w in windows), (1,) * len(windows))
    arguments += unless("padding", tuple(w.before for w in windows), (0,) * len(windows))
    part = "mean_pool" if layer.pool.is_mean else "max_pool"
    if layer.pool.is_mean:
        arguments += unless("after", tuple(high for _, high in layer.pads(x)), tuple(w.before for w in windows))
        arguments += unless("padded", layer.pool is PoolMethod.AVE, True)
    return Written(f"{part}({{0}}, {', '.join(arguments)}, steps={steps})", uses=(part,))


@emits("GlobalPooling")
def _global_pooling(seen: Seen) -> Written:
    kept = "".join(f", {d}" for d in seen.tops[0][1:])
    if not seen.tops[0]:
        raise refuse(seen, "a GlobalPooling over the batch")
    function = "mean" if seen.layer.pool.is_mean else "max"
    return Written(f"jnp.{function}({{0}}.reshape({{0}}.shape[0]{kept}, -1), -1)")


@emits("LRN")
def _lrn(seen: Seen) -> Written:
    layer, first = seen.layer, seen.layer._first_axis()
    axes = (1,) if first == 1 else tuple(range(2, len(seen.bottoms[0])))
    arguments = [str(layer.local_size), f"alpha={layer.alpha!r}", f"beta={layer.beta!r}"]
    arguments += unless("k", layer.k if first == 1 else 1.0, 1.0) + unless("axes", axes, (1,))
    return Written(f"lrn({{0}}, {', '.join(arguments)})", uses=("lrn",))


@emits("ReLU")
def _relu(seen: Seen) -> Written:
    slope, low, high = seen.layer.negative_slope, seen.layer.minimum, seen.layer.cap
    y = "jax.nn.relu({0})" if slope == 0 else f"jnp.where({{0}} > 0, {{0}}, {slope!r} * {{0}})"
    if high is not None:
        y = f"jnp.minimum({y}, {high!r})"
    return Written(f"jnp.maximum({y}, {low!r})" if low else y)


@emits("Power")
def _power(seen: Seen) -> Written:
    layer = seen.layer
    if layer.power * layer.scale == 0:
        raise refuse(seen, "a Power that does not depend on its input")
    base = f"{layer.shift!r} + {layer.scale!r} * {{0}}"
    return Written(base if layer.power == 1 else f"({base}) ** {layer.power!r}")


@emits("Eltwise")
def _eltwise(seen: Seen) -> Written:
    layer, n = seen.layer, len(seen.bottoms)
    names = [f"{{{i}}}" for i in range(n)]
    if layer.operation is EltwiseOp.MAX:
        return Written(f"largest_of({', '.join(names)})", uses=("largest_of",))
    if layer.operation is EltwiseOp.SUM:
        coeff = layer.coeff or (1.0,) * n
        return Written(" + ".join(f"{c!r} * {x}" if layer.coeff else x for c, x in zip(coeff, names, strict=True)))
    sort = layer.operation is EltwiseOp.SORT
    return Written(" * ".join(f"({x} + 1)" if sort else x for x in names))


@emits("Concat")
def _concat(seen: Seen) -> Written:
    if seen.layer.per_fla_fuse:
        raise refuse(seen, "a Concat with `per_fla_fuse`")
    names = ", ".join(f"{{{i}}}" for i in range(len(seen.bottoms)))
    ranks = zip(seen.bottoms[0], seen.tops[0], strict=True)
    axis = next((i for i, (a, b) in enumerate(ranks) if a != b), seen.layer.axis % len(seen.tops[0]))
    return Written(f"jnp.concatenate([{names}], axis={axis})")


@emits("Slice")
def _slice(seen: Seen) -> Written:
    x = seen.bottoms[0]
    axis = next((i for i, d in enumerate(x) if any(top[i] != d for top in seen.tops)), seen.layer.axis % len(x))
    edges = np.cumsum([top[axis] for top in seen.tops])[:-1].tolist()
    return Written(f"jnp.split({{0}}, {edges}, axis={axis})")


@emits("Split")
def _split(seen: Seen) -> Written:
    return Written(", ".join(["{0}"] * len(seen.tops)))


@emits("Flatten", "Reshape")
def _reshape(seen: Seen) -> Written:
    before, after = seen.bottoms[0], seen.tops[0]
    if before == after:
        return Written("{0}")
    if before[:1] != after[:1]:
        return Written(f"{{0}}.reshape({after})")
    return Written(f"{{0}}.reshape({', '.join(['{0}.shape[0]', *map(str, after[1:])])})")


@emits("Permute")
def _permute(seen: Seen) -> Written:
    return Written(f"jnp.transpose({{0}}, {tuple(seen.layer._axes(len(seen.bottoms[0])))})")


@emits("Dropout")
def _dropout(seen: Seen) -> Written:
    layer = seen.layer
    if layer.sample_weights_test:
        raise refuse(seen, "Dropout that is random in phase TEST")
    return Written("{0}" if layer.scale_train else f"{{0}} * {1.0 - layer.dropout_ratio!r}")


@emits("Crop")
def _crop(seen: Seen) -> Written:
    layer, x, top = seen.layer, seen.bottoms[0], seen.tops[0]
    axis = axis_of(x, layer.axis)
    starts = (0,) * axis + layer._offsets(len(x) - axis)
    slices = (f"{a}:{a + n}" if n != size else ":" for a, n, size in zip(starts, top, x, strict=True))
    return Written(f"{{0}}[{', '.join(slices)}]")


@emits("Reduction")
def _reduction(seen: Seen) -> Written:
    layer, x = seen.layer, seen.bottoms[0]
    axes = tuple(range(axis_of(x, layer.axis), len(x)))
    terms = {ReductionOp.ASUM: "jnp.abs({0})", ReductionOp.SUMSQ: "{0} * {0}"}.get(layer.operation, "{0}")
    function = "mean" if layer.operation is ReductionOp.MEAN else "sum"
    return Written(f"{layer.coeff!r} * jnp.{function}({terms}, {axes})")


@emits("PriorBox")
def _prior_box(seen: Seen) -> Written:
    layer, (x, image) = seen.layer, seen.bottoms
    arguments = [str(tuple(x[2:])), str(layer.steps(x[2:], image[2:])), f"sides={layer.sides()}"]
    arguments += [f"image={layer.image(image[2:])}", *unless("offset", layer.offset, 0.5)]
    arguments += [*unless("clip", layer.clip, False), f"variance={tuple(layer.variance) or (0.1,)}"]
    return Written(f"prior_boxes({', '.join(arguments)})", uses=("prior_boxes",))


@emits("DetectionOutput")
def _detection_output(seen: Seen) -> Written:
    return Written(f"detections({{0}}, {{1}}, {{2}}, {seen.layer.settings!r})", uses=("detections", "Detecting"))


@emits("Upsample")
def _upsample(seen: Seen) -> Written:
    x, top = seen.bottoms[0], seen.tops[0]
    if len(seen.bottoms) == 1:
        return Written(f"jnp.repeat(jnp.repeat({{0}}, {top[2] // x[2]}, 2), {top[3] // x[3]}, 3)")
    return Written(f"unpool({{0}}, {{1}}, {tuple(top[2:])})", uses=("unpool",))


@emits("MVN")
def _mvn(seen: Seen) -> Written:
    layer = seen.layer
    if len(seen.bottoms[0]) < 4:
        raise refuse(seen, "an MVN of fewer than four axes")
    arguments = [
        str(1 if layer.across_channels else 2),
        repr(layer.eps),
        *unless("divide", layer.normalize_variance, True),
    ]
    return Written(f"standardize({{0}}, {', '.join(arguments)})", uses=("standardize",))


@emits("ShuffleChannel")
def _shuffle(seen: Seen) -> Written:
    rest = "".join(f", {d}" for d in seen.bottoms[0][2:])
    grouped = f"{{0}}.reshape({{0}}.shape[0], {seen.layer.group}, -1{rest})"
    return Written(f"{grouped}.swapaxes(1, 2).reshape({{0}}.shape)")


@emits("Axpy")
def _axpy(seen: Seen) -> Written:
    missing = len(seen.bottoms[1]) - len(seen.bottoms[0])
    spread = f"[..., {', '.join(['None'] * missing)}]" if missing else ""
    return Written(f"{{0}}{spread} * {{1}} + {{2}}")


@emits("Exp")
def _exp(seen: Seen) -> Written:
    layer = seen.layer
    outer = math.exp(layer.shift * layer.log_base)
    return Written(f"{outer!r} * jnp.exp({layer.log_base * layer.scale!r} * {{0}})")


@emits("Log")
def _log(seen: Seen) -> Written:
    layer = seen.layer
    return Written(f"jnp.log({layer.shift!r} + {layer.scale!r} * {{0}}) / {layer.log_base!r}")


@emits("SELU", "SeLu")
def _selu(seen: Seen) -> Written:
    below = f"{SELU_ALPHA!r} * jnp.expm1(jnp.where({{0}} > 0, 0.0, {{0}}))"
    return Written(f"{SELU_SCALE!r} * jnp.where({{0}} > 0, {{0}}, {below})")


def _plain(call: str) -> Emitter:
    return lambda seen: Written(call)


EMITTERS |= {
    "ReLU6": _plain("jax.nn.relu6({0})"),
    "Sigmoid": _plain("jax.nn.sigmoid({0})"),
    "TanH": _plain("jnp.tanh({0})"),
    "AbsVal": _plain("jnp.abs({0})"),
    "BNLL": _plain("jax.nn.softplus({0})"),
    "SiLU": _plain("jax.nn.silu({0})"),
    "ELU": lambda seen: Written(
        f"jnp.where({{0}} > 0, {{0}}, {seen.layer.alpha!r} * jnp.expm1(jnp.where({{0}} > 0, 0.0, {{0}})))"
    ),
    "Swish": lambda seen: Written(f"{{0}} * jax.nn.sigmoid({seen.layer.beta!r} * {{0}})"),
    "GELU": lambda seen: Written(f"jax.nn.gelu({{0}}, approximate={seen.layer.approximate})"),
    "AlphaDropout": _plain("{0}"),
    "SeLuDropout": _plain("{0}"),
    "Clip": lambda seen: Written(
        f"jnp.where({{0}} < {seen.layer.min!r}, {seen.layer.min!r}, "
        f"jnp.where({{0}} > {seen.layer.max!r}, {seen.layer.max!r}, {{0}}))"
    ),
    "Softmax": lambda seen: Written(f"jax.nn.softmax({{0}}, axis={seen.layer.axis})"),
    "Tile": lambda seen: Written(f"jnp.concatenate([{{0}}] * {seen.layer.tiles}, axis={seen.layer.axis})"),
    "Threshold": lambda seen: Written(f"({{0}} > {seen.layer.threshold!r}).astype({{0}}.dtype)"),
}
