"""The contract of a weight format, and how the format of a file is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...language.errors import NetdefError
from ...registry import Registry
from ..entries import Entry, existing_file

FORMATS: Registry[Format] = Registry("weight format", "netdef.interop.formats", group="netdef.formats")
FILES, FOLDERS = "caffemodel", "orbax"  # the formats of files and folders that no format recognizes
HEAD = 64  # bytes of a file that a format is shown


@dataclass(frozen=True)
class Contents:
    """What a weight file gets.  `name`: of the net; `shared`: (layer, i) of arrays that are stored with another layer;
    `dtype`: of the stored values, one of the format's."""

    entries: tuple[Entry, ...]
    name: str = ""
    shared: frozenset[tuple[str, int]] = frozenset()
    dtype: Any = np.dtype(np.float32)


class Format:
    """One format of weight files.  `endings`: of its files, none if it is only read; `dtypes`: that it can store."""

    name: ClassVar[str] = ""
    endings: ClassVar[tuple[str, ...]] = ()
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def __init_subclass__(cls, name: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = name
        FORMATS.add(name, cls)

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether a file that begins with `head`, or a folder (without one), is surely of this format."""
        return False

    def read(self, path: Path) -> list[Entry]:
        """The layers of a file, in its order, without their values.  NetdefError in one line if it is none."""
        raise NotImplementedError

    def write(self, path: Path, contents: Contents) -> None:
        """Write a new file.  It is given its name when it is whole; OSError and NetdefError leave the old one."""
        raise NotImplementedError


def formats() -> list[Format]:
    """Every format, those of other distributions included."""
    return [cls() for _, cls in FORMATS]


def endings() -> tuple[str, ...]:
    """The endings of weight files, by the names of their formats."""
    return tuple(ending for known in formats() for ending in known.endings)


def ending_of(path: str | Path) -> str:
    """The ending of a weight file, the longest that its name has; empty if it has none."""
    return max((ending for ending in endings() if Path(path).name.endswith(ending)), key=len, default="")


def format_to_write(path: Path, dtype: str = "float32") -> Format:
    """The format that a path's ending names.  NetdefError if there is none, or it does not store `dtype`."""
    ending = ending_of(path)
    if not ending:
        raise NetdefError(f"{path}: the ending of a weight file is one of {', '.join(endings())}")
    chosen = next(known for known in formats() if ending in known.endings)
    if dtype not in chosen.dtypes:
        others = [ending for known in formats() if dtype in known.dtypes for ending in known.endings]
        remedy = f"; {' and '.join(others)} can" if others else ""
        raise NetdefError(f"{path}: {ending} holds {' or '.join(chosen.dtypes)}, not {dtype}{remedy}")
    return chosen


def format_called(name: str) -> Format:
    """The format of a name.  NetdefError if there is none."""
    found = FORMATS.get(name)
    if found is None:
        raise NetdefError(f"there is no weight format {name}; there are {', '.join(FORMATS.names())}")
    return found()


def format_to_read(path: Path) -> Format:
    """The format of a file or folder; what stands in it decides, and its ending only where that says nothing.
    NetdefError if it is not there."""
    head, known = b"", formats()
    if not path.is_dir():
        with open(existing_file(path), "rb") as file:
            head = file.read(HEAD)
    recognized = [one for one in known if one.recognizes(path, head)]
    last = lambda ending: Path(f"name{ending}").suffix  # .h5 of .caffemodel.h5
    named = [one for one in known if path.suffix in map(last, one.endings)]
    return [*recognized, *named, format_called(FOLDERS if path.is_dir() else FILES)][0]
