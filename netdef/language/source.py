"""Source texts and places in them.

A `Source` is one text with a name; a `Span` is a range of characters in it. Every tree node, decoded value and
diagnostic has a span, so later stages can show the place of an error in the source.
"""

from __future__ import annotations

import bisect
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .errors import NetdefError, printable

ENDINGS = (".net", ".prototxt", ".pt")  # of the names of nets and solvers
LARGEST = 4 << 20  # bytes of a file; the longest known nets have a fifth of that


@dataclass(frozen=True)
class Source:
    """One source text. `name` is its name in diagnostics (a path, or `<text>`); `path` is set if it is a file."""

    name: str
    text: str
    path: Path | None = None

    @property
    def file(self) -> str:
        """The name for programs: a path as it is, where `name` has escapes if it cannot be printed."""
        return str(self.path) if self.path is not None and self.name == printable(str(self.path)) else self.name

    @staticmethod
    def read(path: str | Path, name: str | None = None) -> Source:
        """Reads a file; `name` is its name in diagnostics, by default its path.

        The file is UTF-8 with or without a byte order mark; if it is not valid UTF-8, it is read as Latin-1. Raises
        NetdefError with a message of one line.
        """
        path = Path(path)
        shown = printable(str(path))
        return Source(name or shown, decoded(content(path, shown), shown), path)

    @staticmethod
    def of(path_or_text: str | Path | Source) -> Source:
        """The source of a path, or of a text itself. A string is a path if it ends in .net, .prototxt or .pt, or if the
        file exists; any other string is a text.

        Raises NetdefError as `read` does, and for a string that is neither an existing file nor a net."""
        if isinstance(path_or_text, Source):
            return path_or_text
        if isinstance(path_or_text, Path):
            return Source.read(path_or_text)
        text = path_or_text
        one_line = "\n" not in text and "{" not in text and len(text) < 4096
        if (one_line and text.endswith(ENDINGS)) or exists(text):
            return Source.read(text)
        if one_line and ":" not in text and text.strip():
            raise NetdefError(f"{text}: file not found (and this is not the text of a net)")
        return Source("<text>", text)

    @staticmethod
    def from_stream(stream: BinaryIO, name: str) -> Source:
        """Reads a pipe, such as stdin, to its end. Raises NetdefError if it contains more than a file may."""
        return Source(name, decoded(stream.read(LARGEST + 1), name))

    @cached_property
    def line_starts(self) -> list[int]:
        """The offset of the first character of each line."""
        starts = [0]
        find = self.text.find
        at = find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = find("\n", at + 1)
        return starts

    @property
    def is_named_as_net(self) -> bool:
        return self.name.endswith(ENDINGS)

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) of a character, both from 1."""
        line = bisect.bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The contents of line `number` (from 1), without the line end."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


def exists(path: str) -> bool:
    """Whether a string, which may also be the text of a net, is the path of a file; its name may have any character."""
    try:
        return bool(path.strip()) and len(path) < 4096 and Path(path).exists()
    except (OSError, ValueError):
        return False


def content(path: Path, shown: str) -> bytes:
    """The bytes of a regular file, at most one more than `LARGEST`; a pipe might never end, nor a device. Raises
    NetdefError; `shown` is the path in its message."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise NetdefError(f"{shown}: this is a folder; give the path of a file")
        if not stat.S_ISREG(found.st_mode):
            raise NetdefError(f"{shown}: this is a pipe or a device; give the path of a regular file")
        if found.st_size > LARGEST:
            raise too_large(shown, found.st_size)
        with path.open("rb") as file:
            return file.read(LARGEST + 1)  # not all of it: it may have grown
    except FileNotFoundError:
        raise NetdefError(f"{shown}: file not found") from None
    except (OSError, ValueError) as error:
        raise NetdefError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def decoded(raw: bytes, shown: str) -> str:
    """The text of a file, in UTF-8 or else Latin-1. Raises NetdefError if it is too large, or not a text."""
    if len(raw) > LARGEST:
        raise too_large(shown, len(raw))
    if b"\0" in raw[:4096]:
        raise NetdefError(
            f"{shown}: this is a binary file, not a network definition; --weights is for a file of weights, and "
            "`netdef init` writes a net for a file of data"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def too_large(shown: str, size: int) -> NetdefError:
    """The error of a file that has, as far as it was read, `size` bytes."""
    limit = f"the limit is {LARGEST >> 20} MB"
    if size == LARGEST + 1:
        return NetdefError(f"{shown}: a text of more than {LARGEST >> 20} MB is not a network definition; {limit}")
    return NetdefError(f"{shown}: a file of {size / 2**20:.1f} MB is not a network definition; {limit}")


class Span(NamedTuple):
    """The characters from `start` up to `end` of a source; `via` is the place of the expansion (template, loop, import)
    that produced this."""

    source: Source
    start: int
    end: int
    via: Span | None = None

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def __repr__(self) -> str:
        """One line, without the text of the whole file."""
        return f"<Span {self}>"


NOWHERE = Span(Source("<made>", ""), 0, 0)  # for trees that were not parsed from a source
