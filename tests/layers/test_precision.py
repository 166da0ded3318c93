"""Half precision: the dtypes of every blob of a net, and every layer type in a net under `precision: BF16`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import arrays_of, filled, net_of

import netdef
from netdef.forward import every_value, forward
from netdef.graph import Value
from netdef.layers.base import LAYERS
from netdef.passes.precision import float32_because, in_half

TYPES = {cls.type: cls for _, cls in LAYERS if cls.__module__.startswith("netdef.")}
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


def test_gradients_of_biases_and_factors_are_sums_in_float32():
    net = half_of(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [64, 1, 20, 20] } } }'
        'layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"'
        "        convolution_param { num_output: 3 kernel_size: 1 } }"
        'layer { name: "bias" type: "Bias" bottom: "conv" top: "bias" }'
        'layer { name: "sum" type: "Reduction" bottom: "bias" top: "sum" loss_weight: 1 }'
    )
    weights = netdef.compile(net).arrays()
    loss = lambda weights: forward(net, weights, {"x": jnp.ones((64, 1, 20, 20))}, jax.random.key(0)).loss
    gradients = jax.jit(jax.grad(loss))(weights)
    for owner, shape in ((("conv", 0), (3, 1, 1, 1)), (("conv", 1), (3,)), (("bias", 0), (3,))):
        np.testing.assert_allclose(gradients[owner], np.full(shape, 25600), rtol=4e-3)


def test_a_label_above_256_stays_exact():
    net = half_of(
        'layer { name: "in" type: "Input" top: "label" input_param { shape { dim: [3, 2] } } }'
        'layer { name: "cut" type: "Slice" bottom: "label" top: "a" top: "b" slice_param { axis: 1 } }'
        'layer { name: "one" type: "Flatten" bottom: "a" top: "one" }'
    )
    labels = jnp.asarray([[14699, 1], [257, 2], [4095, 3]], jnp.float32)
    made = forward(net, {}, {"label": labels}, jax.random.key(0)).blobs
    assert made["one"][:, 0].tolist() == [14699, 257, 4095]


def halved(example):
    """The net of an example, and arrays with bfloat16 in place of float32, except integers."""
    given = arrays_of(example)
    some = {name: value if name in example.integers else value.astype(jnp.bfloat16) for name, value in given.items()}
    return net_of(example), some


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_every_layer_type_has_the_dtypes_that_its_net_declares(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, inputs = halved(example)
    net = in_half(plain, "bfloat16")
    weights = {owner: jax.ShapeDtypeStruct(weight.shape, jnp.float32) for owner, weight in net.owned}
    trained = {owner: weights[owner] for owner, weight in net.owned if weight.kind == "param"}
    moving = {name: value for name, value in inputs.items() if name not in example.integers}

    def total(trained, moving, weights):
        outcome = forward(net, weights | trained, inputs | moving, jax.random.key(0))
        return sum((jnp.sum(outcome.blobs[name]) for name in net.outputs), jnp.float32(0)), (
            outcome.blobs,
            outcome.updates,
        )

    run = jax.value_and_grad(total, (0, 1), has_aux=True)
    (_, (blobs, updates)), gradients = jax.eval_shape(run, trained, moving, weights)
    for node in net.layers:
        for top in node.tops:
            assert node.layer.is_input or blobs[top.name].dtype == node.top_dtype
    assert {str(a.dtype) for a in jax.tree.leaves((updates, gradients[0]))} <= {"float32"}
    assert {str(a.dtype) for a in jax.tree.leaves(gradients[1])} <= {"bfloat16"}


@pytest.mark.parametrize("kind", ["BatchNorm", "BN", "MVN", "LayerNorm", "LRN", "Pooling", "Softmax", "PReLU", "LSTM"])
def test_values_are_close_to_those_of_float32(kind):
    plain, inputs = halved(EXAMPLES[f"{kind}-0"])
    weights = filled(plain)
    outputs = lambda net, given: forward(net, weights, given, jax.random.key(0)).blobs
    got = outputs(in_half(plain, "bfloat16"), inputs)
    want = outputs(plain, {name: value.astype(jnp.float32) for name, value in inputs.items()})
    for name in plain.outputs:
        np.testing.assert_allclose(got[name], want[name], atol=0.03 * (1 + float(jnp.max(jnp.abs(want[name])))))


def test_losses_metrics_and_layers_with_statistics_say_why_they_are_float32():
    net = netdef.load(NET, phase="TRAIN")
    nodes = {node.name: node for node in net.layers}
    silent = {name for name, node in nodes.items() if float32_because(net, node) is None}
    assert silent == {"in", "grow", "conv", "scale", "relu", "pool", "ip", "same", "again"}
    assert all(float32_because(net, nodes[name]) for name in nodes.keys() - silent)


def test_scores_that_only_a_loss_reads_are_not_rounded():
    """Other blobs of products are: here, those that a ReLU reads, too."""
    net = """
    layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: [4, 8] } shape { dim: 4 } } }
    layer { name: "hidden" type: "InnerProduct" bottom: "x" top: "hidden" inner_product_param { num_output: 5 } }
    layer { name: "relu" type: "ReLU" bottom: "hidden" top: "active" }
    layer { name: "scores" type: "InnerProduct" bottom: "active" top: "scores" inner_product_param { num_output: 3 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
    layer { name: "accuracy" type: "Accuracy" bottom: "scores" bottom: "label" top: "accuracy" }
    """
    dtypes = {node.name: (node.precision, node.top_dtype) for node in half_of(net).layers}
    assert dtypes["hidden"] == ("bfloat16", "bfloat16")
    assert dtypes["scores"] == ("float32", "float32")
