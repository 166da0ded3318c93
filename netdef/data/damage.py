"""What libraries raise for damaged files becomes one line of error that names the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import LONGEST_NAME, MOST_DEFLATED, shown
from ..language.errors import NetdefError, printable
from ..shape import ShapeError, Unavailable


@contextmanager
def reading(path: Path, kind: str, fault: Callable[[str], NetdefError] = NetdefError) -> Iterator[None]:
    """Replaces every exception that is not netdef's own: libraries raise many kinds for a damaged file of `kind`."""
    try:
        yield
    except (NetdefError, ShapeError, Unavailable):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise fault(f"{shown(path)} cannot be read ({reason(error)}).") from error
        raise fault(f"{shown(path)} is not a readable {kind} ({reason(error)}).") from error


def check_size(path: Path, kind: str, name: str, size: int, fault: Callable[[str], NetdefError] = NetdefError) -> None:
    """Raises if an array says that it has more bytes than its file can hold, before memory is requested for it."""
    if size > MOST_DEFLATED * path.stat().st_size:
        raise fault(f"{shown(path)} is not a readable {kind} (`{shown(name)}` says that it has {size} bytes).")


def reason(error: Exception) -> str:
    """Returns the beginning of an error's message, or its class if it has none."""
    if isinstance(error, OSError) and error.errno is not None:  # because libraries add their own words to these
        return os.strerror(error.errno)
    text = error.args[0] if error.args else ""
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(error)  # bytes: plyvel's errors
    return printable(text.strip().split("\n")[0][:LONGEST_NAME]) or type(error).__name__


def is_missing(path: Path) -> bool:
    """Whether it is known that a path does not exist."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        pass
    return False


def obstacle(path: Path, is_file: bool = False) -> str:
    """Returns why a path cannot be read; an empty string if it can.  `is_file`: whether it must not be a folder."""
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return reason(error)
    if not os.access(path, os.R_OK):
        return os.strerror(errno.EACCES)
    return os.strerror(errno.EISDIR) if is_file and path.is_dir() else ""
