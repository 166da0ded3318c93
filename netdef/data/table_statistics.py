"""What the columns of a table contain: `netdef data stats` and `check`, and lists of the words of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..language.errors import NetdefError
from ..lazy import np
from .table_columns import Columns, cells, coded_whole, distinct, numbers
from .table_file import TableFile
from .text import PADDING_TOKENS, UNKNOWN_TOKENS, Text, divider


class ColumnFound(NamedTuple):
    """A column: its kind is NUMBER, CATEGORY, TEXT or MISTAKE, `missing` the number of cells without a value.

    Of numbers (min, max, mean, deviation); of categories the number of rows by name, in the order of their indices; of
    texts (number of different ones, most tokens); of a column that TableData does not read the error."""

    name: str
    kind: str
    missing: int
    numbers: tuple[float, float, float, float] | None = None
    categories: dict[str, int] | None = None
    texts: tuple[int, int] | None = None
    error: str = ""


def columns_of(table: TableFile) -> Iterator[ColumnFound]:
    """Yields what each column contains.  Raises NetdefError if the table cannot be read."""
    names = [name for name in table.names if name]
    columns = table.columns(names)
    for name in names:
        try:
            yield _found(table, name, columns[name])
        except NetdefError as error:
            yield ColumnFound(name, "MISTAKE", 0, error=str(error))


def _found(table: TableFile, name: str, column: Any) -> ColumnFound:
    categories = coded_whole(Columns(top=name), [name], table, {name: column}).categories
    if categories is None:
        values = numbers(table, name, column)
        there = values[~np.isnan(values)]
        missing = len(values) - len(there)
        if not len(there):
            return ColumnFound(name, "NUMBER", missing)
        found = (there.min(), there.max(), there.mean(), there.std())
        return ColumnFound(name, "NUMBER", missing, tuple(map(float, found)))  # type: ignore[arg-type]
    kinds, which = distinct(cells(column))
    counts = np.bincount(which[which >= 0], minlength=len(kinds))
    missing = int(np.sum(which < 0))
    words = sum(len(kind.split()) > 1 for kind in kinds)
    if words * 2 > len(kinds) and len(kinds) * 2 > len(which) - missing:  # most are different, of more than one word
        divide = divider(Text(top=name, length=1))
        return ColumnFound(name, "TEXT", missing, texts=(len(kinds), max(len(divide(kind)) for kind in kinds)))
    rows = dict(zip(kinds, counts.tolist(), strict=True))
    return ColumnFound(name, "CATEGORY", missing, categories={kind: rows[kind] for kind in categories})


def vocabulary_of(table: TableFile, name: str, block: Text, size: int) -> list[str]:
    """Returns a vocabulary of the texts of a column: padding, unknown, and the most frequent tokens, at most `size` in
    all; 0: all."""
    kinds, which = distinct(cells(table.columns([name])[name]))
    rows = np.bincount(which[which >= 0], minlength=len(kinds))
    counts: Counter[str] = Counter()
    divide = divider(block)
    for text, times in zip(kinds, rows.tolist(), strict=True):
        for token in divide(text):
            counts[token] += times
    special = [PADDING_TOKENS[0], UNKNOWN_TOKENS[0]]
    ordered = sorted((token for token in counts if token not in special), key=lambda token: (-counts[token], token))
    return [*special, *(ordered[: max(size - len(special), 0)] if size else ordered)]
