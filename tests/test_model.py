"""A compiled net as a Flax module: calls, state, weights, and errors for wrong inputs."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import netdef
from netdef.forward import forward
from netdef.shape import same_shape

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "hidden" type: "InnerProduct" bottom: "x" top: "hidden" param { name: "w" }
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "hidden" top: "hidden" }
layer { name: "drop" type: "Dropout" bottom: "hidden" top: "dropped" }
layer { name: "again" type: "InnerProduct" bottom: "dropped" top: "again" param { name: "w" }
        inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "again" bottom: "label" top: "loss" }
"""
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
LABEL = np.array([0, 1, 2, 0])


@pytest.fixture(scope="module")
def net() -> netdef.graph.Net:
    return netdef.load(NET)


def test_outputs_blobs_and_loss_agree(net) -> None:
    model = netdef.compile(netdef.load(NET, phase="TEST"))
    blobs, outputs = model.blobs(x=X, label=LABEL), model(x=X, label=LABEL)
    assert set(outputs) == {"loss"} and set(blobs) >= {"x", "hidden", "dropped", "again"}
    assert float(outputs["loss"]) == pytest.approx(float(blobs["loss"]), rel=1e-5)
    assert float(outputs["loss"]) == pytest.approx(float(model.loss(x=X, label=LABEL)), rel=1e-5)


def test_phase_train_updates_statistics_and_random_state(net) -> None:
    model = netdef.compile(net, seed=3)
    before = model.get_weights()["bn"]
    first, second = model.blobs(x=X, label=LABEL), model.blobs(x=X, label=LABEL)
    assert not np.array_equal(before[2], model.get_weights()["bn"][2])
    assert not np.array_equal(first["dropped"], second["dropped"])
    again = netdef.compile(net, seed=3).blobs(x=X, label=LABEL)
    np.testing.assert_allclose(first["dropped"], again["dropped"], rtol=1e-5, atol=1e-6)


def test_the_random_numbers_of_a_call_follow_from_the_key_and_the_count_of_calls(net) -> None:
    model = netdef.compile(net, seed=3)
    for count in range(2):
        key = jax.random.fold_in(model.rngs.default.key[...], count)
        wanted = forward(net, model.arrays(), {"x": jnp.asarray(X), "label": jnp.asarray(LABEL)}, key)
        assert int(model.rngs.default.count[...]) == count
        np.testing.assert_allclose(model.blobs(x=X, label=LABEL)["dropped"], wanted.blobs["dropped"], rtol=1e-5)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_a_call_is_one_program(phase) -> None:
    """Each operation that is dispatched besides takes longer than a small net."""
    graph, state = nnx.split(netdef.compile(netdef.load(NET, phase=phase)))
    traced = jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x=x, label=LABEL))(state, jnp.asarray(X))
    assert [equation.primitive.name for equation in traced.eqns] == ["jit"]


def test_variables_with_hooks_are_read_through_them(net) -> None:
    model = netdef.compile(netdef.load(NET, phase="TEST"))
    plain = model.blobs(x=X, label=LABEL)["hidden"]
    (owner, _), *_ = model.net.owned
    model.variable(owner).set_metadata("on_get_value", lambda variable, value: 2 * value)
    np.testing.assert_allclose(model.array(owner), 2 * model.variable(owner).get_raw_value())
    assert not np.allclose(model.blobs(x=X, label=LABEL)["hidden"], plain)


def test_what_a_caller_writes_into_an_input_afterwards_changes_nothing() -> None:
    model = netdef.compile(netdef.load(NET, phase="TEST"))
    given = X.copy()
    blobs = model.blobs(x=given, label=LABEL)
    given[...] = 7
    np.testing.assert_array_equal(blobs["x"], X)


def test_phase_test_changes_nothing() -> None:
    model = netdef.compile(NET, phase="TEST")
    before = jax.tree.leaves(model.get_weights())
    first, second = model(x=X, label=LABEL), model(x=X, label=LABEL)
    assert float(first["loss"]) == pytest.approx(float(second["loss"]), rel=1e-6)
    assert all(map(np.array_equal, before, jax.tree.leaves(model.get_weights())))


