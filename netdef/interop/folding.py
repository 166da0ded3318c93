"""Folding of batch normalization and scale layers of a trained net into the preceding layers.

    y = W x + b, followed by a y + c for each channel, equals (a W) x + (a b + c)

The input is a net of phase TEST with its weights; the result is a net with fewer layers and the same outputs up to
rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..compiler import load
from ..graph import Net, Node
from ..language.errors import NetdefError
from ..language.printer import print_message
from ..language.source import NOWHERE, Source
from ..language.syntax import Field, Message, Scalar
from ..layers.base import Layer
from ..layers.batch_norm import SCALED, BatchNormalization, Rule
from ..layers.convolution import Convolution, Deconvolution
from ..layers.inner_product import InnerProduct
from ..layers.scale import Bias, Scale
from ..passes.encode import encode_layer
from ..shape import axis_of
from .entries import used

Weights = Mapping[str, Sequence[Any]]  # {layer: [arrays]}, in Caffe's order and shapes


class Folded(NamedTuple):
    """The shorter net (its `text` is prototxt), its weights, and notes on layers that were folded or could not be."""

    net: Net
    weights: dict[str, list[np.ndarray]]
    notes: tuple[str, ...]


def fold(net: Net, weights: Weights) -> Folded:
    """Folds each BatchNorm, BN, Scale and Bias into the preceding Convolution, Deconvolution or InnerProduct.

    Exceptions are layers that share parameters, batch normalization with batch statistics, and layers whose input has
    other consumers. Raises NetdefError for a net of phase TRAIN and for missing weights."""
    used(net, "folded")
    missing = [name for name in net.params if name not in weights]
    if missing:
        raise NetdefError(f"folding needs the weights of layer `{missing[0]}`, which are missing")
    shared = _sharing(net)
    made = {name: [np.asarray(a) for a in arrays] for name, arrays in weights.items() if name in net.params}
    ends: dict[str, Layer] = {}  # layers that others were folded into, by name
    gone: set[str] = set()
    notes = []
    for node in net.layers:
        chain = _chain(net, node, shared)
        if chain:
            made[node.name] = _product(node, made[node.name], [_affine(n, weights.get(n.name, ())) for n in chain])
            ends[node.name] = node.layer.replace(bias_term=True, top=(chain[-1].tops[0].name,))
            gone |= {n.name for n in chain}
            notes.append(f"layer `{node.name}`: folded {', '.join(f'`{n.name}`' for n in chain)} into it")
    notes += [_why_not(net, node, shared) for node in net.layers if _is_affine(node) and node.name not in gone]
    layers = [ends.get(node.name, node.layer) for node in net.layers if node.name not in gone]
    return Folded(_loaded(net, layers), {k: v for k, v in made.items() if k not in gone}, tuple(notes))


def _loaded(net: Net, layers: list[Layer]) -> Net:
    name = [Field("name", Scalar("string", net.name, NOWHERE), NOWHERE, NOWHERE)] if net.name else []
    text = print_message(Message((*name, *map(encode_layer, layers)), NOWHERE))
    source = Source("<folded net>", text, net.folder / "folded.net" if net.folder else None)
    return load(source, phase="TEST", trust_python=net.trust_python)


def _sharing(net: Net) -> set[str]:
    """Returns the layers that share parameters with others."""
    pairs = [(node.name, owner.layer) for node in net.layers for owner in node.owners if owner.layer != node.name]
    return {name for pair in pairs for name in pair}


def _chain(net: Net, node: Node, shared: set[str]) -> list[Node]:
    """Returns the layers after `node` that can be folded into it, in order."""
    found: list[Node] = []
    if not _absorbs(net, node) or node.name in shared:
        return found
    value = node.tops[0]
    while len(net.consumers.get(value, ())) == 1 and not any((found or [node])[-1].layer.loss_weight):
        after = net.consumers[value][0]
        if not _is_affine(after) or _obstacle(net, after) or after.name in shared or after.bottoms != (value,):
            break
        found.append(after)
        value = after.tops[0]
    return found


def _absorbs(net: Net, node: Node) -> bool:
    """Whether the layer is a matrix product or convolution with its output channels along axis 1."""
    layer = node.layer
    if not isinstance(layer, (Convolution, Deconvolution, InnerProduct)) or len(node.bottoms) != 1:
        return False
    if isinstance(layer, InnerProduct) and layer.normalize:
        return False
    return axis_of(net.shapes[node.bottoms[0]] or (), layer.axis) == 1


def _is_affine(node: Node) -> bool:
    """Whether the layer may be an affine function a x + c for each channel."""
    return isinstance(node.layer, (BatchNormalization, Scale, Bias)) and len(node.bottoms) == 1


def _obstacle(net: Net, node: Node) -> str:
    """Returns the reason why the layer is not an affine function for each channel; empty if it is one."""
    layer, x = node.layer, net.shapes[node.bottoms[0]] or ()
    if isinstance(layer, BatchNormalization):
        if not layer.uses_stored(False) or len(node.tops) > 1:
            return "it uses the statistics of the batch"
        return "it includes a ReLU" if getattr(layer, "relu", False) else ""
    assert isinstance(layer, (Scale, Bias))
    if axis_of(x, layer.axis) != 1 or tuple(layer.part(x)) != (*x[1:2],):
        return "it does not have one value for each channel"
    return ""


def _why_not(net: Net, node: Node, shared: set[str]) -> str:
    """Returns a note on the reason why a layer is not folded."""
    before = net.producers.get(node.bottoms[0])
    why = _obstacle(net, node)
    if not why and node.name in shared:
        why = "it shares parameters with another layer"
    elif not why and (before is None or not (_absorbs(net, before) or _is_affine(before))):
        why = f"it follows {f'`{before.name}`, of type {before.type}' if before else 'an input'}"
    elif not why and before is not None and before.name in shared:
        why = f"`{before.name}` shares parameters with another layer"
    elif not why and before is not None and len(net.consumers[node.bottoms[0]]) > 1:
        why = f"other layers use the output of `{before.name}` too"
    return f"layer `{node.name}` is not folded: {why or 'the preceding layer is not folded'}"


def _affine(node: Node, arrays: Sequence[Any]) -> tuple[Any, Any]:
    """Returns (a, c) of a layer that computes a x + c for each channel, in double precision."""
    layer = node.layer
    flat = [np.asarray(a, np.float64).reshape(-1) for a in arrays]
    if isinstance(layer, Bias):
        return 1.0, flat[0]
    if isinstance(layer, Scale):
        low = -np.inf if layer.min_value is None else layer.min_value
        high = np.inf if layer.max_value is None else layer.max_value
        return np.clip(flat[0], low, high), flat[1] if layer.bias_term else 0.0
    assert isinstance(layer, BatchNormalization)
    storage = layer.storage()
    blobs = dict(zip(storage.blobs, flat, strict=True))
    scale, shift = (blobs.get(name, default) for name, default in zip(SCALED, (1.0, 0.0), strict=True))
    if "mean" not in blobs:
        return scale, shift
    mean, var = blobs["mean"], blobs["var"]
    if storage.rule is Rule.SUM:
        weight = 1 / blobs["factor"][0] if blobs["factor"][0] else 0.0
        mean, var = mean * weight, var * weight
    inverse = var if storage.inverse else 1 / np.sqrt(var + (layer.epsilon() if storage.eps_at_test else 0.0))
    return scale * inverse, shift - mean * scale * inverse


def _shape(node: Node) -> tuple[int, ...]:
    assert node.weights is not None  # a net with shapes
    return node.weights[0].shape  # type: ignore[return-value]


def _product(node: Node, arrays: list[np.ndarray], lines: list[tuple[Any, Any]]) -> list[np.ndarray]:
    """Returns [W, b] of a layer after folding affine functions into it."""
    layer: Any = node.layer
    outputs = layer.num_output
    slope, offset = np.ones(outputs), np.zeros(outputs)
    if layer.bias_term:
        offset = np.asarray(arrays[1], np.float64).reshape(-1)
    for a, c in lines:
        slope, offset = a * slope, a * offset + c
    weight = np.asarray(arrays[0], np.float64).reshape(_shape(node))
    if isinstance(layer, Deconvolution):  # (c, outputs / group, kernel...): each group of c has its own outputs
        grouped = weight.reshape(layer.group, -1, outputs // layer.group, *weight.shape[2:])
        by_group = slope.reshape(layer.group, 1, -1, *(1,) * (weight.ndim - 2))
        scaled = (grouped * by_group).reshape(weight.shape)
    elif isinstance(layer, InnerProduct) and layer.transpose:
        scaled = weight * slope
    else:
        scaled = weight * slope.reshape(-1, *(1,) * (weight.ndim - 1))
    return [scaled.astype(np.float32), offset.astype(np.float32)]
