"""The interface of a weight format, and the detection of a file's format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...language.errors import NetdefError
from ...registry import Registry
from ..entries import Entry, existing_file

FORMATS: Registry[Format] = Registry("weight format", "netdef.interop.formats", group="netdef.formats")
FILES, FOLDERS = "caffemodel", "orbax"  # the defaults for files and folders that no format recognizes
HEAD = 64  # bytes of a file that are passed to `recognizes`


@dataclass(frozen=True)
class Contents:
    """The contents of a new weight file. `name`: name of the net; `shared`: (layer, i) of arrays that are stored with
    another layer; `dtype`: type of the stored values, one of the format's `dtypes`."""

    entries: tuple[Entry, ...]
    name: str = ""
    shared: frozenset[tuple[str, int]] = frozenset()
    dtype: Any = np.dtype(np.float32)


class Format:
    """A format of weight files. `endings`: its file extensions, none for a read-only format; `dtypes`: the types that
    it can store."""

    name: ClassVar[str] = ""
    endings: ClassVar[tuple[str, ...]] = ()
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def __init_subclass__(cls, name: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = name
        FORMATS.add(name, cls)

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether a file that begins with `head`, or a folder (empty `head`), is certainly of this format."""
        return False

    def read(self, path: Path) -> list[Entry]:
        """Returns the layers of a file, in its order, without reading their values. Raises NetdefError, with a message
        of one line, if the file is invalid."""
        raise NotImplementedError

    def write(self, path: Path, contents: Contents) -> None:
        """Writes a new file. `path` is temporary; the caller renames it, unless OSError or NetdefError is raised."""
        raise NotImplementedError


def formats() -> list[Format]:
    """Returns every format, including those of other distributions."""
    return [cls() for _, cls in FORMATS]


def endings() -> tuple[str, ...]:
    """Returns the extensions of weight files, ordered by the names of their formats."""
    return tuple(ending for known in formats() for ending in known.endings)


def ending_of(path: str | Path) -> str:
    """Returns the longest extension of a weight file that the name ends in; empty if there is none."""
    return max((ending for ending in endings() if Path(path).name.endswith(ending)), key=len, default="")


def format_to_write(path: Path, dtype: str = "float32") -> Format:
    """Returns the format for a path's extension. Raises NetdefError if there is none, or if it cannot store `dtype`."""
    ending = ending_of(path)
    if not ending:
        raise NetdefError(f"{path}: the name of a weight file must end in one of {', '.join(endings())}")
    chosen = next(known for known in formats() if ending in known.endings)
    if dtype not in chosen.dtypes:
        others = [ending for known in formats() if dtype in known.dtypes for ending in known.endings]
        remedy = f"; use {' or '.join(others)}" if others else ""
        raise NetdefError(f"{path}: {ending} can store {' or '.join(chosen.dtypes)}, not {dtype}{remedy}")
    return chosen


def format_called(name: str) -> Format:
    """Returns the format with a name. Raises NetdefError if there is none."""
    found = FORMATS.get(name)
    if found is None:
        raise NetdefError(f"there is no weight format {name}; choose from {', '.join(FORMATS.names())}")
    return found()


def format_to_read(path: Path) -> Format:
    """Returns the format of a file or folder, detected from its contents or else from its extension. Raises
    NetdefError if it does not exist."""
    head, known = b"", formats()
    if not path.is_dir():
        with open(existing_file(path), "rb") as file:
            head = file.read(HEAD)
    recognized = [one for one in known if one.recognizes(path, head)]
    last = lambda ending: Path(f"name{ending}").suffix  # .h5 of .caffemodel.h5
    named = [one for one in known if path.suffix in map(last, one.endings)]
    return [*recognized, *named, format_called(FOLDERS if path.is_dir() else FILES)][0]
