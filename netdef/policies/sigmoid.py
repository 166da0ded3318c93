"""The policy "sigmoid"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Sigmoid(Policy, name="sigmoid"):
    """base_lr / (1 + exp(-gamma (t - stepsize))): with a negative gamma, a smooth decay around iteration stepsize.

    Source: GetLearningRate.  Differs: a negative gamma is allowed; Caffe rejects it, although the decay requires one.
    """

    gamma: float = param("Steepness; negative for a decay.")
    stepsize: int = param("Iteration with half of base_lr.", above=0)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        t = jnp.asarray(iteration, jnp.float32) - self.stepsize
        return at.base_lr * (1 / (1 + jnp.exp(-self.gamma * t)))
