"""The columns of a table as arrays: numbers, which may be normalized, and categories, which become indices.

What an array depends on is measured once on the training data (`Code`) and stored with the weights of a net, so that
other tables are read in the same way.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..files import shown
from ..language.spelling import suggestion
from ..lazy import need, np
from ..schema import Block, param
from .table_file import TableFile

MISSING = ("na", "n/a", "nan", "null", "none")  # in lower case: cells of numbers that mean that there is no value
BOOLEANS = {"false": 0.0, "true": 1.0}
MOST_SHOWN = 8  # categories that a message lists
ALL = "*"


class Kind(enum.Enum):
    """What a column contains."""

    AUTO = 0
    NUMBER = 1
    CATEGORY = 2


class Columns(Block):
    """`column { top: "features" name: "width" name: "height" }`: how the columns of a top are read."""

    top: str = param("Name of the top.")
    name: tuple[str, ...] = param(
        "Columns of the table, several of which form a row; default: the one with the name of the top.  "
        '"*" is every column that is named nowhere else.',
        default=(),
    )
    kind: Kind = param(
        "What the columns contain.  AUTO: numbers (also true and false), if all cells are, else categories.",
        default=Kind.AUTO,
    )
    category: tuple[str, ...] = param(
        "Categories in the order of their indices; default: those of `source`, sorted.", default=()
    )
    one_hot: bool = param(
        "Whether a category becomes a row of zeros with a 1 at its index, and not the index.", default=False
    )
    normalize: bool = param(
        "Whether numbers are shifted and scaled to mean 0 and standard deviation 1, as measured on the rows of phase "
        "TRAIN.",
        default=False,
    )
    fill: float | None = param(
        "Number in place of a missing one, before it is normalized; MEAN: the mean.  Default: a missing number is an "
        "error.",
        default=None,
        word="MEAN",
    )
    fill_category: str = param("Category in place of a missing one; default: a missing one is an error.", default="")

    @property
    def conflict(self) -> str:
        """What is wrong with the fields together; empty if nothing is."""
        if self.kind is Kind.CATEGORY and (self.normalize or self.fill is not None):
            given = "normalize" if self.normalize else "fill"
            return f"`{given}` is for numbers, but `kind` is CATEGORY; remove one of them."
        if self.kind is Kind.NUMBER and (self.category or self.fill_category):
            given = "category" if self.category else "fill_category"
            return f"`{given}` is for categories, but `kind` is NUMBER; remove one of them."
        twice = next((one for i, one in enumerate(self.category) if one in self.category[:i]), None)
        return "" if twice is None else f"`category` has `{twice}` twice; remove one of them."

    @property
    def is_measured(self) -> bool:
        """Whether the numbers depend on the means of the training data."""
        return self.normalize or self.fill == "MEAN"


class Moments(NamedTuple):
    """The number, mean and variance of values."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def joined(self, values: Any) -> Moments:
        """Returns those of these values and of other ones, without NaN."""
        values = values[~np.isnan(values)]
        if not len(values):
            return self
        other = Moments(len(values), float(np.mean(values)), float(np.var(values)))
        if not self.count:
            return other
        count = self.count + other.count
        part, apart = other.count / count, other.mean - self.mean
        variance = (1 - part) * self.variance + part * other.variance + part * (1 - part) * apart**2
        return Moments(count, self.mean + part * apart, variance)


class Code(NamedTuple):
    """How the cells of a column become numbers.  `categories`: the strings that become 0, 1, 2, ...; None for numbers,
    of which `mean` is subtracted before they are divided by `deviation`.  `fill` replaces missing cells; None: they are
    errors."""

    name: str
    categories: tuple[str, ...] | None = None
    mean: float = 0.0
    deviation: float = 1.0
    fill: float | None = None

    @property
    def width(self) -> int:
        """The number of values of a cell in a row with `one_hot`."""
        return 1 if self.categories is None else len(self.categories)

    def array(self, table: TableFile, column: Any) -> Any:
        """Returns a column as float64, (rows).  Raises NetdefError for a cell that does not fit."""
        if self.categories is None:
            found = numbers(table, self.name, column)
            found = self._filled(table, found, np.isnan(found), "`fill`, to a number or to MEAN")
            return (found - self.mean) / self.deviation
        kinds, which = distinct(cells(column))
        order = {category: float(i) for i, category in enumerate(self.categories)}
        found = np.array([*(order.get(kind, -1.0) for kind in kinds), np.nan])[which]  # the last one: missing
        if np.any(found == -1):
            row = int(np.flatnonzero(found == -1)[0])
            text = kinds[which[row]]
            raise table.fault(
                f"{table.place(row)}: `{self.name}` is `{shown(text)}`, which is not one of its "
                f"{len(self.categories)} categories: {listed(self.categories)}.{suggestion(text, self.categories)}"
            )
        missing = np.isnan(found)
        return self._filled(table, found, missing, "`fill_category`")

    def measured(self, block: Columns, table: TableFile, moments: Moments) -> Code:
        """Returns the code with the mean and deviation of the rows of phase TRAIN, as far as `block` asks for them."""
        if self.categories is not None or not block.is_measured:
            return self
        if not moments.count:
            raise table.fault(
                f"{shown(table.path)}: column `{self.name}` has no values in phase TRAIN, so it has no mean."
            )
        mean, deviation = moments.mean, math.sqrt(moments.variance)
        code = self._replace(fill=mean) if block.fill == "MEAN" else self
        is_constant = deviation <= 1e-12 * max(1.0, abs(mean))
        return code._replace(mean=mean, deviation=1.0 if is_constant else deviation) if block.normalize else code

    def _filled(self, table: TableFile, found: Any, missing: Any, how: str) -> Any:
        if not missing.any():
            return found
        if self.fill is None:
            raise table.fault(
                f"{table.place(int(np.flatnonzero(missing)[0]))}: no value in column `{self.name}`, and in "
                f"{int(missing.sum()) - 1} other rows; set {how}, or remove the rows."
            )
        return np.where(missing, self.fill, found)


