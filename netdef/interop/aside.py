"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..language.diagnostics import NetdefError


def written_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file or folder written under another name, and give it its own when it is whole.  NetdefError if it
    cannot be."""
    aside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        old = path.with_name(f"{path.name}~")
        if path.is_dir():  # which nothing can replace in one step
            path.rename(old)
        try:
            os.replace(aside, path)
        except OSError:
            if old.is_dir():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise NetdefError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written, nothing is there
            shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)
