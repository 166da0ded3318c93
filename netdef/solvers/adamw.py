"""The solver AdamW."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, optax
from ..schema import param
from .base import Momentum, Numbers


class AdamW(Momentum, type="AdamW"):
    """w <- w - rate (m' / (sqrt(v') + delta) + decay w): Adam, with weight decay that does not go through the moments.

    m' and v' are the moments corrected for bias, of `momentum` and `momentum2`.
    Source: Loshchilov and Hutter 2019, optax.scale_by_adam; a solver of netdef's own.
    """

    decoupled = True
    slots = ("count", "m", "v")
    momentum: float = param("Decay of first moments.", default=0.9, at_least=0, at_most=1)
    momentum2: float = param("Decay of second moments.", default=0.999, at_least=0, at_most=1)
    delta: float = param("Keeps the division finite.", default=1e-8, at_least=0)

    def init(self, w: Array) -> Any:
        return optax.scale_by_adam().init(w)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        rule = optax.scale_by_adam(at.momentum, self.momentum2, self.delta)
        step, history = rule.update(g, history, w)
        return at.rate * (step + at.decay * w), history
