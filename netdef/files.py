"""Files: finding the paths in a net, and writing files atomically."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .language.errors import NetdefError

LONGEST_NAME = 160  # characters of a path in a message
Locate = Callable[[str], Path]  # a path in the net -> its location


def locator(folder: Path | str | None) -> Locate:
    """A function that finds the files named in a net: relative to the net's folder or, if they do not exist there, to
    the working directory. For a file that does not exist, it returns the path in the net's folder."""
    base = Path(folder) if folder is not None else Path()

    def locate(name: str) -> Path:
        given = Path(name if "\0" in name else os.path.expanduser(name))
        beside = given if given.is_absolute() else base / given
        # os.path: a name that is too long, or has a NUL, is not there; `Path.exists` raises what no caller expects.
        return given if not os.path.exists(beside) and os.path.exists(given) else beside

    return locate


def shown(name: Path | str) -> str:
    """Returns a path as one line that can be printed, abbreviated in the middle if it is very long."""
    text = str(name)
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME // 2]}...{text[-LONGEST_NAME // 4 :]} ({len(text)} characters)"
    return printable(text)


def printable(text: str) -> str:
    """Returns a text as one line; what a terminal cannot show is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def written_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file or folder atomically: to a temporary name, which is then renamed to `path`. Raises NetdefError if
    this fails."""
    aside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        put_in_place(aside, path)
    except OSError as error:
        raise NetdefError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # the temporary file does not exist if nothing could be written
            shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)


def put_in_place(whole: Path, path: Path) -> None:
    """Renames a file or folder to `path` and replaces what exists there. Raises OSError; then the old one is kept."""
    old = path.with_name(f"{path.name}~")
    if path.is_dir():  # a folder cannot be replaced in one step
        path.rename(old)
    try:
        os.replace(whole, path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def replaced_text(path: Path, text: str) -> None:
    """Writes a text file atomically. Raises NetdefError if this fails."""
    written_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))
