"""The policy "inv"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Inv(Policy, name="inv"):
    """base_lr (1 + gamma t)^-power: a decay that slows down.

    Source: GetLearningRate.  Differs: nothing."""

    gamma: float = param("Speed of the decay.", at_least=0)
    power: float = param("Exponent of the decay.")

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        return at.base_lr * (1 + jnp.float32(self.gamma) * jnp.asarray(iteration, jnp.float32)) ** -self.power
