"""A starter net for arrays: .npz and .npy files, a folder of .npy files, and HDF5 files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from ..data.damage import reading
from ..data.layers.arrays import HDF5_SUFFIXES
from ..data.npy_file import rows_of
from ..files import shown
from ..language.errors import NetdefError
from ..language.printer import quoted
from ..lazy import np
from . import nets
from .labels import LABELS, counts_of, targets_of
from .words import comment, net_name, number, plural, source_of

SUFFIXES = (".npz", ".npy", *HDF5_SUFFIXES)
PART = re.compile(r"(?:(train|test|val|valid|validation)_?(.+)|(.+?)_?(train|test|val|valid|validation))", re.I)
SMALLEST = 8  # pixels of a side, from which numbers are an image
MOST = 10_000  # rows that are measured


class Pair(NamedTuple):
    """The arrays of records and of labels, with their names; `labels` are in memory."""

    names: tuple[str, str]
    data: Any
    labels: Any


class Form(NamedTuple):
    """How the rows of an array are used: as images (channels, height, width), or as vectors of `columns` numbers."""

    image: tuple[int, int, int] | None
    columns: int
    last: bool = False  # whether the channels are the last axis
    dims: tuple[int, ...] = ()  # of a layer that reshapes the rows, if one is needed

    @property
    def words(self) -> str:
        if self.image is None:
            return f"vectors of {plural(self.columns, 'number')}"
        channels, height, width = self.image
        kind = {1: "gray ", 3: "color "}.get(channels, "")
        more = "" if channels in (1, 3) else f" and {channels} channels"
        return f"{kind}images of {height}x{width} pixels (height x width){more}"


class Scale(NamedTuple):
    """The mean and the deviation of some rows: of each channel, and of each column."""

    mean: tuple[float, ...]
    deviation: float
    spread: tuple[float, float]  # the smallest and largest deviation of a column that is not constant
    rows: int

    @property
    def apart(self) -> bool:
        """Whether the columns have so different scales that each is standardized by itself."""
        return self.spread[1] > nets.APART * self.spread[0]


class Seen(NamedTuple):
    """What is known of the data."""

    path: Path
    train: Pair
    test: Pair | None
    form: Form
    scale: Scale
    targets: nets.Targets

    @property
    def split(self) -> float:
        """The part that is used for training; 0 if there are arrays for tests."""
        if self.test:
            return 0.0
        counts = counts_of(self.train.labels).values() if self.targets.classes else [len(self.train.labels)]
        return nets.part_for_training([*counts])

    @property
    def kept(self) -> int:
        counts = counts_of(self.train.labels).values() if self.targets.classes else [len(self.train.labels)]
        return sum(round((self.split or 1) * count) for count in counts)

    @property
    def tested(self) -> int:
        return len(self.test.labels) if self.test else len(self.train.labels) - self.kept


def starter(path: Path, net: Path, task: str, label: str = "") -> tuple[str, list[str], list[str]]:
    """Returns the net, lines about the data, and notes on what is not as it should be."""
    path = _only_file(path) if path.is_dir() else path
    with ExitStack() as opened:
        with reading(path, "file of arrays"):
            found = _arrays(path, opened)
        train, test = _pairs(path, found, label)
        form = _form(path, train)
        scale = _measured(path, train, form)
    seen = Seen(path, train, test, form, scale, targets_of(path, train.names[1], train.labels, task))
    return _text(seen, net), _found(seen), _notes(seen)


def _only_file(folder: Path) -> Path:
    """The folder, if it has .npy files, one for each array; else the only other file of arrays in it."""
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]
    if all(file.suffix.lower() == ".npy" for file in files):
        return folder
    if len(files) > 1:
        raise NetdefError(f"the folder {shown(folder)} has {len(files)} files of arrays; name one of them")
    return files[0]


def _arrays(path: Path, opened: ExitStack) -> Mapping[str, Any]:
    """The arrays of a file or a folder, by name; those of .npy and HDF5 files are not in memory."""
    if path.is_dir():
        return {file.stem: rows_of(file) for file in sorted(path.glob("*.npy"))}
    if path.suffix.lower() == ".npy":
        return {path.stem: rows_of(path)}
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as pack:
            return dict(pack)
    import h5py

    file = opened.enter_context(h5py.File(path, "r"))
    return {name: one for name, one in file.items() if isinstance(one, h5py.Dataset) and one.shape is not None}


def _pairs(path: Path, found: Mapping[str, Any], given: str) -> tuple[Pair, Pair | None]:
    """The records and labels for training, and those for tests if the arrays have names such as `x_train` and
    `x_test`."""
    parts: dict[str, dict[str, str]] = {}  # part -> {the name without the part: the name}
    for name in found:
        match = PART.fullmatch(name)
        part = (match[1] or match[4]).lower() if match else ""
        parts.setdefault("val" if part.startswith("val") else part, {})[(match[2] or match[3]) if match else name] = (
            name
        )
    if "train" not in parts or given in found:
        return _pair(path, found, {name: name for name in found}, given), None
    tests = parts.get("val") or parts.get("test")
    return _pair(path, found, parts["train"], given), _pair(path, found, tests, given) if tests else None


def _pair(path: Path, found: Mapping[str, Any], names: Mapping[str, str], given: str) -> Pair:
    """The records and the labels among some arrays.  NetdefError if one of them is missing, or their lengths differ."""
    rank = lambda name: len(found[name].shape)
    listed = ", ".join(f"`{shown(names[base])}` {tuple(found[names[base]].shape)}" for base in names) or "none"
    if given and given not in names:
        raise NetdefError(f"{shown(path)} has no array `{given}`; its arrays are {listed}")
    label = names.get(given) or next((names[word] for one in LABELS for word in names if word.lower() == one), None)
    others = [name for name in names.values() if name != label and rank(name) > 0]
    data = max(others, key=lambda name: (rank(name) > 1, np.prod(found[name].shape)), default=None)
    if label is None and data is not None:
        rows = found[data].shape[0]
        label = next((n for n in others if n != data and found[n].shape in ((rows,), (rows, 1))), None)
    if data is None or label is None:
        what = "labels" if data else "records"
        raise NetdefError(
            f"{shown(path)} has no {what}: its arrays are {listed}; expected one with a row for each record, and one "
            "with its label, called `label`"
        )
    for name in (data, label):
        if found[name].dtype.kind not in "fiub":
            kind = "text" if found[name].dtype.kind in "USO" else f"of type {found[name].dtype}"
            raise NetdefError(
                f"{shown(path)}: the array `{shown(name)}` is {kind}; numbers are required: for classes, 0, 1, 2, ..."
            )
    if len(found[data]) != len(found[label]) or not len(found[data]):
        raise NetdefError(
            f"{shown(path)}: `{shown(data)}` has {plural(len(found[data]), 'row')} and `{shown(label)}` has "
            f"{len(found[label]):,}; each record needs one label"
        )
    with reading(path, "file of arrays"):
        labels = np.asarray(found[label])
    return Pair((data, label), found[data], labels.astype(np.uint8) if labels.dtype == np.bool_ else labels)


def _form(path: Path, pair: Pair) -> Form:
    """How the rows are used, by their shape and type."""
    shape, columns = tuple(pair.data.shape), int(np.prod(pair.data.shape[1:]))
    if len(shape) > 4:
        raise NetdefError(f"{shown(path)}: `{shown(pair.names[0])}` has {len(shape)} axes {shape}; expected 2, 3 or 4")
    if len(shape) == 4:
        last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        image = (shape[3], *shape[1:3]) if last else shape[1:]
        return Form(image if min(image[1:]) >= SMALLEST else None, columns, last)
    if len(shape) == 3 and min(shape[1:]) >= SMALLEST:
        return Form((1, *shape[1:]), columns, dims=() if pair.data.dtype == np.uint8 else (0, 1, *shape[1:]))
    return Form(None, columns, dims=() if len(shape) > 1 else (0, 1))


def _measured(path: Path, pair: Pair, form: Form) -> Scale:
    """Measures some rows, evenly spaced.  NetdefError if one contains a value that is not a number."""
    count = len(pair.data)
    numbers = range(count) if count <= MOST else [i * count // MOST for i in range(MOST)]
    with reading(path, "file of arrays"):
        rows = np.stack([np.asarray(pair.data[int(i)], np.float64) for i in numbers])
    bad = ~np.isfinite(rows.reshape(len(rows), -1)).all(1)
    if bad.any():
        first = numbers[int(np.argmax(bad))]
        raise NetdefError(
            f"{shown(path)}: {plural(int(bad.sum()), 'row')} of `{shown(pair.names[0])}` have values that are not "
            f"finite numbers, first row {first}; remove these rows, or fill in the values"
        )
    if (rows == rows[:1]).all() and len(rows) > 1:
        raise NetdefError(
            f"{shown(path)}: all rows of `{shown(pair.names[0])}` are equal; there is nothing to learn from"
        )
    axis = None if form.image is None or rows.ndim < 4 else (0, 1, 2) if form.last else (0, 2, 3)
    mean = tuple(float(x) for x in np.atleast_1d(rows.mean(axis)))
    flat = rows.reshape(len(rows), -1)
    deviations = flat.std(0)
    moving = deviations[deviations > 1e-9 * (np.abs(flat).max() or 1)]
    spread = (float(moving.min()), float(moving.max())) if len(moving) else (1.0, 1.0)
    return Scale(mean, float(rows.std()) or 1.0, spread, len(rows))


def _found(seen: Seen) -> list[str]:
    name, label = (shown(one) for one in seen.train.names)
    lines = [f"{len(seen.train.labels):,} records in `{name}`: {seen.form.words}"]
    lines.append(f"`{label}`: {seen.targets.words}")
    if seen.test:
        lines.append(f"{seen.tested:,} more records in `{shown(seen.test.names[0])}` will be used for tests only")
    else:
        lines.append(f"{seen.tested:,} of them will be used for tests only")
    return lines


def _notes(seen: Seen) -> list[str]:
    if not seen.targets.classes:
        return []
    counts = counts_of(seen.train.labels)
    single = [kind for kind, count in counts.items() if round(seen.split * count) in (0, count)]
    missing = seen.targets.classes - len(counts)
    notes = []
    if missing:
        notes.append(
            f"{plural(missing, 'class', 'classes')} of 0 to {seen.targets.classes - 1} "
            f"{'has' if missing == 1 else 'have'} no records"
        )
    if single and seen.split:
        notes.append(
            f"too few records for training and tests: {plural(len(single), 'class', 'classes')}, such as {single[0]}"
        )
    return notes


def _text(seen: Seen, net: Path) -> str:
    form, targets = seen.form, seen.targets
    plan = nets.schedule(seen.kept, 64)
    imports = ["conv", "classifier"] if form.image else ["classifier"]
    if form.image and min(form.image[1:]) > nets.MEDIUM:
        imports.insert(1, "resnet")
    what = (
        f"Classifies {form.words}"
        if targets.classes
        else f"Computes {plural(targets.values, 'number')} from {form.words}"
    )
    bottom, prepared = _prepared(seen)
    if form.image:
        body = nets.convolutional(*form.image[1:], seen.kept, targets, bottom)
    else:
        body = nets.perceptron(form.columns, seen.kept, targets, bottom)
    return (
        comment(f"{what}, as in {shown(seen.path)}.")
        + "".join(f'import "std/{name}.net"\n' for name in imports)
        + f'\nname: "{net_name(seen.path)}"\n\n'
        + (
            comment(f"The labels are {targets.words}.") + f"let classes: {targets.classes}\n\n"
            if targets.classes
            else ""
        )
        + f"{_data(seen, net, plan.batch)}\n{prepared}{body}"
        + nets.losses(targets)
        + nets.solver(plan, normalized=bool(form.image) or bottom == "standard", adam=0.0 if form.image else 0.003)
    )


def _prepared(seen: Seen) -> tuple[str, str]:
    """The blob from which the net computes, and the layers that make it of the blob `data`."""
    if seen.form.dims:
        words = comment(
            "The net expects images with an axis for the channels." if seen.form.image else "Rows of one number."
        )
        shape = f"reshape_param {{ shape {{ dim: [{', '.join(map(str, seen.form.dims))}] }} }}"
        return "shaped", f'{words}layer {{ name: "shaped" type: "Reshape" bottom: "data" top: "shaped" {shape} }}\n\n'
    if seen.form.image is None and seen.scale.apart:
        low, high = map(number, seen.scale.spread)
        words = comment(
            f"The columns have standard deviations of {low} to {high}: each is normalized to mean 0 and deviation 1."
        )
        return "standard", f'{words}layer {{ name: "standard" type: "BatchNorm" bottom: "data" top: "standard" }}\n\n'
    return "data", ""


def _data(seen: Seen, net: Path, batch: int) -> str:
    images, scale = seen.form.image is not None, seen.scale
    words = ""
    sample = []
    if seen.split:
        each = " of each class" if seen.targets.classes else ""
        words += f"{100 * seen.split:.0f} % of the records{each} are for training, {seen.kept:,}; "
        words += f"tests use the other {seen.tested:,}."
        sample.append(f"split: {seen.split}")
    sizes = list(counts_of(seen.train.labels).values()) if seen.targets.classes else [1]
    if max(sizes) >= nets.UNEVEN * min(sizes):
        sample.append("balance: true")
        words += f" Classes of {min(sizes):,} to {max(sizes):,} records are drawn equally often."
    scaled = transform = ""
    if images or not scale.apart:
        mean = [number(one) for one in scale.mean]
        scaled = comment(
            f"The {'pixels' if images else 'values'} have mean {', '.join(mean)}, and standard deviation "
            f"{number(scale.deviation)}; they become 0 and 1."
        )
        means = f"[{', '.join(mean)}]" if len(mean) > 1 else mean[0]
        transform = f"transform_param {{ mean_value: {means} scale: {number(1 / scale.deviation)} }}\n"
    layers = []
    for pair, phase in ((seen.train, "TRAIN"), (seen.test, "TEST")) if seen.test else ((seen.train, ""),):
        assert pair is not None
        rule = f"include {{ phase: {phase} }}\n" if phase else ""
        names = "" if pair.names == ("data", "label") else f" array: [{', '.join(map(quoted, pair.names))}]"
        last = " channels_last: true" if seen.form.last else ""
        fields = f"source: {source_of(seen.path, net)}{names} batch_size: {batch}{last}"
        chosen = f"sample_param {{ {' '.join(sample)} }}\n" if sample and phase != "TEST" else ""
        layers.append(
            f'layer {{\nname: "records" type: "ArrayData" top: "data" top: "label"\n{rule}'
            f"array_data_param {{ {fields} }}\n{chosen}{scaled if phase != 'TEST' else ''}{transform}}}\n"
        )
    return (comment(words.strip()) if words else "") + "".join(layers)