def test_the_seed_determines_the_weights(net) -> None:
    one, same, other = (netdef.compile(net, seed=s).get_weights()["hidden"][0] for s in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_shared_parameters_are_stored_once(net) -> None:
    model = netdef.compile(net)
    params = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert len(params) == 3  # w, and two biases
    weights = model.get_weights()
    assert np.array_equal(weights["hidden"][0], weights["again"][0])
    gradient = nnx.grad(lambda m: m.loss(x=X, label=LABEL))(model)
    shown = model.get_weights(gradient)
    assert np.array_equal(shown["hidden"][0], shown["again"][0]) and not shown["bn"][0].any()


def test_a_custom_training_loop_learns(net) -> None:
    model = netdef.compile(net)
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)

    @nnx.jit
    def step(model: netdef.Model, optimizer: nnx.Optimizer) -> jax.Array:
        loss, grads = nnx.value_and_grad(lambda m: m.loss(x=X, label=LABEL))(model)
        optimizer.update(model, grads)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert float(model.get_weights()["bn"][2][0]) > 20  # statistics are updated through jit and grad


def test_vmap_over_seeds(net) -> None:
    graph, state = nnx.split(netdef.compile(netdef.load(NET, phase="TEST")))
    stacked = jax.tree.map(
        lambda a: jnp.stack([a, a]) if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a, state
    )
    axes = jax.tree.map(lambda a: None if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else 0, state)
    run = lambda s: nnx.merge(graph, s, copy=True).loss(x=X, label=LABEL)
    losses = jax.vmap(run, in_axes=(axes,))(stacked)
    assert losses.shape == (2,) and float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)


def test_other_batch_sizes(net) -> None:
    model = netdef.compile(netdef.load(NET, phase="TEST"))
    assert model.blobs(x=np.zeros((9, 3)), label=np.zeros(9))["again"].shape == (9, 3)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"x": X}, "input `label` is missing; the net expects `x` 4x3, `label` 4"),
        ({"x": X, "label": LABEL, "y": X}, "the net has no input `y`"),
        ({"x": np.zeros((4, 5)), "label": LABEL}, "the inputs `x` 4x5, `label` 4: parameter `w` is 3x3 here, but 3x5"),
        ({"x": np.zeros((4, 3)), "label": np.zeros(5)}, "layer `loss`: the inputs are 4x3 and 5"),
    ],
)
def test_errors_for_wrong_inputs(net, inputs, words) -> None:
    with pytest.raises(netdef.NetdefError, match=words):
        netdef.compile(net)(**inputs)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"hiden": []}, "no layer `hiden` with parameters. Did you mean `hidden`"),
        ({"hidden": [np.zeros((3, 3))]}, "has 2 parameters, but the number of arrays is 1"),
        (
            {"hidden": [np.zeros((3, 4)), np.zeros(3)]},
            "parameter 0 of layer `hidden` is 3x3, but the new array is 3x4",
        ),
    ],
)
def test_errors_for_wrong_weights(net, weights, words) -> None:
    with pytest.raises(netdef.NetdefError, match=words):
        netdef.compile(net).set_weights(weights)


def test_get_weights_returns_the_weights_that_were_set(net) -> None:
    model = netdef.compile(net)
    mine = {
        name: [np.full_like(a, i + 1) for i, a in enumerate(arrays)] for name, arrays in model.get_weights().items()
    }
    model.set_weights(mine)
    assert all(
        np.array_equal(a, b) for n, arrays in model.get_weights().items() for a, b in zip(arrays, mine[n], strict=True)
    )


def test_old_four_dimensional_blobs_are_accepted(net) -> None:
    model = netdef.compile(net)
    model.set_weights({"hidden": [np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 3))]})
    assert model.get_weights()["hidden"][1].shape == (3,)


def test_a_net_without_a_loss_warns_that_it_has_no_gradient() -> None:
    text = NET[: NET.index('layer { name: "loss"')]
    with pytest.warns(UserWarning, match="no loss above its parameters"):
        netdef.compile(text, phase="TRAIN")
    netdef.compile("force_backward: true" + text, phase="TRAIN")


