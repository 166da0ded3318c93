"""Messages on stderr, and writing files."""

from __future__ import annotations

import sys
from pathlib import Path

from ..files import written_aside


def say(line: str) -> None:
    """Prints a line on stderr."""
    print(f"netdef: {line}", file=sys.stderr)


def written_text(path: str | Path, text: str) -> None:
    """Writes a text file atomically. NetdefError if it cannot be written."""
    written_aside(Path(path), lambda aside: aside.write_bytes(text.encode()))
