"""How parameters are filled before training: a class per type.  Files find themselves; there is no list to edit."""

from __future__ import annotations

from .base import Constant, Filler

__all__ = ["Constant", "Filler"]