class Coded(NamedTuple):
    """How a top is read: the codes of its columns, whether it is a row of values or a single one, and whether the
    categories are rows themselves."""

    codes: tuple[Code, ...]
    is_row: bool
    one_hot: bool = False

    @property
    def width(self) -> int:
        """The number of values of a row."""
        return sum(code.width for code in self.codes) if self.one_hot else len(self.codes)

    @property
    def categories(self) -> tuple[str, ...] | None:
        """The names of the classes, if the top is a single category."""
        return None if self.is_row else self.codes[0].categories

    def measured(self, block: Columns, table: TableFile, moments: Mapping[str, Moments]) -> Coded:
        """Returns this with the means and deviations of the columns, as far as `block` asks for them."""
        return self._replace(codes=tuple(c.measured(block, table, moments.get(c.name, Moments())) for c in self.codes))

    def array(self, table: TableFile, columns: Mapping[str, Any]) -> Any:
        """Returns the top for all rows, float32."""
        parts = []
        for code in self.codes:
            found = code.array(table, columns[code.name])
            if code.categories is not None and self.one_hot:
                parts.append(found[:, None] == np.arange(len(code.categories)))
            else:
                parts.append(found[:, None])
        made = np.concatenate(parts, 1).astype(np.float32)
        return made if self.is_row else made[:, 0]


def coded(block: Columns, names: Sequence[str], table: TableFile, surveys: Mapping[str, Survey]) -> Coded:
    """Returns how the columns of a top are read; means are not measured yet."""
    codes = tuple(_code(block, table, surveys[name]) for name in names)
    is_row = is_row_of(block, names)
    strange = next((code for code in codes if code.categories is not None), None)
    if strange is not None and is_row and not block.one_hot:
        raise table.fault(
            f"{shown(table.path)}: `{strange.name}`, a column of top `{block.top}`, contains categories: "
            f"{listed(strange.categories or ())}; set `one_hot: true`, or give the column a top of its own, for Embed."
        )
    return Coded(codes, is_row, block.one_hot)


def coded_whole(block: Columns, names: Sequence[str], table: TableFile, columns: Mapping[str, Any]) -> Coded:
    """The same for columns that are in memory."""
    surveys = {name: Survey(block, name) for name in names}
    for name, survey in surveys.items():
        survey.add(table, columns[name])
    return coded(block, names, table, surveys)


def is_row_of(block: Columns, names: Sequence[str]) -> bool:
    """Whether the top of a block is a row of values for each record, and not a single value."""
    return len(names) > 1 or block.one_hot or ALL in block.name


@dataclass
class Survey:
    """What the parts of a column contain that were added so far: numbers or categories."""

    block: Columns
    name: str
    numbers: int = 0  # cells
    others: int = 0  # cells that are no numbers
    strange: str = ""  # the first of these, and where it is
    kinds: dict[str, None] = field(default_factory=dict)  # different cells
    complete: bool = True  # whether `kinds` has those of all parts

    def add(self, table: TableFile, column: Any) -> None:
        """Adds a part of the column."""
        if self.block.kind is Kind.NUMBER or self.block.category:
            return
        if self.block.kind is Kind.CATEGORY:
            self.kinds.update(dict.fromkeys(distinct(cells(column))[0]))
        elif not _is_text(column):
            self.numbers += len(column) - column.null_count
        elif (found := _as_numbers(cells(column))) is not None:
            self.numbers += int(np.sum(~np.isnan(found)))
            self.complete = False
        else:
            self._add_texts(table, *distinct(cells(column)))

    def _add_texts(self, table: TableFile, kinds: Sequence[str], which: Any) -> None:
        values = [_number(kind) for kind in kinds]
        sort = np.array([0 if value is None else 2 if np.isnan(value) else 1 for value in values] + [2])[which]
        self.numbers += int(np.sum(sort == 1))
        self.kinds.update(dict.fromkeys(kinds))
        if not self.others and None in values:
            row = int(np.flatnonzero(sort == 0)[0])
            self.strange = f"{table.place(row)}: `{self.name}` is `{shown(kinds[int(which[row])])}`"
        self.others += int(np.sum(sort == 0))

    def is_number(self, table: TableFile) -> bool:
        """Whether the column has numbers.  Raises NetdefError if most cells are, because the others are then probably
        mistakes."""
        if self.block.kind is not Kind.AUTO or self.block.category:
            return self.block.kind is Kind.NUMBER
        if self.others and self.numbers > self.others:
            raise table.fault(
                f"{self.strange}, but most cells of the column are numbers; correct it, or set `kind: CATEGORY`."
            )
        return not self.others

    def lacks_kinds(self, table: TableFile) -> bool:
        """Whether categories must be collected in a second pass, because some parts have only numbers."""
        return not self.complete and not self.is_number(table)

    def again(self) -> Survey:
        """Returns the survey of the second pass."""
        return Survey(self.block.replace(kind=Kind.CATEGORY), self.name)


