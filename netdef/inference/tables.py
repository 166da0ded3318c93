"""How the table of a net was read, stored beside its weights, so that other tables are read in the same way.

It is in the file of the preprocessing (`preprocessing.NAME`): the data layer as prototxt; the columns of each top, with
the categories, means and deviations of the training data; and the content of vocabularies and tokenizers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layers._table_parts import PartRows
from ..data.layers.table import Measured, Rows, TableData
from ..data.table_columns import Code, Coded
from ..data.table_file import LINE
from ..data.table_parts import Parts
from ..data.text import coder_of
from ..files import locator, write_atomically
from ..graph import Net
from ..language.errors import NetdefError
from ..shape import Shape, show
from .stored_layer import layer_of, text_of

OF_TRAINING = ("include", "exclude", "sample_param", "test_source", "memory_limit")  # fields that are not stored
OTHER = "the weights or their preprocessing.json belong to another net"


@dataclass(frozen=True)
class TablePreprocessing:
    """Turns rows of tables into inputs of a net.  `estimates`: blobs that a loss compares with a top, and its name."""

    layer: TableData
    measured: Measured
    estimates: Mapping[str, str]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, if the table has one category for each row."""
        top = self.layer.class_top(self.measured.columns)
        return () if top is None else self.measured.columns[top].categories or ()

    def shapes(self) -> dict[str, Shape]:
        """Returns the shapes of the tops of the data layer."""
        return self.layer.shapes_of(self.measured)

    def batches(
        self, path: Path, shapes: Mapping[str, Shape], used: Sequence[str], full: Callable[[int], int]
    ) -> Iterator[tuple[list[str], dict[str, Any], int]]:
        """Yields the names of the rows of a table, inputs of these shapes for them, and their number.

        Inputs that are not `used` are 0.  `full` returns the number of rows of a batch that devices divide evenly.
        Raises NetdefError for a missing column, a wrong cell, and inputs of other shapes."""
        if not path.is_file():
            raise NetdefError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}.")
        if not used:
            raise NetdefError("the net has no input for the rows of a table: it has neither an Input nor a data layer.")
        axes = {name: self.layer.record_axis(name) for name in shapes}
        size = shapes[used[0]][axes[used[0]]]
        size = size if any(axes.values()) else full(size)
        expected = {name: (*s[: axes[name]], size, *s[axes[name] + 1 :]) for name, s in shapes.items()}
        rows = self.rows(path, used)
        for start in range(0, rows.size, size):
            numbers = np.minimum(np.arange(start, start + size), rows.size - 1)  # the last row fills the batch
            made = self.layer.batch_of(rows.gathered(numbers), slice(None), np)
            for name in used:
                _check_input(name, made.get(name), expected[name])
            given = {name: made[name] if name in used else np.zeros(s, np.float32) for name, s in expected.items()}
            count = min(size, rows.size - start)
            yield [f"{path}[{start + i}]" for i in range(count)], given, count

    def rows(self, path: Path, tops: Sequence[str]) -> Rows | PartRows:
        """Returns the rows of a table for these tops.  Raises NetdefError for a missing column or a wrong cell."""
        table, names = self.layer.table(path), dict(self.measured.names)
        if table.names == (LINE,):  # a file of lines is the column of a text, whatever that is named
            names |= {block.top: (LINE,) for block in self.layer.text}
        owners = {top: block.top for block in self.layer.text for top in block.tops}
        described = dict.fromkeys(owners.get(top, top) for top in tops)
        wanted = [name for top in described for name in names.get(top, ())]
        measured, columns = self.measured._replace(names=names), self.layer.columns(table, wanted)
        if isinstance(columns, Parts):
            return PartRows(self.layer, columns, measured, wanted, self.layer.sample_param)
        return self.layer.rows(table, columns, measured)

    def of_array(self, top: str, rows: np.ndarray, name: str) -> np.ndarray:
        """Returns rows of an array as those of a top whose columns are numbers, (n, k) float32.  Raises NetdefError for
        other tops."""
        found = self.measured.columns.get(top)
        if found is None or any(code.categories is not None for code in found.codes):
            raise NetdefError(
                f"{name}: the input `{top}` is made of texts or categories; give a table with its columns."
            )
        flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
        if flat.shape[1] != len(found.codes):
            names = ", ".join(code.name for code in found.codes)
            raise NetdefError(f"{name}: a row has {flat.shape[1]} values, but `{top}` has {len(found.codes)}: {names}.")
        return np.stack(
            [(x - c.mean) / c.deviation for x, c in zip(flat.T, found.codes, strict=True)], 1, dtype=np.float32
        )

    def restored(self, blob: str, values: Any) -> Any:
        """Returns values that estimate a column, in the units of the table: not normalized."""
        found = self.measured.columns.get(self.estimates.get(blob, ""))
        if found is None or found.is_row or found.categories is not None:
            return values
        return values * found.codes[0].deviation + found.codes[0].mean

    def as_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        measured = self.measured
        return {
            "table": text_of(_plain(self.layer)),
            "columns": {
                top: {"codes": [code._asdict() for code in one.codes], "is_row": one.is_row, "one_hot": one.one_hot}
                for top, one in measured.columns.items()
            },
            "names": {top: list(names) for top, names in measured.names.items()},
            "estimates": dict(self.estimates),
            "tokens": {top: coder.content for top, coder in measured.coders.items()},
        }

    def save(self, path: Path) -> None:
        """Writes the file atomically."""
        write_atomically(path, lambda new: new.write_text(json.dumps(self.as_dict(), indent=1), encoding="utf-8"))


