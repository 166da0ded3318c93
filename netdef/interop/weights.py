"""Loads weights from files into nets and saves them: the file extension selects the format, layers match by name.

Source: BVLC/caffe src/caffe/net.cpp, CopyTrainedLayersFrom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..graph import Net, Node, Owner
from ..language.errors import NetdefError
from ..language.spelling import closest
from ..layers.base import Weight
from ..layers.bn import BNDialect
from ..shape import Shape, known, same_shape, show
from .dialects import adapted
from .entries import Entry, Stored, in_memory, whole
from .formats.base import Contents, format_called, format_to_read, format_to_write

Paths = str | Path | Sequence[str | Path]
SHOWN = 5  # maximum number of names in a message


@dataclass(frozen=True)
class Loaded:
    """The result of loading weight files: layers of the net with and without weights from the files, layers of the
    files that are not in the net, and notes on conversions."""

    copied: tuple[str, ...]
    untouched: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        layers = lambda names: f"{len(names)} layer{'s' * (len(names) != 1)}"
        lines = [f"weights loaded for {layers(self.copied)}"]
        if self.untouched:
            lines.append(f"initial values kept in {layers(self.untouched)}: {listed(self.untouched)}")
        if self.unused:
            lines.append(f"{layers(self.unused)} of the file not in the net: {listed(self.unused)}")
        return "; ".join(lines)


@dataclass(frozen=True)
class Match:
    """The stored arrays for a net, by owner, not read yet; and the result as reported to the user."""

    arrays: dict[Owner, tuple[Weight, Stored]]
    loaded: Loaded

    def read(self, owner: Owner) -> np.ndarray:
        """Returns one array, in the shape that it has in the net, or in that of the file if the net's is unknown."""
        weight, stored = self.arrays[owner]
        return stored.read().reshape(weight.shape) if known(weight.shape) else stored.read()


def load_weights(model: Any, path: Paths, bn_dialect: BNDialect | str | None = None) -> Loaded:
    """Sets a model's parameters from one or more files. Layers are matched by name; later files take precedence.

    Layers that are only in the net or only in a file are ignored, as in Caffe. Raises NetdefError for a file that
    cannot be read, for shapes that differ, and for a file without any layer of the net; the model is then unchanged."""
    found = match(model.net, path, bn_dialect)
    for owner in found.arrays:
        model.set_array(owner, found.read(owner))
    return found.loaded


def save_weights(model: Any, path: str | Path, dtype: str = "float32") -> None:
    """Writes a model's parameters to a file. The extension of `path` selects the format. Raises NetdefError."""
    write_weights(path, entries_of(model.net, model.get_weights()), model.net, dtype)


