"""What commands say beside their results, and how they write files."""

from __future__ import annotations

import sys
from pathlib import Path

from ..files import written_aside
from ..language.source import printable


def say(line: str) -> None:
    """A line on stderr."""
    print(f"netdef: {printable(line)}", file=sys.stderr)


def written_text(path: str | Path, text: str) -> None:
    """Write a text whole or not at all.  NetdefError if it cannot be."""
    written_aside(Path(path), lambda aside: aside.write_bytes(text.encode()))
