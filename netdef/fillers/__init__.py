"""How parameters are filled before training: a file per filler.  Files find themselves; there is no list to edit."""

from __future__ import annotations

from .base import Filler
from .constant import Constant

__all__ = ["Constant", "Filler"]
