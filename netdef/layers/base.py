"""The contract of a layer type: one class that says what it may be given, what it makes of shapes, and what it
computes.

    class InnerProduct(Layer, type="InnerProduct", block="inner_product_param"):
        '''y = W x + b over all axes of x from `axis` on. ...'''
        num_output: int = param("Number of outputs.", at_least=1)
        def infer(self, x): ...             # shapes in, shapes out
        def weights(self, x): ...           # parameters in Caffe's blob order
        def apply(self, w, x, *, ctx): ...  # arrays in, arrays out

An instance is one layer of one net, decoded and frozen.  Class keywords: `type` is the name in the file (none: an
abstract family), `aliases` other names, `block` the message that holds its own fields.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ..lazy import Array
from ..registry import Registry
from ..schema import Block, param
from ..shape import Dim, Shape

Arity = int | tuple[int, int | None]  # exactly n, or (at least, at most or None)


class Phase(enum.Enum):
    """What a net is built for."""

    TRAIN = 0
    TEST = 1


class ShareMode(enum.Enum):
    """How far the shapes of a shared parameter must agree: exactly, or in their count."""

    STRICT = 0
    PERMISSIVE = 1


class ParamSpec(Block):
    """`param { }`: how the solver treats one parameter of a layer, and the name by which layers share it."""

    name: str = param("Layers whose parameters have one name share one array.", default="")
    share_mode: ShareMode = param(
        "Whether shared shapes must be equal, or only their counts.", default=ShareMode.STRICT
    )
    lr_mult: float = param("Multiplies the learning rate; 0 freezes the parameter.", default=1.0)
    decay_mult: float = param("Multiplies the weight decay.", default=1.0)


class NetStateRule(Block):
    """`include { }` and `exclude { }`: a rule is met when every field that it gives is met."""

    phase: Phase | None = param("The phase must be this one.", default=None)
    min_level: int | None = param("The level must be at least this.", default=None)
    max_level: int | None = param("The level must be at most this.", default=None)
    stage: tuple[str, ...] = param("All these stages must be set.", default=())
    not_stage: tuple[str, ...] = param("None of these stages may be set.", default=())


@dataclass(frozen=True)
class Weight:
    """One array that a layer owns.  `kind`: "param" is trained; "stat" is kept by the layer itself (running
    statistics); "carry" is what a stateful layer hands from batch to batch and Caffe does not save."""

    shape: Shape
    filler: Any  # a Filler
    kind: str = "param"
    lr_mult: float = 1.0
    decay_mult: float = 1.0


@dataclass(frozen=True)
class Example:
    """A layer as a user writes it, with the shapes of its bottoms: documentation, and input of the contract test.
    `integers` names bottoms that hold whole numbers below the given bound (labels)."""

    text: str
    inputs: dict[str, Shape]
    integers: dict[str, int] = field(default_factory=dict)
    differentiable: bool = True  # whether finite differences can be compared (no kinks, no random numbers)


class Context(Protocol):
    """What `apply` may ask for beside arrays."""

    train: bool  # phase TRAIN

    def rng(self) -> Array:
        """A fresh jax random key."""
        ...

    def update(self, i: int, value: Array) -> None:
        """The new value of the layer's weight `i` (kind "stat" or "carry"), kept after this call."""
        ...


LAYERS: Registry[Layer] = Registry("layer type", "netdef.layers", "netdef.data.layers", group="netdef.layers")


