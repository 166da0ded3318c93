"""A step with a loss or gradient that is not finite changes nothing but the reason for it, on every platform."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import ACCELERATORS, form, program

import netdef
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


@pytest.mark.usefixtures("form")
def test_a_bad_gradient_of_a_finite_loss_is_recognized():
    step, state, fixed = started()
    # scores of exactly 0 in the last layer: the root has an infinite slope there
    state = state._replace(trained=tuple(jnp.zeros_like(w) for w in state.trained))
    text = NET.replace("power: 2 }", "power: 0.5 }")
    net = netdef.load(text, phase="TRAIN")
    step = make_single(make_step(net, net.solver, partition_of(net), jax.random.key(0)))
    before = copied(state)
    state, metrics = step(state, fixed, batch(), jnp.int32(1))
    assert int(metrics.bad) == BAD_GRADIENT and np.isfinite(float(metrics.loss))
    jax.tree.map(np.testing.assert_array_equal, copied(state), before._replace(bad=np.int32(BAD_GRADIENT)))


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
def test_only_on_a_tpu_the_update_is_a_branch(platform):
    step, state, fixed = started()
    own = program(step, state, fixed, batch(), jnp.int32(1), platform=platform)
    if platform in ACCELERATORS:
        assert own.count("stablehlo.convolution") == 2 and "stablehlo.while" not in own
    # a choice between platforms is two cases of constants; the branch is one more
    assert own.count("stablehlo.case") % 2 == (platform == "tpu")
