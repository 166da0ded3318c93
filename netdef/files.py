"""Files: where a path in a net lies, and how a file is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .language.errors import NetdefError

Locate = Callable[[str], Path]  # a path in the file -> where it is


def locator(folder: Path | str | None) -> Locate:
    """A function that finds the files a net speaks of: relative to its folder and, where nothing is there, to the
    working directory.  A file that is nowhere is returned as it would be in the net's folder."""
    base = Path(folder) if folder is not None else Path()

    def locate(name: str) -> Path:
        given = Path(os.path.expanduser(name))
        beside = given if given.is_absolute() else base / given
        return given if not beside.exists() and given.exists() else beside

    return locate


def written_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file or folder written under another name, and give it its own when it is whole.  NetdefError if it
    cannot be."""
    aside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        put_in_place(aside, path)
    except OSError as error:
        raise NetdefError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written, nothing is there
            shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)


def put_in_place(whole: Path, path: Path) -> None:
    """Rename a file or folder to `path`, in place of what is there.  OSError; then what was there is there again."""
    old = path.with_name(f"{path.name}~")
    if path.is_dir():  # which nothing can replace in one step
        shutil.rmtree(old, ignore_errors=True)  # of a process that was killed
        path.rename(old)
    try:
        os.replace(whole, path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def replaced_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.  NetdefError if it cannot be."""
    written_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))
