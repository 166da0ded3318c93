"""The solver AdaDelta."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jnp
from ..schema import param
from .base import Momentum, Numbers, zeros_like


class AdaDelta(Momentum, type="AdaDelta"):
    """G <- m G + (1 - m) g^2;  s = g sqrt((D + delta) / (G + delta));  D <- m D + (1 - m) s^2;  w <- w - lr s.

    m is `momentum`.  Source: BVLC/caffe src/caffe/solvers/adadelta_solver.cpp; Zeiler 2012.  Differs: nothing.
    """

    slots = ("squares", "steps")
    delta: float = param("Avoids division by zero.", default=1e-8, at_least=0)

    def init(self, w: Array) -> Any:
        return zeros_like(w), zeros_like(w)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        gradients, steps = history
        gradients = at.momentum * gradients + (1 - at.momentum) * (g * g)
        step = g * jnp.sqrt((steps + self.delta) / (gradients + self.delta))
        steps = at.momentum * steps + (1 - at.momentum) * (step * step)
        return at.rate * step, (gradients, steps)
