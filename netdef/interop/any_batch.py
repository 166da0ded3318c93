"""Whether a net works for any batch size, as an exported program should."""

from __future__ import annotations

from ..files import locator
from ..graph import Net, Node, Value
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..passes.shapes import infer
from ..shape import Shape

REMEDY = "fix the batch size with --batch N, or any_batch=False"


def check_any_batch(net: Net, path: object) -> None:
    """Raises NetdefError that names the layer which binds a net to its batch size, if there is one."""
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    twice = {name: (2 * shape[0], *shape[1:]) for name, shape in shapes.items() if shape}
    report = Report()
    _, found = infer(net.layers, locator(net.folder), report, twice, net.trust_python)
    fixed = next((node for node in net.layers if _is_fixed(net, node, found)), None)
    if fixed is not None:
        first = net.shapes[fixed.tops[0]]
        raise NetdefError(
            f"{path}: the net cannot be exported for any batch size: `shape` of layer `{fixed.name}`, a Reshape, fixes "
            f"the first axis, the batch, at {first[0] if first else 1}; write `dim: 0` there, or {REMEDY}"
        )
    problem = next((d for d in report.diagnostics if d.severity == "error"), None)
    if problem is not None:
        raise NetdefError(
            f"{path}: the net cannot be exported for any batch size: {problem.detail} {REMEDY.capitalize()}"
        )


def _is_fixed(net: Net, node: Node, found: dict[Value, Shape | None]) -> bool:
    """Whether a Reshape has a batch that grows as input, and a first axis that does not grow as output."""
    if node.type != "Reshape":
        return False
    first = lambda value, shapes: (shapes.get(value) or (None,))[0]
    bottom, top = node.bottoms[0], node.tops[0]
    grows = first(bottom, found) not in (None, first(bottom, net.shapes))
    return grows and first(top, found) in (None, first(top, net.shapes))
