"""The typed net: layers in order, joined by values that are each made once.

Caffe's blobs can be written in place; here every write makes a new `Value` of the same blob, so that whoever reads
knows which version is meant.  `Net` is what `netdef.load` gives: frozen, with shapes, and printing itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from .language.diagnostics import Diagnostic
from .language.source import Span
from .layers.base import Layer, Phase, Weight
from .shape import Shape, show


@dataclass(frozen=True)
class Value:
    """One version of a blob: `version` 0 where it is first made, 1 after the first layer that writes it in place."""

    name: str
    version: int = 0
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name + "'" * self.version


@dataclass(frozen=True)
class Blob:
    """What the outside knows of a named blob; `shape` is None where even the rank is unknown."""

    name: str
    shape: Shape | None


class Owner(NamedTuple):
    """Where a parameter is stored: blob `index` of layer `layer`.  Layers that share a parameter have one owner."""

    layer: str
    index: int


@dataclass(frozen=True)
class Node:
    """One layer in its place.  `name` is unique in the net; `tops` includes those that a loss without a top makes."""

    name: str
    layer: Layer
    bottoms: tuple[Value, ...]
    tops: tuple[Value, ...]
    weights: tuple[Weight, ...] | None = None  # None until shapes are known
    owners: tuple[Owner, ...] = ()  # where each weight is stored
    loss_weights: tuple[float, ...] = ()  # one for each top; 0 for a top that is not a loss
    trained: tuple[bool, ...] = ()  # of each weight: whether its gradient is computed
    reached: tuple[bool, ...] = ()  # of each bottom: whether a gradient goes on to it
    overwritten: Value | None = None  # what Caffe's backward pass finds in the top, if that is not what the layer made
    frozen: bool = False  # computed as in phase TEST even while the net is trained: stored statistics, no dropout
    precision: str = ""  # floating type that it computes in; none: that of its bottoms

    def but(self, **changes: Any) -> Node:
        """The same node with other values in some fields: what `dataclasses.replace` gives, in a third of its time."""
        made = object.__new__(Node)
        made.__dict__.update(self.__dict__, **changes)
        return made

    @property
    def type(self) -> str:
        return self.layer.type

    @property
    def stored(self) -> list[tuple[Weight, Owner]]:
        """The parameters that Caffe's files hold, in blob order, each with the place of its array; all but the state
        that is carried from batch to batch."""
        return [(w, o) for w, o in zip(self.weights or (), self.owners, strict=True) if w.kind != "carry"]

    @property
    def span(self) -> Span | None:
        return self.layer.span


@dataclass(frozen=True, eq=False)
class Net:
    """A net of one phase: `layers` in order, `shapes` of every value, the solver if the file has one."""

    name: str
    phase: Phase
    layers: tuple[Node, ...]
    shapes: dict[Value, Shape | None]
    outputs: tuple[str, ...]  # blobs that nobody takes, in order
    solver: Any = None
    diagnostics: tuple[Diagnostic, ...] = ()
    folder: Path | None = None  # of the file; paths in it are relative to this
    text: str = field(default="", repr=False)  # of the file

    @cached_property
    def blobs(self) -> dict[str, Blob]:
        """Every named blob with the shape of its last version, in the order in which they are made."""
        return {v.name: Blob(v.name, self.shapes.get(v)) for node in self.layers for v in node.tops if v.name}

    @cached_property
    def params(self) -> dict[str, list[Shape]]:
        """Shapes of each layer's parameters in Caffe's blob order; only layers that have any."""
        shapes = {node.name: [weight.shape for weight, _ in node.stored] for node in self.layers}
        return {name: found for name, found in shapes.items() if found}

    @cached_property
    def owned(self) -> tuple[tuple[Owner, Weight], ...]:
        """Every array of the net once, in the order of the layers."""
        return tuple(
            (owner, weight)
            for node in self.layers
            for i, (weight, owner) in enumerate(zip(node.weights or (), node.owners, strict=True))
            if owner == Owner(node.name, i)
        )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Blobs to be fed from outside: tops of Input and data layers."""
        return tuple(v.name for node in self.layers if node.layer.is_input for v in node.tops)

    @cached_property
    def makers(self) -> dict[Value, Node]:
        """The layer that makes each value."""
        return {top: node for node in self.layers for top in node.tops}

    @cached_property
    def takers(self) -> dict[Value, list[Node]]:
        """The layers that take each value, in order."""
        found: dict[Value, list[Node]] = {top: [] for node in self.layers for top in node.tops}
        for node in self.layers:
            for value in node.bottoms:
                found.setdefault(value, []).append(node)
        return found

    @cached_property
    def copies(self) -> dict[str, str]:
        """Names that Caffe gives the copies of a blob that several layers take (`data_input_0_split_1`), and the
        blob."""
        takers: dict[Value, int] = {}
        for node in self.layers:
            explicit = node.layer.loss_weight
            lost = [top for top, weight in zip(node.tops, explicit, strict=False) if weight]
            for value in (*node.bottoms, *lost):
                takers[value] = takers.get(value, 0) + 1
        return {
            f"{top.name}_{node.name}_{i}_split_{k}": top.name
            for node in self.layers
            for i, top in enumerate(node.tops)
            if takers.get(top, 0) > 1
            for k in range(takers[top])
        }

    def __str__(self) -> str:
        lines = [f"net {self.name or '(no name)'} phase {self.phase.name}"]
        for node in self.layers:
            tops = ", ".join(f"{v}[{show(self.shapes.get(v))}]" for v in node.tops)
            weights = " ".join(show(w.shape) for w in node.weights or ())
            lines.append(
                f"  {tops} = {node.type}({', '.join(map(str, node.bottoms))})" + (f"  {{{weights}}}" if weights else "")
            )
        return "\n".join(lines)
