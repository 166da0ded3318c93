"""ImageTable: images with several labels each, from a CSV file.  An addition of netdef's."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files import Locate
from ...layers.base import Phase
from ...lazy import np
from ...schema import Block, param
from ..base import Fit
from ._image_layer import Records
from .image_list import FileRecords, ImageFiles


class Columns(Block):
    """`column { top: "attributes" name: "smiling" name: "glasses" }`: the columns of a top."""

    top: str = param("Name of the top.")
    name: tuple[str, ...] = param("Columns of the table; several form a row.", default=())


class ImageTable(ImageFiles, type="ImageTable", block="image_table_param"):
    """Images listed in a CSV file with a header, with labels from its other columns.

    Bottoms: none.  Tops: data (batch_size, c, h, w), then one for each label: (batch_size), or (batch_size, k) for a
    `column` of k names.  A top without a `column` is read from the column of the same name.  The strings of a column
    become classes 0, 1, 2, ... in sorted order.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    n_tops = (1, None)

    source: str = param(
        "CSV file (.tsv: separated by tabs) with the names of the columns on its first line.", default=""
    )
    batch_size: int = param("Number of images in a batch.", default=32, at_least=1)
    shuffle: bool = param("Shuffle the images in each epoch, in phase TRAIN.", default=True)
    root_folder: str = param("Prefix of each path in the table.", default="")
    image_column: str = param("Column of the paths; default: the first.", default="")
    column: tuple[Columns, ...] = param("Columns of a top.", default=())

    @classmethod
    def reads(cls, path: Path) -> Fit:
        return Fit.NAME if path.suffix in (".csv", ".tsv") else Fit.NO

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle and phase is Phase.TRAIN

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        path = self.source_path(locate, self.source, "the table of labels", is_file=True)
        header, rows, lines = self._read(path)
        images = self._column(path, header, self.image_column or header[0])
        wanted = {c.top: c.name or (c.top,) for c in self.column}
        labels = []
        for top in self.top[1:]:
            parts = [self._numbers(path, header, rows, lines, name) for name in wanted.get(top, (top,))]
            labels.append(parts[0] if len(parts) == 1 else np.stack(parts, 1))
        find = lambda i: locate(self.root_folder + rows[i][images])
        return FileRecords(self, len(rows), find, labels, lambda i: f"{path}:{lines[i]}: ", path)

    def _read(self, path: Path) -> tuple[list[str], list[list[str]], array[int]]:
        """The header, the rows, and the number of the (last) line of each row."""
        with self.reading(path, "table"), path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", skipinitialspace=True)
            header = next(reader, [])
            rows, lines = [], array("Q")
            for row in reader:
                if row and len(row) != len(header):
                    raise self.fault(f"{path}:{reader.line_num}: {len(row)} columns, but the header has {len(header)}.")
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
        if not rows:
            raise self.fault(
                f"the table {path} is empty; write the column names on the first line, then one image per line."
            )
        return header, rows, lines

    def _column(self, path: Path, header: list[str], name: str) -> int:
        if name not in header:
            there = ", ".join(header)
            raise self.fault(f"{path} has no column `{name}`; it has {there}.  Use `column {{ top: ... name: ... }}`.")
        return header.index(name)

    def _numbers(self, path: Path, header: list[str], rows: list[list[str]], lines: Sequence[int], name: str) -> Any:
        """Returns a column as numbers; strings become classes.  Raises NetdefError for an empty cell."""
        at = self._column(path, header, name)
        cells = [row[at].strip() for row in rows]
        if "" in cells:
            raise self.fault(f"{path}:{lines[cells.index('')]}: no value in column `{name}`.")
        try:
            return np.array([float(cell) for cell in cells], np.float32)
        except ValueError:
            kinds = {kind: i for i, kind in enumerate(sorted(set(cells)))}
            return np.array([kinds[cell] for cell in cells], np.float32)