def test_arrays_that_exceed_any_memory_are_an_error():
    layer = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: %d } }'
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 30000 } } } '
    with pytest.raises(netdef.NetdefError, match=r"layer `ip`: parameter 0 of 4000000000x30000 would need 437 TiB"):
        netdef.compile(text + layer % 4_000_000_000)
    with pytest.raises(netdef.NetdefError, match="layer `ip`: top `y`"):
        netdef.compile(text + layer % 10**15)


def test_arrays_by_owner(net) -> None:
    model = netdef.compile(net, seed=3)
    arrays = model.arrays()
    assert set(arrays) == {owner for owner, _ in net.owned}
    (hidden, again) = (next(n for n in net.layers if n.name == name) for name in ("hidden", "again"))
    assert hidden.stored[0][1] == again.stored[0][1]  # shared
    owner = hidden.stored[0][1]
    model.variable(owner)[...] = jnp.full((3, 3), 2.0)
    assert (np.asarray(model.array(owner)) == 2).all()
    assert all((model.get_weights()[name][0] == 2).all() for name in ("hidden", "again"))


def test_carried_state_is_not_stored() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" top: "cont"
            input_param { shape { dim: 2 dim: 1 dim: 3 } shape { dim: 2 dim: 1 } } }
    layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
            recurrent_param { num_output: 4 stateful: true } }
    """
    (node,) = (n for n in netdef.load(text, phase="TEST").layers if n.name == "lstm")
    kinds = [weight.kind for weight in node.weights or ()]
    assert "carry" in kinds
    assert [(w.kind, o.index) for w, o in node.stored] == [(k, i) for i, k in enumerate(kinds) if k != "carry"]
    assert node.stored and len(node.stored) == len(netdef.compile(text).get_weights()["lstm"])


@pytest.mark.parametrize(("given", "fits"), [((1, 1, 3, 3), True), ((3, 3), True), ((3, 1, 3), False), ((9,), False)])
def test_shapes_of_old_files_may_have_leading_ones(net, given, fits) -> None:
    assert same_shape(given, (3, 3)) is fits
    model = netdef.compile(net)
    arrays = [np.ones(given, np.float32), np.zeros(3, np.float32)]
    if fits:
        model.set_weights({"hidden": arrays})
    else:
        with pytest.raises(netdef.NetdefError, match="parameter 0 of layer `hidden` is 3x3"):
            model.set_weights({"hidden": arrays})


def test_making_a_model_and_setting_its_weights_compile_nothing_for_each_shape():
    """A program for each shape takes time at the start, and memory that is never freed."""
    text = """layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: {n} }} }} }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{ num_output: {n} }} }}"""
    programs = lambda: len(jax.devices()[0].client.live_executables())
    netdef.compile(text.format(n=3))
    before = programs()
    for n in (211, 223, 227):
        model = netdef.compile(text.format(n=n))
        model.set_weights(model.get_weights())
    assert programs() <= before


def test_the_programs_of_models_that_are_dropped_are_freed():
    text = """layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: {n} }} }} }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{ num_output: 2 }} }}
    layer {{ name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }}"""
    counts = []
    gc.freeze()  # what earlier tests have left need not be searched 26 times
    for n in range(301, 327):
        model, batch = netdef.compile(text.format(n=n)), {"x": np.ones((1, n), np.float32)}
        model(**batch)
        nnx.grad(lambda model, batch=batch: model.loss(**batch))(model)
        del model
        gc.collect()
        counts.append(len(jax.devices()[0].client.live_executables()))
    gc.unfreeze()
    assert max(counts[20:]) <= max(counts[16:20])


def test_what_a_caller_writes_into_an_array_afterwards_changes_nothing():
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 64 dim: 64 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 64 bias_term: false } }"""
    model, given = netdef.compile(text), np.ones((64, 64), np.float32)
    model.set_weights({"ip": [given]})
    given[...] = 2
    assert np.all(model.get_weights()["ip"][0] == 1)
