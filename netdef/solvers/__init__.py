"""Solver types, one class in one file each; `SOLVERS` finds them by their `type`."""

from __future__ import annotations

from .base import SOLVERS, Solver

__all__ = ["SOLVERS", "Solver"]
