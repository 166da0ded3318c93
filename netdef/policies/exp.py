"""The policy "exp"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Exp(Policy, name="exp"):
    """base_lr gamma^t: the learning rate is multiplied by gamma in every iteration.

    Source: GetLearningRate.  Differs: nothing."""

    gamma: float = param("Factor per iteration.", at_least=0)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        return at.base_lr * jnp.float32(self.gamma) ** jnp.asarray(iteration, jnp.float32)