def table_of(*nets: Net) -> TablePreprocessing | None:
    """Returns that of the first net that reads a table; None if none does.  Raises NetdefError for missing files."""
    for net in nets:
        for node in net.layers:
            if isinstance(node.layer, TableData):
                return TablePreprocessing(node.layer, node.layer.measure(locator(net.folder)), _estimates(net))
    return None


def _estimates(net: Net) -> dict[str, str]:
    losses = [node for node in net.layers if node.layer.is_loss and len(node.bottoms) > 1]
    return {node.bottoms[0].name: node.bottoms[1].name for node in losses}


def table_from(given: dict[str, Any], name: str) -> TablePreprocessing:
    """Returns what `as_dict` describes; `name` is that of its file.  Raises ValueError and others if it is damaged."""
    layer = layer_of(given["table"], name)
    if not isinstance(layer, TableData):
        raise ValueError("expected one layer that reads a table")
    columns = {top: _coded(one) for top, one in given["columns"].items()}
    coders = {
        block.top: coder_of(block, given["tokens"][block.top], Path(block.vocabulary or block.tokenizer), layer.fault)
        for block in layer.text
    }
    names = {str(top): tuple(map(str, names)) for top, names in given["names"].items()}
    missing = [top for top in (*columns, *coders) if top not in names]
    if missing:
        raise KeyError(missing[0])
    estimates = {str(blob): str(top) for blob, top in given["estimates"].items()}
    return TablePreprocessing(layer, Measured(names, columns, coders), estimates)


def _check_input(name: str, array: np.ndarray | None, expected: Shape) -> None:
    if array is None:
        raise NetdefError(f"the net's input `{name}` is not a top that was read from a table; {OTHER}.")
    if array.shape != expected:
        raise NetdefError(
            f"the columns of `{name}` make a batch of {show(array.shape)}, but the net's input `{name}` is "
            f"{show(expected)}; {OTHER}."
        )


def _coded(given: dict[str, Any]) -> Coded:
    codes = []
    for one in given["codes"]:
        categories = None if one["categories"] is None else tuple(map(str, one["categories"]))
        fill = None if one["fill"] is None else float(one["fill"])
        codes.append(Code(str(one["name"]), categories, float(one["mean"]), float(one["deviation"]), fill))
    return Coded(tuple(codes), bool(given["is_row"]), bool(given["one_hot"]))


def _plain(layer: TableData) -> TableData:
    """Returns the layer without the fields for training and the paths on this host."""
    defaults = {name: layer.params()[name].default for name in OF_TRAINING}
    text = tuple(
        block.replace(**{name: Path(getattr(block, name)).name for name in ("vocabulary", "tokenizer")})
        for block in layer.text
    )
    return layer.replace(**defaults, source="", text=text)
