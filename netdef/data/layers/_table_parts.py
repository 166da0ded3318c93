"""Tables larger than `memory_limit`: they are measured and checked part by part, and the parts of the last batches are
in memory.

The results of these passes over the file are cached, so that only the first run waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...layers.base import Phase
from ...lazy import np
from ..records import Sampling, sampled_order
from ..statistics import cached, fingerprint
from ..table_columns import Code, Coded, Moments, Survey, coded, numbers
from ..table_parts import Parts

if TYPE_CHECKING:
    from .table import Measured, TableData

WINDOW = 16 << 20  # bytes of the parts whose rows are mixed
MOST_MIXED = 16  # parts whose rows are mixed


def coded_in_parts(layer: TableData, parts: Parts, tops: Collection[str]) -> dict[str, Coded]:
    """Returns how the columns of these tops are read; means are not measured yet.  Raises NetdefError."""
    names = {top: of for top, of in layer.names(parts.table).items() if top in tops}
    surveys = {(top, name): Survey(layer.described(top), name) for top, of in names.items() for name in of}
    _add_all(parts, surveys)
    again = {key: survey.again() for key, survey in surveys.items() if survey.lacks_kinds(parts.table)}
    _add_all(parts, again)
    surveys |= again
    of_top = lambda top: {name: surveys[top, name] for name in names[top]}
    return {top: coded(layer.described(top), names[top], parts.table, of_top(top)) for top in names}


def _add_all(parts: Parts, surveys: Mapping[tuple[str, str], Survey]) -> None:
    if surveys:
        for table, columns in parts.all([name for _, name in surveys]):
            for (_, name), survey in surveys.items():
                survey.add(table, columns[name])


def measured_in_parts(layer: TableData, parts: Parts, files: Sequence[Any]) -> dict[str, Coded]:
    """Returns how the columns are read, as measured on the rows of phase TRAIN; `files` are all that are read."""
    sampling = layer.sample_param
    key = [layer.column, layer.top, layer.delimiter, sampling.split, sampling.split_seed, sampling.limit]

    def measure() -> dict[str, Any]:
        found = coded_in_parts(layer, parts, layer.column_tops)
        if any(block.is_measured for block in layer.column):
            moments = _moments(layer, parts, found)
            blocks = {top: layer.described(top) for top in found}
            found = {top: one.measured(blocks[top], parts.table, moments) for top, one in found.items()}
        return {"columns": [[top, [list(c) for c in one.codes], *one[1:]] for top, one in found.items()]}

    kept = cached("table", f"parts {key!r} {_prints(files)}", ("columns",), measure)
    code = lambda name, categories, *rest: Code(name, None if categories is None else tuple(categories), *rest)
    return {top: Coded(tuple(code(*c) for c in codes), *rest) for top, codes, *rest in kept["columns"]}


def _prints(files: Sequence[Any]) -> str:
    return " ".join(map(fingerprint, files))


def _moments(layer: TableData, parts: Parts, found: Mapping[str, Coded]) -> dict[str, Moments]:
    """The means and deviations of the columns with numbers over the rows of phase TRAIN."""
    sampling = layer.sample_param.replace(shuffle=False, shuffle_block=0, balance=False)
    top = layer.class_top(found) if sampling.split else None
    classes = None if top is None else classes_in_parts(found[top], parts)
    order = sampled_order(layer, sampling, int(parts.starts[-1]), classes, Phase.TRAIN, 0)
    train = order.at(0, order.size)
    measured = [one for top, one in found.items() if layer.described(top).is_measured]
    wanted = [code.name for one in measured for code in one.codes if code.categories is None]
    if not wanted:
        return {}
    made: dict[str, Moments] = {}
    for start, (table, columns) in zip(parts.starts, parts.all(wanted), strict=False):
        rows = len(next(iter(columns.values())))
        here = train[slice(*np.searchsorted(train, [start, start + rows]))] - start
        for name, column in columns.items():
            made[name] = made.get(name, Moments()).joined(numbers(table, name, column)[here])
    return made


def classes_in_parts(one: Coded, parts: Parts) -> Any:
    """Returns the class of every row, int32."""
    name = one.codes[0].name
    return np.concatenate([one.array(table, columns).astype(np.int32) for table, columns in parts.all([name])])


def check_parts(layer: TableData, parts: Parts, measured: Measured, files: Sequence[Any]) -> None:
    """Raises NetdefError for a cell or a text that does not fit, because training must not stop in its first epoch."""

    def check() -> dict[str, Any]:
        for table, columns in parts.all(measured.used):
            layer.rows(table, columns, measured)
        return {"checked": []}

    key = f"checked {layer.column!r} {layer.text!r} {measured.columns!r} {_prints([parts.table.path, *files])}"
    cached("table", key, ("checked",), check)


class PartRows:
    """The rows of a table in parts, of which the last that were used are in memory."""

    def __init__(self, layer: TableData, parts: Parts, measured: Measured, names: Sequence[str], sampling: Sampling):
        self.layer, self.parts, self.measured, self.table = layer, parts, measured, parts.table
        self.size = int(parts.starts[-1])
        self.beside: dict[str, Any] = {}  # tops with a value for each row that the table does not have
        self._names = names
        self._mixed = min(max(WINDOW // parts.size, 1), MOST_MIXED)
        block, window = sampling.shuffle_block, sampling.shuffle_window
        self._most = 2 * (-(-window // block) if block else self._mixed) + 2
        self._lock = threading.Lock()
        self._loaded: dict[int, dict[str, Any]] = {}

    def classes(self, top: str) -> Any:
        """Returns the class of every row."""
        return classes_in_parts(self.measured.columns[top], self.parts)

    def shuffling(self, sampling: Sampling) -> Sampling:
        """Returns how the rows are shuffled: whole parts, and the rows of several parts."""
        if sampling.shuffle_block:
            return sampling
        largest = int(np.max(np.diff(self.parts.starts)))
        window = max(sampling.shuffle_window, self._mixed * self.size // len(self.parts))
        return sampling.replace(shuffle_block=largest, shuffle_window=window)

    def gathered(self, rows: Any) -> dict[str, Any]:
        """Returns the arrays of some rows."""
        starts = self.parts.starts
        of = np.searchsorted(starts, rows, side="right") - 1
        made = {top: array[rows] for top, array in self.beside.items()}
        for part in dict.fromkeys(of.tolist()):
            here = np.flatnonzero(of == part)
            for name, array in self._load(part).items():
                if name not in made:
                    made[name] = np.empty((len(rows), *array.shape[1:]), array.dtype)
                made[name][here] = array[rows[here] - starts[part]]
        return made

    def _load(self, part: int) -> dict[str, Any]:
        with self._lock:
            if (found := self._loaded.pop(part, None)) is None:
                while len(self._loaded) >= self._most:
                    del self._loaded[next(iter(self._loaded))]
                found = self.layer.rows(*self.parts.columns(part, self._names), self.measured).arrays
            self._loaded[part] = found  # the last one
            return found
