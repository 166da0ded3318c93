"""Determines in which precision each layer computes, and in which its tops are stored.

Under `precision: BF16`:
- Layers that multiply by many trained weights (convolutions, matrix products, embeddings) compute in bfloat16. From
  there on, the blobs between layers are bfloat16, and so are their gradients.
- Layers with a reason, `Layer.needs_float32`, compute in float32: losses, metrics, statistics, probabilities,
  positions. Their tops are float32 too, except those of normalizations, which are activations like any other.
- So does a layer of which only such layers read the tops, as of the scores under a softmax loss: rounded scores
  cost a face net with 40 classes 0.7 % of its accuracy.
- Other layers output the dtype of their first bottom. So labels, indices and coordinates from the data stay exact.
- Outputs of the net, which no layer uses, are float32.
- Weights, running statistics, the gradients of weights and the arrays of the solver are float32.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph import Net, Node, Value
from ..shape import known
from ..solvers.base import Precision

FULL = "float32"


def as_computed(net: Net) -> Net:
    """The net in the precision in which its solver trains and tests it."""
    half = net.solver is not None and net.solver.precision is Precision.BF16
    return in_half(net, "bfloat16") if half else net


def in_half(net: Net, precision: str) -> Net:
    """The net with each layer's dtypes where `precision` (bfloat16) is used in place of float32."""
    dtypes: dict[Value, str] = {}
    layers = []
    for node in net.layers:
        made = _in_half(net, node, precision, dtypes)
        dtypes.update({top: made.top_dtype for top in node.tops})
        layers.append(made)
    return replace(net, layers=tuple(layers))


def _in_half(net: Net, node: Node, half: str, dtypes: dict[Value, str]) -> Node:
    first = dtypes.get(node.bottoms[0], FULL) if node.bottoms else FULL
    exact = any(node.loss_weights) or not any(net.consumers[top] for top in node.tops)
    if float32_because(net, node) is not None:
        return node.but(precision=FULL, top_dtype=FULL if exact or node.layer.float32_tops else first)
    if _multiplies(net, node):
        return node.but(precision=half, top_dtype=FULL if exact else half)
    return node.but(precision="", top_dtype=FULL if exact else first)


def float32_because(net: Net, node: Node) -> str | None:
    """Returns why a layer computes in float32 under `precision: BF16`; None if it computes in bfloat16."""
    if any(w.kind == "stat" for w in node.weights or ()):
        return node.layer.needs_float32() or "it updates running statistics"
    readers = [reader for top in node.tops for reader in net.consumers[top]]
    scores = _multiplies(net, node) and bool(readers) and all(map(_needs_exact, readers))
    return node.layer.needs_float32() or ("its tops are read in float32 only" if scores else None)


def _needs_exact(reader: Node) -> bool:
    return reader.layer.needs_float32() is not None and reader.layer.float32_tops


def _multiplies(net: Net, node: Node) -> bool:
    """Whether the cost of a layer is that of products with its trained weights."""
    if all(w.kind != "param" for w in node.weights or ()):
        return False
    bottoms, tops = ([net.shapes.get(value) for value in values] for values in (node.bottoms, node.tops))
    if node.layer.takes_indices or not all(map(known, (*bottoms, *tops))):
        return True
    return node.layer.multiply_adds([s for s in bottoms if s is not None], [s for s in tops if s is not None]) > 0
