"""One interface to LMDB and LevelDB: records with keys, numbered in the order of the keys.

`open_database(path)` detects the kind from the files.  Reading in ascending order needs no index; random access first
builds a table of pages or keys, without loading the records.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..lazy import need, np
from .damage import reading
from .lmdb_file import LmdbFile, count_of
from .stamps import Stamp, changed, stamp

LMDB_FILE, LEVELDB_FILE = "data.mdb", "CURRENT"  # the files that identify each kind
TABLES, LOG = (".ldb", ".sst"), ".log"  # suffixes of LevelDB's files of records


class Database(ABC):
    """An open database.  `size` is the number of records; reading is safe from several threads."""

    path: Path
    size: int

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._cursor: tuple[int, Iterator[tuple[bytes, bytes]]] | None = None  # (index of the next record, iterator)

    @abstractmethod
    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Returns all (key, value) in order."""

    @abstractmethod
    def at(self, number: int) -> tuple[bytes, bytes]:
        """Returns the (key, value) of this index."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raises NetdefError if files have changed since they were opened."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Returns the files of records."""

    @abstractmethod
    def close(self) -> None:
        """Closes the files."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no records."""
        return next(iter(self.pairs()), None) is None

    def read(self, numbers: Any) -> list[tuple[bytes, bytes]]:
        """Returns records by index, as (key, value).  Consecutive indices are fastest; others need a table."""
        with self._lock:
            self.check_unchanged()
            return [self._one(int(number)) for number in numbers]

    def _one(self, number: int) -> tuple[bytes, bytes]:
        if number == 0:
            self._cursor = (0, iter(self.pairs()))
        if self._cursor is None or self._cursor[0] != number:
            return self.at(number)
        pair = next(self._cursor[1], None)
        if pair is None:
            raise NetdefError(f"{self.path} has {number} of {self.size} records; copy or convert it again.")
        self._cursor = (number + 1, self._cursor[1])
        return pair


class Keys:
    """Many keys in little memory: their concatenated bytes, and the offset of each."""

    def __init__(self, keys: Iterator[bytes]):
        joined, starts = bytearray(), [0]
        for key in keys:
            joined += key
            starts.append(len(joined))
        self._joined, self._starts = bytes(joined), np.array(starts)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, i: int) -> bytes:
        return self._joined[self._starts[i] : self._starts[i + 1]]


class Lmdb(Database):
    """An LMDB file, or the folder of one."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._file = LmdbFile(path / LMDB_FILE if path.is_dir() else path)
        self.size = self._file.size

    @cached_property
    def _leaves(self) -> tuple[Any, Any]:
        """The pages with records, and the index of the first record of each."""
        pages, starts = [], [0]
        for number in self._file.leaves():
            pages.append(number)
            starts.append(starts[-1] + count_of(self._file.page(number)))
        self._file.check_count(starts[-1])
        return np.array(pages), np.array(starts)

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        return self._file.pairs()

    def at(self, number: int) -> tuple[bytes, bytes]:
        pages, starts = self._leaves
        leaf = int(np.searchsorted(starts, number, side="right")) - 1
        return self._file.record(self._file.page(int(pages[leaf])), number - int(starts[leaf]))

    def check_unchanged(self) -> None:
        self._file.check_unchanged()

    def files(self) -> list[Path]:
        return [self._file.path]

    def close(self) -> None:
        self._cursor = None
        self._file.close()


class LevelDb(Database):
    """A LevelDB database.  LevelDB writes to the folder even when it only reads, so a copy is opened."""

    def __init__(self, path: Path):
        super().__init__(path)
        plyvel = need("plyvel", "reading LevelDB databases")
        self._copy: Any = None
        self._db: Any = None
        self._opened = _stamps(path)
        with self._reading(), self._closing_on_errors():
            # Checksums are compared, because LevelDB otherwise leaves out what it cannot read.
            self._db = plyvel.DB(str(_writable(self, path)), create_if_missing=False, paranoid_checks=True)
            # Other iterators do not look at errors before their first record, and would find none.
            with self._db.raw_iterator(verify_checksums=True) as first:
                first.seek_to_first()

    @contextmanager
    def _closing_on_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.path, "LevelDB database")

    @cached_property
    def size(self) -> int:  # type: ignore[override]
        """Counted once, because LevelDB does not store it."""
        return len(self._keys)

    @cached_property
    def _keys(self) -> Keys:
        with self._reading():
            return Keys(self._db.iterator(include_value=False, verify_checksums=True))

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        with self._reading():
            yield from self._db.iterator(verify_checksums=True)

    def at(self, number: int) -> tuple[bytes, bytes]:
        key = self._keys[number]
        with self._reading():
            value = self._db.get(key, verify_checksums=True)
        if value is None:
            raise NetdefError(f"{self.path} has no value for its key {key!r}; copy or convert it again.")
        return key, value

    def check_unchanged(self) -> None:
        with self._reading():
            if _stamps(self.path) != self._opened:
                raise changed(self.path)

    def files(self) -> list[Path]:
        with self._reading():
            return sorted(file for file in self.path.iterdir() if file.suffix in (*TABLES, LOG))

    def close(self) -> None:
        self._cursor = None
        if self._db is not None:
            self._db.close()
        if self._copy is not None:
            self._copy.cleanup()


def _stamps(path: Path) -> dict[str, Stamp]:
    """Returns size and time of the files of records, which are mapped into memory and may not become shorter."""
    with reading(path, "LevelDB database"):
        return {file.name: stamp(file) for file in path.iterdir() if file.suffix in TABLES}


def _writable(owner: LevelDb, path: Path) -> Path:
    """Returns a copy of `path` with links to its large files, because opening a LevelDB database changes its files."""
    owner._copy = tempfile.TemporaryDirectory(prefix="netdef-leveldb-")
    copy = Path(owner._copy.name) / "db"
    copy.mkdir()
    for file in path.iterdir():
        if file.suffix in TABLES:  # which LevelDB never changes
            os.symlink(file.resolve(), copy / file.name)
        elif file.name not in ("LOCK", "LOG", "LOG.old"):
            shutil.copyfile(file, copy / file.name)
    return copy


def open_database(path: Path) -> Database:
    """Opens the database in a folder, of either kind.  Raises NetdefError if it is not a database."""
    if path.is_file() or (path / LMDB_FILE).exists():
        return Lmdb(path)
    if (path / LEVELDB_FILE).exists():
        return LevelDb(path)
    raise NetdefError(f"{path} is not a database: it contains neither data.mdb (LMDB) nor CURRENT (LevelDB).")
