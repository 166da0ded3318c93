"""Export of a trained net to ONNX, with jax2onnx.

Where netdef has one implementation for CPUs and another for other platforms, the latter is exported, which uses plain
XLA operations. Gradients are not exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax import lax
from jax.extend.core import Literal

from ..files import write_atomically
from ..forward import forward
from ..graph import Net
from ..language.errors import NetdefError
from ..lazy import need
from .entries import used


def export_onnx(model: Any, path: str | Path, any_batch: bool = True) -> None:
    """Writes a model of phase TEST as ONNX, including its weights. Inputs and outputs are named as in the net.

    With `any_batch`, the first axis of all inputs may have any size. Raises NetdefError if jax2onnx is not installed or
    cannot convert an operation of the net."""
    to_onnx = need("jax2onnx", f"{path}: writing ONNX").to_onnx
    net: Net = model.net
    used(net, "exported")
    weights = model.arrays()

    def run(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        blobs = forward(net, weights, dict(zip(net.inputs, arrays, strict=True)), jax.random.key(0)).blobs
        return tuple(blobs[name] for name in net.outputs)

    def plain(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        traced = jax.make_jaxpr(run)(*arrays)
        return tuple(_evaluated(traced.jaxpr, traced.consts, arrays))

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
    write_atomically(Path(path), lambda aside: aside.write_bytes(made.SerializeToString()))


_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


def _evaluated(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Evaluates a jaxpr, with inlined calls, and with the default branch of each choice between platforms."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else known[atom]
    for equation in jaxpr.eqns:
        name, given = equation.primitive.name, [read(v) for v in equation.invars]
        if name == "platform_index":
            made = [len(equation.params["platforms"]) - 1]  # the last one is the default
        elif name == "cond" and isinstance(given[0], int):
            branch = equation.params["branches"][given[0]]
            made = _evaluated(branch.jaxpr, branch.consts, given[1:])
        elif name == "pad" and not any(interior for _, _, interior in equation.params["padding_config"]):
            made = [_padded(equation, *given)]
        elif name == "conv_general_dilated":
            made = [_outputs_first(equation, *given)]
        elif name in _INLINED:
            inner = equation.params[_INLINED[name]]
            made = _evaluated(inner.jaxpr, inner.consts, given)
        else:
            made = equation.primitive.bind(*given, **equation.params)
            made = made if equation.primitive.multiple_results else [made]
        known.update(zip(equation.outvars, made, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _padded(pad: Any, x: Any, value: Any) -> Any:
    """Implements lax.pad as a concatenation, because jax2onnx requires a fully known shape for padding."""
    for axis, (before, after, _) in enumerate(pad.params["padding_config"]):
        if min(before, after) < 0:
            x = lax.slice_in_dim(x, max(0, -before), x.shape[axis] - max(0, -after), axis=axis)
        shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in (before, after)]
        edges = [[lax.broadcast(value, shape)] if shape[axis] > 0 else [] for shape in shapes]
        if any(edges):
            x = lax.concatenate([*edges[0], x, *edges[1]], axis)
    return x


def _outputs_first(convolution: Any, x: Any, w: Any) -> Any:
    """Implements a convolution with filters of the shape (out, in, kernel...), which jax2onnx requires; in a transposed
    convolution, `in` and `out` are exchanged."""
    numbers = convolution.params["dimension_numbers"]
    straight = numbers._replace(rhs_spec=tuple(range(len(numbers.rhs_spec))))
    params = {**convolution.params, "dimension_numbers": straight}
    w = w if straight == numbers else lax.transpose(w, numbers.rhs_spec)
    return convolution.primitive.bind(x, w, **params)
