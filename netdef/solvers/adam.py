"""The solver Adam."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jnp
from ..schema import param
from .base import Momentum, Numbers, zeros_like


class Adam(Momentum, type="Adam"):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) +
    delta).

    b1 is `momentum` (0 by default, as in Caffe), b2 is `momentum2`, t counts from 1.  Weight decay is included in g.
    Source: BVLC/caffe src/caffe/solvers/adam_solver.cpp; Kingma and Ba 2015, where the bias correction also applies to
    delta.  Differs: nothing.
    """

    slots = ("m", "v")
    momentum2: float = param("Decay rate of the second moments.", default=0.999, at_least=0, at_most=1)
    delta: float = param("Avoids division by zero.", default=1e-8, at_least=0)

    def init(self, w: Array) -> Any:
        return zeros_like(w), zeros_like(w)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        m, v = history
        m = at.momentum * m + (1 - at.momentum) * g
        v = self.momentum2 * v + (1 - self.momentum2) * (g * g)
        t = jnp.asarray(at.iteration + 1, jnp.float32)
        correction = jnp.sqrt(1 - self.momentum2**t) / (1 - at.momentum**t)
        return at.rate * correction * (m / (jnp.sqrt(v) + self.delta)), (m, v)
