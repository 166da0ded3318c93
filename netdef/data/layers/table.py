"""TableData: the columns of a table, and text.  An addition of netdef's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...files import Locate
from ...language.spelling import suggestion
from ...layers.base import Phase
from ...lazy import jnp, np
from ...schema import param
from ...shape import Shape, ShapeError
from ..base import Batch, DataLayer, Process, Reader, Table
from ..records import Sampling, class_weights, sampled_order
from ..statistics import cached, fingerprint
from ..table_columns import ALL, Coded, Columns, Moments, cells, coded_whole, is_row_of, numbers
from ..table_file import LINE, TableFile, open_table
from ..table_parts import Parts, bytes_of, parts_of
from ..text import Coder, Text, open_coder, tokenized, tops_of_text
from ._table_parts import PartRows, check_parts, coded_in_parts, measured_in_parts

LENGTHS = "(lengths of {})"  # the key of the numbers of tokens of a top, beside its tokens


class Measured(NamedTuple):
    """What the tops depend on besides a table, by the name of the top: the columns of the table that it is read from,
    how they are read, as measured on the training data, and what turns texts into tokens."""

    names: Mapping[str, Sequence[str]]
    columns: Mapping[str, Coded]
    coders: Mapping[str, Coder]

    @property
    def used(self) -> list[str]:
        """The columns of all tops."""
        return [name for of in self.names.values() for name in of]


@dataclass(frozen=True)
class Rows:
    """All rows of a table: arrays by the name of the top, of a text its tokens and, as LENGTHS, their number."""

    table: TableFile
    size: int
    arrays: dict[str, Any]

    @property
    def beside(self) -> dict[str, Any]:
        """The tops with a value for each row, to which others may be added."""
        return self.arrays

    def classes(self, top: str) -> Any:
        """Returns the class of every row."""
        return self.arrays[top].astype(np.int64)

    def gathered(self, rows: Any) -> dict[str, Any]:
        """Returns the arrays of some rows."""
        return {name: array[rows] for name, array in self.arrays.items()}


class TableData(DataLayer, type="TableData", block="table_data_param"):
    """Columns of a table, CSV or Parquet: numbers, categories, and text as indices of tokens.

    Bottoms: none.  Tops: any number, in any order: (batch_size) for one column, (batch_size, k) for a `column` of k
    names, and (batch_size, length) for a `text`.
    Example: `column { top: "size" name: "width" name: "height" normalize: true }`.
    A top without a `column` or `text` is read from the column of the same name.  The first row of a CSV file has the
    names of the columns; cells are separated by commas, or by semicolons, tabs or `|` if the first row has more of
    them.  A .txt file is a table with one column, `text`, and a row for each line that is not blank.  If all cells of a
    column are numbers, it has numbers, else categories, which become 0, 1, 2, ... in sorted order.  A cell without a
    value is an error that names its line, unless `fill` or `fill_category` is given.  Categories, means and deviations
    are those of `source` in both phases, means and deviations of the rows that phase TRAIN uses; they are stored in
    preprocessing.json with the weights, so that `netdef predict` reads other tables in the same way.  A table larger
    than `memory_limit` is read part by part while training: some rows of a text file, or a row group of a Parquet file.
    Its parts are shuffled, and the rows of several parts mixed.  One table can be used for both phases with
    `sample_param { split: 0.8 }`, which keeps the proportions of the classes if a top has categories.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    n_tops = (1, None)

    sample_param: Sampling = param("Which records are used, and in which order.", default=Sampling(), beside=True)

    source: str = param("Table: a .csv, .tsv, .parquet or .txt file.", default="")
    test_source: str = param(
        "Table of phase TEST, which is read with the categories, means and deviations of `source`; default: `source`.",
        default="",
    )
    batch_size: int = param("Number of rows in a batch.", default=32, at_least=1)
    shuffle: bool = param("Shuffle the rows in each epoch, in phase TRAIN.", default=True)
    delimiter: str = param("Character between the cells of a CSV file; default: found in the first row.", default="")
    memory_limit: int = param(
        "Largest table that is read into memory: size of the file, or of its columns in a Parquet file.",
        default=256,
        at_least=0,
        unit="MB",
    )
    column: tuple[Columns, ...] = param("How the columns of a top are read.", default=())
    text: tuple[Text, ...] = param("A top with text, and tops that belong to it.", default=())

    def shapes(self, locate: Locate) -> list[Shape]:
        self.check()
        self.sources(locate)  # because a missing vocabulary is reported here, and not when training begins
        paths = self.paths(locate)
        table = self.table(paths[0])
        names = self.names(table)
        for path in paths:
            one = self.table(path)
            missing = next((name for of in names.values() for name in of if name not in one.names), None)
            if missing is not None:
                raise ShapeError(one.missing(missing), field="column" if self.given("column") else "top")
        return self._shapes(names, self._widths(table, names))

    def declared_shapes(self) -> list[Shape] | None:
        if any(ALL in block.name or block.one_hot for block in self.column):
            return None
        return self._shapes({top: self.described(top).name or (top,) for top in self.column_tops}, {})

    def shapes_of(self, measured: Measured) -> dict[str, Shape]:
        """Returns the shapes of the tops for a table that was measured before."""
        widths = {top: one.width for top, one in measured.columns.items()}
        return dict(zip(self.top, self._shapes(measured.names, widths), strict=True))

    def _shapes(self, names: Mapping[str, Sequence[str]], widths: Mapping[str, int]) -> list[Shape]:
        batch, found = self.batch_size, {}
        for top in self.column_tops:
            width = widths.get(top, len(names[top]))
            found[top] = (batch, width) if is_row_of(self.described(top), names[top]) else (batch,)
        for block in self.text:
            shape = (block.length, batch) if block.time_first else (batch, block.length)
            found |= {top: (batch,) if kind == "lengths" else shape for top, kind in block.tops.items()}
        return [found.get(top, (batch,)) for top in self.top]

    def record_axis(self, top: str) -> int:
        return int(any(block.time_first and block.tops.get(top, "lengths") != "lengths" for block in self.text))

    def check(self) -> None:
        """Raises ShapeError for fields that do not fit together."""
        tops = [block.top for block in self.column] + [top for block in self.text for top in block.tops]
        kind = "column" if self.column else "text"
        for i, top in enumerate(tops):
            if top not in self.top:
                there = ", ".join(f"`{name}`" for name in self.top)
                raise ShapeError(
                    f"`{top}` is none of the tops of the layer, {there}.{suggestion(top, self.top)}", field=kind
                )
            if top in tops[:i]:
                raise ShapeError(f"top `{top}` is described twice; remove one of the descriptions.", field=kind)
        for block in self.column:
            if conflict := block.conflict:
                raise ShapeError(f"top `{block.top}`: {conflict}", field="column")
        for block in self.text:
            if bool(block.vocabulary) == bool(block.tokenizer):
                both = "both given; keep one" if block.vocabulary else "not given; set one"
                raise ShapeError(f"`vocabulary` and `tokenizer` of the text `{block.top}` are {both}.", field="text")
        if len(self.delimiter) > 1:
            raise ShapeError(f"`delimiter` is `{self.delimiter}`; it must be one character.", field="delimiter")
        if self.sample_param.skip_corrupt:
            detail = "`skip_corrupt` has no effect on tables; set `fill` or `fill_category` for missing values."
            raise ShapeError(detail, field="sample_param")
        if self.test_source and self.sample_param.split:
            raise ShapeError("`split` and `test_source` are both given; keep one of them.", field="test_source")

    def paths(self, locate: Locate) -> list[Path]:
        """Returns the tables.  Raises NetdefError if one does not exist."""
        names = [self.source, self.test_source] if self.test_source else [self.source]
        return [self.source_path(locate, name, "the table", is_file=True) for name in names]

    def table(self, path: Path) -> TableFile:
        """Opens a table.  Raises NetdefError if its first row cannot be read."""
        return open_table(path, self.delimiter, self.fault)

    @property
    def column_tops(self) -> list[str]:
        """The tops that are columns."""
        others = {top for block in self.text for top in block.tops}
        tops = self.top[:-1] if self.sample_param.class_weights else self.top
        return [top for top in tops if top not in others]

    def described(self, top: str) -> Columns:
        """Returns how the columns of a top are read."""
        return next((block for block in self.column if block.top == top), Columns(top=top))

    def names(self, table: TableFile) -> dict[str, list[str]]:
        """Returns the columns of each top."""
        line = LINE if table.names == (LINE,) else ""
        named = {top: list(self.described(top).name) or [top] for top in self.column_tops}
        named |= {block.top: [block.name or line or block.top] for block in self.text}
        used = {name for of in named.values() for name in of}
        rest = [name for name in table.names if name and name not in used]
        return {top: [one for name in of for one in (rest if name == ALL else [name])] for top, of in named.items()}

    def _widths(self, table: TableFile, names: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Returns the number of values of a row of each top with `one_hot`, which depends on the categories."""
        tops = [block.top for block in self.column if block.one_hot]
        if not tops:
            return {}
        key = f"TableData {self.column!r} {self.top} {self.delimiter} {fingerprint(table.path)}"

        def measure() -> dict[str, Any]:
            wanted = [name for top in tops for name in names[top]]
            if self.is_large(table, wanted):
                found = coded_in_parts(self, parts_of(table, wanted), tops)
                return {"widths": [found[top].width for top in tops]}
            columns = table.columns(wanted)
            return {"widths": [coded_whole(self.described(top), names[top], table, columns).width for top in tops]}

        return dict(zip(tops, cached("table", key, ("widths",), measure)["widths"], strict=True))

    def coders(self, locate: Locate) -> dict[str, Coder]:
        """Returns what turns the texts of each top into tokens.  Raises NetdefError for another file."""
        return {block.top: open_coder(block, self._coder_path(block, locate), self.fault) for block in self.text}

    def _coder_path(self, block: Text, locate: Locate) -> Path:
        name, what = block.vocabulary or block.tokenizer, "the vocabulary" if block.vocabulary else "the tokenizer"
        return self.source_path(locate, name, what, is_file=True)

    def sources(self, locate: Locate) -> list[Path]:
        """Returns all files that are read."""
        return [*self.paths(locate), *(self._coder_path(block, locate) for block in self.text)]

    def is_large(self, table: TableFile, names: Sequence[str]) -> bool:
        """Whether a table is read part by part."""
        return bytes_of(table, names) > self.memory_limit << 20

    def measured(self, table: TableFile, columns: Mapping[str, Any]) -> dict[str, Coded]:
        """Measures the columns of `source`, which are in memory.  Raises NetdefError for a cell that does not fit."""
        names = self.names(table)
        found = {top: coded_whole(self.described(top), names[top], table, columns) for top in self.column_tops}
        if any(block.is_measured for block in self.column):
            sampling = self.sample_param.replace(shuffle=False, shuffle_block=0, balance=False)
            top = self.class_top(found) if sampling.split else None
            classes = None if top is None else found[top].array(table, columns)
            order = sampled_order(self, sampling, len(next(iter(columns.values()))), classes, Phase.TRAIN, 0)
            train = order.at(0, order.size)
            measured = {top: code for top, code in found.items() if self.described(top).is_measured}
            of = {c.name for one in measured.values() for c in one.codes if c.categories is None}
            moments = {name: Moments().joined(numbers(table, name, columns[name])[train]) for name in of}
            found = {top: one.measured(self.described(top), table, moments) for top, one in found.items()}
        return found

    def measure(self, locate: Locate) -> Measured:
        """Reads and measures `source`.  Raises NetdefError."""
        return self.read(locate)[2]

    def read(self, locate: Locate) -> tuple[TableFile, dict[str, Any] | Parts, Measured]:
        """Returns the table of `source`, its columns or its parts, and what was measured.  Raises NetdefError."""
        table = self.table(self.paths(locate)[0])
        names, coders = self.names(table), self.coders(locate)
        rows = self.columns(table, [name for of in names.values() for name in of])
        if isinstance(rows, Parts):
            return table, rows, Measured(names, measured_in_parts(self, rows, [table.path]), coders)
        return table, rows, Measured(names, self.measured(table, rows), coders)

    def columns(self, table: TableFile, names: Sequence[str]) -> dict[str, Any] | Parts:
        """Returns the columns of a table, or if it is large, its parts.  Raises NetdefError."""
        return parts_of(table, names) if self.is_large(table, names) else table.columns(names)

    def class_top(self, columns: Mapping[str, Coded]) -> str | None:
        """Returns the top with the class of each row: the last one that is a single category; None without one."""
        return next((top for top in reversed(self.column_tops) if columns[top].categories is not None), None)

    def rows(self, table: TableFile, columns: Mapping[str, Any], measured: Measured) -> Rows:
        """Returns the tops whose columns are given, for all rows of a table.  Raises NetdefError."""
        is_there = lambda top: all(name in columns for name in measured.names[top])
        made = {top: one.array(table, columns) for top, one in measured.columns.items() if is_there(top)}
        for block in self.text:
            if is_there(block.top):
                texts = cells(columns[measured.names[block.top][0]]).to_pylist()
                tokens = tokenized(block, measured.coders[block.top], texts, table.place, self.fault)
                made |= dict(zip((block.top, LENGTHS.format(block.top)), tokens, strict=True))
        return Rows(table, len(next(iter(columns.values()))), made)

    def batch_of(self, arrays: Mapping[str, Any], numbers: Any, xp: Any) -> Batch:
        """Returns the tops of these rows, float32; `xp`: numpy or jax.numpy."""
        texts = {block.top: block for block in self.text}
        made = {}
        for top in self.top:
            if top in texts and top in arrays:
                tokens, lengths = _tokens(arrays, texts[top])
                made |= tops_of_text(texts[top], tokens[numbers], lengths[numbers], xp)
            elif top in arrays:
                made[top] = arrays[top][numbers]
        return made

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        try:
            self.check()
        except ShapeError as error:
            raise self.fault(error.detail) from error
        return TableReader(self, locate, phase, seed, process)


def _tokens(arrays: Mapping[str, Any], block: Text) -> tuple[Any, Any]:
    """Returns the tokens of a text, and their number in each row."""
    return arrays[block.top], arrays[LENGTHS.format(block.top)]


class TableReader(Reader):
    """Batches of the rows of a table, which are in memory, or if there are too many, in parts."""

    records: Rows | PartRows

    def __init__(self, layer: TableData, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: TableData = layer
        _, *other = layer.paths(locate)
        table, columns, self.measured = layer.read(locate)
        if phase is Phase.TEST and other:
            table = layer.table(other[0])
            columns = layer.columns(table, self.measured.used)
        self._sources = layer.sources(locate)
        sampling = layer.sample_param
        shuffle = phase is Phase.TRAIN and layer.shuffle or sampling.shuffle
        shards = None
        if isinstance(columns, Parts):
            if sampling.balance and phase is Phase.TRAIN:
                raise layer.fault(
                    f"`balance` draws from the whole table, which is larger than `memory_limit`, {layer.memory_limit} "
                    "MB; increase it, or set `class_weights` in place of `balance`."
                )
            check_parts(layer, columns, self.measured, self._sources)
            self.records = PartRows(layer, columns, self.measured, self.measured.used, sampling)
            sampling = self.records.shuffling(sampling) if shuffle else sampling
            shards = columns.starts if shuffle else None
        else:
            self.records = layer.rows(table, columns, self.measured)
        top = layer.class_top(self.measured.columns) if sampling.needs_classes else None
        classes = None if top is None else self.records.classes(top)
        if sampling.class_weights:
            if classes is None:
                raise layer.fault("`class_weights` requires a top with one category for each row, before the last top.")
            self.records.beside[layer.top[-1]] = class_weights(classes)
        self.order = sampled_order(
            layer,
            sampling,
            self.records.size,
            classes,
            phase,
            seed,
            shuffle=shuffle,
            batch_size=self.batch_size,
            shards=shards,
        )
        self.size = self.order.size
        self.steady = not (sampling.balance and phase is Phase.TRAIN)
        self.divisible = not any(map(layer.record_axis, layer.top))
        if process[1] > 1 and not self.divisible:
            raise layer.fault(
                f"with `time_first`, {process[1]} processes cannot divide a batch; remove it, and use a Permute layer."
            )

    def numbers(self, position: int) -> Any:
        return self.order.at(position, self.batch_size)[self.rows]

    def batch(self, position: int) -> Batch:
        return self.layer.batch_of(self.records.gathered(self.numbers(position)), slice(None), np)

    def resident(self, budget: int) -> Table | None:
        if isinstance(self.records, PartRows):
            return None
        arrays = self.records.arrays
        return dict(arrays) if sum(array.nbytes for array in arrays.values()) <= budget else None

    def labels(self, table: Table, tops: Collection[str]) -> Table:
        found = super().labels(table, tops)
        for block in self.layer.text:
            if block.next in tops:
                plain = block.replace(time_first=False)
                found |= {block.next: tops_of_text(plain, *_tokens(table, block), np)[block.next]}
        return found

    def take(self, table: Table, plan: Batch) -> Batch:
        return self.layer.batch_of(table, plan["record"], jnp)

    def name_of(self, position: int, row: int) -> str:
        return self.name_of_record(int(self.numbers(position)[row]))

    def name_of_record(self, number: int) -> str:
        return self.records.table.place(number)

    def sources(self) -> list[Path]:
        return self._sources
