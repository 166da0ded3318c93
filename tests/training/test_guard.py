"""A step with a loss that is not finite changes nothing but the reason for it, on every platform. One with such a
gradient changes nothing on a CPU; elsewhere the elements that are not finite count as 0, and it is the last step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import ACCELERATORS, form, program

import netdef
from netdef.language.errors import NetdefError
from netdef.lazy import lax
from netdef.training.params import arrays_of, partition_of
from netdef.training.prepare import first_state
from netdef.training.step import BAD_GRADIENT, BAD_LOSS, GOOD, make_single, make_step

__all__ = ["form"]

NET = """
layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: [4, 2, 6, 6] } shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 bias_term: false weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { scale_bias: true } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "root" type: "Power" bottom: "ip" top: "root" power_param { power: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "root" bottom: "label" top: "loss" }
solver { base_lr: 0.1 momentum: 0.9 max_iter: 5 average_loss: 2 ema: 0.9 }
"""


def started():
    net = netdef.load(NET, phase="TRAIN")
    parts, model = partition_of(net), netdef.compile(net)
    step = make_single(make_step(net, net.solver, parts, jax.random.key(0)))
    state = first_state(net.solver, model, parts)
    return step, state, arrays_of(model, parts.fixed)


def batch(value=1.0):
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 2, 6, 6)).astype(np.float32)
    x[0, 0, 0, 0, 0, 0] = value
    return {"x": jnp.asarray(x), "label": jnp.zeros((1, 1, 4))}


def copied(tree):
    return jax.tree.map(lambda a: np.array(a, copy=True), tree)


@pytest.mark.usefixtures("form")
def test_a_bad_loss_keeps_the_whole_state_and_later_steps_do_too():
    step, state, fixed = started()
    state, _ = step(state, fixed, batch(), jnp.int32(1))
    before = copied(state)
    for given in (np.nan, 1.0):
        state, metrics = step(state, fixed, batch(given), jnp.int32(1))
        assert int(metrics.bad) == BAD_LOSS and int(metrics.iteration) == 1
        jax.tree.map(np.testing.assert_array_equal, copied(state), before._replace(bad=np.int32(BAD_LOSS)))


LINEAR = """
layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: [4, 3] } shape { dim: [4, 2] } } }
layer { name: "hidden" type: "InnerProduct" bottom: "x" top: "hidden"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 1 } } }
layer { name: "root" type: "Power" bottom: "hidden" top: "root" power_param { power: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "root" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
SOLVERS = (
    "base_lr: 0.01 momentum: 0.9 ema: 0.9",
    'base_lr: 0.01 type: "Adam" momentum: 0.9 clip_gradients: 0.5 weight_decay: 0.1',
    'base_lr: 0.01 type: "LAMB" momentum: 0.9 iter_size: 2',
    'base_lr: 0.01 type: "optax.adafactor" optax_param { min_dim_size_to_factor: 2 }',
)


def linear(solver):
    """The step of a net with a root, whose slope at 0 is infinite, its first state, and its batch."""
    net = netdef.load(LINEAR + f"solver {{ {solver} max_iter: 9 }}", phase="TRAIN")
    parts = partition_of(net)
    step = make_single(make_step(net, net.solver, parts, jax.random.key(0)))
    made = np.random.default_rng(1)
    shape = (1, net.solver.iter_size, 4)
    given = {"x": made.uniform(0, 0.1, (*shape, 3)), "t": made.normal(size=(*shape, 2))}
    names = [spec.owner.layer for spec in parts.trained]
    return step, first_state(net.solver, netdef.compile(net), parts), jax.tree.map(jnp.float32, given), names


def without_slope(state, names):
    """A state with a hidden value of exactly 0 for every record."""
    trained = [np.array(w) for w in state.trained]
    for i in (names.index("hidden"), names.index("hidden") + 1):
        trained[i][2] = 0
    return state._replace(trained=tuple(map(jnp.asarray, trained)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_bad_gradient_of_a_finite_loss_is_the_last_step(solver, monkeypatch):
    good = {}
    for platform in ("cpu", "others"):
        if platform == "others":
            monkeypatch.setattr(lax, "platform_dependent", lambda *arrays, default, **others: default(*arrays))
        step, state, given, names = linear(solver)
        state, metrics = step(state, (), given, jnp.int32(1))
        assert int(metrics.bad) == GOOD
        good[platform] = copied(state)
        state = without_slope(state, names)
        before = copied(state)
        state, metrics = step(state, (), given, jnp.int32(1))
        first = copied(state)
        assert int(metrics.bad) == BAD_GRADIENT + names.index("hidden") + 1
        assert int(metrics.iteration) == 1 and np.isfinite(float(metrics.loss))
        stays = before._replace(bad=np.int32(metrics.bad))
        if platform == "others":
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
            assert not np.array_equal(first.trained[names.index("ip")], before.trained[names.index("ip")])
            stays = first._replace(iteration=before.iteration)
        jax.tree.map(np.testing.assert_array_equal, first, stays)
        state, metrics = step(state, (), jax.tree.map(jnp.zeros_like, given), jnp.int32(1))
        jax.tree.map(np.testing.assert_array_equal, copied(state), first)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), *good.values())


@pytest.mark.usefixtures("form")
def test_the_array_with_a_bad_gradient_is_named(tmp_path):
    path = tmp_path / "root.net"
    data = """layer { name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param { shape { dim: [4, 3] }
              shape { dim: [4, 2] } data_filler { value: 0 } data_filler { value: 1 } } }"""
    net = data + LINEAR[LINEAR.index('layer { name: "hidden"') :].replace("value: 1", "value: 0")
    path.write_text(net + "solver { base_lr: 0.1 max_iter: 9 }")
    what = "The gradient is not finite at iteration 0. The first non-finite gradient is the one of parameter 1 of layer"
    with pytest.raises(NetdefError, match=f"{what} `hidden`"):
        netdef.train(path, output=tmp_path / "run")


@pytest.mark.usefixtures("form")
def test_a_good_step_moves_everything():
    step, state, fixed = started()
    before = copied(state)
    state, metrics = step(state, fixed, batch(), jnp.int32(1))
    assert int(metrics.bad) == GOOD and int(state.iteration) == 1
    for name in ("trained", "kept", "history"):
        assert not any(
            np.array_equal(a, b)
            for a, b in zip(*map(jax.tree.leaves, (getattr(state, name), getattr(before, name))), strict=True)
            if a.size > 1
        )


@pytest.mark.parametrize("platform", ["cpu", *ACCELERATORS])
def test_only_on_a_cpu_the_update_waits(platform):
    step, state, fixed = started()
    own = program(step, state, fixed, batch(), jnp.int32(1), platform=platform)
    if platform in ACCELERATORS:
        assert own.count("stablehlo.convolution") == 2 and "stablehlo.while" not in own
        assert "optimization_barrier" not in own
        assert own.count("LayoutConstraint") == (platform == "cuda")  # of the gradient of the only filter
    # a choice between platforms is two cases of constants; a branch would be one more
    assert own.count("stablehlo.case") % 2 == 0
