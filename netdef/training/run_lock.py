"""The lock of a run: while a process trains in a folder, no other process does.

    {"host": "gpu1", "process": 4711}

The file `lock` in the folder is locked with flock, which the kernel releases when the process ends, in whatever way.
Linux also enforces it over NFS if the server supports locks.  Without support, and on Windows, a run has no lock; where
the file system has none, a warning says that two runs must not share the folder.  The file is removed when the run
ends: one that exists and is not locked is of a process that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..language.errors import NetdefError

if sys.platform == "win32":  # which has no such locks
    fcntl: Any = None
else:
    import fcntl

LOCK = "lock"
TRIES, PAUSE = 5, 0.05  # because `holder` has the lock of a free folder for a moment
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Holder(NamedTuple):
    """The process that trains in a folder."""

    host: str
    process: int

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}" if self.process else "another process"


class LockedError(NetdefError):
    """Another process trains in the folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Locks a folder, which is created if necessary; yields a warning if its file system has no locks, else an empty
    string.  Raises LockedError if another process trains in it, NetdefError if it cannot be written."""
    if fcntl is None:
        yield ""
        return
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file, warning = _opened(path), ""
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise NetdefError(f"{path}: cannot be written: {error.strerror or error}") from error
        file = None
        warning = f"{folder} cannot be locked ({error.strerror}); two runs at the same time must not share it"
    try:
        yield warning
    finally:
        if file is not None:
            _release(path, file)


def holder(folder: Path) -> Holder | None:
    """Returns the process that trains in a folder; None if there is none, or if this is not known."""
    if fcntl is None:
        return None
    try:
        with (folder / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file)
    except OSError:
        pass
    return None


def _live(folder: Path, living: Holder) -> LockedError:
    return LockedError(
        f"{folder} is the folder of a run in progress ({living}); wait until it ends, stop it, or choose another "
        "folder."
    )


def _opened(path: Path) -> Any:
    """Opens and locks a file, and writes the holder into it."""
    for _ in range(TRIES):
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, file):  # else the run that had it has ended, and removed or renamed it
                file.truncate(0)
                file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode() + b"\n")
                file.flush()
                return file
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError as error:
            if error.errno == errno.ENOSPC:  # the lock itself needs no space
                return file
            file.close()
            raise
        file.close()
    raise _live(path.parent, holder(path.parent) or Holder("", 0))


def _release(path: Path, file: Any) -> None:
    with contextlib.suppress(OSError):  # the folder may have been moved or removed
        if _is_at(path, file):
            path.unlink()
    with contextlib.suppress(OSError):  # a full disk: what could not be written is written again on closing
        file.close()


def _is_at(path: Path, file: Any) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(file: Any) -> Holder:
    try:
        found = json.loads(file.read())
        return Holder(str(found["host"]), int(found["process"]))
    except (ValueError, KeyError, TypeError):
        return Holder("", 0)
