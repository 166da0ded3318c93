"""Finds the records of tar files without reading them: an index of the members, which is cached.

A record is a group of consecutive members with the same key, as in WebDataset: `000123.jpg` and `000123.cls`.  The key
is the path up to the first dot of the file's name, and the rest is the extension.  Only headers are read here, with
ordinary calls: a file that is mapped into memory and becomes shorter would kill the process (SIGBUS).
Source: POSIX.1-2001, pax; the formats that GNU tar and Python's tarfile write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import weakref
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import shown, write_atomically
from ..language.errors import NetdefError
from ..lazy import np
from .damage import reason
from .statistics import cache_folder

BLOCK = 512  # bytes; members begin at multiples of it
AHEAD = 8 * BLOCK  # bytes read at a time, which often hold a header, a label and the next header
FILES = (b"0", b"\0", b"7")  # types of members that are files
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders and pipes
LONG_NAME, PAX = b"L", b"x"  # headers for the member that follows
HEADERS = (LONG_NAME, PAX, b"K", b"g")  # also for the target of a link, and for all members
MOST_HEADER = 1 << 20  # bytes of such a header
PAX_FIELD = re.compile(rb"(\d{1,7}) ([^=]+)=")
COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
VERSION = 1  # of the cached index


class TarFile:
    """An open tar file.  Raises NetdefError, here and in all methods, if it cannot be read, is damaged or has changed
    since `stamp`.  Reading is safe from several threads."""

    def __init__(self, path: Path, stamp: tuple[int, int] | None = None):
        self.path = path
        self._lock = threading.Lock()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self.close = weakref.finalize(self, os.close, self._descriptor)
            stat = os.fstat(self._descriptor)
        except OSError as error:
            raise NetdefError(f"{shown(path)} cannot be read ({reason(error)}).") from None
        self.size = stat.st_size
        self.stamp = (stat.st_size, stat.st_mtime_ns)
        if stamp is not None and stamp != self.stamp:
            raise self._changed()

    def read(self, at: int, size: int) -> bytes:
        """Returns exactly `size` bytes."""
        data = self._some(at, size)
        while len(data) < size:
            more = self._some(at + len(data), size - len(data))
            if not more:
                raise self._changed()
            data += more
        return data

    def members(self) -> Iterator[tuple[bytes, int, int]]:
        """Yields (name, offset, size) of every file in order."""
        at, ahead, begin = 0, b"", 0  # `ahead` was read at `begin`
        name, size = b"", -1  # from headers for the next member
        while True:
            if not begin <= at <= begin + len(ahead) - BLOCK:
                ahead, begin = self._some(at, AHEAD), at
            header = ahead[at - begin : at - begin + BLOCK]
            if len(header) < BLOCK:
                raise self._truncated(f"it ends after {at + len(header)} bytes, without the mark of its end")
            if not header.strip(b"\0"):
                return
            own, kind, length = self._header(header, at)
            if kind in WITHOUT_DATA:
                length = 0
            elif kind not in HEADERS and size >= 0:
                length = size
            at += BLOCK
            if at + length > self.size:
                raise self._truncated(f"its member `{_printed(name or own)}` has {self.size - at} of {length} bytes")
            if kind in (LONG_NAME, PAX):
                if length > MOST_HEADER:
                    raise self._damaged(f"a header at byte {at - BLOCK} has {length} bytes")
                data = self.read(at, length)
                name, size = (data.split(b"\0")[0], size) if kind == LONG_NAME else self._pax(data, name, size)
            else:
                if kind in FILES and not (name or own).endswith(b"/"):
                    yield name or own, at, length
                if kind not in HEADERS:
                    name, size = b"", -1
            at += -(-length // BLOCK) * BLOCK

    def _header(self, header: bytes, at: int) -> tuple[bytes, bytes, int]:
        """Returns (name, type, size) of a header."""
        total = sum(header) - sum(header[148:156]) + 8 * 32
        if total != _octal(header[148:156]):
            if at == 0:
                for magic, program in COMPRESSED.items():
                    if header.startswith(magic):
                        raise NetdefError(
                            f"{shown(self.path)} is compressed, so its records cannot be read in any order; "
                            f"decompress it with `{program}` (images in it stay compressed)."
                        )
            raise self._damaged(f"there is no header at byte {at}")
        name, size = header[:100].split(b"\0")[0], header[124:136]
        if header[257:263] == b"ustar\0" and (folder := header[345:500].split(b"\0")[0]):
            name = folder + b"/" + name
        length = int.from_bytes(size[1:], "big") if size[0] == 0x80 else _octal(size)  # GNU's form for 8 GiB or more
        if length is None:
            raise self._damaged(f"the member `{_printed(name)}` has no size")
        return name, header[156:157], length

    def _pax(self, data: bytes, name: bytes, size: int) -> tuple[bytes, int]:
        """Returns the name and size from a header of lines `LENGTH KEY=VALUE`, or those given."""
        at = 0
        while at < len(data):
            line = PAX_FIELD.match(data, at)
            length = int(line[1]) if line else 0
            if line is None or data[at + length - 1 : at + length] != b"\n":
                raise self._damaged("a header has no `LENGTH KEY=VALUE`")
            value = data[line.end() : at + length - 1]
            if line[2] == b"path":
                name = value
            elif line[2] == b"size":
                if not value.isdigit() or len(value) > 18:
                    raise self._damaged(f"a member says that it has {_printed(value)} bytes")
                size = int(value)
            elif line[2].startswith(b"GNU.sparse."):
                raise self._damaged("it has a sparse file")
            at += length
        return name, size

    def _some(self, at: int, size: int) -> bytes:
        try:
            if hasattr(os, "pread"):  # not on Windows
                return os.pread(self._descriptor, size, at)
            with self._lock:
                os.lseek(self._descriptor, at, os.SEEK_SET)
                return os.read(self._descriptor, size)
        except (OSError, OverflowError) as error:
            raise NetdefError(f"{shown(self.path)} cannot be read ({reason(error)}).") from None

    def _truncated(self, what: str) -> NetdefError:
        return NetdefError(f"{shown(self.path)} is truncated: {what}; copy or write it again.")

    def _damaged(self, what: str) -> NetdefError:
        return NetdefError(f"{shown(self.path)} is not a readable tar file: {what}; copy or write it again.")

    def _changed(self) -> NetdefError:
        return NetdefError(f"{shown(self.path)} has changed while it was in use; run again when it is complete.")


def _octal(field: bytes) -> int | None:
    """Returns the number in a field of a header; None if there is none."""
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else None


def _printed(name: bytes) -> str:
    return shown(os.fsdecode(name))


@dataclass(frozen=True)
class Shard:
    """A tar file and the keys of its records."""

    path: Path
    stamp: tuple[int, int]
    joined: Any  # the bytes of all keys, uint8
    ends: Any  # the end of each key

    def __len__(self) -> int:
        return len(self.ends)

    def key(self, record: int) -> str:
        """Returns the key of a record, as it can be printed."""
        return _printed(self.joined[self.ends[record - 1] if record else 0 : self.ends[record]].tobytes())


@dataclass(frozen=True)
class Index:
    """The members of a shard, in arrays with one element per member."""

    shard: Shard
    extensions: tuple[str, ...]  # the different extensions, in lower case
    extension: Any  # the index of each member's extension
    record: Any  # the record of each member
    offset: Any
    size: Any

    def places(self, extensions: tuple[str, ...]) -> tuple[Any, Any]:
        """Returns (offset, size) of the first member of each record with one of these extensions; the offset is -1
        where there is none."""
        wanted = [i for i, extension in enumerate(self.extensions) if extension in extensions]
        members = np.flatnonzero(np.isin(self.extension, wanted))[::-1]
        offset, size = np.full(len(self.shard), -1), np.zeros(len(self.shard), np.int64)
        offset[self.record[members]] = self.offset[members]  # the first is written last
        size[self.record[members]] = self.size[members]
        return offset, size

    def extensions_of(self, record: int) -> list[str]:
        """Returns the extensions of a record's members."""
        return [self.extensions[i] for i in self.extension[self.record == record]]


