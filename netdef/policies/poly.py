"""The policy "poly"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Poly(Policy, name="poly"):
    """(base_lr - min_lr) (1 - t / max_iter)^power + min_lr: a decay to min_lr, by default 0, at the end of the run.

    Source: GetLearningRate; min_lr is NVIDIA's.  Differs: after max_iter the learning rate stays at min_lr.
    """

    power: float = param("Exponent of the decay; 1 is linear.")

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        left = jnp.maximum(1 - jnp.asarray(iteration, jnp.float32) / at.max_iter, 0.0)
        return (at.base_lr - at.min_lr) * left**self.power + at.min_lr
