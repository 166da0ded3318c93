"""Decodes a tree to typed blocks: every layer of every phase, the net's own fields, and the solver.

Given a plain tree (after `expand` and `upgrade`), returns a `Program` whose layers are instances of their classes. A
layer of an unknown type becomes an `UnknownLayer`, so the rest of the file is still checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from typing import Any

from ..language import codes
from ..language.diagnostics import Report
from ..language.source import Span
from ..language.spelling import closest, nearest, suggestion
from ..language.syntax import Field, Message, Scalar
from ..layers.base import LAYERS, DataType, Layer
from ..layers.input import BlobShape, Input
from ..schema import MOST_COMPARED, Block, Params, build, param, take, unknown_field
from ..shape import Shape
from ..solvers.base import NetState, Solver
from ..solvers.decode import decode_solver
from .foreign_types import forks
from .multinode import Multinode, model_parallel
from .region_layers import own_region_layer

MOST_BLOBS = 50_000  # bottoms and tops of the layers of a file
MOST_LAYERS = 10_000  # of a file; the deepest known nets have a third of that
# Fields of forks, in a layer or a net, that determine how to compute and not what; they cause a warning: `engine`,
# `quantization_param` (Intel: the library, scales for integers), `can_clobber` (2013), `default_conv_algos_override`,
# `debug` (NVIDIA: routines, prints).
IDLE = ("engine", "quantization_param", "can_clobber", "default_conv_algos_override", "debug")


class NetParameter(Block):
    """The fields of a net, apart from its layers."""

    name: str = param("Name of the net.", default="")
    input: tuple[str, ...] = param("Inputs of the net (newer files use an Input layer).", default=())
    input_shape: tuple[BlobShape, ...] = param("Shape of each input.", default=())
    input_dim: tuple[int, ...] = param("Four dimensions of each input.", default=(), at_least=0)
    force_backward: bool = param("Compute all gradients, including those of the inputs.", default=False)
    state: NetState | None = param("Phase, level and stages.", default=None)
    debug_info: bool = param("Print means of blobs and gradients while training.", default=False)
    bn_stats_batch_size: int = param("`stats_batch_size` of every BatchNorm (Intel).", default=0, at_least=0)
    multinode: Multinode | None = param("What the nodes of a cluster divide (Intel).", default=None)
    default_forward_type: DataType | None = param("Type of blobs in NVIDIA's fork.", default=None, inert=True)
    default_backward_type: DataType | None = param("Type of gradients in NVIDIA's fork.", default=None, inert=True)
    default_forward_math: DataType | None = param("Type of sums in NVIDIA's fork.", default=None, inert=True)
    default_backward_math: DataType | None = param("Type of sums in NVIDIA's fork.", default=None, inert=True)
    default_cudnn_math_override: int = param("Selects a routine in NVIDIA's fork.", default=-1, inert=True)
    global_grad_scale: float = param("Scale of gradients in half precision, in NVIDIA's fork.", default=1.0, inert=True)
    global_grad_scale_adaptive: bool = param("Of `global_grad_scale`.", default=False, inert=True)
    reduce_buckets: int = param("Memory setting of NVIDIA's fork.", default=6, inert=True)
    eltwise_mem_sharing: bool = param("Memory setting of NVIDIA's fork.", default=True, inert=True)


class LayerPrecision(Block):
    """The fields of a layer that determine its precision in NVIDIA's fork."""

    forward_type: DataType | None = param("Type of the tops.", default=None)
    backward_type: DataType | None = param("Type of their gradients.", default=None)
    forward_math: DataType | None = param("Type of sums.", default=None)
    backward_math: DataType | None = param("Type of sums in the backward pass.", default=None)
    cudnn_math_override: int = param("Selects a routine.", default=-1)


class UnknownLayer(Layer):
    """Takes the place of a layer of an unknown type; its tops have unknown shapes."""

    type = "(no type)"  # of an instance: its type, if that is a string
    n_bottoms = (0, None)
    n_tops = (0, None)
    place: Span | None = None  # of an instance: its type, if that is a string, for `report_unknown`

    def infer(self, *bottoms: Shape) -> Any:
        return [None for _ in self.top]


@dataclass(frozen=True)
class Program:
    """A decoded file: the net's fields, the layers of all phases in order, and the solver if there is one."""

    net: NetParameter
    layers: tuple[Layer, ...]
    solver: Solver | None


