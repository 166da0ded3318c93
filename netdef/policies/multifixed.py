"""The policy "multifixed"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class MultiFixed(Policy, name="multifixed"):
    """The rates of stagelr, each up to and with its iteration of stageiter; the last one stays.  base_lr is not used.

    Source: intel/caffe sgd_solver.cpp.  Differs: where the lists differ in length the shorter one counts.
    """

    stagelr: tuple[float, ...] = param("Learning rate of each stage.", at_least=0)
    stageiter: tuple[int, ...] = param("Last iteration of each stage.", at_least=0)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        n = min(len(self.stagelr), len(self.stageiter))
        if n == 0:
            return jnp.float32(at.base_lr)
        passed = jnp.asarray(iteration) > jnp.asarray(self.stageiter[:n], jnp.int32)
        # the first stage that is not over, as Intel's loop finds it
        stage = jnp.where(jnp.all(passed), n - 1, jnp.argmin(passed))
        return jnp.asarray(self.stagelr[:n], jnp.float32)[stage]
