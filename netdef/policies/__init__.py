"""Learning-rate policies, one class per file; `POLICIES` maps each name for `lr_policy` to its class."""

from __future__ import annotations

from .base import POLICIES, Policy

__all__ = ["POLICIES", "Policy"]
