"""The solver SGD."""

from __future__ import annotations

from typing import Any

from ..lazy import Array
from .base import Momentum, Numbers, zeros_like


class SGD(Momentum, type="SGD"):
    """V <- momentum V + lr g;  w <- w - V: gradient descent with momentum.

    V includes the learning rate, so a change of the learning rate affects only the gradients after it.
    Source: BVLC/caffe src/caffe/solvers/sgd_solver.cpp.  Differs: nothing.
    """

    slots = ("momentum",)

    def init(self, w: Array) -> Any:
        return (zeros_like(w),)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        v = at.momentum * history[0] + at.rate * g
        return v, (v,)
