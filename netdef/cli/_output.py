"""Messages on stderr, and writing files."""

from __future__ import annotations

import sys
from pathlib import Path

from ..files import write_atomically
from ..language.errors import printable


def say(line: str) -> None:
    """Prints a line on stderr."""
    print(f"netdef: {printable(line)}", file=sys.stderr)


def written_text(path: str | Path, text: str) -> None:
    """Writes a text file atomically. NetdefError if it cannot be written."""
    write_atomically(Path(path), lambda aside: aside.write_bytes(text.encode()))
