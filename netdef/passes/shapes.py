"""Infers the shapes and parameters of every node, in order.

Each layer's `infer` and `weights` are called once. A mismatch becomes a diagnostic at the wrong field or bottom, and
the tops stay unknown, so that one run finds all errors. Parameters with the same name are shared.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..files import Locate
from ..graph import Node, Owner, Value
from ..language import codes
from ..language.diagnostics import Related, Report
from ..layers.base import ShareMode, Weight
from ..shape import Shape, ShapeError, Unavailable, count, show
from .connect import counts_fit

Shapes = dict[Value, Shape | None]
MOST_CLASSES = 2**24  # of labels, which are float32 like all blobs
MOST_AXES = 32  # of a blob, as in Caffe (kMaxBlobAxes)


def infer(
    nodes: tuple[Node, ...],
    locate: Locate,
    report: Report,
    given: Mapping[str, Shape] | None = None,
    trust_python: bool = False,
    before: Mapping[Value, Shape] | None = None,
) -> tuple[tuple[Node, ...], Shapes]:
    """Nodes with weights and owners, and the shape of every value. `given` overrides the shapes of inputs. Only with
    `trust_python` are layers asked that would run a module of the user's; the shapes of the others stay unknown.
    `before` are the shapes of values that layers before these output, if these are not all layers of the net."""
    shapes: Shapes = dict(before or {})
    producers: dict[Value, Node] = {}
    sharing = _Sharing(report)
    typed = []
    for node in nodes:
        bottoms = [shapes.get(v) for v in node.bottoms]
        if not (trust_python or node.layer.faulty) and node.layer.runs_module is not None:
            _not_run(node, report)
            tops, weights = [None] * len(node.tops), None
        else:
            tops, weights = _types(node, bottoms, producers, locate, report, given or {})
        shapes.update(zip(node.tops, tops, strict=True))
        producers.update(dict.fromkeys(node.tops, node))
        typed.append(node.but(weights=weights, owners=sharing.owners(node, weights)))
    return tuple(typed), shapes


def _types(
    node: Node,
    bottoms: list[Shape | None],
    producers: Mapping[Value, Node],
    locate: Locate,
    report: Report,
    given: Mapping[str, Shape],
) -> tuple[list[Shape | None], tuple[Weight, ...] | None]:
    """The shapes of the tops and the weights of one node, unknown if an error was reported."""
    layer = node.layer
    unknown: list[Shape | None] = [None] * len(node.tops)
    if layer.is_input and all(v.name in given for v in node.tops):
        return [given[v.name] for v in node.tops], ()
    if layer.faulty or any(b is None for b in bottoms) or not counts_fit(layer):
        return unknown, None
    try:
        made = layer.top_shapes(locate) if layer.is_data else layer.infer(*bottoms)  # type: ignore[attr-defined,arg-type]
        tops = list(made) if isinstance(made, list) else [made] * min(1, len(node.tops))
        weights = tuple(layer.weights(*bottoms))  # type: ignore[arg-type]
    except ShapeError as error:
        _misfit(node, error, bottoms, producers, report)
        return unknown, None
    except Unavailable as missing:
        report.add(codes.UNAVAILABLE, layer.span, f"layer `{node.name}`: {missing}")
        told = missing.shapes
        return (list(told), ()) if told is not None and len(told) == len(unknown) else (unknown, None)
    if len(tops) != len(node.tops):
        return unknown, weights  # `connect` has reported the wrong number of tops
    for top, shape in zip(node.tops, tops, strict=True):
        if shape is not None and any(d < 0 for d in shape):
            report.add(codes.SHAPE_MISMATCH, layer.span, f"`{top.name}` would have the shape {show(shape)}.")
    if (axes := max((len(shape) for shape in tops if shape is not None), default=0)) > MOST_AXES:
        detail = f"layer `{node.name}` outputs a blob of {axes} axes; the limit is {MOST_AXES}, as in Caffe."
        report.add(codes.TOO_MUCH, layer.span_of("top"), detail)
        return unknown, weights
    _check_labels(node, bottoms, report)
    _check_specs(node, weights, report)
    _check_fillers(node, weights, report)
    return tops, weights  # pyright: ignore[reportReturnType]


def _not_run(node: Node, report: Report) -> None:
    report.add(
        codes.NOT_RUN,
        node.layer.span_of("module") or node.span,
        f"layer `{node.name}` runs the Python module `{node.layer.runs_module}`. It has not been run, so the shapes of "
        "the layer's tops are unknown. If you trust the module, allow it with --trust-python, or with "
        "trust_python=True in Python.",
    )


def _misfit(
    node: Node, error: ShapeError, bottoms: list[Shape | None], producers: Mapping[Value, Node], report: Report
) -> None:
    layer = node.layer
    if layer.runs_module is not None and not report.has_errors:
        report.cause = error.__cause__
    span = layer.span_of(error.field) if error.field else None
    if error.bottom is not None and span is None:
        span = layer.span_of("bottom", error.bottom)
    related = []
    for i, value in enumerate(node.bottoms):
        if value.span is not None and value in producers and (error.bottom in (None, i) or len(bottoms) > 1):
            related.append(Related(f"`{value.name}` {show(bottoms[i])} is output here", value.span))
    report.add(
        codes.SHAPE_MISMATCH, span or layer.span_of("name"), f"layer `{node.name}`: {error.detail}", *related[:3]
    )


def _check_labels(node: Node, bottoms: list[Shape | None], report: Report) -> None:
    classes = node.layer.label_classes(bottoms[0]) if len(bottoms) > 1 and bottoms[0] else None
    if classes is not None and classes > MOST_CLASSES:
        report.add(
            codes.OUT_OF_RANGE,
            node.layer.span_of("bottom", 1),
            f"layer `{node.name}` has {classes:,} classes, but labels are float32 numbers, which are exact up to "
            f"{MOST_CLASSES:,} only, so that some classes would be taken for their neighbors; use at most "
            f"{MOST_CLASSES:,} classes.",
        )


def _check_specs(node: Node, weights: tuple[Weight, ...], report: Report) -> None:
    specs = node.layer.param
    if len(specs) > len(weights):
        plural = "" if len(weights) == 1 else "s"
        report.add(
            codes.TOO_MANY_PARAMS,
            node.layer.span_of("param", len(weights)),
            f"layer `{node.name}` has {len(weights)} parameter{plural}, but {len(specs)} `param` blocks are given.",
        )


def _check_fillers(node: Node, weights: tuple[Weight, ...], report: Report) -> None:
    for weight in weights:
        if weight.filler is None:
            continue
        try:
            weight.filler.check(weight.shape)
        except ShapeError as error:
            span = weight.filler.span_of(error.field) if error.field else weight.filler.span
            report.add(codes.SHAPE_MISMATCH, span or node.layer.span_of("name"), f"layer `{node.name}`: {error.detail}")


class _Sharing:
    """Shared parameters by name: the first layer that uses a name owns the array."""

    def __init__(self, report: Report):
        self.report = report
        self.first: dict[str, tuple[Owner, Shape, Node]] = {}

    def owners(self, node: Node, weights: tuple[Weight, ...] | None) -> tuple[Owner, ...]:
        return tuple(self._owner(node, i, w) for i, w in enumerate(weights or ()))

    def _owner(self, node: Node, i: int, weight: Weight) -> Owner:
        spec = node.layer.param[i] if i < len(node.layer.param) else None
        own = Owner(node.name, i)
        if spec is None or not spec.name:
            return own
        if spec.name not in self.first:
            self.first[spec.name] = (own, weight.shape, node)
            return own
        owner, shape, first = self.first[spec.name]
        permissive = spec.share_mode is ShareMode.PERMISSIVE
        if (count(shape) != count(weight.shape)) if permissive else (shape != weight.shape):
            place = first.layer.span_of("param", owner.index)
            self.report.add(
                codes.SHAPE_MISMATCH,
                spec.span_of("name"),
                f"parameter `{spec.name}` is {show(weight.shape)} here, but {show(shape)} in layer `{first.name}`; "
                "layers that share a parameter must give it the same shape.",
                *([Related("first used here", place)] if place else []),
            )
        return owner
