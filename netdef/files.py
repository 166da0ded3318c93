"""Files: finding the paths in a net, and writing files atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .language.errors import NetdefError, printable
from .language.expansion.folders import find

LONGEST_NAME = 160  # characters of a path in a message
MOST_DEFLATED = 1032  # the highest compression ratio of deflate
Locate = Callable[[str], Path]  # a path in the net -> its location
WRITING = ".writing"  # the end of the name of a file that is not complete
# its target, the process that writes it, and the host of that process; both are missing in names of older versions
LEFTOVER = re.compile(r"\.(.*?)(?:\.(\d+)(?:@([^@]*))?)?\.writing", re.DOTALL)
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
ABANDONED = 24 * 3600.0  # seconds: nobody writes one file for longer


def locator(folder: Path | str | None) -> Locate:
    """A function that finds the files named in a net: relative to the net's folder or, if they do not exist there, to
    the working directory. For a file that does not exist, it returns the path in the net's folder."""
    base = Path(folder) if folder is not None else Path()
    return lambda name: find(name, base)


def shown(name: Path | str) -> str:
    """Returns a path as one line that can be printed, abbreviated in the middle if it is very long."""
    text = str(name)
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME // 2]}...{text[-LONGEST_NAME // 4 :]} ({len(text)} characters)"
    return printable(text)


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file or folder atomically: to a temporary name, which is then renamed to `path`. Raises NetdefError if
    this fails. What a killed process left of an earlier attempt is removed.

    A device or pipe, such as /dev/null, is written to; renaming would replace it."""
    aside = temporary_name(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            _write_into(path, write)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        write(aside)
        put_in_place(aside, path)
    except OSError as error:
        raise NetdefError(f"{path}: cannot be written: {cause(error)}") from error
    finally:
        remove(aside)


def _write_into(path: Path, write: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.name
        write(whole)
        with path.open("wb") as to, whole.open("rb") as made:
            shutil.copyfileobj(made, to)


@contextlib.contextmanager
def library_writes() -> Iterator[None]:
    """Raises the exceptions of a library that writes a file as OSError: each library has its own for a full disk."""
    try:
        yield
    except (NetdefError, OSError):
        raise
    except Exception as error:
        raise OSError(cause(error)) from error


def cause(error: Exception) -> str:
    """Why a file cannot be written, in the words of the system if they are known, because libraries add their own."""
    text = str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if known := next((words for words in map(os.strerror, REFUSALS) if words in text), ""):
        return known
    return printable(text.strip().split("\n")[0][:LONGEST_NAME]) or type(error).__name__


def temporary_name(path: Path) -> Path:
    """The name under which this process writes `path`: `.NAME.PROCESS@HOST.writing` in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}@{_host()}{WRITING}")


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes the temporary files in a folder, or only those of the file `name`, of processes that were killed while
    they wrote them; not those of live processes.  Whether a process of another host lives is not known: its files, on a
    shared file system, are removed after a day."""
    for left in folder.glob(f".*{WRITING}"):
        found = LEFTOVER.fullmatch(left.name)
        if found is None or (name is not None and name != found[1]):
            continue
        process = int(found[2] or os.getpid())
        is_ours = found[3] in (None, _host())
        if (process == os.getpid() or not _is_alive(process)) if is_ours else _is_abandoned(left):
            remove(left)


def remove(path: Path) -> None:
    """Removes a file or folder, if it exists and can be removed."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _host() -> str:
    """The name of this host without its domain, as a part of a file name."""
    return re.sub(r"[^\w-]", "_", socket.gethostname().partition(".")[0])


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED
    except OSError:  # its process has just renamed or removed it
        return False


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # because os.kill would end the process there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # a process of another user
    return True


def put_in_place(whole: Path, path: Path) -> None:
    """Renames a file or folder to `path` and replaces what exists there. Raises OSError; then the old one is kept."""
    old = path.with_name(f"{path.name}~")
    has_old = whole.is_dir() or path.is_dir()  # else a `NAME~` is not of this function
    if path.is_dir():  # a folder cannot be replaced in one step
        shutil.rmtree(old, ignore_errors=True)  # a killed process may have left it
        path.rename(old)
    try:
        os.replace(whole, path)
    except OSError:
        if old.is_dir() and not path.exists():
            old.rename(path)
        raise
    if has_old:
        shutil.rmtree(old, ignore_errors=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a text file atomically. Raises NetdefError if this fails."""
    write_atomically(path, lambda aside: aside.write_text(text, encoding="utf-8"))