class Layer(Block):
    """Fields that every layer has; subclasses add those of their own block."""

    type: ClassVar[str] = ""
    block: ClassVar[str | None] = None
    selector = "type"
    faulty: ClassVar[bool] = False  # of an instance: its fields have errors, so nothing is concluded from them
    n_bottoms: ClassVar[Arity] = 1
    n_tops: ClassVar[Arity] = 1
    is_loss: ClassVar[bool] = False  # its first top has loss weight 1 unless said otherwise
    is_metric: ClassVar[bool] = False  # its tops are to be looked at; no gradient comes from them
    prediction: ClassVar[str | None] = None  # of a loss that takes scores: the layer type that makes them probabilities
    judges_scores: ClassVar[bool] = False  # compares scores, before a softmax, with the labels in its second bottom
    is_input: ClassVar[bool] = False  # its tops are fed from outside: Input and the data layers
    is_data: ClassVar[bool] = False  # reads files; has `top_shapes(locate)` in place of `infer`
    family: ClassVar[str] = "other"  # what drawings color it as; implied by the above for losses, metrics and inputs
    runs: ClassVar[bool] = True  # False: can be read and checked, and compiling it is an error
    # Caffe's backward pass reads what stands in the layer's top by then: its "sign" or its "value".  A layer that
    # works in place further down has overwritten it, unless it `keeps_sign` of every number.
    reads_back: ClassVar[str | None] = None
    keeps_sign: ClassVar[bool] = False
    takes_indices: ClassVar[bool] = False  # its first bottom holds numbers of words, whose scale means nothing
    rectifies: ClassVar[bool] = False  # 0 below a limit: a channel that is 0 for every input learns nothing
    limits: ClassVar[tuple[float, float] | None] = None  # what its tops come close to without reaching it
    examples: ClassVar[tuple[Example, ...]] = ()

    name: str = param("Name of the layer; its parameters are saved under it.", default="", beside=True)
    bottom: tuple[str, ...] = param("Blobs that the layer takes.", default=(), beside=True)
    top: tuple[str, ...] = param(
        "Blobs that it makes; one named like a bottom is computed in place.", default=(), beside=True
    )
    phase: Phase | None = param("Phase of this layer alone.", default=None, beside=True)
    loss_weight: tuple[float, ...] = param("Weight of each top in the objective.", default=(), beside=True)
    propagate_down: tuple[bool, ...] = param("Whether the gradient goes on to each bottom.", default=(), beside=True)
    include: tuple[NetStateRule, ...] = param(
        "The layer is there if one of these rules is met.", default=(), beside=True
    )
    exclude: tuple[NetStateRule, ...] = param(
        "The layer is there unless one of these rules is met.", default=(), beside=True
    )
    param: tuple[ParamSpec, ...] = param(
        "Learning-rate and decay multipliers, a message per parameter.", default=(), beside=True
    )

    def __init_subclass__(
        cls, type: str | None = None, aliases: Iterable[str] = (), block: str | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        implied = {"loss": cls.is_loss, "metric": cls.is_metric, "data": cls.is_input}
        cls.family = next((family for family, holds in implied.items() if holds), cls.family)
        if block is not None:
            cls.block = block
        if type is not None:
            cls.type = type
            for name in (type, *aliases):
                LAYERS.add(name, cls)

    def infer(self, *bottoms: Shape) -> Shape | list[Shape]:
        """Shapes of the tops from those of the bottoms: one shape, or a list where there may be several tops.
        ShapeError if they do not fit, Unavailable if a module is missing."""
        raise NotImplementedError

    def weights(self, *bottoms: Shape) -> list[Weight]:
        """The layer's arrays in Caffe's blob order."""
        return []

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array | list[Array]:
        """Tops from weights and bottoms, traced by jax: one array, or a list where there may be several tops."""
        raise NotImplementedError

    def tops(self, *values: Any) -> list[Any]:
        """The first of `values`, shapes or arrays, that the layer has tops for; a loss without a top has one still."""
        return list(values[: max(1, len(self.top))])

    def deployed(self) -> Layer | None:
        """What stands in the layer's place once the net is trained: itself as it is; another layer, which takes the
        first bottom alone; or None, where that bottom goes on as it is (dropout)."""
        return self

    def label_classes(self, scores: Shape) -> Dim | None:
        """Number of classes that the whole numbers in the second bottom name, from 0 on; None if they name none."""
        return None

    @property
    def ignored_label(self) -> int | None:
        """The label whose positions take no part; None if there is none."""
        return None

    @property
    def runs_module(self) -> str | None:
        """The Python module, named by the file, whose code `infer`, `weights` and `apply` run; None if there is none.
        Shapes are inferred without these methods unless the file is trusted."""
        return None

    def squashes(self) -> bool:
        """Whether scores that go through it lose a part: cut at 0, or pressed between limits."""
        return self.limits is not None

    def describe(self) -> str:
        """The type and the values that matter most: `Convolution 7x7 / 2, 64`."""
        outputs = getattr(self, "num_output", None)  # the name of this field in every block that has it
        return " ".join([self.type, *self.details()]) + (f", {outputs}" if outputs else "")

    def details(self) -> list[str]:
        """What `describe` tells between the type and the number of outputs."""
        return []

    def slope_from(self, top: Array) -> Array:
        """dy/dx as Caffe computes it from what stands in the top (layers with `reads_back`)."""
        raise NotImplementedError

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> int:
        """Multiply-adds of one forward pass; 0 for layers that only touch each value a few times."""
        return 0
