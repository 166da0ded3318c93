"""The contract of a layer type: one class that declares its fields, infers the shapes of its tops and computes them.

    class InnerProduct(Layer, type="InnerProduct", block="inner_product_param"):
        '''y = W x + b over all axes of x from `axis` on. ...'''
        num_output: int = param("Number of outputs.", at_least=1)
        def infer(self, x): ...             # shapes in, shapes out
        def weights(self, x): ...           # parameters in Caffe's blob order
        def apply(self, w, x, *, ctx): ...  # arrays in, arrays out

An instance is one layer of one net, decoded and frozen.  Class keywords: `type` is the name in the file (without it the
class is an abstract base), `aliases` are other names, and `block` is the name of the block with the type's own fields.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ..lazy import Array
from ..registry import Registry
from ..schema import Block, param
from ..shape import Dim, Shape

Arity = int | tuple[int, int | None]  # exactly n, or (at least, at most or None)


class Phase(enum.Enum):
    """The phase that a net is built for."""

    TRAIN = 0
    TEST = 1


class DataType(enum.Enum):
    """The types of numbers of NVIDIA's fork."""

    DOUBLE = 0
    FLOAT = 1
    FLOAT16 = 2
    INT = 3
    UINT = 4
    BOOL = 5


class ShareMode(enum.Enum):
    """How closely the shapes of a shared parameter must match: exactly, or only in their number of values."""

    STRICT = 0
    PERMISSIVE = 1


class ParamSpec(Block):
    """`param { }`: how the solver treats one parameter of a layer, and the name under which layers share it."""

    name: str = param("Parameters with the same name share one array.", default="")
    share_mode: ShareMode = param(
        "Whether shared shapes must be equal (STRICT) or have the same number of values.", default=ShareMode.STRICT
    )
    lr_mult: float = param("Multiplies the learning rate; 0 freezes the parameter.", default=1.0)
    decay_mult: float = param("Multiplies the weight decay.", default=1.0)


class NetStateRule(Block):
    """`include { }` and `exclude { }`: a rule matches if each of its fields matches."""

    phase: Phase | None = param("The phase must be this one.", default=None)
    min_level: int | None = param("The level must be at least this.", default=None)
    max_level: int | None = param("The level must be at most this.", default=None)
    stage: tuple[str, ...] = param("All these stages must be set.", default=())
    not_stage: tuple[str, ...] = param("None of these stages may be set.", default=())


@dataclass(frozen=True)
class Weight:
    """One array that a layer owns.  `kind`: "param" is trained; "stat" is updated by the layer itself (running
    statistics); "carry" is state that a layer passes from batch to batch and that Caffe does not save."""

    shape: Shape
    filler: Any  # a Filler
    kind: str = "param"
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    # Devices divide its rows, one per class, in multiples of so many parts; 0: each has all of them.  With several
    # parts, `apply` may get rows of zeros after its own, up to a multiple of the parts.
    parts: int = 0


@dataclass(frozen=True)
class Example:
    """A layer as a user writes it, with the shapes of its bottoms: documentation, and input for the contract test.
    `integers` maps bottoms that contain integers (labels) to their exclusive upper bound."""

    text: str
    inputs: dict[str, Shape]
    integers: dict[str, int] = field(default_factory=dict)
    differentiable: bool = True  # whether gradients can be compared with finite differences (no kinks, no randomness)


class Context(Protocol):
    """What `apply` can use besides arrays."""

    train: bool  # phase TRAIN
    channels_last: bool  # bottoms and tops are (n, spatial..., c); only if the layer's `channels_last` allows it

    def rng(self) -> Array:
        """Returns a new JAX random key."""
        ...

    def locate(self, name: str, /) -> Path:
        """Returns the path of a file that a field names, relative to the net's file or to the working directory."""
        ...

    def update(self, i: int, value: Array) -> None:
        """Sets the layer's weight `i` (kind "stat" or "carry") to a new value, which is kept after this call."""
        ...


LAYERS: Registry[Layer] = Registry("layer type", "netdef.layers", "netdef.data.layers", group="netdef.layers")


