"""SampledInnerProduct: which classes are drawn, their scores, the new labels and the gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import Alone
from flax import nnx
from one_layer import fault, model, outputs

import netdef
from netdef.layers.base import Phase
from netdef.layers.sampled_inner_product import SampledInnerProduct

random = np.random.default_rng(0)
X = random.normal(size=(6, 4)).astype(np.float32)
LABEL = np.array([0, 49, 7, 7, 30, 31], np.float32)


def sampled(fields: str = "sample_rate: 0.3 groups: 4", classes: int = 50) -> str:
    return (
        'layer { name: "l" type: "SampledInnerProduct" bottom: "x" bottom: "label" top: "y" top: "new"\n'
        f'        sampled_inner_product_param {{ num_output: {classes} weight_filler {{ type: "gaussian" }} {fields} }} }}'
    )


@pytest.mark.parametrize("fields", ["sample_rate: 0.3 groups: 4", "sample_rate: 0.001 groups: 7 normalize: true"])
def test_the_classes_of_the_batch_are_drawn_and_have_new_labels(fields):
    net = model(sampled(fields), x=X, label=LABEL)
    w = net.get_weights()["l"][0]
    rows = w / np.linalg.norm(w, axis=1, keepdims=True) if "normalize" in fields else w
    made = net(x=X, label=LABEL)
    y, new = np.asarray(made["y"]), np.asarray(made["new"]).astype(int)
    assert y.shape[1] < 50
    own = np.sum(X * rows[LABEL.astype(int)], 1)
    np.testing.assert_allclose(y[np.arange(6), new], own, rtol=1e-4, atol=1e-5)
    scores = X @ rows.T  # each column is that of a class, or of none, and no class is drawn twice
    columns = [np.flatnonzero(np.isclose(scores, column[:, None], atol=1e-5).all(0)) for column in y.T]
    classes = [int(found[0]) for found in columns if len(found)]
    assert len(set(classes)) == len(classes)
    assert all((y[:, i] == y.min()).all() and y.min() < -1000 for i, found in enumerate(columns) if not len(found))


def test_each_batch_draws_other_classes_and_the_same_key_the_same():
    layer = SampledInnerProduct(num_output=400, sample_rate=0.1)
    w = jnp.asarray(random.normal(size=(400, 4)), jnp.float32)
    draw = lambda seed: layer.apply((w,), X, LABEL, ctx=Alone(train=True, key=seed))[0]
    np.testing.assert_array_equal(draw(1), draw(1))
    assert draw(1).shape == (6, 48)  # 6 of each group of 50, because all classes of the batch may be in one group
    assert not np.allclose(draw(1), draw(2))


def test_without_sampling_it_is_an_inner_product():
    x = X[:, :3]
    for phase, fields in (("TRAIN", "sample_rate: 1"), ("TEST", ""), ("TRAIN", "groups: 60")):
        net = model(sampled(fields), phase, x=x, label=LABEL)
        y = net(x=x, label=LABEL)
        np.testing.assert_allclose(y["y"], x @ net.get_weights()["l"][0].T, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(y["new"], LABEL)


def test_only_the_drawn_classes_get_a_gradient():
    net = model(sampled(), x=X, label=LABEL)
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    on_w = jax.grad(lambda params: nnx.merge(graph, params, rest)(x=X, label=LABEL)["y"][:, 0].sum())(params)
    found = np.flatnonzero(np.abs(net.get_weights(on_w)["l"][0]).sum(1))
    assert len(found) == 1


def test_labels_that_are_no_classes_stay_as_they_are():
    label = np.array([-1, 50, 7, 7, 30, 31], np.float32)
    new = outputs(sampled(), x=X, label=label)["new"]
    np.testing.assert_array_equal(new[:2], label[:2])


def test_it_is_deployed_as_an_inner_product():
    made = SampledInnerProduct(num_output=50, normalize=True).deployed()
    assert (made.type, made.num_output, made.normalize, made.bias_term) == ("InnerProduct", 50, True, False)
    assert SampledInnerProduct(num_output=50).in_phase(Phase.TEST).sample_rate == 1


INPUTS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: %d } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
"""


@pytest.mark.parametrize(
    ("inputs", "layer"),
    [
        (16777216, 'type: "SoftmaxWithLoss"'),
        (4, 'type: "SampledInnerProduct" top: "new" sampled_inner_product_param { num_output: 16777216 }'),
    ],
)
def test_labels_are_exact_up_to_2_to_the_24(inputs, layer):
    net = INPUTS % inputs + f'layer {{ name: "l" bottom: "x" bottom: "label" top: "y" {layer} }}'
    netdef.load(net)
    words = "16,777,217 classes, but labels are float32 numbers, which are exact up to 16,777,216 only"
    with pytest.raises(netdef.CompileError, match=words):
        netdef.load(net.replace("16777216", "16777217"))


def test_wrong_fields_are_reported():
    shapes = {"x": (6, 4), "label": (6,)}
    assert "`sample_rate`" in fault(sampled("sample_rate: 1.5"), **shapes)[1]
    assert "`sample_rate`" in fault(sampled("sample_rate: 0"), **shapes)[1]
    assert "one label for each of the 6 items" in fault(sampled(), x=(6, 4), label=(6, 2))[1]
    with pytest.raises(netdef.CompileError, match="transpose"):
        netdef.load(
            'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
            'layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"\n'
            "        inner_product_param { num_output: 4 shard: true transpose: true } }"
        )
