"""TarData: images in shards of WebDataset.  An addition of netdef's."""

from __future__ import annotations

import glob
import json
import math
import os
import re
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ...files import Locate, shown
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ...shape import Shape
from .. import images
from ..base import Fit
from ..statistics import fingerprint
from ..tar_file import Index, Shard, TarFile, read_index
from ._image_layer import Corrupt, Record, Records
from .folder import SUFFIXES
from .image_list import ImageFiles

IMAGES = tuple(suffix[1:] for suffix in sorted(SUFFIXES))
LABELS = ("cls", "json/label", "txt")  # where a single label is searched, in this order
RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
MOST_SHARDS = 100_000
MOST_OPEN = 64  # files
THREADS = 16  # that read headers, because a disk or a network answers several requests at a time
SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class TarData(ImageFiles, type="TarData", block="tar_data_param"):
    """Images and labels of tar files (shards) in the format of WebDataset.

    Bottoms: none.  Tops: data (batch_size, c, h, w), then one for each label: (batch_size), or (batch_size, k) for a
    list of k numbers in JSON.
    A record is a group of consecutive members with the same name up to its first dot: `000123.jpg`, `000123.cls`.  In
    phase TRAIN they are shuffled in each epoch by `sample_param { shuffle_block: 512 shuffle_window: 8192 }` (or other
    numbers): blocks of consecutive records of a shard are permuted, and the records of 16 blocks mixed.  The first run
    reads the headers of all shards, to know where the records are.
    Source: netdef's own; the format is that of webdataset.  Differs: Caffe has no such layer.
    """

    n_tops = (1, None)

    source: str = param(
        "One .tar file, a folder of them, or a pattern: `train-{000000..000146}.tar` or `train-*.tar`.", default=""
    )
    batch_size: int = param("Number of records in a batch.", default=32, at_least=1)
    shuffle: bool = param("Shuffle shards and records in each epoch, in phase TRAIN.", default=True)
    image: str = param("Extension of the images, as in `jpg`; default: any usual one.", default="")
    label: tuple[str, ...] = param(
        "Where the label of each further top is: the extension of a text with a number, as in `cls`, or a field of a "
        "JSON object, as in `json/age`.  Default for one label: the first record's `cls`, `json/label` or `txt`.",
        default=(),
    )

    @classmethod
    def reads(cls, path: Path) -> Fit:
        if path.is_dir():
            return Fit.NAME if any(file.suffix == SUFFIX for file in path.iterdir()) else Fit.NO
        return Fit.NAME if path.name.endswith((SUFFIX, *COMPRESSED)) else Fit.NO

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle and phase is Phase.TRAIN

    def fingerprint(self, locate: Locate) -> str:
        return " ".join(fingerprint(path) for path in self.paths(locate))

    def paths(self, locate: Locate, first_only: bool = False) -> list[Path]:
        """Returns the shards in order.  Raises NetdefError if one does not exist."""
        what = "the tar file"
        if not self.source or os.path.exists(locate(self.source)):
            path = self.source_path(locate, self.source, what)
            found = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
            if not found:
                raise self.fault(f"the folder {shown(path)} contains no .tar files.")
            return found
        names = self._in_ranges(self.source)
        if len(names) > 1 or not glob.has_magic(self.source):
            return [self.source_path(locate, name, what) for name in (names[:1] if first_only else names)]
        for pattern in (str(locate(self.source)), self.source):
            if found := sorted(glob.glob(os.path.expanduser(pattern))):
                return [Path(name) for name in found]
        raise self.fault(f"no file matches `source`, {shown(locate(self.source))}.")

    def _in_ranges(self, name: str) -> list[str]:
        """Returns the names that a name with ranges means: `{08..11}` is 08, 09, 10 or 11."""
        first, *rest = RANGE.split(name)
        names = [first]
        for low, high, after in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            numbers = range(int(low), int(high) + 1)
            if not numbers or len(numbers) * len(names) > MOST_SHARDS:
                raise self.fault(
                    f"`source`: {{{low}..{high}}} has {len(numbers):,} values; at least 1 and at most {MOST_SHARDS:,} "
                    "files are possible."
                )
            names = [f"{name}{number:0{len(low)}d}{after}" for name in names for number in numbers]
        return names

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        return TarRecords(self, self.paths(locate, first_only), first_only)


