"""Solver types, one class in one file each; `SOLVERS` finds them by their `type`."""

from __future__ import annotations

from .base import SOLVERS, Momentum, Numbers, Solver

__all__ = ["SOLVERS", "Momentum", "Numbers", "Solver"]