def _code(block: Columns, table: TableFile, survey: Survey) -> Code:
    name = survey.name
    if survey.is_number(table):
        return Code(name, fill=None if block.fill in (None, "MEAN") else float(block.fill))
    categories, fill = block.category or sorted_kinds(survey.kinds), block.fill_category
    if fill and fill not in categories:
        raise table.fault(
            f"`fill_category` is `{fill}`, which is not one of the categories of column `{name}`: "
            f"{listed(categories)}.{suggestion(fill, categories)}"
        )
    return Code(name, categories, fill=float(categories.index(fill)) if fill else None)


def sorted_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """The categories of a column: sorted by value if all are numbers, else as strings."""
    try:
        return tuple(sorted(kinds, key=lambda kind: (float(kind), kind)))
    except ValueError:
        return tuple(sorted(kinds))


def numbers(table: TableFile, name: str, column: Any) -> Any:
    """Returns a column as float64, with NaN for missing cells.  Raises NetdefError for a cell that is no number."""
    if _is_text(column):
        found = _of_texts(table, name, cells(column))
    else:
        found = _of_values(table, name, column)
    if np.isinf(found).any():
        row = int(np.flatnonzero(np.isinf(found))[0])
        raise table.fault(f"{table.place(row)}: `{name}` is infinite; numbers must be finite.")
    return found


def _of_texts(table: TableFile, name: str, texts: Any) -> Any:
    found = _as_numbers(texts)
    if found is not None:
        return found
    kinds, which = distinct(texts)
    values = [_number(kind) for kind in kinds]
    if None in values:
        row = int(np.flatnonzero(np.array([*(value is None for value in values), False])[which])[0])
        raise table.fault(
            f"{table.place(row)}: `{name}` is `{shown(kinds[int(which[row])])}`, which is not a number; correct it, or "
            "set `kind: CATEGORY`."
        )
    return np.array([*values, np.nan], np.float64)[which]


def _of_values(table: TableFile, name: str, column: Any) -> Any:
    arrow, types = need("pyarrow", "a table"), need("pyarrow", "a table").types
    kind = column.type
    if types.is_boolean(kind):
        column = column.cast(arrow.uint8())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)):
        raise table.fault(
            f"{shown(table.path)}: column `{name}` has values of type {kind}; numbers or strings are required."
        )
    return column.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


def _as_numbers(texts: Any) -> Any:
    """Returns strings as float64, with NaN for null; None if one is no number, or written as no library reads it."""
    arrow = need("pyarrow", "a table")
    try:
        return texts.cast(arrow.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except arrow.ArrowInvalid:
        return None


def _number(text: str) -> float | None:
    """A cell as a number, NaN if it says that it is missing; None if it is no number."""
    plain = text.lower()
    if plain in BOOLEANS or plain in MISSING:
        return BOOLEANS.get(plain, np.nan)
    try:
        return None if "_" in plain else float(plain)
    except ValueError:
        return None


def cells(column: Any) -> Any:
    """Returns a column as strings without the spaces around them, with null for empty ones."""
    arrow, compute = need("pyarrow", "a table"), need("pyarrow.compute", "a table")
    texts = compute.utf8_trim_whitespace(column.cast(arrow.string()))
    return compute.if_else(compute.equal(texts, ""), arrow.scalar(None, arrow.string()), texts)


def distinct(texts: Any) -> tuple[list[str], Any]:
    """Returns the distinct strings, in the order of their first rows, and the index of each row's; -1: null."""
    encoded = texts.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _is_text(column: Any) -> bool:
    types = need("pyarrow", "a table").types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    return types.is_string(kind) or types.is_large_string(kind)


def listed(categories: Sequence[str]) -> str:
    """Returns the first categories as a list for a message."""
    names = ", ".join(f"`{shown(one)}`" for one in categories[:MOST_SHOWN])
    return names + (", ..." if len(categories) > MOST_SHOWN else "")
