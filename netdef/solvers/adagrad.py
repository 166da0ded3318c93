"""The solver AdaGrad."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jnp
from ..schema import param
from .base import Numbers, Solver, zeros_like


class AdaGrad(Solver, type="AdaGrad"):
    """h <- h + g^2;  w <- w - lr g / (sqrt(h) + delta): a learning rate for each weight, which falls with its updates.

    Source: BVLC/caffe src/caffe/solvers/adagrad_solver.cpp; Duchi et al. 2011.  Differs: nothing.
    """

    slots = ("squares",)
    delta: float = param("Avoids division by zero.", default=1e-8, at_least=0)

    def init(self, w: Array) -> Any:
        return (zeros_like(w),)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        h = history[0] + g * g
        return at.rate * (g / (jnp.sqrt(h) + self.delta)), (h,)
