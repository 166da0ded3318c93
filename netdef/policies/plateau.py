"""The policy "plateau"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lazy import Array, jnp
from ..schema import param
from .base import Monitor, Policy, Setting


class Plateau(Policy, name="plateau"):
    """base_lr gamma^k, where k increases whenever the monitored value stops improving.

    With `plateau_winsize`, the training loss averaged over `average_loss` iterations is monitored: step k occurs when
    it has not reached a new minimum for plateau_winsize[k] iterations, and there are as many steps as values.  With
    `plateau { monitor: "accuracy" patience: 3 }`, a test output is monitored, and a step occurs after `patience`
    consecutive tests without improvement; `min_lr` is the lower bound.
    Source: intel/caffe sgd_solver.cpp.  Differs: the form with `plateau` is an addition.
    """

    gamma: float = param("Factor of each step.", at_least=0)
    plateau_winsize: tuple[int, ...] = param("Iterations without a new minimum before each step.", default=(), above=0)
    plateau: Monitor | None = param("Test output to monitor instead of the training loss.", default=None)

    @property
    def monitor(self) -> Monitor | None:
        return self.plateau

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        return at.base_lr * jnp.float32(self.gamma) ** jnp.asarray(state.get("step", 0), jnp.float32)

    def initial(self) -> dict[str, Array]:
        return {"best": jnp.float32(jnp.nan), "since": jnp.int32(0), "step": jnp.int32(0)}

    def observe(self, state: Mapping[str, Array], iteration: Array, loss: Array) -> Mapping[str, Array]:
        if self.plateau is not None or not self.plateau_winsize:
            return state
        lower = ~(loss >= state["best"])  # true in the first iteration, when the best is nan
        best, since = jnp.where(lower, loss, state["best"]), jnp.where(lower, iteration, state["since"])
        windows = jnp.asarray(self.plateau_winsize, jnp.int32)
        left = state["step"] < len(self.plateau_winsize)
        over = left & (iteration >= since + windows[jnp.minimum(state["step"], len(self.plateau_winsize) - 1)])
        return {"best": best, "since": jnp.where(over, iteration, since), "step": state["step"] + over}

    def tested(self, state: Mapping[str, Array], iteration: int, outputs: Mapping[str, Any]) -> Mapping[str, Array]:
        watched = self.plateau
        if watched is None or watched.monitor not in outputs:
            return state
        value, best = float(outputs[watched.monitor]), float(state["best"])
        if watched.better(value, None if best != best else best):
            return {"best": jnp.float32(value), "since": jnp.int32(0), "step": state["step"]}
        waited = int(state["since"]) + 1  # tests without improvement
        if waited < watched.patience:
            return {**state, "since": jnp.int32(waited)}
        return {"best": state["best"], "since": jnp.int32(0), "step": state["step"] + 1}

    def change(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> str:
        return "plateau: the learning rate is reduced" if int(after["step"]) > int(before["step"]) else ""
