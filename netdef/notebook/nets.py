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
from .markup import card, dot, folded, scrolled, table, title, whole

MANY = 40  # layers; the table of more is closed, below one of the blocks that templates or names make of them
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
    is_large = len(found.rows) > MANY
    drawn = draw.picture(net, ("all",) if is_large else ())
    return whole(
        title(
            net.name or "net",
            "model" if shown is not net else "",
            f"phase {net.phase.name}",
            *_parameters(net),
            f"{least}{work:,} multiply-adds{each}" if work else "",
        ),
        _blocks(drawn) if is_large and 2 * len(drawn.boxes) < len(found.rows) else "",
        folded(layers, scrolled(table(heads, map(_cells, found.rows), [4])), is_open=not is_large),
        _diagram(drawn),
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


def _blocks(drawn: draw.Picture) -> str:
    """The table of the boxes of a folded diagram: a use of a template, or a layer outside of them, in each row."""
    shapes = {arrow.start: arrow.text for arrow in reversed(drawn.arrows)}
    number = lambda n: f"{n:,}" if n else ""
    rows = [
        (dot(draw.FAMILIES[b.family], b.title), number(b.layers), shapes.get(b.key, ""), number(b.parameters))
        for b in drawn.boxes
    ]
    heads = ("Block", "Layers", "Output", "Parameters")
    return folded(f"{len(rows)} blocks", scrolled(table(heads, rows, [1, 3])), is_open=True)


def _diagram(drawn: draw.Picture) -> str:
    """The diagram; empty without Graphviz, or if it would be too large to be read."""
    if not 1 < len(drawn.boxes) <= MOST_BOXES:
        return ""
    try:
        svg = draw.by_graphviz(draw.dot(drawn), "svg", drawn.name)
    except NetdefError:  # Graphviz is installed, but fails
        return ""
    return folded("diagram", card(svg, f"diagram of {drawn.name}")) if svg else ""
