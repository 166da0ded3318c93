"""Training: `train` runs a solver on its nets; `events` are what it tells on the way."""

from __future__ import annotations

from .events import Event
from .run import Result, train

__all__ = ["Event", "Result", "train"]
