"""The source of layers in an ejected model: the module created in `__init__`, and the call.

An emitter accepts a layer with its shapes. It returns a `Written`, which contains source text, or raises NetdefError if
the layer cannot be ejected. All constants are evaluated, so the source contains numbers. This module has the layers
with weights; those without are in `expressions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from ...graph import Net, Node
from ...language.errors import NetdefError
from ...layers.batch_norm import SCALED, Rule
from ...layers.bn import BNMode
from ...shape import Shape, axis_of

Text = list[str]


@dataclass(frozen=True)
class Written:
    """The source of one layer. `made`: the constructor call of its module, if it has one; `call`: the expression, in
    which `{0}`, `{1}` represent the inputs and `{self}` the module; `uses`: the parts to copy; `fields`: the module's
    field for each of Caffe's blobs."""

    call: str
    made: str = ""
    uses: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """A layer with the shapes of its inputs and outputs."""

    node: Node
    bottoms: list[Shape]
    tops: list[Shape]

    @property
    def layer(self) -> Any:
        return self.node.layer


INSTEAD = "use `netdef convert NET -o NET.stablehlo`, which supports every layer"
Emitter = Callable[[Seen], Written]
EMITTERS: dict[str, Emitter] = {}


def emits(*types: str) -> Callable[[Emitter], Emitter]:
    def keep(function: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(types, function))
        return function

    return keep


def written(net: Net, node: Node) -> Written:
    """Returns the source of a layer. Raises NetdefError if its type has no emitter."""
    emitter = EMITTERS.get(node.type)
    if emitter is None:
        raise NetdefError(f"layer `{node.name}`: layers of type {node.type} cannot be ejected; {INSTEAD}")
    shape = lambda value: net.shapes[value] or ()
    return emitter(Seen(node, [shape(v) for v in node.bottoms], [shape(v) for v in node.tops]))


def refuse(seen: Seen, what: str) -> NetdefError:
    return NetdefError(f"layer `{seen.node.name}`: {what} cannot be ejected; {INSTEAD}")


def unless(name: str, value: Any, default: Any) -> list[str]:
    """Returns `name=value`, or nothing if it is the default."""
    return [] if value == default else [f"{name}={value!r}"]


@emits("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution", "Deconvolution")
def _convolution(seen: Seen) -> Written:
    x, layer = seen.bottoms[0], seen.layer
    if layer.axis % len(x) != 1 or len(seen.bottoms) > 1:
        raise refuse(seen, "a convolution along other axes, or of several inputs")
    axes = len(x) - 2
    slide = layer.sliding(axes, layer.groups(x[1]))
    pads = tuple(low if low == high else (low, high) for low, high in slide.pads)
    upwards = seen.node.type == "Deconvolution"
    arguments = [f"{x[1]}, {layer.num_output}", f"kernel_size={layer.kernel(axes)}"]
    arguments += [f"size={seen.tops[0][2:]}"] if upwards else []
    arguments += unless("strides", slide.strides, (1,) * axes) + unless("padding", pads, (0,) * axes)
    arguments += unless("kernel_dilation", slide.dilations, (1,) * axes)
    arguments += unless("feature_group_count", slide.groups, 1) + unless("use_bias", layer.bias_term, True)
    part = "Deconvolution" if upwards else "Convolution"
    fields = ("weight", "bias")[: 1 + layer.bias_term]
    return Written("{self}({0})", f"{part}({', '.join(arguments)})", (part,), fields)


@emits("InnerProduct")
def _inner_product(seen: Seen) -> Written:
    layer, axis = seen.layer, axis_of(seen.bottoms[0], seen.layer.axis)
    if layer.transpose or len(seen.bottoms) > 1:
        raise refuse(seen, "an InnerProduct with `transpose` or weights from another layer")
    part = "UnitProduct" if layer.normalize else "InnerProduct"
    arguments = [str(prod(seen.bottoms[0][axis:])), str(layer.num_output)]
    arguments += unless("use_bias", layer.bias_term, True) + unless("axis", axis, 1)
    return Written("{self}({0})", f"{part}({', '.join(arguments)})", (part,), ("weight", "bias")[: 1 + layer.bias_term])


