"""Intel's `multinode { model_parallel { } }`: the layers whose classes the devices of a run divide.

    multinode { model_parallel { layer_from: "fc6" layer_to: "fc8" } }

Source: intel/caffe src/caffe/multinode/apply_mn_param.cpp. The block names a chain of layers, from one to another along
their blobs; it replaces the `multinode` of these layers.
Differs: the numbers of nodes do not matter, as all devices of a run divide the rows of weights; and only layers with a
row for each class (`ClassWeights`) are divided, while the fork divides convolutions, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..language import codes
from ..language.diagnostics import Report
from ..language.spelling import suggestion
from ..layers._classes import ClassWeights, MultinodeLayer
from ..layers.base import Layer
from ..schema import Block, param


class ModelParallel(Block):
    """`model_parallel { layer_from: "fc6" layer_to: "fc8" }`: the layers from one to another."""

    layer_from: str = param("First layer.")
    layer_to: str = param("Last layer; not set: the last one that depends on the first.", default="")
    num_nodes: int = param("Number of nodes of the cluster; 1 divides nothing.", default=0, at_least=0)
    model_parts: int = param("Number of parts; 1 divides nothing, any other number all.", default=0, at_least=0)


class Compressed(Block):
    """`compress_layer_type_list { layer_type: "Convolution" }`: layers with gradients of fewer bits; has no effect."""

    layer_type: tuple[str, ...] = param("Types of layers.", default=(), inert=True)


class Multinode(Block):
    """`multinode { }` of a net: what the nodes of a cluster divide (Intel)."""

    model_parallel: tuple[ModelParallel, ...] = param("Layers whose classes the devices divide.", default=())
    compress_layer_type_list: Compressed | None = param("Layers with compressed gradients.", default=None, inert=True)


def model_parallel(layers: Sequence[Layer], rules: Multinode, report: Report) -> list[Layer]:
    """The layers, with the `multinode` that the net gives them.  Reports blocks without effect."""
    found = list(layers)
    for rule in rules.model_parallel:
        names = [layer.name for layer in found]
        for field, name in (("layer_from", rule.layer_from), ("layer_to", rule.layer_to)):
            if name and name not in names:
                meant = suggestion(name, names)
                report.add(codes.NO_EFFECT, rule.span_of(field), f"the net has no layer `{name}`.{meant}")
        chain = _chain(found, rule)
        weights = [i for i in chain if isinstance(found[i], ClassWeights)]
        if chain and not weights:
            report.add(
                codes.NO_EFFECT,
                rule.span_of("layer_from"),
                f"`model_parallel` is not needed for `{rule.layer_from}`: devices divide only weights with a row for "
                "each class, as those of InnerProduct; each has a copy of all others.",
            )
        for i in weights:
            own = MultinodeLayer(num_nodes=rule.num_nodes, model_parts=rule.model_parts)
            found[i] = found[i].replace(multinode=own)
    return found


def _chain(layers: Sequence[Layer], rule: ModelParallel) -> list[int]:
    """The indices of the layers that a block names."""
    marked: set[str] = set()
    found = []
    for i, layer in enumerate(layers):
        if layer.name in (rule.layer_from, rule.layer_to) or marked.intersection(layer.bottom):
            marked.update(layer.top)
            found.append(i)
        if (rule.layer_to and layer.name == rule.layer_to) or not layer.top:
            break
    return found
