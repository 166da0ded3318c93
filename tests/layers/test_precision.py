"""Half precision: the dtypes of every blob of a net, and every layer type in a net under `precision: BF16`."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import arrays_of, filled, net_of

import netdef
from netdef.forward import every_value, forward
from netdef.graph import Value
from netdef.layers.base import LAYERS, Example
from netdef.passes.precision import float32_because, in_half

TYPES = {cls.type: cls for _, cls in LAYERS if cls.__module__.startswith("netdef.") and cls.runs}
EXAMPLES = {f"{name}-{i}": example for name, cls in TYPES.items() for i, example in enumerate(cls.examples)}

NET = """
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: [4, 1, 8, 8] } shape { dim: 4 } } }
layer { name: "grow" type: "Power" bottom: "data" top: "grow" power_param { scale: 2 } }
layer { name: "conv" type: "Convolution" bottom: "grow" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "PReLU" bottom: "conv" top: "conv" }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "most" type: "Pooling" bottom: "pool" top: "most" top: "where" pooling_param { kernel_size: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "most" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "same" type: "Split" bottom: "label" top: "same" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "same" top: "loss" }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
layer { name: "again" type: "InnerProduct" bottom: "ip" top: "again" inner_product_param { num_output: 2 } }
"""


def half_of(text):
    return in_half(netdef.load(text, phase="TRAIN"), "bfloat16")


def test_blobs_between_layers_are_half_as_large_and_the_rest_stays_float32():
    net = half_of(NET)
    random = np.random.default_rng(0)
    inputs = {"data": jnp.asarray(random.normal(size=(4, 1, 8, 8)), jnp.float32), "label": jnp.arange(4.0)}
    weights = netdef.compile(net).arrays()
    values = every_value(net, weights, inputs, jax.random.key(0))
    wanted = {
        **dict.fromkeys(("data", "label", "same", "grow", "loss", "prob", "again", "most", "where"), "float32"),
        **dict.fromkeys(("conv", "norm", "pool", "ip"), "bfloat16"),
    }
    assert {value.name: str(array.dtype) for value, array in values.items()} == wanted
    assert str(values[Value("conv")].dtype) == str(values[Value("conv", 3)].dtype) == "bfloat16"
    for node in net.layers:
        assert {str(values[top].dtype) for top in node.tops} == {node.top_dtype}


def test_gradients_of_weights_and_statistics_are_float32():
    net = half_of(NET)
    weights = netdef.compile(net).arrays()
    inputs = {"data": jnp.ones((4, 1, 8, 8)), "label": jnp.arange(4.0)}
    trained = {o: weights[o] for o, w in net.owned if w.kind == "param"}

    def loss(trained):
        outcome = forward(net, weights | trained, inputs, jax.random.key(0))
        return outcome.loss, outcome.updates

    gradients, updates = jax.grad(loss, has_aux=True)(trained)
    assert {str(a.dtype) for a in (*gradients.values(), *updates.values())} == {"float32"}


def test_a_label_above_256_stays_exact():
    net = half_of(
        'layer { name: "in" type: "Input" top: "label" input_param { shape { dim: [3, 2] } } }'
        'layer { name: "cut" type: "Slice" bottom: "label" top: "a" top: "b" slice_param { axis: 1 } }'
        'layer { name: "one" type: "Flatten" bottom: "a" top: "one" }'
    )
    labels = jnp.asarray([[14699, 1], [257, 2], [4095, 3]], jnp.float32)
    made = forward(net, {}, {"label": labels}, jax.random.key(0)).blobs
    assert made["one"][:, 0].tolist() == [14699, 257, 4095]


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_every_layer_type_after_a_bfloat16_blob(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients are close to those of float32, and have the dtypes that the net declares."""
    monkeypatch.chdir(tmp_path)
    plain = net_of(example)
    net = in_half(plain, "bfloat16")
    weights, exact = filled(plain), set(example.integers)
    given = {
        name: value if name in exact else value.astype(jnp.bfloat16).astype(jnp.float32)
        for name, value in arrays_of(example).items()
    }
    halved = {name: value if name in exact else value.astype(jnp.bfloat16) for name, value in given.items()}
    moving = [name for name in given if name not in exact]
    trained = {owner: weights[owner] for owner, weight in plain.owned if weight.kind == "param"}

    def run(net, inputs):
        def total(trained, moved):
            blobs = forward(net, weights | trained, inputs | moved, jax.random.key(0)).blobs
            return sum(jnp.sum(blobs[name].astype(jnp.float32)) for name in net.outputs), blobs

        moved = {name: inputs[name] for name in moving}
        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(trained, moved)

    ((_, blobs), gradients), ((_, close), _) = run(net, halved), run(plain, given)
    dtypes = {top.name: node.top_dtype for node in net.layers if not node.layer.is_input for top in node.tops}
    for name, dtype in dtypes.items():
        assert blobs[name].dtype == dtype
        if not TYPES[next(n for n in net.layers if any(t.name == name for t in n.tops)).type].is_metric:
            size = 1 + float(jnp.max(jnp.abs(close[name]), initial=0))
            np.testing.assert_allclose(blobs[name].astype(jnp.float32), close[name], atol=0.05 * size, err_msg=name)
    assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(gradients[0]))
    assert all(g.dtype == jnp.bfloat16 for g in jax.tree.leaves(gradients[1]))


def test_losses_metrics_and_layers_with_statistics_say_why_they_are_float32():
    nodes = {node.name: node for node in netdef.load(NET, phase="TRAIN").layers}
    silent = {name for name, node in nodes.items() if float32_because(node) is None}
    assert silent == {"in", "grow", "conv", "scale", "relu", "pool", "ip", "same", "again"}
    assert all(float32_because(nodes[name]) for name in nodes.keys() - silent)
