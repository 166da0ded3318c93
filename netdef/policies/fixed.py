"""The policy "fixed"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from .base import Policy, Setting


class Fixed(Policy, name="fixed"):
    """The learning rate is always base_lr.  Source: GetLearningRate.  Differs: nothing."""

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        return jnp.float32(at.base_lr) + 0 * jnp.asarray(iteration, jnp.float32)
