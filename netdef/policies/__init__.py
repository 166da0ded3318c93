"""Learning-rate policies, one class in one file each; `POLICIES` finds them by the name that `lr_policy` gives."""

from __future__ import annotations

from .base import POLICIES, Policy

__all__ = ["POLICIES", "Policy"]
