"""The policy "poly"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Poly(Policy, name="poly"):
    """(base_lr - min_lr) (1 - t / max_iter)^power + min_lr: to the floor, 0 where none is given, at the end of the run.

    Source: GetLearningRate; the floor is NVIDIA's.  Differs: past max_iter the rate stays where it is.
    """

    power: float = param("Power of the fall; 1 is a straight line.")

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        left = jnp.maximum(1 - jnp.asarray(iteration, jnp.float32) / at.max_iter, 0.0)
        return (at.base_lr - at.min_lr) * left**self.power + at.min_lr
