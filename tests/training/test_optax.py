"""Optimizers and schedules of optax by name: the results of optax, what is refused, and why."""

from __future__ import annotations

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from tiny_net import variant

import netdef
from netdef.cli import main
from netdef.interop import snapshot
from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.registry import Refusal
from netdef.solvers import optax_optimizers
from netdef.solvers.base import SOLVERS
from netdef.solvers.decode import decode_solver

SOLVER = 'solver { base_lr: 0.1 momentum: 0.9 weight_decay: 0.001 lr_policy: "step" gamma: 0.5 stepsize: 10 max_iter: 20'
PLAIN = (
    ('layer { name: "bn" type: "BatchNorm" bottom: "ip1" top: "ip1" batch_norm_param { scale_bias: true } }', ""),
    ('layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.3 } }', ""),
    ("shuffle: true", "shuffle: false"),
    ("iter_size: 2 ", ""),
    ("average_loss: 3", "average_loss: 1"),
    ("display: 4", "display: 1"),
)
FEW = {"solver.test_interval": 0, "solver.snapshot": 0}


def of(tiny, name, solver, *changes):
    """The net without what is random, and with another solver."""
    return variant(tiny, name, *PLAIN, (SOLVER, f"solver {{ {solver} max_iter: 6"), *changes)


def loss_of(arrays, x, y):
    (w1, b1), (w2, b2) = arrays["ip1"], arrays["ip2"]
    z = jax.nn.relu(x @ w1.T + b1) @ w2.T + b2
    return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()


def by_hand(tiny, path, optimizer, iterations=6):
    """The losses and weights of a loop with optax."""
    with h5py.File(tiny.parent / "train.h5") as file:
        x, y = file["x"][:], file["label"][:].astype(int)
    arrays = {n: [jnp.asarray(a) for a in many] for n, many in netdef.compile(path, seed=3).get_weights().items()}
    state, losses = optimizer.init(arrays), []

    @jax.jit
    def step(arrays, state, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(arrays, x, y)
        updates, state = optimizer.update(gradients, state, arrays)
        return optax.apply_updates(arrays, updates), state, loss

    for t in range(iterations):
        rows = np.arange(8 * t, 8 * t + 8) % 60
        arrays, state, loss = step(arrays, state, x[rows], y[rows])
        losses.append(float(loss))
    return losses, arrays


def agree(tiny, path, folder, optimizer):
    result = netdef.train(path, output=folder, set=FEW)
    losses, arrays = by_hand(tiny, path, optimizer)
    np.testing.assert_allclose([record["loss"] for record in result.history], losses, rtol=1e-5)
    for name, many in arrays.items():
        for a, b in zip(result.model.get_weights()[name], many, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


COSINE = "init_value: 0.01 peak_value: 0.1 warmup_steps: 2 decay_steps: 5"
CASES = {
    "adafactor": ("min_dim_size_to_factor: 2 momentum: 0.5", {"min_dim_size_to_factor": 2, "momentum": 0.5}),
    "lion": ("b1: 0.8", {"b1": 0.8}),
    "lamb": ("weight_decay: 0.1", {"weight_decay": 0.1}),
    "adamw": ("nesterov: true weight_decay: 0.2", {"nesterov": True, "weight_decay": 0.2}),
    "contrib.muon": ('ns_steps: 3 preconditioning: "aol"', {"ns_steps": 3, "preconditioning": "aol"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_that_of_a_loop_with_optax(tiny, tmp_path, name):
    written, given = CASES[name]
    schedule = optax.warmup_cosine_decay_schedule(0.01, 0.1, 2, 5)
    policy = f'lr_policy: "optax.warmup_cosine_decay_schedule" optax_schedule_param {{ {COSINE} }}'
    path = of(tiny, f"plain_{name}", f'type: "optax.{name}" optax_param {{ {written} }} {policy}')
    factory = getattr(optax.contrib if name.startswith("contrib") else optax, name.removeprefix("contrib."))
    agree(tiny, path, tmp_path / "run", factory(learning_rate=schedule, **given))
