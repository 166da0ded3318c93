"""What a file may do on this machine, apart from describing a net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trust:
    """The permissions of a file, which its user gives and the file itself cannot change. Without any, reading the file
    runs no code that it names, and imports stay in its own folder, the working directory and the library."""

    python: bool = False  # the modules of its Python layers are imported and run
    folders: tuple[str | Path, ...] = ()  # `import` may open files in these folders too


UNTRUSTED = Trust()