def decode_program(body: Message, report: Report) -> Program:
    """Decodes a whole file; a file that is a solver has no layers."""
    layer_fields, solver_fields, own = [], [], []
    for field in body.fields:
        if not isinstance(field.value, Message) or field.name not in ("layer", "solver"):
            own.append(field)
        else:
            (layer_fields if field.name == "layer" else solver_fields).append(field)
    if len(layer_fields) > MOST_LAYERS:
        detail = f"The file has {len(layer_fields)} layers; the limit is {MOST_LAYERS}."
        report.add(codes.TOO_MUCH, layer_fields[MOST_LAYERS].name_span, detail)
        report.stop_on_errors()
    net = _net(Message(tuple(own), body.span), report)
    # Without shapes Caffe ignores `input`: the net has an Input layer or data layers of its own.
    layers: list[Layer] = [_input_layer(net)] if net.input and (net.input_shape or net.input_dim) else []
    layers += [decode_layer(own_region_layer(field, report), report) for field in layer_fields]
    blobs = sum(len(layer.bottom) + len(layer.top) for layer in layers)
    if blobs > MOST_BLOBS:
        detail = f"The layers have {blobs} bottoms and tops; the limit is {MOST_BLOBS}."
        report.add(codes.TOO_MUCH, body.span._replace(end=body.span.start), detail)
        report.stop_on_errors()
    if net.bn_stats_batch_size:
        layers = [one.replace(nets_batch=net.bn_stats_batch_size) if one.type == "BatchNorm" else one for one in layers]
    if net.multinode:
        layers = model_parallel(layers, net.multinode, report)
    solver: Solver | None = None
    for i, field in enumerate(solver_fields):
        if i:
            report.add(codes.GIVEN_TWICE, field.name_span, "a file can have only one `solver`.")
        decoded = decode_solver(field.value, report)
        solver = solver if i else decoded
    return Program(net, tuple(layers), solver)


def _net(message: Message, report: Report) -> NetParameter:
    values, spans, rest = take(NetParameter.params(), message, report)
    for field in rest:
        if field.name in ("layer", "layers", "solver"):
            report.add(codes.WRONG_TYPE, field.span, f"`{field.name}` expects a block, `{{ ... }}`.")
        else:
            unknown_field(field, chain(NetParameter.params(), ("layer", "solver")), IDLE, report)
    _half_precision(values, spans, report)
    return build(NetParameter, values, spans, message.span)


def _half_precision(values: dict[str, Any], spans: Mapping[str, tuple[Span, ...]], report: Report) -> None:
    """Says in which precision netdef computes what NVIDIA's fork computes in half precision."""
    field = next((name for name, value in values.items() if value is DataType.FLOAT16), None)
    if field is not None:
        report.add(
            codes.NO_EFFECT,
            spans[field][0],
            f"`{field}: FLOAT16` is half precision in NVIDIA's fork; here the net computes in float32, or with "
            "`precision: BF16` in the solver, in bfloat16.",
        )


def _input_layer(net: NetParameter) -> Input:
    """The Input layer that is equivalent to the old `input` fields."""
    shapes = net.input_shape
    if not shapes and net.input_dim:
        dims = net.input_dim
        shapes = tuple(BlobShape(dim=dims[i : i + 4]) for i in range(0, len(dims), 4))
    span = net.span_of("input")
    spans = {"top": net.spans["input"], "shape": net.spans.get("input_shape", net.spans.get("input_dim", ()))}
    return build(Input, {"name": "input", "top": net.input, "shape": shapes}, spans, span)


def decode_layer(field: Field, report: Report) -> Layer:
    """Decodes one `layer { }`: its class by its type, the fields of every layer, and the fields of its own block."""
    message: Message = field.value  # type: ignore[assignment]
    errors = report.errors_met
    cls = _class_of(field, message, report)
    unknown = cls is UnknownLayer
    own, beside = _divided(cls)
    type_field = message.get("type")
    place = type_field.value.span if type_field else field.name_span
    values, spans, rest = take(beside, message, report, place)
    blocks: list[Message] = []
    precision = LayerPrecision.params()
    for extra in rest:
        if extra.name == "type":
            continue
        if extra.name == cls.block and isinstance(extra.value, Message):
            if blocks:
                report.add(codes.GIVEN_TWICE, extra.span, f"`{extra.name}` is given more than once; a layer has one.")
            blocks.append(extra.value)
        elif not unknown and extra.name not in precision:
            _stray(extra, cls, own, beside, report)
    _precision_of([extra for extra in rest if extra.name in precision], field.span, report)
    block = blocks[0] if blocks else Message((), place)
    if not unknown:
        own_values, own_spans, own_rest = take(own, block, report, place)
        values |= own_values
        spans |= own_spans
        tolerated = cls.tolerated() if own_rest else ()
        for extra in own_rest:
            unknown_field(extra, own.by_name, tolerated, report)
    facts = _of_unknown_type(type_field) if unknown else {}
    return build(cls, values, spans, field.span, faulty=unknown or report.errors_met > errors, **facts)


