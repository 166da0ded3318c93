"""The policy "step"."""

from __future__ import annotations

from collections.abc import Mapping

from ..language.source import Span
from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Step(Policy, name="step"):
    """base_lr gamma^floor(t / stepsize): the learning rate is multiplied by gamma every stepsize iterations.

    Source: GetLearningRate.  Differs: nothing."""

    gamma: float = param("Factor of each step.", at_least=0)
    stepsize: int = param("Iterations between two steps.", above=0)

    def steps(self) -> list[tuple[int, Span | None]]:
        return [(self.stepsize, self.span_of("stepsize"))]  # the first of them

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        return at.base_lr * jnp.float32(self.gamma) ** (jnp.asarray(iteration) // self.stepsize).astype(jnp.float32)