COLUMNS = ("extension", "record", "offset", "size")


def read_index(path: Path, most: int = 0) -> Index:
    """Returns the index of a tar file, from the cache if possible; with `most`, only of its first records.

    Raises NetdefError if the file is damaged."""
    file = TarFile(path)
    cache = None if most else _cache_of(file)
    try:
        return _cached(file, cache) or _scan(file, most, cache)
    finally:
        file.close()


def _cached(file: TarFile, cache: Path | None) -> Index | None:
    """Returns the index in the cache: a line of JSON, and arrays.  None if there is none, or if it is damaged.

    NumPy's own formats are not used, because in Python 3.11 several threads cannot read their headers at a time."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        head, _, data = cache.read_bytes().partition(b"\n") if cache is not None else (b"", b"", b"")
        kept = json.loads(head)
        records, members, keys = (int(kept[name]) for name in ("records", "members", "keys"))
        numbers = np.frombuffer(data, np.int64, records + len(COLUMNS) * members)
        joined = np.frombuffer(data, np.uint8, offset=numbers.nbytes)
        if len(joined) == keys:
            shard = Shard(file.path, file.stamp, joined, numbers[:records])
            return Index(shard, tuple(kept["extensions"]), *numbers[records:].reshape(len(COLUMNS), members))
    return None


def _save(path: Path, index: Index) -> None:
    shard = index.shard
    counts = {"records": len(shard), "members": len(index.record), "keys": len(shard.joined)}
    head = json.dumps(counts | {"extensions": index.extensions}).encode()
    arrays = [shard.ends, *(getattr(index, name) for name in COLUMNS), shard.joined]
    path.write_bytes(b"".join([head, b"\n", *(array.tobytes() for array in arrays)]))


def _scan(file: TarFile, most: int, cache: Path | None) -> Index:
    """Returns the index from the headers, and writes it to the cache."""
    keys, ends, last = bytearray(), array("q"), None
    numbers: dict[str, int] = {}  # of extensions
    columns = {name: array("q") for name in COLUMNS}
    for name, offset, size in file.members():
        folder, slash, base = name.rpartition(b"/")
        stem, dot, rest = base.partition(b".")
        if not dot or not stem:  # a file without an extension, and what macOS and editors leave
            continue
        key = folder + slash + stem
        if key != last:
            if most and len(ends) == most:
                break
            keys += key
            last = key
            ends.append(len(keys))
        extension = numbers.setdefault(_printed(rest).lower(), len(numbers))
        for column, value in zip(columns.values(), (extension, len(ends) - 1, offset, size), strict=True):
            column.append(value)
    arrays = {name: np.array(column, np.int64) for name, column in columns.items()}
    shard = Shard(file.path, file.stamp, np.frombuffer(bytes(keys), np.uint8), np.array(ends, np.int64))
    index = Index(shard, tuple(numbers), **arrays)
    if cache is not None:
        with contextlib.suppress(NetdefError):  # because the cache is optional
            write_atomically(cache, lambda temporary: _save(temporary, index))
    return index


def _cache_of(file: TarFile) -> Path | None:
    try:
        text = repr((VERSION, str(file.path.resolve()), file.stamp))
        return cache_folder() / f"tar-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:24]}.index"
    except (RuntimeError, OSError):  # because a user may have no home folder, as in a container
        return None
