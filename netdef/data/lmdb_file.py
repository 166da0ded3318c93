"""Reads an LMDB file page by page, and checks each page before it is used.

The library `lmdb` maps the file into memory and trusts it, so that a damaged page, or a file that is truncated while
it is read, kills the process (SIGBUS).  Here pages are read with ordinary calls, and what is wrong with them is an
error.  Only what data sets use is read: the main database, without duplicate keys.
Source: LMDB 0.9, mdb.c: MDB_page, MDB_node, MDB_db and MDB_meta, on hosts of 64 bits.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from ..language.errors import NetdefError
from .stamps import changed, stamp

MAGIC, VERSION = 0xBEEFC0DE, 1
HEADER = struct.Struct("<QHHHH")  # of a page: its number, padding, flags, and where its free space begins and ends
META = struct.Struct("<IIQQ")  # magic, version, address and size of the map
TREE = struct.Struct("<IHHQQQQQ")  # page size or padding, flags, depth, pages of three kinds, entries, root page
END = struct.Struct("<QQ")  # last page and number of the transaction
PLACE = struct.Struct("<H")  # of a node in its page
NODE = struct.Struct("<HHHH")  # two halves of a size or page number, flags, length of the key
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # flags of pages
DUPLICATES = 4  # flag of a tree
ELSEWHERE = 1  # flag of a node: its value is on overflow pages
EMPTY = (1 << 64) - 1  # root page of an empty tree
PAGE_SIZES = (1 << 9, 1 << 16)  # least and greatest
MOST_DEPTH = 32  # CURSOR_STACK
LEAST_NODE = NODE.size + 2  # bytes of a node and its entry in the page


class LmdbFile:
    """The records of a file in the order of their keys.  `size` is their number.  Safe to use from several threads.

    Raises NetdefError, here and in all methods, if the file is damaged or has changed since it was opened."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed by `close`)
            self._close = weakref.finalize(self, self._file.close)
            self._opened = stamp(self._file.fileno())
        except OSError as error:
            raise NetdefError(f"{path} cannot be read ({error.strerror}).") from None
        try:
            self._read_meta()
        except BaseException:
            self.close()
            raise

    def _read_meta(self) -> None:
        """Reads the root of the newest transaction from the first two pages."""
        there = self._opened[0]
        self._page_size = 4096  # until the first page has been read
        first = self._meta(0)
        self._page_size = first[1][0]
        if not PAGE_SIZES[0] <= self._page_size <= PAGE_SIZES[1] or self._page_size & (self._page_size - 1):
            raise self._damage(f"its page size is {self._page_size}")
        (last, _), _, main = max(first, self._meta(self._page_size), key=lambda meta: meta[0][1])
        needed = (last + 1) * self._page_size
        if there < needed:
            raise NetdefError(f"{self.path} is truncated: it has {there} of at least {needed} bytes; copy it again.")
        _, flags, self.depth, _, leaves, _, self.size, self._root = main
        if flags & DUPLICATES:
            raise NetdefError(f"{self.path} has several values for a key, which is not supported; convert it again.")
        self._last = last
        if self.size * LEAST_NODE > there or (self.size == 0) != (self._root == EMPTY) or leaves > last:
            raise self._damage(f"it says that it has {self.size} records")

    def _meta(self, at: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Returns ((last page, transaction), tree of free pages, main tree) of the page at this offset."""
        data = self._bytes(at + HEADER.size, META.size + 2 * TREE.size + END.size)
        magic, version, _, _ = META.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise self._damage("it does not begin as such a file does")
        free, main = (TREE.unpack_from(data, META.size + i * TREE.size) for i in range(2))
        return END.unpack_from(data, META.size + 2 * TREE.size), free, main

    def leaves(self) -> Iterator[int]:
        """Yields the pages with records, in order."""
        if self.size == 0:
            return
        waiting = [(self._root, 1)]
        left = self._last  # more pages than this are a cycle
        while waiting:
            number, depth = waiting.pop()
            left -= 1
            if depth > MOST_DEPTH or left < -1:
                raise self._damage(f"page {number} is part of a cycle")
            if depth == self.depth:
                yield number
                continue
            page = self._page(number, BRANCH)
            nodes = [self._node(page, i, number) for i in range(count_of(page))]
            waiting += [(low | high << 16 | flags << 32, depth + 1) for low, high, flags, _, _ in reversed(nodes)]

    def page(self, number: int) -> bytes:
        """Returns a page of records."""
        return self._page(number, LEAF)

    def record(self, page: bytes, i: int) -> tuple[bytes, bytes]:
        """Returns (key, value) of record `i` of a page."""
        number = HEADER.unpack_from(page)[0]
        low, high, flags, begin, end = self._node(page, i, number)
        size = low | high << 16
        if flags & ~ELSEWHERE:
            raise self._damage(f"record {i} of page {number} is a database of its own")
        here = 8 if flags else size  # bytes in this page: the number of another one, or the value
        if end + here > len(page):
            raise self._damage(f"record {i} of page {number} ends outside of it")
        found = page[end : end + here]
        return page[begin:end], self._overflow(int.from_bytes(found, "little"), size) if flags else found

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yields all (key, value) in order.  Raises NetdefError also if their number is not `size`."""
        leaves, found = self.leaves(), 0
        for number in leaves:
            page = self.page(number)
            found += count_of(page)
            if found >= self.size:  # before the last record, after which nobody may ask for the next
                self.check_count(found + sum(1 for _ in leaves))
            yield from (self.record(page, i) for i in range(count_of(page)))
        self.check_count(found)

    def check_count(self, found: int) -> None:
        """Raises NetdefError if the number of records is not the one in the header."""
        if found != self.size:
            raise self._damage(f"it has {found} of {self.size} records")

    def check_unchanged(self) -> None:
        """Raises NetdefError if the file has been written since it was opened; its pages may then be other ones."""
        if stamp(self._file.fileno()) != self._opened:
            raise changed(self.path)

    def _overflow(self, number: int, size: int) -> bytes:
        """Returns a value of `size` bytes, which begins on this page and continues on those after it."""
        _, _, flags, low, high = HEADER.unpack(self._bytes(self._at(number), HEADER.size))
        pages = low | high << 16
        if flags & 15 != OVERFLOW or number + pages > self._last + 1 or size > pages * self._page_size - HEADER.size:
            raise self._damage(f"page {number} is not the beginning of a value of {size} bytes")
        return self._bytes(self._at(number) + HEADER.size, size)

    def _page(self, number: int, kind: int) -> bytes:
        page = self._bytes(self._at(number), self._page_size)
        itself, _, flags, lower, upper = HEADER.unpack_from(page)
        if itself != number or flags & ~0x10 != kind or not HEADER.size < lower <= upper <= self._page_size:
            raise self._damage(f"page {number} is not a page of {'records' if kind == LEAF else 'keys'}")
        return page

    def _node(self, page: bytes, i: int, number: int) -> tuple[int, int, int, int, int]:
        """Returns both halves of a size or page number, flags, and where the key begins and ends."""
        (at,) = PLACE.unpack_from(page, HEADER.size + PLACE.size * i)
        if not HEADER.size <= at <= len(page) - NODE.size:
            raise self._damage(f"record {i} of page {number} is outside of it")
        low, high, flags, length = NODE.unpack_from(page, at)
        begin = at + NODE.size
        if begin + length > len(page):
            raise self._damage(f"the key of record {i} of page {number} ends outside of it")
        return low, high, flags, begin, begin + length

    def _at(self, number: int) -> int:
        """Returns the offset of a page."""
        if not 2 <= number <= self._last:
            raise self._damage(f"it refers to page {number}, but its last page is {self._last}")
        return number * self._page_size

    def _bytes(self, at: int, size: int) -> bytes:
        with self._lock:
            try:
                self._file.seek(at)
                data = self._file.read(size)
                while len(data) < size and (more := self._file.read(size - len(data))):
                    data += more
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise NetdefError(f"{self.path} cannot be read ({why}).") from None
        if len(data) < size:
            self.check_unchanged()
            raise self._damage("it ends too early")
        return data

    def _damage(self, what: str) -> NetdefError:
        return NetdefError(f"{self.path} is not a readable LMDB database: {what}; copy or convert it again.")

    def close(self) -> None:
        """Closes the file."""
        self._close()


def count_of(page: bytes) -> int:
    """Returns the number of records of a page."""
    return (HEADER.unpack_from(page)[3] - HEADER.size) // 2
