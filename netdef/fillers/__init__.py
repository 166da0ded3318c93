"""Fillers, which initialize parameters: one file per filler.  Files here are found automatically."""

from __future__ import annotations

from .base import Filler
from .constant import Constant

__all__ = ["Constant", "Filler"]
