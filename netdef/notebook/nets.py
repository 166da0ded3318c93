"""The page of a net or a model: its layers with shapes and parameters, its diagram, and its diagnostics."""

from __future__ import annotations

from typing import Any

from ..graph import Net
from ..inspect import draw
from ..inspect.summary import BYTES, Row, size, summarize
from ..language.errors import NetdefError
from ..language.render import count
from ..shape import count as count_elements
from ..shape import known, show
from .diagnostics import text_of
from .markup import card, dot, folded, table, title, whole

MANY = 40  # layers; the table of more is closed
MOST_BOXES = 150  # of a diagram: beyond, Graphviz takes seconds, and nothing can be read


def net_page(shown: Any) -> str:
    """Returns the page of a Net or a Model."""
    net: Net = shown if isinstance(shown, Net) else shown.net
    found = summarize(net)
    least = "" if found.complete else "at least "
    each = f" for each of {found.batch} items" if found.batch else ""
    work = found.multiply_adds // found.batch if found.batch else found.multiply_adds
    layers = f"{len(found.rows)} layer{'s' if len(found.rows) != 1 else ''}"
    heads = ("Layer", "Type", "Output", "Weights", "Parameters")
    rows = folded(
        layers,
        f'<div class="scroll">{table(heads, map(_cells, found.rows), [4])}</div>',
        is_open=len(found.rows) <= MANY,
    )
    return whole(
        title(
            net.name or "net",
            "model" if shown is not net else "",
            f"phase {net.phase.name}",
            *_parameters(net),
            f"{least}{work:,} multiply-adds{each}" if work else "",
        ),
        rows,
        _diagram(net),
        folded(count(net.diagnostics), text_of(net.diagnostics)) if net.diagnostics else "",
    )


def _parameters(net: Net) -> tuple[str, ...]:
    """The number of learned parameters, as a run states it, and that of statistics and other values beside them."""
    count_of = lambda kinds: sum(count_elements(w.shape) for _, w in net.owned if w.kind in kinds and known(w.shape))
    least = "" if all(known(weight.shape) for _, weight in net.owned) else "at least "
    learned, others = count_of(("param",)), count_of(("stat", "carry"))
    found = (f"{least}{learned:,} parameters ({size(BYTES * learned)})",)
    return (*found, f"{others:,} statistics") if others else found


def _cells(row: Row) -> tuple[str, ...]:
    """The cells of a layer, whose square has the color of its box in the diagram."""
    tops = ", ".join(f"{name} {show(shape)}" for name, shape in row.tops)
    weights = ", ".join(show(shape) for shape in row.weights)
    parameters = "?" if row.parameters is None else f"{row.parameters:,}" if row.parameters else ""
    return dot(draw.FAMILIES[row.family], row.name), row.type, tops, weights, parameters


def _diagram(net: Net) -> str:
    """The diagram, with each use of a template as one box if the net is large; empty without Graphviz, or if the
    diagram would be too large to be read."""
    drawn = draw.picture(net, ("all",) if len(net.layers) > MANY else ())
    if not 1 < len(drawn.boxes) <= MOST_BOXES:
        return ""
    try:
        svg = draw.by_graphviz(draw.dot(drawn), "svg", net.name)
    except NetdefError:  # Graphviz is installed, but fails
        return ""
    return folded("diagram", card(svg, f"diagram of {net.name or 'the net'}")) if svg else ""
