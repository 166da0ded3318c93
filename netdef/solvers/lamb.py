"""The solver LAMB."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jax, optax
from ..schema import param
from .base import Momentum, Numbers, zeros_like


class LAMB(Momentum, type="LAMB"):
    """w <- w - lr (|w| / |u|) u, with u = m' / (sqrt(v') + delta) + decay w: AdamW with a learning rate for each array.

    The ratio is 1 if one of the norms is 0.  For very large batches.
    Source: You et al. 2020, optax.scale_by_adam and scale_by_trust_ratio.  Differs: Caffe has no such solver.
    """

    decoupled = True
    slots = ("count", "m", "v")
    momentum: float = param("Decay rate of the first moments.", default=0.9, at_least=0, at_most=1)
    momentum2: float = param("Decay rate of the second moments.", default=0.999, at_least=0, at_most=1)
    delta: float = param("Avoids division by zero.", default=1e-6, at_least=0)

    def init(self, w: Array) -> Any:
        return zeros_like(jax.eval_shape(optax.scale_by_adam().init, w))

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        step, history = optax.scale_by_adam(at.momentum, self.momentum2, self.delta).update(g, history, w)
        step = step + at.decay * w
        trusted, _ = optax.scale_by_trust_ratio().update(step, optax.EmptyState(), w)
        return at.rate * trusted, history
