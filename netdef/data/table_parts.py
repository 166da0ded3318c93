"""Large tables in parts, each of which is read at once: row groups of a Parquet file, and some rows of a text file.

Only the places of the parts are in memory. They are found by reading the file once, and cached.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..files import shown
from ..lazy import need, np
from .damage import reading
from .stamps import Stamp, changed, stamp
from .statistics import cached, fingerprint
from .table_file import LINE, TableFile, explain_rows, is_lines, is_parquet, parse_csv, whole

PART = 1 << 20  # bytes of a text file that are a part, or a little more, up to the end of a row
READ = 1 << 22  # bytes that are searched at a time
BOM = b"\xef\xbb\xbf"
NEWLINE, QUOTE = 10, 34


def bytes_of(table: TableFile, names: Sequence[str]) -> int:
    """Returns the number of bytes of the columns of a table; of a text file, those of all columns."""
    with reading(table.path, table.kind, table.fault):
        if not is_parquet(table.path):
            return table.path.stat().st_size
        with _parquet(table) as file:
            groups = range(file.metadata.num_row_groups)
            return sum(_group_bytes(file.metadata.row_group(i), table.written_of(names)) for i in groups)


@dataclass(frozen=True)
class Parts:
    """A table in parts.  `starts`: the first row of each, and the number of rows.  `places`: of a Parquet file the
    first row group of each part, of a text file its first byte, and where the last one ends.  `size`: bytes of a part.
    """

    table: TableFile
    starts: Any
    places: tuple[int, ...]
    size: int
    stamp: Stamp

    def __len__(self) -> int:
        return len(self.starts) - 1

    def columns(self, part: int, names: Sequence[str]) -> tuple[TableFile, dict[str, Any]]:
        """Returns the columns of a part, and the table, whose messages have the numbers of the rows in the file.
        Raises NetdefError if the file has changed or is damaged."""
        table = replace(self.table, first=int(self.starts[part]))
        with reading(table.path, table.kind, table.fault):
            if stamp(table.path) != self.stamp:
                raise table.fault(str(changed(table.path)))
        found = _read(table, self.places[part], self.places[part + 1], names)
        if len(next(iter(found.values()))) != self.starts[part + 1] - self.starts[part]:
            raise table.fault(str(changed(table.path)))  # a copy may keep the time
        return table, found

    def all(self, names: Sequence[str]) -> Iterator[tuple[TableFile, dict[str, Any]]]:
        """Yields the columns of each part, in order."""
        for part in range(len(self)):
            yield self.columns(part, names)


def parts_of(table: TableFile, names: Sequence[str]) -> Parts:
    """Finds the parts of a table.  Raises NetdefError for a damaged file, and for a table without rows."""
    with reading(table.path, table.kind, table.fault):
        when = stamp(table.path)
        key = f"parts {PART} {table.delimiter} {fingerprint(table.path)}"
    if is_parquet(table.path):
        starts, places, size = _of_parquet(table, names)
    else:
        found = cached("parts", key, ("starts", "places"), lambda: _of_text(table))
        starts, places, size = found["starts"], found["places"], PART
    if not starts[-1]:
        raise table.fault(f"{shown(table.path)} has no rows; a table has a row below the names of its columns.")
    return Parts(table, np.array(starts, np.int64), tuple(places), size, when)


def _parquet(table: TableFile) -> Any:
    return need("pyarrow.parquet", "a Parquet file").ParquetFile(table.path)


def _group_bytes(group: Any, written: Sequence[str]) -> int:
    columns = (group.column(i) for i in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema in written)


def _of_parquet(table: TableFile, names: Sequence[str]) -> tuple[list[int], list[int], int]:
    """The row groups, small ones together."""
    with reading(table.path, table.kind, table.fault), _parquet(table) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        sizes = [_group_bytes(group, table.written_of(names)) for group in groups]
        rows = [group.num_rows for group in groups]
    starts, places, largest, held = [0], [0], 0, 0
    for i, (size, count) in enumerate(zip(sizes, rows, strict=True)):
        if held and held + size > PART:
            starts.append(starts[-1])
            places.append(i)
            held = 0
        if len(starts) == 1:
            starts.append(0)
        starts[-1] += count
        held += size
        largest = max(largest, held)
    return starts, [*places, len(rows)], max(largest, 1)


def _of_text(table: TableFile) -> dict[str, list[int]]:
    places = list(_places(table))
    starts = [0]
    for start, end in zip(places[:-1], places[1:], strict=True):
        found = _read(table, start, end, table.names[:1])
        starts.append(starts[-1] + len(next(iter(found.values()))))
    kept = [0, *(i for i in range(1, len(starts)) if starts[i] > starts[i - 1])]  # not those with blank lines only
    return {"starts": [starts[i] for i in kept], "places": [places[0], *(places[i] for i in kept[1:])]}


def _places(table: TableFile) -> Iterator[int]:
    """The bytes at which the parts of a text file begin, and its end.  A line end in a quoted cell ends no row."""
    quotes = not is_lines(table.path)
    has_header, at, begun, odd = quotes, 0, 0, 0
    with reading(table.path, table.kind, table.fault), table.path.open("rb") as file:
        if file.read(len(BOM)) == BOM:
            at = begun = len(BOM)
        file.seek(at)
        if not has_header:
            yield at
        while chunk := file.read(READ):
            ends, odd = _row_ends(chunk, odd, quotes)
            for end in (at + ends).tolist():
                if has_header:
                    has_header = not chunk[begun - at if begun > at else 0 : end - at].strip()
                    begun = end
                    if not has_header:
                        yield end
                elif end - begun >= PART:
                    begun = end
                    yield end
            at += len(chunk)
    if odd:  # because the library takes the rest of the file as one cell
        explain_rows(table)
    if begun < at or has_header:
        yield at


def _row_ends(chunk: bytes, odd: int, quotes: bool) -> tuple[Any, int]:
    """The offsets after the line ends of a chunk that end rows, and whether the quotes so far are odd."""
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == NEWLINE)
    if not quotes:
        return ends + 1, 0
    marks = np.flatnonzero(data == QUOTE)
    outside = (np.searchsorted(marks, ends) + odd) % 2 == 0
    return ends[outside] + 1, (odd + len(marks)) % 2


def _read(table: TableFile, start: int, end: int, names: Sequence[str]) -> dict[str, Any]:
    """The columns between two places."""
    names = list(dict.fromkeys(names))
    if is_parquet(table.path):
        with reading(table.path, table.kind, table.fault), _parquet(table) as file:
            written = table.written_of(names)
            found = file.read_row_groups(range(start, end), columns=written)
            return {name: whole(found.column(there)) for name, there in zip(names, written, strict=True)}
    with reading(table.path, table.kind, table.fault), table.path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    arrow = need("pyarrow", "a table")
    if not data.strip():
        return {name: arrow.array([], arrow.string()) for name in names}
    if is_lines(table.path):
        try:
            lines = io.StringIO(data.decode("utf-8"), newline=None)
        except UnicodeDecodeError:
            explain_rows(table)
            raise
        texts = [line.rstrip("\n") for line in lines if line.strip()]
        return {LINE: arrow.array(texts, arrow.string())}
    return parse_csv(table, names, io.BytesIO(data), len(data))
