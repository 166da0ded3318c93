"""The solver RMSProp."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jnp
from ..schema import param
from .base import Numbers, Solver, zeros_like


class RMSProp(Solver, type="RMSProp"):
    """h <- rms_decay h + (1 - rms_decay) g^2;  w <- w - lr g / (sqrt(h) + delta).

    Source: BVLC/caffe src/caffe/solvers/rmsprop_solver.cpp; Tieleman and Hinton 2012.  Differs: nothing.
    """

    slots = ("squares",)
    rms_decay: float = param("Decay rate of the mean square.", default=0.99, at_least=0, at_most=1)
    delta: float = param("Avoids division by zero.", default=1e-8, at_least=0)

    def init(self, w: Array) -> Any:
        return (zeros_like(w),)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        h = self.rms_decay * history[0] + (1 - self.rms_decay) * (g * g)
        return at.rate * (g / (jnp.sqrt(h) + self.delta)), (h,)
