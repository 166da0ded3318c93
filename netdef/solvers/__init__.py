"""Solver types, one class per file; `SOLVERS` maps each `type` to its class."""

from __future__ import annotations

from .base import SOLVERS, Momentum, Numbers, Solver

__all__ = ["SOLVERS", "Momentum", "Numbers", "Solver"]