def is_pattern(source: str) -> bool:
    """Whether a source is the names of several tar files, and not a path."""
    return source.endswith(SUFFIX) and bool(glob.has_magic(source) or RANGE.search(source))


class _Raw(NamedTuple):
    """The bytes of a record's members by extension; one that the record does not have is missing."""

    number: int
    image: bytes | None
    members: dict[str, bytes]


class _Name(NamedTuple):
    """The name of a record, formatted only when a message needs it."""

    records: TarRecords
    number: int

    def __str__(self) -> str:
        shard, record = self.records.place(self.number)
        return f"record `{shard.key(record)}` of {shown(shard.path)}"


class TarRecords(Records):
    """The records of tar files, one file after the other."""

    def __init__(self, layer: TarData, paths: list[Path], first_only: bool):
        self.layer = layer
        self._lock = threading.Lock()
        self._opened: OrderedDict[Path, TarFile] = OrderedDict()
        with layer.naming(), ThreadPoolExecutor(THREADS, "netdef-tar") as pool:
            indices = list(pool.map(lambda path: read_index(path, int(first_only)), paths[:1] if first_only else paths))
        self._shards = [index.shard for index in indices]
        self.shards = np.cumsum([0, *map(len, self._shards)])
        self.size: int = int(self.shards[-1])
        if not self.size:
            raise layer.fault(f"{shown(paths[0])} has no records; a record has members such as `1.jpg` and `1.cls`.")
        self._labels = self._checked_labels(next(index for index in indices if len(index.shard)).extensions_of(0))
        self._image = _places(indices, (layer.image.lower(),) if layer.image else IMAGES)
        kinds = dict.fromkeys(label.partition("/")[0] for label in self._labels)
        self._members = {kind: _places(indices, (kind.lower(),)) for kind in kinds}
        self._label_shapes = self._shapes_of_labels()

    def _checked_labels(self, there: list[str]) -> tuple[str, ...]:
        """Returns where the label of each top is; `there`: the extensions of the first record."""
        tops = len(self.layer.top) - 1 - self.layer.sample_param.class_weights
        given = self.layer.label
        if given and len(given) != tops:
            raise self.layer.fault(f"`label` is given {len(given)} times, but {tops} tops follow the image.")
        if given or tops < 1:
            return given
        found = next((label for label in LABELS if label.partition("/")[0] in there), None)
        if tops > 1 or found is None:
            raise self.layer.fault(
                f"{_Name(self, 0)} has the members {', '.join(there)}; give `label` for each of the {tops} tops after "
                "the image, as in `cls` or `json/age`."
            )
        return (found,)

    def _shapes_of_labels(self) -> list[Shape]:
        """Returns the shapes of the first record's labels."""
        try:
            first = self.read([0])[0]
            return [np.shape(self._value(first, label)) for label in self._labels]
        except Corrupt:  # which is reported when the record is decoded
            return [()] * len(self._labels)

    def place(self, number: int) -> tuple[Shard, int]:
        """Returns the shard of a record, and the index of the record there."""
        shard = int(np.searchsorted(self.shards, number, side="right")) - 1
        return self._shards[shard], number - int(self.shards[shard])

    def read(self, numbers: Any) -> list[_Raw]:
        with self.layer.naming():
            return [self._read(int(number)) for number in numbers]

    def _read(self, number: int, with_image: bool = True) -> _Raw:
        file = self._file(self.place(number)[0])

        def part(places: tuple[Any, Any]) -> bytes | None:
            offset = int(places[0][number])
            return None if offset < 0 else file.read(offset, int(places[1][number]))

        members = {kind: part(places) for kind, places in self._members.items()}
        given = {kind: data for kind, data in members.items() if data is not None}
        return _Raw(number, part(self._image) if with_image else None, given)

    def _without_image(self, number: int) -> _Raw:
        with self.layer.naming():
            return self._read(number, with_image=False)

    def _file(self, shard: Shard) -> TarFile:
        """Returns an open shard.  One that is not used is closed when the last thread that reads it releases it."""
        with self._lock:
            if shard.path not in self._opened:
                self._opened[shard.path] = TarFile(shard.path, shard.stamp)
                if len(self._opened) > MOST_OPEN:
                    self._opened.popitem(last=False)
            self._opened.move_to_end(shard.path)
            return self._opened[shard.path]

    def decode(self, raw: _Raw) -> Record:
        number, data, _ = raw
        if data is None:
            raise self._lacking(number, self.layer.image or "image")
        try:
            image = images.decode(data, self.layer.color)
        except images.Undecodable as error:
            raise self._corrupt(number, f"contains an image that cannot be decoded ({error})") from None
        image = images.resize(image, *self.layer.size_of(*image.shape[:2]))
        labels = tuple(self._label(raw, *known) for known in zip(self._labels, self._label_shapes, strict=True))
        return Record(image.transpose(2, 0, 1), labels, _Name(self, number))

    def encoded(self, raw: _Raw) -> bytes | None:
        return raw.image

    def _label(self, raw: _Raw, label: str, expected: Shape) -> Any:
        value = self._value(raw, label)
        if (shape := np.shape(value)) != expected:
            sizes = [f"{size[0]} numbers" if size else "one number" for size in (shape, expected)]
            raise self._corrupt(raw.number, f"has {sizes[0]} in `{label}`, but the first record has {sizes[1]}")
        return value

    def _value(self, raw: _Raw, label: str) -> Any:
        """Returns a label, a number or an array of numbers.  Raises Corrupt if it is none."""
        kind, *path = label.split("/")
        if kind not in raw.members:
            raise self._lacking(raw.number, kind)
        text = raw.members[kind].decode(errors="replace").strip()
        try:
            return _numbers(json.loads(text), path) if path else _finite(float(text))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            wanted = "a number or a list of numbers" if path else "a number"
            raise self._corrupt(raw.number, f"has `{label}` `{shown(text[:80])}`, not {wanted}") from None

    def classes(self) -> Any:
        if not self._labels or self._label_shapes[0]:
            return None
        found = np.array([self._value(self._without_image(i), self._labels[0]) for i in range(self.size)])
        return found.astype(np.int64) if np.all(found == np.floor(found)) else None

    def _lacking(self, number: int, kind: str) -> Corrupt:
        there = ", ".join(self._extensions_of(number))
        return self._corrupt(number, f"has no {kind if kind == 'image' else f'member `{kind}`'}, but {there}")

    def _extensions_of(self, number: int) -> list[str]:
        shard, record = self.place(number)
        with self.layer.naming():
            return read_index(shard.path).extensions_of(record)

    def _corrupt(self, number: int, what: str) -> Corrupt:
        return Corrupt(str(self.layer.fault(f"{_Name(self, number)} {what}; write it again, or set `skip_corrupt`.")))

    def close(self) -> None:
        self._opened.clear()


def _places(indices: list[Index], extensions: tuple[str, ...]) -> tuple[Any, Any]:
    """Returns (offset, size) of one member of every record."""
    offsets, sizes = zip(*(index.places(extensions) for index in indices), strict=True)
    return np.concatenate(offsets), np.concatenate(sizes)


def _numbers(value: Any, path: list[str]) -> Any:
    """Returns the value of a field in JSON as a number or an array of numbers.  Raises ValueError and others."""
    for name in path:
        value = value[name]
    if not isinstance(value, list):
        return _finite(float(value + 0))  # + 0: a string is not a number
    return np.array([_finite(float(one + 0)) for one in value], np.float32)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError
    return value
