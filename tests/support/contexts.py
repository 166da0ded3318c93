"""The context of a layer that is applied outside of a net."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax


@dataclass
class Alone:
    """A context (see `netdef.layers.base.Context`) with a fixed random key, which keeps the updates of state."""

    train: bool = True
    key: int = 0
    channels_last: bool = False
    updates: dict[int, Any] = field(default_factory=dict)

    def rng(self) -> jax.Array:
        return jax.random.key(self.key)

    def locate(self, name: str) -> Path:
        return Path(name)

    def update(self, i: int, value: Any) -> None:
        self.updates[i] = value


PLAIN = Alone(train=False)
LAST = Alone(train=False, channels_last=True)
