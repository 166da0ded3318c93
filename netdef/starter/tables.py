"""A starter net for a table: columns of numbers and of categories, one of which shall be computed from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.layers.folder import SUFFIXES as IMAGES
from ..files import shown
from ..language.errors import NetdefError
from ..language.printer import quoted
from ..language.spelling import suggestion
from ..layers.base import LAYERS
from ..lazy import np
from . import nets
from .labels import LABELS, counts_of, targets_of
from .words import comment, listed, net_name, number, plural, source_of

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
MANY = 50  # categories of a column, from which it is left out: a name, a number of a customer, or a text
LAYER = "table"  # the name of the data layer


class Column(NamedTuple):
    """One column: its values as numbers, NaN where there is none, and its categories, None for numbers."""

    name: str
    values: Any
    categories: tuple[str, ...] | None

    @property
    def missing(self) -> int:
        return int(np.isnan(self.values).sum())

    @property
    def useful(self) -> bool:
        """Whether a net can learn from it: not if all values are one, or almost all are different categories."""
        there = self.values[~np.isnan(self.values)]
        count = len(np.unique(there))
        return count > 1 and (self.categories is None or (count <= MANY and 2 * count <= len(there)))

    @property
    def width(self) -> int:
        """The number of values of a cell."""
        return len(self.categories) if self.categories is not None else 1

    @property
    def commonest(self) -> str:
        """The category that most rows have."""
        assert self.categories is not None
        counts = np.bincount(self.values[~np.isnan(self.values)].astype(int))
        return self.categories[int(np.argmax(counts))]


class Seen(NamedTuple):
    """What is known of the table."""

    path: Path
    used: list[Column]  # the columns from which the net computes
    left: list[Column]  # those that are not used
    target: Column
    targets: nets.Targets

    @property
    def rows(self) -> int:
        return len(self.target.values)

    @property
    def split(self) -> float:
        return nets.part_for_training([*self.counts])

    @property
    def counts(self) -> Sequence[int]:
        """The number of rows of each class; of all, if there are no classes."""
        return [*counts_of(self.target.values).values()] if self.targets.classes else [self.rows]

    @property
    def kept(self) -> int:
        return sum(round(self.split * count) for count in self.counts)

    @property
    def filled(self) -> list[Column]:
        """The columns of categories with missing cells, which are tops of their own: each is filled otherwise."""
        return [one for one in self.used if one.categories is not None and one.missing]


def starter(path: Path, net: Path, task: str, label: str) -> tuple[str, list[str], list[str]]:
    """Returns the net, lines about the data, and notes on what is not as it should be."""
    columns = _columns(path)
    name = _label(path, columns, label)
    target = columns[name]
    if target.missing:
        raise NetdefError(
            f"{shown(path)}: {plural(target.missing, 'row')} have no value in `{shown(name)}`, which shall be "
            "computed; remove them"
        )
    others = [one for one in columns.values() if one.name != name]
    if files := [
        one.name for one in others if any(Path(kind).suffix.lower() in IMAGES for kind in one.categories or ())
    ]:
        raise NetdefError(
            f"{shown(path)}: the column `{shown(files[0])}` names images; `netdef explain ImageTable` shows the "
            "layer that reads them, or put the images of each class into a folder, for `netdef init FOLDER`"
        )
    used, left = [one for one in others if one.useful], [one for one in others if not one.useful]
    if not used:
        raise NetdefError(
            f"{shown(path)} has no column from which `{shown(name)}` could be computed; its columns are "
            f"{listed([*columns])}"
        )
    target, targets = _targets(path, target, task)
    seen = Seen(path, used, left, target, targets)
    return _text(seen, net), _found(seen), _notes(seen)


def _columns(path: Path) -> dict[str, Column]:
    """The columns of a table by name, as its data layer reads them."""
    cls: Any = LAYERS.get("TableData")
    try:
        table = cls(name=LAYER, top=("data",), source=str(path)).table(path)
        names = tuple(name for name in table.names if name)
        layer = cls(name=LAYER, top=names, source=str(path))
        arrays = table.columns(names)
        codes = {name: one.codes[0] for name, one in layer.measured(table, arrays).items()}
        return {
            name: Column(name, code._replace(fill=float("nan")).array(table, arrays[name]), code.categories)
            for name, code in codes.items()
        }
    except NetdefError as error:
        raise NetdefError(str(error).removeprefix(f"layer `{LAYER}`: ")) from error


def _label(path: Path, columns: Mapping[str, Column], given: str) -> str:
    """The column that shall be computed: the one that is given, or one with a usual name, or else the last."""
    if given and given not in columns:
        raise NetdefError(
            f"{shown(path)} has no column `{given}`; it has {listed([*columns])}.{suggestion(given, columns)}"
        )
    usual = (name for one in LABELS for name in columns if name.lower() == one)
    return given or next(usual, "") or [*columns][-1]


def _targets(path: Path, target: Column, task: str) -> tuple[Column, nets.Targets]:
    """What the net shall output: the categories of a column, or its numbers.  Few integers become categories."""
    if target.categories is not None:
        if task == "regress":
            raise NetdefError(
                f"{shown(path)}: `{shown(target.name)}` has categories, which are no numbers to be computed"
            )
        count = len(target.categories)
        if count == 1 or 2 * count > len(target.values):
            why = "one category" if count == 1 else f"{count:,} categories in {plural(len(target.values), 'row')}"
            raise NetdefError(f"{shown(path)}: `{shown(target.name)}` has {why}; name another column with --label")
        return target, nets.Targets(classes=count, words=f"{count:,} classes: {listed(target.categories)}")
    kinds, which = np.unique(target.values, return_inverse=True)
    found = targets_of(path, target.name, which if task == "classify" else target.values, "")
    if task == "regress" or not found.classes:
        deviation = float(target.values.std())
        found = targets_of(path, target.name, target.values, "regress")
        return target, found._replace(normalized=True, deviation=deviation)
    names = tuple(number(float(kind)) for kind in kinds)
    words = f"{len(names):,} classes: {listed(names)}"
    return Column(target.name, which.astype(float), names), nets.Targets(classes=len(names), words=words)


def _found(seen: Seen) -> list[str]:
    kinds = [one.categories is not None for one in seen.used]
    parts = [plural(kinds.count(False), "column of numbers", "columns of numbers")] if False in kinds else []
    parts += [plural(sum(kinds), "column of categories", "columns of categories")] if any(kinds) else []
    return [
        f"{seen.rows:,} rows with {' and '.join(parts)}",
        f"`{shown(seen.target.name)}` is to be computed: {seen.targets.words}",
        f"{seen.rows - seen.kept:,} of the rows will be used for tests only",
    ]


def _notes(seen: Seen) -> list[str]:
    return [f"not used: {_left_words(seen)}"] if seen.left else []


def _left_words(seen: Seen) -> str:
    constant = [one.name for one in seen.left if one.categories is None or one.width == 1]
    many = [one.name for one in seen.left if one.name not in constant]
    parts = [f"{listed(constant)} (one value in all rows)"] if constant else []
    return ", ".join([*parts, f"{listed(many)} (too many categories)"] if many else parts)


def _text(seen: Seen, net: Path) -> str:
    targets, target = seen.targets, shown(seen.target.name)
    plan = nets.schedule(seen.kept, 64)
    what = f"Finds the class `{target}`" if targets.classes else f"Computes `{target}`"
    bottom, joined = _joined(seen)
    return (
        comment(f"{what} of a row from the other columns, as in the table {shown(seen.path)}.")
        + f'import "std/classifier.net"\n\nname: "{net_name(seen.path)}"\n\n'
        + (
            comment(f"`{target}` has {targets.words}.") + f"let classes: {targets.classes}\n\n"
            if targets.classes
            else ""
        )
        + f"{_data(seen, net, plan.batch)}\n{joined}"
        + nets.perceptron(sum(one.width for one in seen.used), seen.kept, targets, bottom)
        + nets.losses(targets)
        + nets.solver(plan, normalized=False, adam=0.003)
    )


def _joined(seen: Seen) -> tuple[str, str]:
    """The blob with all columns, and the layer that makes it of several tops."""
    tops = _tops(seen)
    if len(tops) == 1:
        return tops[0], ""
    bottoms = " ".join(f'bottom: "{top}"' for top in tops)
    return "columns", f'layer {{ name: "columns" type: "Concat" {bottoms} top: "columns" }}\n\n'


def _tops(seen: Seen) -> list[str]:
    plain = ["data"] if len(seen.filled) < len(seen.used) else []
    return [*plain, *(f"column{i}" for i in range(1, len(seen.filled) + 1))]


def _data(seen: Seen, net: Path, batch: int) -> str:
    numbers = [one for one in seen.used if one.categories is None]
    kinds = [one for one in seen.used if one.categories is not None]
    words = []
    if numbers:
        words.append(
            f"Columns of numbers ({listed([one.name for one in numbers])}) are normalized to mean 0 and deviation 1."
        )
    if kinds:
        each = [f"{one.name} ({one.width})" for one in kinds]
        words.append(f"A category becomes zeros and a one, as many as there are categories: {listed(each)}.")
    if empty := [one for one in seen.used if one.missing]:
        each = [f"{one.name} ({one.missing:,})" for one in empty]
        words.append(f"Missing cells are replaced by the mean, or by the most frequent category: {listed(each)}.")
    if seen.left:
        words.append(f"Not used: {_left_words(seen)}.")
    columns = []
    plain = [one for one in seen.used if one not in seen.filled]
    if plain:
        every = len(plain) == len(seen.used) and not seen.left
        names = '"*"' if every else f"[{', '.join(quoted(one.name) for one in plain)}]"
        is_row = len(plain) > 1 and all(one.categories is None for one in plain)  # without `one_hot`
        hot = "" if is_row else " one_hot: true"
        fill = " fill: MEAN" if any(one.missing for one in plain) else ""
        normal = " normalize: true" if numbers else ""
        columns.append(f'column {{ top: "data" name: {names}{hot}{normal}{fill} }}\n')
    for i, one in enumerate(seen.filled, 1):
        fields = f"name: {quoted(one.name)} one_hot: true fill_category: {quoted(one.commonest)}"
        columns.append(f'column {{ top: "column{i}" {fields} }}\n')
    how = "kind: CATEGORY" if seen.targets.classes else "normalize: true"
    columns.append(f'column {{ top: "label" name: {quoted(seen.target.name)} {how} }}\n')
    tops = " ".join(f'top: "{top}"' for top in [*_tops(seen), "label"])
    each = " of each class" if seen.targets.classes else ""
    split = comment(
        f"{100 * seen.split:.0f} % of the rows{each} are for training, {seen.kept:,}; tests use the other "
        f"{seen.rows - seen.kept:,}."
    )
    balance = " balance: true" if max(seen.counts) >= nets.UNEVEN * min(seen.counts) else ""
    return (
        comment(" ".join(words))
        + f'layer {{\nname: "{LAYER}" type: "TableData" {tops}\ntable_data_param {{\n'
        + f"source: {source_of(seen.path, net)} batch_size: {batch}\n{''.join(columns)}}}\n"
        + f"{split}sample_param {{ split: {seen.split}{balance} }}\n}}\n"
    )
