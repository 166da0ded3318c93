"""The policy "multistep"."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

from ..language.source import Span
from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class MultiStep(Policy, name="multistep"):
    """base_lr gamma^k, where k is the number of values of stepvalue that have been reached.

    As in Caffe, the values are reached in order and at most one per iteration: a value that is not greater than the
    preceding one counts one iteration later.  Source: GetLearningRate.  Differs: nothing.
    """

    gamma: float = param("Factor of each step.", at_least=0)
    stepvalue: tuple[int, ...] = param("Iterations of the steps.", default=(), at_least=0)

    def reached(self) -> list[int]:
        """The iterations at which the learning rate actually changes."""
        found: list[int] = []
        for value in self.stepvalue:
            found.append(max(value, found[-1] + 1 if found else 0))
        return found

    def steps(self) -> list[tuple[int, Span | None]]:
        return [(value, self.span_of("stepvalue", i)) for i, value in enumerate(self.stepvalue)]

    def steps_taken(self, iteration: int) -> int:
        return bisect.bisect_left(sorted(self.stepvalue), iteration)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        passed = jnp.asarray(self.reached(), jnp.int32) <= iteration
        return at.base_lr * jnp.float32(self.gamma) ** jnp.sum(passed).astype(jnp.float32)
