"""Formats of weight files, one class each. The modules of this folder register themselves; there is no list to edit.

class Mine(Format, name="mine"):
    endings = (".mine",)

    def read(self, path): ...             # [Entry(layer, arrays), ...]
    def write(self, path, contents): ...  # contents.entries
"""

from __future__ import annotations

from ..entries import Entry, Stored
from .base import Contents, Format

__all__ = ["Contents", "Entry", "Format", "Stored"]
