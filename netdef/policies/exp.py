"""The policy "exp"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Exp(Policy, name="exp"):
    """base_lr gamma^t: the rate falls by the same factor in every iteration.

    Source: GetLearningRate.  Differs: nothing."""

    gamma: float = param("Factor of each iteration.", at_least=0)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        return at.base_lr * jnp.float32(self.gamma) ** jnp.asarray(iteration, jnp.float32)
