"""Runs with optimizers and schedules of optax: the results of a loop with optax, resumed, and on several devices."""

from __future__ import annotations

from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from tiny_net import variant

import netdef
from netdef import NetdefError
from netdef.interop import snapshot
from netdef.interop.solver_state import export_snapshot
from netdef.sweep import batched_runs
from netdef.sweep import sweep as sweeps

SOLVER = (
    'solver { base_lr: 0.1 momentum: 0.9 weight_decay: 0.001 lr_policy: "step" gamma: 0.5 stepsize: 10 max_iter: 20'
)
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


def by_hand(tiny, path, optimizer, iterations=6, further=(), decay=0.0):
    """The losses and weights of a loop with optax; `further` are arguments of its updates, `decay` that of the loss."""
    with h5py.File(tiny.parent / "train.h5") as file:
        x, y = file["x"][:], file["label"][:].astype(int)
    arrays = {n: [jnp.asarray(a) for a in many] for n, many in netdef.compile(path, seed=3).get_weights().items()}
    optimizer = optax.with_extra_args_support(optimizer)
    state, losses = optimizer.init(arrays), []

    @jax.jit
    def step(arrays, state, x, y):
        squares = lambda arrays: sum(jnp.sum(a * a) for a in jax.tree.leaves(arrays))
        of = lambda arrays: loss_of(arrays, x, y) + decay / 2 * squares(arrays)
        value, gradients = jax.value_and_grad(of)(arrays)
        known = {"value": value, "grad": gradients, "value_fn": of, "obj_fn": of}
        updates, state = optimizer.update(gradients, state, arrays, **{name: known[name] for name in further})
        return optax.apply_updates(arrays, updates), state, loss_of(arrays, x, y)

    for t in range(iterations):
        rows = np.arange(8 * t, 8 * t + 8) % 60
        arrays, state, loss = step(arrays, state, x[rows], y[rows])
        losses.append(float(loss))
    return losses, contrib.schedule_free_eval_params(state, arrays) if hasattr(state, "z") else arrays


