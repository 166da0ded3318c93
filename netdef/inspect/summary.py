"""Summary of a net: shapes, parameters, multiply-adds and memory of each layer.

`summarize` accepts a `Net` from `netdef.load` and returns a `Summary`, which converts to a table (`str`) or to JSON
values (`as_dict`).  All values are for one forward pass of one batch.  Unknown values, such as image shapes if the
database does not exist, are None, `?` in the table, and are not included in the totals.  jax is never imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..graph import Net, Node, Owner
from ..layers.base import Phase
from ..passes.freeze import frozen
from ..passes.precision import float32_because, in_half
from ..passes.recompute import recomputed, segments_of
from ..shape import Shape, count, known, show
from .draw import FAMILIES, family

BYTES = 4  # of a float32
DTYPES = {"": BYTES, "float32": BYTES, "bfloat16": 2}


@dataclass(frozen=True)
class Row:
    """One layer.  Shared parameters are counted in the first layer that uses them."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[tuple[str, Shape | None], ...]
    weights: tuple[Shape, ...]
    parameters: int | None
    multiply_adds: int | None
    activations: int | None  # bytes of its output blobs; 0 if it works in place
    family: str = "other"  # one of draw.FAMILIES
    dtype: str = ""  # of its tops under `precision: BF16`; else empty
    float32: str = ""  # why it computes in float32 under `precision: BF16`


