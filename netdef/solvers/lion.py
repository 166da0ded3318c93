"""The solver Lion."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jax, optax
from ..schema import param
from .base import Momentum, Numbers, zeros_like


class Lion(Momentum, type="Lion"):
    """w <- w - lr (sign(b1 m + (1 - b1) g) + decay w);  m <- b2 m + (1 - b2) g.  b1 is `momentum`, b2 `momentum2`.

    Each weight changes by the learning rate, so use one that is 3 to 10 times smaller than for Adam, and a weight decay
    that is 3 to 10 times larger.
    Source: Chen et al. 2023, optax.scale_by_lion.  Differs: Caffe has no such solver.
    """

    decoupled = True
    slots = ("count", "m")
    momentum: float = param("Weight of the mean inside the sign.", default=0.9, at_least=0, at_most=1)
    momentum2: float = param("Decay rate of the mean.", default=0.99, at_least=0, at_most=1)

    def init(self, w: Array) -> Any:
        return zeros_like(jax.eval_shape(optax.scale_by_lion().init, w))

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        step, history = optax.scale_by_lion(at.momentum, self.momentum2).update(g, history, w)
        return at.rate * (step + at.decay * w), history
