"""The typed net: layers in order, connected by values that are each written once.

Caffe's blobs can be written in place; here every write creates a new `Value` of the same blob, so a layer that reads
the blob refers to one version. `netdef.load` returns a `Net`: frozen, with shapes, and with a readable `str`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from .language.diagnostics import Diagnostic
from .language.shown import Shown
from .language.source import Span
from .layers.base import Layer, Phase, Weight
from .shape import Shape, show

MOST_MARKS = 9  # after the name of a blob for its version; a number takes the place of more


@dataclass(frozen=True)
class Value:
    """One version of a blob: `version` is 0 where it is first output, 1 after the first layer that works in place."""

    name: str
    version: int = 0
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name + ("'" * self.version if self.version <= MOST_MARKS else f"'{self.version}")


@dataclass(frozen=True)
class Blob:
    """A named blob; `shape` is None if even the rank is unknown."""

    name: str
    shape: Shape | None


class Owner(NamedTuple):
    """Where a parameter is stored: blob `index` of layer `layer`. Layers that share a parameter have one owner."""

    layer: str
    index: int


@dataclass(frozen=True, repr=False)
class Node:
    """One layer of a net. `name` is unique in the net; `tops` includes the automatic top of a loss that names none."""

    name: str
    layer: Layer
    bottoms: tuple[Value, ...]
    tops: tuple[Value, ...]
    weights: tuple[Weight, ...] | None = None  # None until shapes are known
    owners: tuple[Owner, ...] = ()  # where each weight is stored
    loss_weights: tuple[float, ...] = ()  # one for each top; 0 for a top that is not a loss
    trained: tuple[bool, ...] = ()  # for each weight: whether its gradient is computed
    reached: tuple[bool, ...] = ()  # for each bottom: whether the gradient is propagated to it
    overwritten: Value | None = None  # what Caffe's backward pass reads in the top, if it is not the layer's output
    frozen: bool = False  # computes as in phase TEST even in training: stored statistics, no dropout
    precision: str = ""  # the dtype in which it computes; if empty, the dtype of its bottoms
    segment: int | None = None  # consecutive layers with one number are recomputed together in the backward pass
    top_dtype: str = ""  # the dtype of its tops; if empty, as computed

    def but(self, **changes: Any) -> Node:
        """The same node with other values in some fields: like `dataclasses.replace`, but three times as fast."""
        made = object.__new__(Node)
        made.__dict__.update(self.__dict__, **changes)
        return made

    @property
    def type(self) -> str:
        return self.layer.type

    @property
    def stored(self) -> list[tuple[Weight, Owner]]:
        """The parameters that Caffe's files contain, in blob order, each with the owner of its array: all except the
        state that is carried from batch to batch."""
        return [(w, o) for w, o in zip(self.weights or (), self.owners, strict=True) if w.kind != "carry"]

    @property
    def span(self) -> Span | None:
        return self.layer.span

    def __repr__(self) -> str:
        tops, bottoms = (", ".join(map(str, values)) for values in (self.tops, self.bottoms))
        return f"<layer {self.name}: {tops or 'no top'} = {self.type}({bottoms})>"


@dataclass(frozen=True, eq=False, repr=False)
class Net(Shown):
    """The net of one phase: `layers` in order, `shapes` of every value, and the solver if the file has one."""

    name: str
    phase: Phase
    layers: tuple[Node, ...]
    shapes: dict[Value, Shape | None]
    outputs: tuple[str, ...]  # blobs that no layer uses, in order
    solver: Any = None
    diagnostics: tuple[Diagnostic, ...] = ()
    folder: Path | None = None  # of the file; paths in it are relative to this
    text: str = field(default="", repr=False)  # of the file
    trust_python: bool = False  # whether the modules of its Python layers may run
    channels_last: bool = True  # whether stretches of layers may run with the channels last

    @cached_property
    def blobs(self) -> dict[str, Blob]:
        """Every named blob with the shape of its last version, in order of computation."""
        return {v.name: Blob(v.name, self.shapes.get(v)) for node in self.layers for v in node.tops if v.name}

    @cached_property
    def params(self) -> dict[str, list[Shape]]:
        """The shapes of each layer's parameters in Caffe's blob order, for layers with parameters."""
        shapes = {node.name: [weight.shape for weight, _ in node.stored] for node in self.layers}
        return {name: found for name, found in shapes.items() if found}

    @cached_property
    def owned(self) -> tuple[tuple[Owner, Weight], ...]:
        """Every parameter array of the net once, in the order of the layers."""
        return tuple(
            (owner, weight)
            for node in self.layers
            for i, (weight, owner) in enumerate(zip(node.weights or (), node.owners, strict=True))
            if owner == Owner(node.name, i)
        )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the net: the tops of Input and data layers."""
        return tuple(v.name for node in self.layers if node.layer.is_input for v in node.tops)

    @cached_property
    def unused_inputs(self) -> frozenset[str]:
        """The inputs after the first of a layer that no layer uses, such as the labels of a MemoryData layer."""
        tops = [v for node in self.layers if node.layer.is_input for v in node.tops[1:]]
        return frozenset(v.name for v in tops if not self.consumers[v])

    @cached_property
    def padded(self) -> tuple[str, ...]:
        """The blobs whose last rows may be padding, because their number varies; the first top of a data layer is the
        images."""
        padding = (node for node in self.layers if node.layer.pads_rows)
        listed = {v.name: None for node in padding for v in node.tops[1 if node.layer.is_data else 0 :]}
        return tuple(listed | dict.fromkeys(self.regions))

    @cached_property
    def regions(self) -> dict[str, str]:
        """The blobs with a row for each region, of which the last ones may be padding, and for each the regions: the
        blob in which these rows are -1."""
        found: dict[Value, Value] = {}
        for node in self.layers:
            if node.layer.pads_regions:
                found.update(dict.fromkeys(node.tops, node.tops[0]))
            regions = next((found[v] for v in node.bottoms if v in found), None)
            if regions is None or node.layer.pads_regions is not None:
                continue
            rows = (self.shapes.get(regions) or (None,))[0]
            found.update({top: regions for top in node.tops if (self.shapes.get(top) or ("none",))[0] == rows})
        return {value.name: regions.name for value, regions in found.items()}

    @cached_property
    def producers(self) -> dict[Value, Node]:
        """The layer that outputs each value."""
        return {top: node for node in self.layers for top in node.tops}

    @cached_property
    def latest(self) -> dict[str, Value]:
        """The last version of each blob."""
        found: dict[str, Value] = {}
        for value in self.producers:
            if value.version >= found.get(value.name, value).version:
                found[value.name] = value
        return found

    @cached_property
    def consumers(self) -> dict[Value, list[Node]]:
        """The layers that use each value, in order."""
        found: dict[Value, list[Node]] = {top: [] for node in self.layers for top in node.tops}
        for node in self.layers:
            for value in node.bottoms:
                found.setdefault(value, []).append(node)
        return found

    @cached_property
    def copies(self) -> dict[str, str]:
        """Maps the names of the copies that Caffe creates of a blob that several layers use (`data_input_0_split_1`) to
        the name of the blob."""
        consumers: dict[Value, int] = {}
        for node in self.layers:
            explicit = node.layer.loss_weight
            lost = [top for top, weight in zip(node.tops, explicit, strict=False) if weight]
            for value in (*node.bottoms, *lost):
                consumers[value] = consumers.get(value, 0) + 1
        return {
            f"{top.name}_{node.name}_{i}_split_{k}": top.name
            for node in self.layers
            for i, top in enumerate(node.tops)
            if consumers.get(top, 0) > 1
            for k in range(consumers[top])
        }

    def __repr__(self) -> str:
        """One line, because notebooks and debuggers show it; `str` lists the layers."""
        inputs = ", ".join(f"{name} {show(self.blobs[name].shape)}" for name in self.inputs)
        named = f" {self.name}" if self.name else ""
        return f"<Net{named}, phase {self.phase.name}: {len(self.layers)} layers, inputs {inputs or 'none'}>"

    def __str__(self) -> str:
        lines = [f"net {self.name or '(no name)'} phase {self.phase.name}"]
        for node in self.layers:
            tops = ", ".join(f"{v}[{show(self.shapes.get(v))}]" for v in node.tops)
            weights = " ".join(show(w.shape) for w in node.weights or ())
            lines.append(
                f"  {tops} = {node.type}({', '.join(map(str, node.bottoms))})" + (f"  {{{weights}}}" if weights else "")
            )
        return "\n".join(lines)