def _precision_of(fields: list[Field], span: Span, report: Report) -> None:
    """Checks the fields of a layer that determine its precision in NVIDIA's fork."""
    if fields:
        values, spans, _ = take(LayerPrecision.params(), Message(tuple(fields), span), report)
        _half_precision(values, spans, report)


def _of_unknown_type(field: Field | None) -> dict[str, Any]:
    """The attributes of an UnknownLayer: the name of its type and its place, or none if `type` is not a string."""
    if field is None or not isinstance(field.value, Scalar) or field.value.kind != "string":
        return {}
    return {"type": str(field.value.value), "place": field.value.span}


def report_unknown(layers: Iterable[Layer], chosen: Iterable[Layer], report: Report) -> None:
    """Reports unknown layer types: an error in the net that is built, a warning elsewhere in the file.

    Caffe creates only the layers of the net, and does not check the types of other layers."""
    here = {id(layer) for layer in chosen}
    known = {d.span for d in report.diagnostics if d.severity == "error"}  # such as the type of an old layer
    for layer in layers:
        if isinstance(layer, UnknownLayer) and layer.place is not None and layer.place not in known:
            code = codes.UNKNOWN_LAYER_TYPE if id(layer) in here else codes.UNKNOWN_TYPE_ELSEWHERE
            if code.severity == "error" or not report.is_full:
                detail, hint = _no_type(layer.type, tuple(LAYERS.names()))
                report.add(code, layer.place, detail, hint=hint)


@lru_cache(1000)
def _no_type(name: str, known: tuple[str, ...]) -> tuple[str, str | None]:
    """The message and the hint for an unknown layer type; both phases report it."""
    if (fork := forks().get(name)) is not None:
        return f'there is no layer type "{name}"; it is a type of {fork}, which netdef does not have.', None
    meant = suggestion(name, known, "{}", 3) or " `netdef explain` lists all types."
    return f'there is no layer type "{name}".{meant}', closest(name, known, '"{}"')


@cache
def _divided(cls: type[Layer]) -> tuple[Params, Params]:
    """The fields of a layer's own block, and the fields of the layer itself."""
    divided = Params(), Params()
    for name, spec in cls.params().items():
        divided[spec.beside][name] = spec
    return divided


def _class_of(field: Field, message: Message, report: Report) -> type[Layer]:
    given = message.get("type")
    if given is None:
        fields = message.fields[:MOST_COMPARED]
        misspelled = (other for other in fields if nearest(other.name, ["type"]) and not _known(other.name))
        if (first := next(misspelled, None)) is not None:
            unknown_field(first, ["type"], (), report)
            return UnknownLayer
        report.add(
            codes.MISSING_FIELD,
            field.name_span,
            '`type` is required here: the type of the layer, such as "ReLU".',
        )
        return UnknownLayer
    if not isinstance(given.value, Scalar) or given.value.kind != "string":
        written = given.value.span.text
        detail = f"`type` expects a quoted string, not {written}."
        report.add(codes.WRONG_TYPE, given.value.span, detail, hint=f'"{written}"')
        return UnknownLayer
    return LAYERS.get(str(given.value.value)) or UnknownLayer


def _known(name: str) -> bool:
    """Whether some layer has a field of this name."""
    return name in Layer.params() or name in _blocks()


def _stray(field: Field, cls: type[Layer], own: Params, beside: Params, report: Report) -> None:
    """Reports a field that this layer type does not have: one of another type (no effect), of its block, or of none."""
    others = _blocks()
    if field.name in others:
        if not report.is_full:
            told = f"`{field.name}` is a field of {_some(others[field.name])}; a layer of type {cls.type} does not "
            report.add(codes.NO_EFFECT, field.name_span, f"{told}{_need(field)} it.")
    elif field.name in own and field.name not in IDLE and cls.block:
        report.add(
            codes.UNKNOWN_FIELD,
            field.name_span,
            f"`{field.name}` belongs inside `{cls.block} {{ }}`.",
            hint=f"{cls.block} {{ {field.span.text} }}",
        )
    else:
        unknown_field(field, chain(beside, [cls.block] if cls.block else (), others), IDLE, report)


def _need(field: Field) -> str:
    return "need" if field.name == "multinode" else "use"


def _some(users: Iterable[str]) -> str:
    listed = sorted(users)
    return ", ".join(listed[:3]) + (" and others" if len(listed) > 3 else "")


@cache
def _blocks() -> dict[str, set[str]]:
    """Every block that a layer can have, and the layer types that use it."""
    found: dict[str, set[str]] = {}
    for name, cls in LAYERS.known().items():
        if cls.block:
            found.setdefault(cls.block, set()).add(name)
        for field, spec in cls.params().items():
            if spec.beside and field not in Layer.params():
                found.setdefault(field, set()).add(name)
    return found