def read_weights(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Returns {layer: [arrays]}, the contents of a weight file as they are stored."""
    found = [entry for entry in read_entries(path) if entry.arrays]
    return {
        e.name: [_named(Path(path), lambda e=e, i=i: whole(e, i)).read() for i in range(len(e.arrays))] for e in found
    }


def paths_of(path: Paths) -> list[Path]:
    """Returns a list of paths, from one path, a sequence, or a string of paths separated by commas."""
    if not isinstance(path, (str, Path)):
        return [p for one in path for p in paths_of(one)]
    if isinstance(path, str) and "," in path and not Path(path).exists():
        return [Path(part.strip()) for part in path.split(",") if part.strip()]
    return [Path(path)]


def read_entries(path: str | Path) -> list[Entry]:
    """Returns the layers of a weight file of any format, of a snapshot, or of the newest snapshot of a run."""
    path = Path(path)
    if path.suffix == ".solverstate":
        raise NetdefError(f"{path}: a solver state contains no weights; pass it to --resume")
    return format_to_read(path).read(path)


def match(net: Net, path: Paths, bn_dialect: BNDialect | str | None = None) -> Match:
    """Matches the arrays of files to those of a net, without reading their values."""
    nodes = {node.name: node for node in net.layers}
    wanted: dict[Owner, tuple[Weight, Stored]] = {}
    copied: dict[str, None] = {}
    unused: dict[str, None] = {}
    notes: list[str] = []
    for one in paths_of(path):
        entries = read_entries(one)
        entries, changed = _named(one, lambda entries=entries: adapted(net, entries, _dialect(bn_dialect)))
        notes += changed
        given = [entry for entry in entries if entry.arrays]
        here = [entry for entry in given if entry.name in net.params]
        for entry in given:
            if entry.name in nodes and nodes[entry.name].weights is None:
                raise NetdefError(
                    f"{one}: the parameters of layer `{entry.name}` cannot be compared with the net, because the shape "
                    f"of its input is unknown{_why_unknown(net)}"
                )
        if not here:
            raise _nothing_fits(one, given, net)
        for entry in here:
            wanted |= _fitted(one, entry, nodes[entry.name])
            copied[entry.name] = None
        unused |= {entry.name: None for entry in given if entry.name not in nodes}
    untouched = tuple(n for n in net.params if n not in copied and not _all_shared(nodes[n], wanted))
    return Match(wanted, Loaded(tuple(copied), untouched, tuple(unused), tuple(notes)))


def _why_unknown(net: Net) -> str:
    return next((f": {d.detail}" for d in net.diagnostics if d.code in ("unavailable", "not-run")), "")


def _named(path: Path, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except NetdefError as error:
        raise error if str(error).startswith(str(path)) else NetdefError(f"{path}: {error}") from None


def _dialect(given: BNDialect | str | None) -> BNDialect | None:
    if given is None or isinstance(given, BNDialect):
        return given
    if given.upper() not in BNDialect.__members__:
        raise NetdefError(f"unknown BN dialect {given}; choose from {', '.join(BNDialect.__members__)}")
    return BNDialect[given.upper()]


def _all_shared(node: Node, filled: dict[Owner, Any]) -> bool:
    return all(owner in filled for owner in node.owners)


def _nothing_fits(path: Path, given: list[Entry], net: Net) -> NetdefError:
    names = [entry.name for entry in given]
    pair = next(((name, close) for name in net.params if (close := closest(name, names))), None)
    near = f"; is `{pair[1]}` in the file the layer `{pair[0]}` of the net?" if pair else ""
    return NetdefError(
        f"{path}: no layer of this file is in the net: the file has {listed(names)}, and the net has "
        f"{listed(list(net.params)) or 'no layers with parameters'}{near}"
    )


def _fitted(path: Path, entry: Entry, node: Node) -> dict[Owner, tuple[Weight, Stored]]:
    """Returns the arrays of one layer by owner. Raises NetdefError if their number or shapes differ from the net's."""
    kept = node.stored
    given = [*entry.arrays, *[None] * (len(kept) - len(entry.arrays))]
    missing = [i for i, stored in enumerate(given[: len(kept)]) if stored is None and kept[i][1] == Owner(node.name, i)]
    if len(given) != len(kept) or missing:
        raise NetdefError(
            f"{path}: layer `{node.name}` has {_counted(entry)} in the file and "
            f"{_shapes(w.shape for w, _ in kept)} in the net; change the net, or rename the layer to skip it"
        )
    for i, ((weight, _), stored) in enumerate(zip(kept, given, strict=True)):
        if stored is not None and not same_shape(stored.shape, weight.shape):
            raise NetdefError(
                f"{path}: parameter {i} of layer `{node.name}` is {show(stored.shape)} in the file and "
                f"{show(weight.shape)} in the net; change the net, or rename the layer to skip it"
            )
    return {owner: (weight, s) for (weight, owner), s in zip(kept, given, strict=True) if s is not None}


def _counted(entry: Entry) -> str:
    return _shapes(stored.shape for stored in entry.arrays if stored is not None)


def _shapes(shapes: Iterable[Shape]) -> str:
    found = list(shapes)
    return f"{len(found)} parameter{'s' * (len(found) != 1)} ({', '.join(map(show, found))})"


def listed(names: Sequence[str]) -> str:
    """Returns the first few names, and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def entries_of(net: Net, weights: dict[str, list[np.ndarray]]) -> list[Entry]:
    """Returns all layers of a net with their arrays, as in Caffe's files."""
    return [
        Entry(
            node.name,
            tuple(in_memory(np.asarray(a)) for a in weights.get(node.name, ())),
            node.type,
            tuple(v.name for v in node.bottoms),
            tuple(v.name for v in node.tops if v.name),
        )
        for node in net.layers
    ]


def write_weights(
    path: str | Path, entries: list[Entry], net: Net | None = None, dtype: str = "float32", format: str | None = None
) -> None:
    """Writes layers in `format`, or in the format of the path's extension. `dtype` is one that the format supports.

    The file is written to a temporary file and renamed, so an existing file is replaced only by a complete one. Raises
    NetdefError."""
    path = Path(path)
    chosen = format_called(format) if format else format_to_write(path, dtype)
    contents = Contents(tuple(entries), net.name if net else "", _shared(net) if net else frozenset(), _dtype(dtype))
    write_atomically(path, lambda aside: chosen.write(aside, contents))


def _dtype(name: str) -> Any:
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def _shared(net: Net) -> frozenset[tuple[str, int]]:
    """Returns (layer, index) of the parameters that are stored with another layer, with which they are shared."""
    return frozenset((n.name, i) for n in net.layers for i, o in enumerate(n.owners) if o != Owner(n.name, i))