@dataclass(frozen=True)
class Summary:
    """The net of one phase.  `batch` is the first dimension of its first input, None if missing or unknown."""

    net: str
    phase: str
    rows: tuple[Row, ...]
    batch: int | None
    segments: tuple[tuple[str, ...], ...] = ()  # layers that the backward pass computes again, see `recompute`
    statistics: int = 0  # of the parameters: those that are not learned, as the means of batch normalization

    @property
    def parameters(self) -> int:
        return sum(row.parameters or 0 for row in self.rows)

    @property
    def counted(self) -> str:
        """The number of parameters, and of those that are learned, which is the one that a run states."""
        least = "" if self.complete else "at least "
        learned = f", {self.parameters - self.statistics:,} of them learned" if self.statistics else ""
        return f"{least}{self.parameters:,} parameters ({size(BYTES * self.parameters)}){learned}"

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds or 0 for row in self.rows)

    @property
    def activations(self) -> int:
        """Bytes of all blobs; a blob that is changed in place is counted once."""
        return sum(row.activations or 0 for row in self.rows)

    @property
    def complete(self) -> bool:
        return all(None not in (row.parameters, row.multiply_adds, row.activations) for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Returns the contents of the table as JSON values; unknown dimensions and counts are None."""
        return {
            "net": self.net,
            "phase": self.phase,
            "batch": self.batch,
            "layers": [_row_dict(row) for row in self.rows],
            "parameters": self.parameters,
            "statistics": self.statistics,
            "multiply_adds": self.multiply_adds,
            "activation_bytes": self.activations,
            "recomputed": [list(names) for names in self.segments],
            "complete": self.complete,
        }

    def __str__(self) -> str:
        return self.table()

    def table(self, color: bool = False) -> str:
        """Returns the table as text; with `color`, types have the color of their family in `netdef draw`."""
        head = ("layer", "type", "output", "parameters", "multiply-adds", "memory")
        body = [_cells(row) for row in self.rows]
        if self.half:
            head, body = (*head, "dtype"), [(*c, row.dtype) for c, row in zip(body, self.rows, strict=True)]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [f"net {self.net or '(no name)'}, phase {self.phase}", "", _line(head, widths)]
        lines += [
            _line(cells, widths, row.family if color else None) for cells, row in zip(body, self.rows, strict=True)
        ]
        return "\n".join([*lines, "", *self._totals()])

    def _totals(self) -> list[str]:
        least = "" if self.complete else "at least "
        each = f", {self.multiply_adds // self.batch:,} for each of {self.batch} items" if self.batch else ""
        again = sum(map(len, self.segments))
        recomputed = f", of which the backward pass computes {again} again, in {len(self.segments)} segments"
        return [
            f"{len(self.rows)} layers{recomputed if again else ''}",
            self.counted,
            f"{least}{self.multiply_adds:,} multiply-adds per forward pass{each}",
            f"{least}{size(self.activations)} of activations",
            *self._reasons(),
        ]

    @property
    def half(self) -> bool:
        """Whether the solver sets `precision: BF16`."""
        return any(row.dtype for row in self.rows)

    def _reasons(self) -> list[str]:
        """The layers that compute in float32 under `precision: BF16`, by their reasons."""
        reasons = dict.fromkeys(row.float32 for row in self.rows if row.float32)
        named = {why: [row.name for row in self.rows if row.float32 == why] for why in reasons}
        return [f"computed in float32, because {why}: {', '.join(names)}" for why, names in named.items()]


def summarize(net: Net) -> Summary:
    """Returns the summary of a net, with its layers in order."""
    half = net.solver is not None and net.solver.precision.name == "BF16"
    net = in_half(net, "bfloat16") if half else net
    made: set[str] = set()
    rows = []
    for node in net.layers:
        rows.append(_row(net, node, made))
        made.update(top.name for top in node.tops)
    sources = (node for node in net.layers if not node.bottoms and not node.weights)
    first = next((net.shapes.get(top) for node in sources for top in node.tops), None)
    batch = first[0] if first and known(first[:1]) and first[0] > 0 else None
    others = sum(count(weight.shape) for _, weight in net.owned if weight.kind != "param" and known(weight.shape))
    return Summary(net.name, net.phase.name, tuple(rows), batch, _segments(net), others)


def _segments(net: Net) -> tuple[tuple[str, ...], ...]:
    """The names of the layers of each segment that training recomputes. NetdefError for a pattern without effect."""
    solver = net.solver
    if solver is None or not solver.recompute or net.phase is not Phase.TRAIN:
        return ()
    marked = recomputed(frozen(net, solver.freeze), solver.recompute)
    return tuple(tuple(node.name for node in nodes) for nodes in segments_of(marked))


def size(count: int) -> str:
    """Formats a number of bytes: `1.9 MiB`."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def _row(net: Net, node: Node, made: set[str]) -> Row:
    shapes = lambda values: [net.shapes.get(value) for value in values]
    bottoms, tops = shapes(node.bottoms), shapes(node.tops)
    fresh = [net.shapes.get(top) for top in node.tops if top.name not in made]
    own = None
    if node.weights is not None:
        weights = zip(node.weights, node.owners, strict=True)
        own = _total([w.shape for i, (w, owner) in enumerate(weights) if owner == Owner(node.name, i)])
    memory = _total(fresh)
    return Row(
        node.name,
        node.type,
        tuple(bottom.name for bottom in node.bottoms),
        tuple(zip((top.name for top in node.tops), tops, strict=True)),
        tuple(w.shape for w in node.weights or ()),
        own,
        _multiply_adds(node, bottoms, tops),
        None if memory is None else DTYPES[node.top_dtype] * memory,
        family(node.layer),
        node.top_dtype,
        (float32_because(net, node) or "") if node.top_dtype else "",
    )


def _total(shapes: list[Shape | None]) -> int | None:
    """Returns the total number of elements; None if any shape is unknown."""
    if not all(known(shape) for shape in shapes):
        return None
    return sum(count(shape) for shape in shapes if shape is not None)


def _multiply_adds(node: Node, bottoms: list[Shape | None], tops: list[Shape | None]) -> int | None:
    shapes = [*bottoms, *tops]
    if node.weights is None or not all(known(shape) for shape in shapes):  # None: its inputs do not fit
        return None
    return node.layer.multiply_adds([s for s in bottoms if s is not None], [s for s in tops if s is not None])


def _row_dict(row: Row) -> dict[str, Any]:
    dims = lambda shape: None if shape is None else [d if isinstance(d, int) else None for d in shape]
    return {
        "name": row.name,
        "type": row.type,
        "family": row.family,
        "bottoms": list(row.bottoms),
        "tops": [{"name": name, "shape": dims(shape)} for name, shape in row.tops],
        "weights": [dims(shape) for shape in row.weights],
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "activation_bytes": row.activations,
        **({"dtype": row.dtype, "float32_because": row.float32 or None} if row.dtype else {}),
    }


def _cells(row: Row) -> tuple[str, ...]:
    number = lambda n: "?" if n is None else f"{n:,}" if n else ""
    memory = "?" if row.activations is None else size(row.activations) if row.activations else ""
    shapes = " ".join(show(shape) for _, shape in row.tops)
    return row.name, row.type, shapes, number(row.parameters), number(row.multiply_adds), memory


def _line(cells: tuple[str, ...], widths: list[int], of: str | None = None) -> str:
    """Aligns strings to the left and numbers to the right; colors the type if its family `of` is given."""
    placed = [
        f"{c:<{w}}" if i < 3 or i > 5 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(cells, widths, strict=True))
    ]
    if of is not None:
        red, green, blue = bytes.fromhex(FAMILIES[of].lstrip("#"))
        word, blanks = cells[1], placed[1][len(cells[1]) :]
        placed[1] = f"\x1b[30;48;2;{red};{green};{blue}m{word}\x1b[0m{blanks}"
    return "  ".join(placed).rstrip()