def agree(tiny, path, folder, optimizer, set=FEW, **options):
    result = netdef.train(path, output=folder, set=set)
    losses, arrays = by_hand(tiny, path, optimizer, **options)
    np.testing.assert_allclose([record["loss"] for record in result.history], losses, rtol=1e-5)
    for name, many in arrays.items():
        for a, b in zip(result.model.get_weights()[name], many, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
    return result


COSINE = "init_value: 0.01 peak_value: 0.1 warmup_steps: 2 decay_steps: 5"


def test_a_run_is_a_loop_with_optax(tiny, tmp_path):
    schedule = optax.warmup_cosine_decay_schedule(0.01, 0.1, 2, 5)
    policy = f'lr_policy: "optax.warmup_cosine_decay_schedule" optax_schedule_param {{ {COSINE} }}'
    given = "min_dim_size_to_factor: 2 momentum: 0.5 weight_decay_rate: 0.01"
    path = of(tiny, "plain", f'type: "optax.adafactor" optax_param {{ {given} }} {policy} clip_gradients: 0.2')
    clip = optax.clip_by_global_norm(0.2)
    optimizer = optax.adafactor(schedule, min_dim_size_to_factor=2, momentum=0.5, weight_decay_rate=0.01)
    agree(tiny, path, tmp_path / "run", optax.chain(clip, optimizer))


MULTIPLIERS = (
    ('name: "ip2" type: "InnerProduct"', 'name: "ip2" type: "InnerProduct" param { lr_mult: 2 decay_mult: 0 }'),
)


def test_multipliers_of_a_parameter_are_those_of_its_optimizer(tiny, tmp_path):
    """`decay_mult` multiplies the decay of the optimizer, whether that is given in its block or not."""
    path = of(tiny, "multipliers", 'type: "optax.lion" base_lr: 0.01', *MULTIPLIERS)
    labels = {"ip1": "usual", "ip2": ["doubled", "usual"]}
    optimizer = optax.multi_transform({"usual": optax.lion(0.01), "doubled": optax.lion(0.02, weight_decay=0)}, labels)
    agree(tiny, path, tmp_path / "run", optimizer)


def test_a_run_resumes_bit_for_bit(tiny, tmp_path):
    """With a parameter that is a number, dropout, moving averages, two batches an iteration, and a stage in which a layer is frozen."""
    policy = f'lr_policy: "optax.warmup_cosine_decay_schedule" optax_schedule_param {{ {COSINE} }}'
    rest = 'ema: 0.9 stages { until: 3 freeze: "ip1" } stages { } weight_decay: 0.01'
    optimizer = 'type: "optax.adafactor" optax_param { min_dim_size_to_factor: 2 }'
    scalar = (
        '"ReLU" bottom: "ip1" top: "ip1"',
        '"PReLU" bottom: "ip1" top: "ip1" prelu_param { channel_shared: true }',
    )
    path = variant(tiny, "resumed", scalar, (SOLVER, f"solver {{ {optimizer} {policy} {rest} max_iter: 20"))
    whole = netdef.train(path, output=tmp_path / "whole", max_iter=6, set=FEW)
    first = netdef.train(path, output=tmp_path / "parts", max_iter=4, set=FEW)
    names = [name for name in snapshot.load(first.snapshot).arrays if name.startswith("ip1.0/")]
    assert any(name.endswith("/count") for name in names) and "ip1.0/ema" in names
    with pytest.raises(NetdefError, match="cannot contain the state of optax.adafactor"):
        export_snapshot(first.snapshot, tmp_path / "own.solverstate")
    parts = netdef.train(path, output=tmp_path / "parts", max_iter=6, set=FEW, resume=True)
    for name, many in whole.model.get_weights().items():
        for a, b in zip(many, parts.model.get_weights()[name], strict=True):
            np.testing.assert_array_equal(a, b)


KINDS = {  # fields and an optimizer, the arguments of its update
    "lbfgs": ("weight_decay: 0.1", optax.lbfgs(1.0, memory_size=3), ("value", "grad", "value_fn")),
    "noisy_sgd": ("", optax.noisy_sgd(1.0, key=3), ()),
    "contrib.sophia": ("", contrib.sophia(1.0, gamma=2.0), ("obj_fn",)),
    "contrib.schedule_free_sgd": ("", contrib.schedule_free_sgd(1.0), ()),
}
ARGUMENTS = {"lbfgs": "memory_size: 3", "contrib.sophia": "gamma: 2"}


@pytest.mark.parametrize("name", KINDS)
def test_optimizers_that_are_more_than_one_of_each_array(tiny, tmp_path, name):
    """A run is a loop with optax, and bit for bit the same if it is resumed; it saves the weights that are tested."""
    fields, optimizer, further = KINDS[name]
    given = f'type: "optax.{name}" base_lr: 1 {fields} optax_param {{ {ARGUMENTS.get(name, "")} }}'
    path = of(tiny, name, given)
    decay = 0.1 if fields else 0.0
    saves = FEW | {"solver.snapshot": 4}
    whole = agree(tiny, path, tmp_path / "whole", optimizer, set=saves, further=further, decay=decay)
    rest = netdef.train(path, output=tmp_path / "rest", set=FEW, resume=tmp_path / "whole/iter_000004")
    saved = snapshot.weights(rest.snapshot)
    for layer, many in whole.model.get_weights().items():
        for a, b, c in zip(many, rest.model.get_weights()[layer], saved.get(layer, many), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


def test_arrays_that_a_stage_freezes_are_not_given_to_the_optimizer(tiny, tmp_path):
    solver = 'type: "optax.contrib.momo" base_lr: 1 iter_size: 2 clip_value: 10'
    frozen = of(tiny, "frozen", f'{solver} freeze: "ip1"')
    staged = of(tiny, "staged", f'{solver} stages {{ until: 4 freeze: "ip1" }} stages {{ }}')
    few = FEW | {"solver.cache_frozen": False}
    one, other = (netdef.train(path, output=tmp_path / path.stem, set=few) for path in (frozen, staged))
    losses = [[record["loss"] for record in result.history] for result in (one, other)]
    np.testing.assert_allclose(losses[0][:5], losses[1][:5], rtol=1e-5)
    assert losses[0][5] != losses[1][5]


def test_runs_of_a_sweep_train_together(tiny, tmp_path, monkeypatch):
    calls = []
    shared = batched_runs.train_batched
    monkeypatch.setattr(sweeps, "train_batched", lambda runs, *rest: calls.append(len(runs)) or shared(runs, *rest))
    path = of(tiny, "swept", 'type: "optax.lion" base_lr: 0.1')
    axes = {"solver.base_lr": [0.01, 0.001], "solver.weight_decay": [0.0, 0.5]}
    short = FEW | {"solver.snapshot_after_train": False}
    found = sweeps.sweep(path, axes, output=tmp_path / "s", set=short)
    assert calls == [4]
    row = found.rows[3]
    alone = netdef.train(path, output=tmp_path / "alone", set=short | {name: row[name] for name in axes})
    losses = [record["loss"] for record in alone.history if record["phase"] == "train"]
    assert row["loss"] == pytest.approx(losses[-1], rel=1e-4)


# Several devices


FACES = """
layer { name: "d" type: "ArrayData" top: "x" top: "label" array_data_param { source: "faces.npz" batch_size: 16 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 43 shard: true weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 0.05 max_iter: 4 display: 1 type: "optax.%s" optax_param { %s } }
"""


def losses(path, folder, devices, **options):
    result = netdef.train(path, output=Path(folder), devices=devices, **options)
    shapes = {name: array.shape for name, array in snapshot.load(result.snapshot).arrays.items()}
    return np.asarray([record["loss"] for record in result.history]), shapes


@pytest.mark.parametrize(
    ("optimizer", "arguments", "kept"),
    [
        ("adafactor", "min_dim_size_to_factor: 2 momentum: 0.9", {(43, 8), (43,), (8,), (1,), ()}),
        ("adam", "", {(43, 8), (43,), ()}),
        ("contrib.prodigy", "estim_lr0: 0.1", {(43, 8), (43,)}),
    ],
)
def test_rows_that_pad_the_classes_of_several_devices_change_nothing(eight, tmp_path, optimizer, arguments, kept):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "faces.npz", x=random.normal(size=(64, 8)).astype(np.float32), label=random.integers(0, 43, 64))
    path = tmp_path / "faces.net"
    path.write_text(FACES % (optimizer, arguments))
    one, shapes = eight(losses, path, tmp_path / "one", None)
    several, of_several = eight(losses, path, tmp_path / "run", 8, max_iter=2)
    assert shapes == of_several and {s for name, s in shapes.items() if name.startswith("ip.")} == kept
    rest, _ = eight(losses, path, tmp_path / "run", 2, resume=True)
    np.testing.assert_allclose(several, one[:2], rtol=1e-5)
    np.testing.assert_allclose(rest[-2:], one[2:], rtol=1e-5)
