"""Export of a trained net to ONNX, with jax2onnx.

Where netdef has one implementation for CPUs and another for other platforms, the latter is exported, which uses plain
XLA operations. Gradients are not exported.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..files import write_atomically
from ..forward import forward
from ..graph import Net, Node, Owner
from ..language.errors import NetdefError
from ..lazy import need
from . import onnx_detections
from .any_batch import check_any_batch
from .entries import used
from .folding import fold as fold_norms
from .plain_operations import evaluated


def export_onnx(model: Any, path: str | Path, any_batch: bool = True, fold: bool = True) -> None:
    """Writes a model of phase TEST as ONNX, including its weights. Inputs and outputs are named as in the net.

    With `any_batch`, the first axis of all inputs may have any size. With `fold`, batch normalization and scales are
    merged into the preceding layers. Raises NetdefError if jax2onnx is not installed or cannot convert an operation of
    the net."""
    to_onnx = need("jax2onnx", f"{path}: writing ONNX").to_onnx
    used(model.net, "exported")
    if any_batch:
        check_any_batch(model.net, path)
    net, weights = _folded(model) if fold else (model.net, model.arrays())
    net = replace(net, channels_last=False)  # because ONNX has its channels first
    whole, detectors = net, onnx_detections.check(net, path)
    net = _without(net, detectors)
    _load_plugins()

    def run(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        blobs = forward(net, weights, dict(zip(net.inputs, arrays, strict=True)), jax.random.key(0)).blobs
        return tuple(blobs[name] for name in net.outputs)

    def plain(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        traced = jax.make_jaxpr(run)(*arrays)
        return tuple(evaluated(traced.jaxpr, traced.consts, arrays))

    shapes = [net.blobs[name].shape or () for name in net.inputs]
    # Trace once before the conversion: jax2onnx patches functions of JAX, and netdef caches what it traces first.
    jax.eval_shape(run, *(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes))
    inputs = [("batch", *shape[1:]) if any_batch and shape else shape for shape in shapes]
    try:
        made = to_onnx(
            plain,
            inputs=inputs,
            model_name=net.name or "net",
            input_names=list(net.inputs),
            output_names=list(net.outputs),
        )
    except Exception as error:  # jax2onnx raises many types
        raise NetdefError(f"{path}: jax2onnx cannot convert this net: {' '.join(str(error).split())[:200]}") from error
    for node in detectors:
        onnx_detections.append(made.graph, net, node, partial(_value, net, weights))
    if detectors:
        onnx_detections.outputs_of(made.graph, whole.outputs, whole)
    write_atomically(Path(path), lambda aside: aside.write_bytes(made.SerializeToString()))


def _without(net: Net, detectors: list[Node]) -> Net:
    """Returns a net without its last layers, the detections, whose predictions are outputs in their place."""
    if not detectors:
        return net
    tops = {node.tops[0].name for node in detectors}
    wanted = dict.fromkeys(name for node in detectors for name in onnx_detections.predictions(node))
    outputs = [name for name in net.outputs if name not in tops]
    layers = tuple(node for node in net.layers if node not in detectors)
    return replace(net, layers=layers, outputs=(*dict.fromkeys((*outputs, *wanted)),))


def _value(net: Net, weights: dict[Owner, Any], name: str) -> np.ndarray:
    """Returns a blob that depends only on shapes."""
    zeros = {name: np.zeros(net.blobs[name].shape or (), np.float32) for name in net.inputs}
    return np.asarray(jax.jit(lambda: forward(net, weights, zeros, jax.random.key(0)).blobs[name])())


def _folded(model: Any) -> tuple[Net, dict[Owner, Any]]:
    """Returns the folded net and its arrays."""
    short = fold_norms(model.net, model.get_weights())
    made = model.arrays()
    for node in short.net.layers:
        for (weight, owner), array in zip(node.stored, short.weights.get(node.name, ()), strict=True):
            made[owner] = array.reshape(weight.shape)
    return short.net, made


def _load_plugins() -> None:
    """Loads the plugins of jax2onnx while nothing is computed: on import, they make examples of layers of other
    packages, for which JAX would compile programs for 10 seconds. Examples that need values are skipped."""
    log = logging.getLogger("jax2onnx.plugins.plugin_system")
    before, log.disabled = log.disabled, True
    try:
        with contextlib.suppress(NetdefError, AttributeError):  # a version that loads them in another way
            jax.eval_shape(need("jax2onnx.plugins.plugin_system", "an ONNX file").import_all_plugins)
    finally:
        log.disabled = before
