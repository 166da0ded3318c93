"""Connects layers: from names of blobs to values, each the output of one layer.

Returns nodes without shapes. An in-place top (with the name of a bottom of the same layer) creates a new version of its
blob. A top that another layer has already output is an error, and so is a bottom that no earlier layer outputs.
Source: BVLC/caffe src/caffe/net.cpp, AppendTop and AppendBottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from ..graph import Node, Value
from ..language import codes
from ..language.diagnostics import Related, Report
from ..language.source import Span
from ..language.spelling import closest, suggestion
from ..layers.base import Arity, Layer

MOST_COMPARED = 10_000  # characters of the last blobs that are compared with one that does not exist
AUTOMATIC = "(automatic)"  # Caffe's name for the top of a loss that names none; not an output of the net


@dataclass(frozen=True)
class Connected:
    """Nodes in order, and the blobs that no layer uses."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]


def connect(layers: Sequence[Layer], report: Report) -> Connected:
    """Connects layers by the names of their blobs."""
    latest: dict[str, Value] = {}  # blob -> the version that the next layer reads
    untaken: dict[str, None] = {}  # blobs whose last version no layer has used so far, in order
    names: dict[str, Layer] = {}
    times: dict[str, int] = {}  # number of layers with each name so far
    nodes = []
    for i, layer in enumerate(layers):
        bottoms = [
            latest.get(name) or _missing(layer, k, latest, (layers, i), report) for k, name in enumerate(layer.bottom)
        ]
        for name in layer.bottom:
            untaken.pop(name, None)
        tops, taken, own = [], set(layer.bottom), set[str]()
        for k in range(len(layer.top)):
            top = _top(layer, k, latest, taken, own, report)
            own.add(top.name)
            tops.append(top)
            latest[top.name] = top
            untaken[top.name] = None
        _check_counts(layer, report)
        if layer.is_loss and not tops:
            tops = [Value(AUTOMATIC, i)]
        name = _unique_name(layer, names, times, report)
        weights = _loss_weights(layer, len(tops), report)
        nodes.append(Node(name, layer, tuple(bottoms), tuple(tops), loss_weights=weights))
    return Connected(tuple(nodes), tuple(untaken))


def _missing(
    layer: Layer, k: int, latest: dict[str, Value], place: tuple[Sequence[Layer], int], report: Report
) -> Value:
    """Reports that no layer before outputs bottom `k`; `place` is all layers and the index of this one."""
    name, span = layer.bottom[k], layer.span_of("bottom", k)
    layers, i = place
    if other := next((other for other in islice(layers, i + 1, None) if name in other.top), None):
        made = other.span_of("top", other.top.index(name))
        report.add(
            codes.UNKNOWN_BOTTOM,
            span,
            f"layer `{layer.name}` uses blob `{name}`, but only a later layer, `{other.name}`, outputs it; "
            "layers run in the order of the file, so move that layer up.",
            *([Related("output here", made)] if made else []),
        )
    else:
        near = list(islice(reversed(latest), MOST_COMPARED // (len(name) + 1)))
        meant = suggestion(name, near)
        report.add(
            codes.UNKNOWN_BOTTOM,
            span,
            f"layer `{layer.name}` uses blob `{name}`, but no earlier layer outputs it in this phase.{meant}",
            hint=closest(name, near, '"{}"'),
        )
    return Value(name, -1, span)  # no layer outputs this value: its shape stays unknown


def _top(layer: Layer, k: int, latest: dict[str, Value], bottoms: set[str], earlier: set[str], report: Report) -> Value:
    """The value that top `k` outputs; `bottoms` are those of the layer, `earlier` its tops before this one."""
    name, span = layer.top[k], layer.span_of("top", k)
    before = latest.get(name)
    if before is None:
        return Value(name, 0, span)
    in_place = k < len(layer.bottom) and layer.bottom[k] == name
    if name in earlier or not in_place and name not in bottoms:
        report.add(
            codes.DOUBLE_TOP,
            span,
            f"layer `{layer.name}` has two tops `{name}`; give one of them another name."
            if name in earlier
            else f"layer `{layer.name}` outputs blob `{name}`, but an earlier layer already does; rename this top, or, "
            "to work in place, use the blob as a bottom too.",
            *([Related("first output here", before.span)] if before.span else []),
        )
    return Value(name, before.version + 1, span)


def counts_fit(layer: Layer) -> bool:
    """Whether a layer has an allowed number of bottoms and tops; if not, `connect` has reported it."""
    return not (_misses(len(layer.bottom), layer.n_bottoms) or _misses(len(layer.top), _allowed_tops(layer)))


def _misses(given: int, allowed: Arity) -> bool:
    if isinstance(allowed, int):
        return given != allowed
    least, most = allowed
    return given < least or (most is not None and given > most)


def _allowed_tops(layer: Layer) -> Arity:
    tops = layer.n_tops
    if not layer.is_loss:
        return tops
    least, most = tops if isinstance(tops, tuple) else (tops, tops)
    return (0 if least <= 1 else least, most)


def _check_counts(layer: Layer, report: Report) -> None:
    if layer.faulty or counts_fit(layer):
        return
    counts = [("bottom", len(layer.bottom), layer.n_bottoms), ("top", len(layer.top), _allowed_tops(layer))]
    for what, given, allowed in counts:
        if _misses(given, allowed):
            most = allowed[1] if isinstance(allowed, tuple) else allowed
            place: Span | None = layer.span_of(what, most if most is not None and given > most else 0)
            report.add(
                codes.WRONG_COUNT,
                place,
                f"layer `{layer.name}` of type {layer.type} has {given} {what}{'s' * (given != 1)}; "
                f"it must have {_allowed(allowed)}.",
            )


def _allowed(arity: Arity) -> str:
    if isinstance(arity, int):
        return str(arity) if arity else "none"
    least, most = arity
    if most is None:
        return f"{least} or more"
    return f"{least} or {most}" if most == least + 1 else f"{least} to {most}"


def _unique_name(layer: Layer, names: dict[str, Layer], times: dict[str, int], report: Report) -> str:
    """The layer's name; if two layers of a phase have the same name, the second becomes `name#2`, with a warning."""
    name = layer.name or layer.type
    if name not in names:
        names[name] = layer
        return name
    if layer.name:
        first = names[name].span_of("name")
        report.add(
            codes.SAME_NAME,
            layer.span_of("name"),
            f"two layers of this phase have the name `{name}`; parameters are saved by layer name, so give each layer "
            "its own name.",
            *([Related("first used here", first)] if first else []),
        )
    n = times.get(name, 1) + 1
    while f"{name}#{n}" in names:
        n += 1
    times[name] = n
    names[f"{name}#{n}"] = layer
    return f"{name}#{n}"


def _loss_weights(layer: Layer, tops: int, report: Report) -> tuple[float, ...]:
    given = layer.loss_weight
    if given and len(given) != len(layer.top) and layer.top:
        report.add(
            codes.WRONG_COUNT,
            layer.span_of("loss_weight"),
            f"layer `{layer.name}` has {len(given)} loss weights for {len(layer.top)} tops; give one for each top.",
        )
    if given:
        return (*given, *(0.0,) * tops)[:tops]
    return tuple(float(layer.is_loss and i == 0) for i in range(tops))
