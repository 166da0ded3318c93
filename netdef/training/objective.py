"""The loss of an iteration as a value and a function, for optimizers that need more of it than its gradient.

It is that of all batches of the iteration, with the regularization that is added to the gradient, so that the gradient
of the function is the one that the optimizer receives if nothing clips it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..lazy import Array
from ..solvers.base import Moving, Objective, Solver

Evaluated = Callable[[Any], Any]  # moving arrays -> (mean loss, sum of the gradients of the batches, ...)


def objective_of(solver: Solver, value: Array, evaluated: Evaluated, names: Sequence[str]) -> Objective | None:
    """What a solver needs of the loss: `value`, and what `evaluated` computes as a function of the arrays by name."""
    if not solver.needs:
        return None
    computed = differentiable(evaluated, solver.iter_size)
    again = lambda arrays: computed(tuple(arrays[name] for name in names))
    return Objective(value, again if "function" in solver.needs else None)


def differentiable(evaluated: Evaluated, batches: int) -> Callable[[Any], Array]:
    """The loss of some batches as a function whose gradient is that of `evaluated`, which sums it over the batches."""

    @jax.custom_vjp
    def loss(moving: Any) -> Array:
        return evaluated(moving)[0]

    def forward(moving: Any) -> tuple[Array, Any]:
        value, gradients, *_ = evaluated(moving)
        return value, gradients

    def backward(gradients: Any, cotangent: Array) -> tuple[Any]:
        return (jax.tree.map(lambda g: g * (cotangent / batches), gradients),)

    loss.defvjp(forward, backward)
    return loss


def regularized(
    solver: Solver,
    objective: Objective | None,
    moving: Mapping[str, Moving],
    decays: Mapping[str, Array],
    held: Mapping[str, Array],
) -> Objective | None:
    """The objective with the weight decay that is added to the gradients of arrays; a function of what the solver sees
    of the arrays, which are `held` with the rows that pad them."""
    if objective is None:
        return None
    of = jnp.abs if solver.regularization_type == "L1" else lambda w: 0.5 * w * w

    def penalty(arrays: Mapping[str, Array]) -> Array:
        return sum((decay * jnp.sum(of(arrays[name])) for name, decay in decays.items()), jnp.float32(0))

    def again(arrays: Mapping[str, Array]) -> Array:
        assert objective.of is not None
        return objective.of({name: padded(array, held[name]) for name, array in arrays.items()}) + penalty(arrays)

    value = objective.value + penalty({name: each.w for name, each in moving.items()})
    return Objective(value, again if objective.of else None)


def padded(array: Array, like: Array) -> Array:
    """An array with rows of zeros, as many as another one has."""
    if array.shape == like.shape:
        return array
    return jnp.pad(array, [(0, len(like) - len(array))] + [(0, 0)] * (like.ndim - 1))
