"""The solver Nesterov."""

from __future__ import annotations

from typing import Any

from ..lazy import Array
from .base import Momentum, Numbers, zeros_like


class Nesterov(Momentum, type="Nesterov"):
    """V' <- momentum V + lr g;  w <- w - ((1 + momentum) V' - momentum V): Nesterov's accelerated gradient.

    Source: BVLC/caffe src/caffe/solvers/nesterov_solver.cpp.  Differs: nothing.
    """

    slots = ("momentum",)

    def init(self, w: Array) -> Any:
        return (zeros_like(w),)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        v = at.momentum * history[0] + at.rate * g
        return (1 + at.momentum) * v - at.momentum * history[0], (v,)
