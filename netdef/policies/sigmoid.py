"""The policy "sigmoid"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Sigmoid(Policy, name="sigmoid"):
    """base_lr / (1 + exp(-gamma (t - stepsize))): with a negative gamma a smooth fall around iteration stepsize.

    Source: GetLearningRate, in which a gamma below 0 is refused although the fall needs one.
    Differs: any gamma is taken.
    """

    gamma: float = param("Steepness; negative for a rate that falls.")
    stepsize: int = param("Iteration at which half of base_lr is reached.", above=0)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        t = jnp.asarray(iteration, jnp.float32) - self.stepsize
        return at.base_lr * (1 / (1 + jnp.exp(-self.gamma * t)))
