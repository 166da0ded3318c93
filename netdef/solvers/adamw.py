"""The solver AdamW."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jax, optax
from ..schema import param
from .base import Momentum, Numbers, zeros_like


class AdamW(Momentum, type="AdamW"):
    """w <- w - lr (m' / (sqrt(v') + delta) + decay w): Adam with decoupled weight decay.

    m' and v' are the bias-corrected moments, with the decay rates `momentum` and `momentum2`.
    Source: Loshchilov and Hutter 2019, optax.scale_by_adam.  Differs: Caffe has no such solver.
    """

    decoupled = True
    slots = ("count", "m", "v")
    momentum: float = param("Decay rate of the first moments.", default=0.9, at_least=0, at_most=1)
    momentum2: float = param("Decay rate of the second moments.", default=0.999, at_least=0, at_most=1)
    delta: float = param("Avoids division by zero.", default=1e-8, at_least=0)

    def init(self, w: Array) -> Any:
        return zeros_like(jax.eval_shape(optax.scale_by_adam().init, w))

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        rule = optax.scale_by_adam(at.momentum, self.momentum2, self.delta)
        step, history = rule.update(g, history, w)
        return at.rate * (step + at.decay * w), history
