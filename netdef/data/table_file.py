"""Tables in files: CSV (.csv, .tsv), Parquet (.parquet), and lines of text (.txt), read by pyarrow.

All cells of a text file are read as strings, so that the type of a column depends on the whole column, and not on its
first rows as where a library guesses.  Rows are counted from 0; messages name the line of a text file.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import shown
from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..lazy import need
from .damage import reading

PARQUET = (".parquet", ".pq")
LINES = ".txt"
ENDINGS = (".csv", ".tsv", LINES, *PARQUET)
LINE = "text"  # the name of the only column of a file of lines
DELIMITERS = ",;\t|"
MOST_NAMED = 20  # columns that a message lists
Fault = Callable[[str], NetdefError]


@dataclass(frozen=True)
class TableFile:
    """A file with a table: the names of its columns, in order, without spaces around them; `written`: with them.
    `fault` makes the errors; `first` is the number of the first row, if only some rows are read."""

    path: Path
    names: tuple[str, ...]
    written: tuple[str, ...]
    delimiter: str
    fault: Fault
    first: int = 0

    @property
    def kind(self) -> str:
        """What the file is, for messages."""
        return "Parquet file" if is_parquet(self.path) else "text file" if is_lines(self.path) else "table"

    def written_of(self, names: Sequence[str]) -> list[str]:
        """Returns the names of columns as they are written."""
        return [self.written[self.names.index(name)] for name in names]

    def missing(self, name: str) -> str:
        """Returns the message for a column that does not exist."""
        there = ", ".join(self.names[:MOST_NAMED]) + (", ..." if len(self.names) > MOST_NAMED else "")
        return f"{shown(self.path)} has no column `{name}`; it has {there}.{suggestion(name, self.names)}"

    def columns(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns columns by name, as pyarrow arrays; those of a text file have strings, and null for empty cells.

        Raises NetdefError for a missing column, a row of another length, a damaged file, and a table without rows."""
        names = list(dict.fromkeys(names))
        if missing := [name for name in names if name not in self.names]:
            raise self.fault(self.missing(missing[0]))
        if is_lines(self.path):
            found = {LINE: need("pyarrow", "a table").array(self._lines())} if names else {}
        elif is_parquet(self.path):
            found = self._of_parquet(names)
        else:
            found = self._of_csv(names)
        if not len(next(iter(found.values()), ())):
            raise self.fault(f"{shown(self.path)} has no rows; a table has a row below the names of its columns.")
        return found

    def _of_parquet(self, names: list[str]) -> dict[str, Any]:
        parquet = need("pyarrow.parquet", "a Parquet file")
        with reading(self.path, self.kind, self.fault):
            written = self.written_of(names)
            table = parquet.read_table(self.path, columns=written, partitioning=None)
            return {name: whole(table.column(there)) for name, there in zip(names, written, strict=True)}

    def _of_csv(self, names: list[str]) -> dict[str, Any]:
        with reading(self.path, self.kind, self.fault):
            if _quotes(self.path) % 2:  # because the library takes the rest of the file as one cell
                explain_rows(self)
        return parse_csv(self, names, self.path)

    def _lines(self) -> list[str]:
        with reading(self.path, self.kind, self.fault):
            try:
                return [line for _, line in _filled(self.path)]
            except UnicodeDecodeError:
                raise _not_utf8(self.path, self.fault) from None

    def first_row(self) -> list[str]:
        """Returns the cells of the first row of a text file; empty if it has none."""
        if is_parquet(self.path) or is_lines(self.path):
            return []
        with reading(self.path, self.kind, self.fault):
            return next((row for _, row in itertools.islice(_rows(self.path, self.delimiter), 1, 2)), [])

    def place(self, row: int) -> str:
        """Returns where a row is, for messages: `iris.csv:8`, its (last) line, or `row 7 of iris.parquet`, from 0."""
        row += self.first
        if is_parquet(self.path):
            return f"row {row} of {shown(self.path)}"
        with reading(self.path, self.kind, self.fault):
            if is_lines(self.path):
                lines = (line for line, _ in _filled(self.path))
            else:
                lines = (line for line, _ in itertools.islice(_rows(self.path, self.delimiter), 1, None))
            line = next(itertools.islice(lines, row, None), None)
        return f"{shown(self.path)}:{line}" if line else f"row {row} of {shown(self.path)}"


