"""The policy "multifixed"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class MultiFixed(Policy, name="multifixed"):
    """The learning rates of stagelr, each up to and including its iteration of stageiter; the last one until the end of
    the run.  base_lr is not used.

    Source: intel/caffe sgd_solver.cpp.  Differs: if the lists differ in length, the longer one is truncated.
    """

    needs_base_lr = False

    stagelr: tuple[float, ...] = param("Learning rate of each stage.", at_least=0)
    stageiter: tuple[int, ...] = param("Last iteration of each stage.", at_least=0)

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        n = min(len(self.stagelr), len(self.stageiter))
        if n == 0:
            return jnp.float32(at.base_lr)
        passed = jnp.asarray(iteration) > jnp.asarray(self.stageiter[:n], jnp.int32)
        # the first stage that has not ended, as in Intel's loop
        stage = jnp.where(jnp.all(passed), n - 1, jnp.argmin(passed))
        return jnp.asarray(self.stagelr[:n], jnp.float32)[stage]