@emits("BatchNorm", "BN")
def _batch_norm(seen: Seen) -> Written:
    layer, storage = seen.layer, seen.layer.storage()
    if getattr(layer, "bn_mode", None) is BNMode.INFERENCE:  # a scale and a shift, no statistics
        return Written("{self}({0})", f"Scale(({seen.bottoms[0][1]},))", ("Scale",), ("scale", "bias"))
    if not layer.uses_stored(False) or "mean" not in storage.blobs or len(seen.node.tops) > 1:
        raise refuse(seen, "batch normalization with the statistics of the batch")
    if len(seen.bottoms[0]) < 2 or getattr(layer, "relu", False):
        raise refuse(seen, "batch normalization without a channel axis, or with `relu`")
    stored = "sums" if storage.rule is Rule.SUM else "inverse" if storage.inverse else "averages"
    eps = layer.epsilon() if storage.eps_at_test else 0.0
    arguments = [str(seen.bottoms[0][1]), f"eps={eps!r}"]
    arguments += [] if stored == "averages" else [f'stored="{stored}"']
    arguments += unless("use_scale", bool(set(SCALED) & set(storage.blobs)), False)
    fields = tuple("" if name == "factor" and stored != "sums" else name for name in storage.blobs)
    return Written("{self}({0})", f"BatchNorm({', '.join(arguments)})", ("BatchNorm",), fields)


@emits("Scale", "Bias")
def _scale(seen: Seen) -> Written:
    layer, x = seen.layer, seen.bottoms[0]
    if len(seen.bottoms) > 1:
        axis = axis_of(x, layer.axis) if seen.bottoms[1] else len(x)
        behind = len(x) - axis - len(seen.bottoms[1])
        if layer.params().get("bias_term") and layer.bias_term:
            raise refuse(seen, "a Scale of two inputs with a bias")
        spread = f"{{1}}[..., {', '.join(['None'] * behind)}]" if behind else "{1}"
        return Written(f"{{0}} {'*' if seen.node.type == 'Scale' else '+'} {spread}")
    shape, axis = layer.part(x), axis_of(x, layer.axis)
    arguments = [str(tuple(shape)), *unless("axis", axis, 1)]
    if seen.node.type == "Bias":
        return Written("{self}({0})", f"Bias({', '.join(arguments)})", ("Bias",), ("bias",))
    if layer.min_value is not None or layer.max_value is not None:
        raise refuse(seen, "a Scale with `min_value` or `max_value`")
    arguments += unless("use_bias", layer.bias_term, True)
    return Written(
        "{self}({0})", f"Scale({', '.join(arguments)})", ("Scale",), ("scale", "bias")[: 1 + layer.bias_term]
    )


@emits("PReLU")
def _prelu(seen: Seen) -> Written:
    shape = () if seen.layer.channel_shared else (seen.bottoms[0][1],)
    return Written("{self}({0})", f"PReLU({shape})", ("PReLU",), ("slope",))


@emits("Embed")
def _embed(seen: Seen) -> Written:
    layer = seen.layer
    arguments = [str(layer.input_dim), str(layer.num_output), *unless("use_bias", layer.bias_term, True)]
    return Written(
        "{self}({0})", f"Embed({', '.join(arguments)})", ("Embed",), ("weight", "bias")[: 1 + layer.bias_term]
    )


@emits("Normalize")
def _normalize(seen: Seen) -> Written:
    layer, x = seen.layer, seen.bottoms[0]
    if len(seen.tops) > 1 or layer.normalize_type != "L2":
        raise refuse(seen, "a Normalize with a second top, or with L1 normalization")
    if layer.norm_param is None:
        if len(x) < 4:
            return Written(
                f"unit_length({{0}}).reshape({{0}}.shape[0], {', '.join(map(str, seen.tops[0][1:]))})",
                uses=("unit_length",),
            )
        return Written("unit_length({0})", uses=("unit_length",))
    norm = layer.norm_param
    shape = () if norm.channel_shared else (x[1],)
    made = f"ScaledUnit({shape}, eps={norm.eps!r}, across_spatial={norm.across_spatial})"
    return Written("{self}({0})", made, ("ScaledUnit",), ("scale",))
