"""The classes of a folder of images: for the function `classes` of expressions, and for the layer that reads images.

Only the names in the folder are read. They are never shown: a net of somebody else may name any folder.
"""

from __future__ import annotations

import os
from pathlib import Path


def subfolders(folder: Path) -> list[str]:
    """The names of the subfolders of a folder in order, without hidden ones. Raises OSError."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def find(name: str, base: Path | None) -> Path:
    """A path of a net: relative to the folder `base` of its file or, if it does not exist there, to the working
    directory."""
    given = Path(name if "\0" in name else os.path.expanduser(name))
    beside = given if given.is_absolute() or base is None else base / given
    # os.path: a name that is too long, or has a NUL, is not there; `Path.exists` raises what no caller expects.
    return given if not os.path.exists(beside) and os.path.exists(given) else beside
