"""Recomputation changes memory, and results only by rounding: random numbers, statistics, losses and weights."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import netdef
from netdef.forward import compiler_options, every_value, forward, options_for_cpus
from netdef.graph import Net
from netdef.inspect.timing import inputs_of, measure
from netdef.model import Model
from netdef.passes.recompute import recomputed, segments_of
from netdef.training.params import partition_of
from tests.support.tiny_net import variant

MIXED = """
import "std/conv.net"
import "std/resnet.net"
layer { name: "d" type: "DummyData" top: "x" top: "y"
        dummy_data_param { shape { dim: [4, 8, 12, 12] } shape { dim: 4 } } }
residual_stage { stage: 2 blocks: 2 bottom: "x" out: 16 stride: 1 }
layer { name: "side" type: "Reduction" bottom: "res2a" top: "side" reduction_param { operation: SUMSQ }
        loss_weight: 0.001 }
template head(bottom) {
  layer { name: "drop" type: "Dropout" bottom: ${bottom} top: "drop" }
  global_pool { name: "pool" bottom: "drop" }
  layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
          inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" loss_weight: 2 }
}
head { bottom: "res2b" }
"""
CHAIN = """
template fc(name, bottom, out: 64) {
  layer { name: ${name} type: "InnerProduct" bottom: ${bottom} top: ${name}
          inner_product_param { num_output: ${out} weight_filler { type: "xavier" } } }
  layer { name: "${name}/tanh" type: "TanH" bottom: ${name} top: ${name} }
}
layer { name: "d" type: "DummyData" top: "h" top: "y"
        dummy_data_param { shape { dim: [2000, 64] } shape { dim: 2000 } } }
for i in range(25) { fc { name: "h${i}" bottom: ${"h" if i == 0 else "h" + str(i - 1)} } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "h24" bottom: "y" top: "loss" }
solver { base_lr: 0.1 momentum: 0.9 max_iter: 3 }
"""


def learned(net: Net) -> tuple[Any, Any, Any]:
    """(loss, updates of state, gradients) of one batch."""
    trained = [t.owner for t in partition_of(net).trained]
    weights = Model(net).arrays()

    def objective(moving: Any, x: Any, key: Any) -> Any:
        outcome = forward(net, weights | dict(zip(trained, moving, strict=True)), x, key)
        return outcome.loss, outcome.updates

    program = jax.jit(jax.value_and_grad(objective, has_aux=True), compiler_options=compiler_options(net))
    (loss, updates), grads = program([weights[o] for o in trained], inputs_of(net), jax.random.key(3))
    return jax.device_get((loss, updates, grads))


def test_a_pass_has_equal_results():
    """The loss, which depends on dropout and has two parts, the running statistics, and the gradients."""
    net = netdef.load(MIXED)
    loss, updates, grads = learned(net)
    marked = recomputed(net, ["residual_bottleneck", "head"])
    assert [len(nodes) for nodes in segments_of(marked)] == [16, 13, 4]
    loss_2, updates_2, grads_2 = learned(marked)
    assert loss_2 == loss
    assert updates.keys() == updates_2.keys() and len(updates) == 21
    for owner, array in updates.items():
        np.testing.assert_array_equal(updates_2[owner], array, err_msg=str(owner))
    for one, other in zip(grads, grads_2, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max())


def test_blobs_inside_a_segment_are_not_results():
    net = recomputed(netdef.load(CHAIN), ["fc"])
    weights, inputs, key = Model(net).arrays(), inputs_of(net), jax.random.key(0)
    blobs = forward(net, weights, inputs, key).blobs
    values = {str(v): array for v, array in every_value(net, weights, inputs, key).items()}
    np.testing.assert_allclose(blobs["h3"], values["h3'"], rtol=1e-5, atol=1e-6)
    assert "h3" in values  # before TanH: only if every value is asked for
    assert set(blobs) == {"h", "y", "loss", *(f"h{i}" for i in range(25))}


# Memory


def test_a_step_needs_less_memory():
    plain = measure(netdef.load(CHAIN), iterations=1, warm_up=1).passes[-1]
    saving = measure(netdef.load(CHAIN, set={"solver.recompute": "AUTO"}), iterations=1, warm_up=1).passes[-1]
    assert plain.temporary and saving.temporary
    assert saving.temporary < 0.6 * plain.temporary
    assert plain.flop < saving.flop < 1.4 * plain.flop


def test_a_net_without_segments_is_compiled_as_before():
    net = netdef.load(CHAIN)
    assert compiler_options(net) == options_for_cpus() != compiler_options(recomputed(net, ["fc"]))
    assert recomputed(net, ()) is net


# With other fields of the solver


@pytest.mark.parametrize(
    "fields",
    [
        {"iter_size": 2, "clip_gradients": 0.5, "type": "Adam"},
        {"iter_size": 1, "ema": 0.9},
        {"precision": "BF16"},
        {"freeze": "ip1"},
        {"display": 0, "snapshot": 0, "test_interval": 0},  # several steps in one dispatch
    ],
    ids=str,
)
def test_training_gives_equal_weights(tiny, tmp_path, fields):
    settings = {f"solver.{name}": value for name, value in fields.items()}
    file = variant(tiny, "recomputed")
    runs = [
        netdef.train(file, max_iter=8, output=tmp_path / str(i), set=settings | more)
        for i, more in enumerate([{}, {"solver.recompute": "ip1|bn|relu|drop"}])
    ]
    one, other = (run.model.get_weights() for run in runs)
    assert one.keys() == other.keys()
    for layer in one:
        for a, b in zip(one[layer], other[layer], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4, err_msg=layer)


def test_stages_that_freeze_layers(tiny, tmp_path):
    stages = ("solver {", 'solver { stages { until: 4 freeze: "ip1|bn" } stages { }')
    file = variant(tiny, "stages", stages)
    runs = [
        netdef.train(file, max_iter=8, output=tmp_path / str(i), set=more)
        for i, more in enumerate([{}, {"solver.recompute": "ip1|bn|relu|drop"}])
    ]
    one, other = (run.model.get_weights() for run in runs)
    for layer in one:
        for a, b in zip(one[layer], other[layer], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4, err_msg=layer)


def test_a_pattern_without_effect_stops_a_run(tiny, tmp_path):
    with pytest.raises(netdef.NetdefError, match="no layer and no template"):
        netdef.train(tiny, output=tmp_path / "run", set={"solver.recompute": "conv1"})