def open_table(path: Path, delimiter: str = "", fault: Fault = NetdefError) -> TableFile:
    """Returns the table in a file, whose first row has the names of the columns, with only this row read.

    Raises NetdefError for a damaged or an empty file, and for two columns with the same name."""
    if is_lines(path):
        return TableFile(path, (LINE,), (LINE,), "", fault)
    if is_parquet(path):
        parquet = need("pyarrow.parquet", "a Parquet file")
        with reading(path, "Parquet file", fault):
            written = tuple(parquet.read_schema(path).names)
        delimiter = ""
    else:
        delimiter = delimiter or ("\t" if path.suffix == ".tsv" else _delimiter(path, fault))
        written = _header(path, delimiter, fault)
    names = tuple(name.strip() for name in written)
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise fault(f"{shown(path)} has two columns with the name `{twice[0]}`; rename one of them.")
    return TableFile(path, names, written, delimiter, fault)


def parse_csv(table: TableFile, names: Sequence[str], source: Any, size: int = 0) -> dict[str, Any]:
    """Returns columns of the rows of a source: the whole file, or `size` bytes without the names of the columns.

    Raises NetdefError for a row of another length, and a damaged file."""
    arrow, module = need("pyarrow", "a table"), need("pyarrow.csv", "a table")
    parse = module.ParseOptions(delimiter=table.delimiter, newlines_in_values=True)
    written = dict(zip(names, table.written_of(names), strict=True))
    convert = module.ConvertOptions(
        include_columns=list(written.values()),
        column_types=dict.fromkeys(written.values(), arrow.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    read = module.ReadOptions(column_names=list(table.written), block_size=size) if size else module.ReadOptions()
    try:
        found = module.read_csv(source, read_options=read, parse_options=parse, convert_options=convert)
        return {name: whole(found.column(there)) for name, there in written.items()}
    except (arrow.ArrowException, ValueError, KeyError) as error:
        explain_rows(table)
        raise table.fault(f"{shown(table.path)} is not a readable table ({error}).") from error


def explain_rows(table: TableFile) -> None:
    """Raises NetdefError for the first row that has another number of cells, or is not UTF-8."""
    line = 1
    try:
        if is_lines(table.path):
            for _ in _filled(table.path):
                pass
            return
        for line, row in _rows(table.path, table.delimiter):
            if len(row) != len(table.names):
                raise table.fault(
                    f"{shown(table.path)}:{line}: the row has {len(row)} cells, but the header has "
                    f"{len(table.names)}; a cell that contains {_named(table.delimiter)} must be in double quotes."
                )
    except UnicodeDecodeError:
        raise _not_utf8(table.path, table.fault) from None
    except csv.Error as error:
        raise table.fault(
            f"{shown(table.path)}: the row after line {line} is not one of a table ({error}); check its double quotes."
        ) from None


def is_table(path: Path) -> bool:
    """Whether a path is a table by its name."""
    return path.suffix.lower() in ENDINGS


def _delimiter(path: Path, fault: Fault) -> str:
    """The character between the cells: of these, the one that the first line has most often."""
    with reading(path, "table", fault), path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    return max(DELIMITERS, key=lambda one: (first.count(one.encode()), one == ","))


def _header(path: Path, delimiter: str, fault: Fault) -> tuple[str, ...]:
    try:
        with reading(path, "table", fault):
            _, names = next(_rows(path, delimiter), (0, []))
    except NetdefError as error:
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        raise _not_utf8(path, fault) from None
    if not names:
        raise fault(f"{shown(path)} is empty; a table has the names of its columns on the first line.")
    if any("\0" in name for name in names):
        raise fault(f"{shown(path)} is not a readable table (its first line contains NUL).")
    return tuple(names)


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, with the header, and the number of the (last) line of each."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        for row in reader:
            if row:
                yield reader.line_num, row


def _filled(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not blank, and their numbers."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\n")


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def is_lines(path: Path) -> bool:
    return path.suffix.lower() == LINES


def _not_utf8(path: Path, fault: Fault) -> NetdefError:
    lines = path.read_bytes().split(b"\n")
    number = next((i for i, line in enumerate(lines, 1) if not _is_utf8(line)), 1)
    return fault(f"{shown(path)}:{number}: the line is not UTF-8; convert the file, as by `iconv -f latin1 -t utf-8`.")


def whole(column: Any) -> Any:
    """Returns a column as one array."""
    found = column.combine_chunks()
    arrow = need("pyarrow", "a table")
    return arrow.concat_arrays(found.chunks) if isinstance(found, arrow.ChunkedArray) else found


def _quotes(path: Path) -> int:
    with path.open("rb") as file:
        return sum(part.count(b'"') for part in iter(lambda: file.read(1 << 20), b""))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _named(delimiter: str) -> str:
    return {"\t": "a tab", ",": "a comma", ";": "a semicolon"}.get(delimiter, f"`{delimiter}`")