class Layer(Block):
    """Fields that every layer has; subclasses add the fields of their own block."""

    type: ClassVar[str] = ""
    block: ClassVar[str | None] = None
    selector = "type"
    faulty: ClassVar[bool] = False  # of an instance: its fields have errors, so no checks are based on them
    n_bottoms: ClassVar[Arity] = 1
    shape_only: ClassVar[tuple[int, ...]] = ()  # bottoms of which only the shape is used
    n_tops: ClassVar[Arity] = 1
    is_loss: ClassVar[bool] = False  # its first top has loss weight 1 by default
    is_metric: ClassVar[bool] = False  # its tops are only reported; they have no gradient
    prediction: ClassVar[str | None] = None  # of a loss of scores: the layer type that converts them to probabilities
    judges_scores: ClassVar[bool] = False  # compares scores, before a softmax, with the labels in its second bottom
    is_input: ClassVar[bool] = False  # its tops are inputs of the net: Input and the data layers
    is_data: ClassVar[bool] = False  # reads files; has `top_shapes(locate)` in place of `infer`
    family: ClassVar[str] = "other"  # the color in diagrams; implied by the above for losses, metrics and inputs
    # Caffe's backward pass reads the current contents of the layer's top: its "sign" or its "value".  A later layer
    # that works in place has overwritten them, unless it `keeps_sign` of every value.
    reads_back: ClassVar[str | None] = None
    keeps_sign: ClassVar[bool] = False
    float32: ClassVar[str | None] = None  # why it computes in float32 under `precision: BF16`; None: in bfloat16
    float32_tops: ClassVar[bool] = True  # with `float32`: whether its tops are float32 too, and not rounded again
    carries_rows: ClassVar[bool] = False  # its carried state has an element for each row of the batch
    takes_indices: ClassVar[bool] = False  # its first bottom contains word indices, whose scale has no meaning
    rectifies: ClassVar[bool] = False  # 0 below a limit: a channel that is 0 for every input learns nothing
    limits: ClassVar[tuple[float, float] | None] = None  # the bounds that its tops approach without reaching them
    prefers_channels_last: ClassVar[bool] = False  # starts a stretch of layers that run with the channels last
    pads_rows: ClassVar[bool] = False  # its top (1, 1, count, values) ends with rows of -1, which are not shown
    # True: its tops (count, ...) end with rows of -1, which are not shown, nor are the rows of later layers that belong
    # to them; False: its tops have no such rows, although its bottoms may; None: as its bottoms.
    pads_regions: ClassVar[bool | None] = None
    # Its first top lists detections: image, label, confidence, and xmin, ymin, xmax, ymax as fractions of the image.
    detects: ClassVar[bool] = False
    # The bottom that lists true boxes: image, label, instance, xmin, ymin, xmax, ymax, difficult.
    truth_bottom: ClassVar[int | None] = None
    examples: ClassVar[tuple[Example, ...]] = ()

    name: str = param("Name of the layer; its parameters are saved under this name.", default="", beside=True)
    bottom: tuple[str, ...] = param("Blobs that the layer uses as input.", default=(), beside=True)
    top: tuple[str, ...] = param(
        "Blobs that it outputs; one with the name of a bottom is computed in place.", default=(), beside=True
    )
    phase: Phase | None = param("Phase of this layer, in place of the net's.", default=None, beside=True)
    loss_weight: tuple[float, ...] = param("Weight of each top in the objective.", default=(), beside=True)
    propagate_down: tuple[bool, ...] = param("Whether each bottom receives a gradient.", default=(), beside=True)
    include: tuple[NetStateRule, ...] = param(
        "The layer is part of the net only if one of these rules matches.", default=(), beside=True
    )
    exclude: tuple[NetStateRule, ...] = param(
        "The layer is part of the net unless one of these rules matches.", default=(), beside=True
    )
    param: tuple[ParamSpec, ...] = param(
        "Name and multipliers of each parameter: one block per parameter.", default=(), beside=True
    )

    def __init_subclass__(
        cls, type: str | None = None, aliases: Iterable[str] = (), block: str | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        implied = {"loss": cls.is_loss, "metric": cls.is_metric, "data": cls.is_input}
        if cls.is_loss or cls.is_metric:
            cls.float32 = cls.float32 or "losses and metrics are means over the batch"
        cls.family = next((family for family, holds in implied.items() if holds), cls.family)
        if block is not None:
            cls.block = block
        if type is not None:
            cls.type = type
            for name in (type, *aliases):
                LAYERS.add(name, cls)

    def infer(self, *bottoms: Shape) -> Shape | list[Shape]:
        """Returns the shapes of the tops: one shape, or a list where there may be several tops.  Raises ShapeError if
        the bottoms do not fit, and Unavailable if a module is missing."""
        raise NotImplementedError

    def weights(self, *bottoms: Shape) -> list[Weight]:
        """Returns the layer's arrays in Caffe's blob order."""
        return []

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array | list[Array]:
        """Computes the tops from weights and bottoms, traced by JAX: one array, or a list where there may be several
        tops."""
        raise NotImplementedError

    def tops(self, *values: Any) -> list[Any]:
        """Returns as many of `values` (shapes or arrays) as the layer has tops, but at least one, because a loss needs
        no top."""
        return list(values[: max(1, len(self.top))])

    def channels_last(self, *bottoms: Shape) -> bool:
        """Returns whether `apply` accepts these bottoms, and returns all tops, as (n, spatial..., c) if
        `ctx.channels_last`.  The shapes are those of the net, (n, c, spatial...)."""
        return False

    def in_phase(self, phase: Phase) -> Layer:
        """Returns this layer as it is in a phase, if its shapes depend on it."""
        return self

    def deployed(self) -> Layer | None:
        """Returns the layer that replaces this one in an inference net: itself; another layer, which uses only the
        first bottom; or None if that bottom is passed on unchanged (dropout)."""
        return self

    def deployed_layers(self, bottoms: Sequence[str]) -> Sequence[Layer]:
        """Returns the layers that replace a loss of blobs with these names in an inference net, if there are several;
        the top of the last one is the prediction."""
        return ()

    def label_classes(self, scores: Shape) -> Dim | None:
        """Returns the number of classes that the integers in the second bottom index; None if they are not labels."""
        return None

    def counted(self, *bottoms: Array) -> list[Array]:
        """Returns for each top the number of positions of a batch that it is a mean over, by which a test of several
        batches weights it; empty if it is proportional to the number of records."""
        return []

    @property
    def ignored_label(self) -> int | None:
        """The label whose positions are ignored; None if there is none."""
        return None

    @property
    def most_indices(self) -> int | None:
        """The number of vectors that the indices in the first bottom select from; None if they select none."""
        return None

    @property
    def runs_module(self) -> str | None:
        """The Python module, named by the file, whose code `infer`, `weights` and `apply` run; None if there is none.
        Shapes are inferred without these methods unless the file is trusted."""
        return None

    def needs_float32(self) -> str | None:
        """Returns why this layer computes in float32 under `precision: BF16`; None if it computes in bfloat16."""
        return self.float32

    def squashes(self) -> bool:
        """Returns whether the layer restricts the range of its input: cut off at 0, or squashed between limits."""
        return self.limits is not None

    def describe(self) -> str:
        """Returns the type and the most important values: `Convolution 7x7 / 2, 64`."""
        outputs = getattr(self, "num_output", None)  # the name of this field in every block that has it
        return " ".join([self.type, *self.details()]) + (f", {outputs}" if outputs else "")

    def details(self) -> list[str]:
        """Returns what `describe` shows between the type and the number of outputs."""
        return []

    def slope_from(self, top: Array) -> Array:
        """Returns dy/dx as Caffe computes it from the contents of the top (layers with `reads_back`)."""
        raise NotImplementedError

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> int:
        """Returns the multiply-adds of one forward pass; 0 for layers that use each value only a few times."""
        return 0
