"""One interface to LMDB and LevelDB: records with keys, numbered in the order of the keys.

`open_database(path)` detects the kind from the files.  Reading in ascending order needs no index; random access first
builds a table of the keys, without loading the records.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from ..language.errors import NetdefError
from ..lazy import need, np

LMDB_FILE, LEVELDB_FILE = "data.mdb", "CURRENT"  # the files that identify each kind


class Database(ABC):
    """An open database.  `size` is the number of records; reading is safe from several threads."""

    path: Path
    size: int

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._cursor: tuple[int, Iterator[tuple[bytes, bytes]]] | None = None  # (index of the next record, iterator)

    @abstractmethod
    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Returns all (key, value) in order."""

    @abstractmethod
    def keys(self) -> Iterator[bytes]:
        """Returns all keys in order."""

    @abstractmethod
    def get(self, key: bytes) -> bytes:
        """Returns the value of a key."""

    @abstractmethod
    def close(self) -> None:
        """Closes the files."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no records."""
        return next(iter(self.keys()), None) is None

    def read(self, numbers: Any) -> list[tuple[bytes, bytes]]:
        """Returns records by index, as (key, value).  Consecutive indices are fastest; others need a table of keys."""
        with self._lock:
            return [self._one(int(number)) for number in numbers]

    def _one(self, number: int) -> tuple[bytes, bytes]:
        if self._cursor is not None and self._cursor[0] == number:
            pair = next(self._cursor[1])
            self._cursor = (number + 1, self._cursor[1])
            return pair
        if number == 0:
            self._cursor = (0, iter(self.pairs()))
            return self._one(0)
        if self._keys is None:
            self._keys = Keys(self.keys())
        key = self._keys[number]
        return key, self.get(key)


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


class _Environment:
    """An open LMDB environment.  LMDB allows one per file in a process, so all readers of a file share it."""

    opened: ClassVar[WeakValueDictionary[Any, _Environment]] = WeakValueDictionary()

    def __init__(self, path: Path):
        lmdb = need("lmdb", "reading LMDB databases")
        file = path / LMDB_FILE if path.is_dir() else path
        try:
            self.env = lmdb.open(
                str(path), readonly=True, lock=False, meminit=False, subdir=path.is_dir(), max_readers=1024
            )
            stat, info = self.env.stat(), self.env.info()
        except lmdb.Error as error:
            raise NetdefError(f"{path} is not a readable LMDB database ({error}).") from None
        weakref.finalize(self, self.env.close)
        needed, there = (info["last_pgno"] + 1) * stat["psize"], file.stat().st_size
        if there < needed:  # because reading a page beyond the end of the file would crash the process
            raise NetdefError(f"{file} is truncated: it has {there} of at least {needed} bytes; copy it again.")
        self.size = stat["entries"]

    @classmethod
    def of(cls, path: Path) -> _Environment:
        """Returns the environment of a path, which is opened if this process has not opened it."""
        key = (os.getpid(), path.resolve())
        with _opening:
            found = cls.opened.get(key)
            if found is None:
                cls.opened[key] = found = cls(path)
        return found


_opening = threading.Lock()


class Lmdb(Database):
    """An LMDB environment, opened for reading."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._environment = _Environment.of(path)
        self._env: Any = self._environment.env
        self.size = self._environment.size

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        with self._env.begin() as txn:
            yield from txn.cursor()

    def keys(self) -> Iterator[bytes]:
        with self._env.begin() as txn:
            yield from txn.cursor().iternext(values=False)

    def get(self, key: bytes) -> bytes:
        with self._env.begin() as txn:
            return txn.get(key)

    def close(self) -> None:
        self._cursor = self._env = None  # ends its transaction before the environment is closed
        del self._environment


class LevelDb(Database):
    """A LevelDB database.  LevelDB writes to the folder even when it only reads, so a copy is opened."""

    def __init__(self, path: Path):
        super().__init__(path)
        plyvel = need("plyvel", "reading LevelDB databases")
        self._copy: Any = None
        try:
            self._db = plyvel.DB(str(_writable(self, path)), create_if_missing=False)
        except plyvel.Error as error:
            raise NetdefError(f"{path} is not a readable LevelDB database ({str(error)[:160]}).") from None

    @cached_property
    def size(self) -> int:  # type: ignore[override]
        """Counted once, because LevelDB does not store it."""
        return sum(1 for _ in self.keys())

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._db.iterator()

    def keys(self) -> Iterator[bytes]:
        yield from self._db.iterator(include_value=False)

    def get(self, key: bytes) -> bytes:
        return self._db.get(key)

    def close(self) -> None:
        self._cursor = None
        self._db.close()
        if self._copy is not None:
            self._copy.cleanup()


def _writable(owner: LevelDb, path: Path) -> Path:
    """Returns a copy of `path` with links to its large files, because opening a LevelDB database changes its files."""
    owner._copy = tempfile.TemporaryDirectory(prefix="netdef-leveldb-")
    copy = Path(owner._copy.name) / "db"
    copy.mkdir()
    for file in path.iterdir():
        if file.suffix in (".ldb", ".sst"):  # which LevelDB never changes
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
