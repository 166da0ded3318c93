"""LSTM, RNN and LSTMUnit beyond their recorded cases: state between batches, additions to Caffe, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN
from flax import nnx

import netdef
from netdef.layers.recurrent import LSTM, RNN, ContinuationIndicator, LSTMUnit
from netdef.shape import ShapeError

X = np.random.RandomState(0).randn(6, 2, 3).astype(np.float32)
FILLER = 'weight_filler { type: "uniform" min: -0.5 max: 0.5 } bias_filler { type: "uniform" min: -0.5 max: 0.5 }'


def model(steps: int, fields: str = "", cont: bool = True, kind: str = "LSTM"):
    return netdef.compile(f"""layer {{ name: "in" type: "Input" top: "x" top: "cont"
  input_param {{ shape {{ dim: {steps} dim: 2 dim: 3 }} shape {{ dim: {steps} dim: 2 }} }} }}
layer {{ name: "l" type: "{kind}" bottom: "x" {'bottom: "cont"' if cont else ""} top: "y"
  recurrent_param {{ num_output: 4 {FILLER} {fields} }} }}""")


def run(net, x, cont=None):
    return np.asarray(net(x=x, cont=np.ones(x.shape[:2]) if cont is None else cont)["y"])


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_sequence_in_two_batches_is_the_sequence_in_one(kind):
    whole, half = model(6, kind=kind), model(3, kind=kind)
    expected = run(whole, X)
    np.testing.assert_allclose(run(half, X[:3]), expected[:3], rtol=1e-5)
    np.testing.assert_allclose(run(half, X[3:]), expected[3:], rtol=1e-5, atol=1e-6)


def test_cont_0_resets_only_its_stream():
    net = model(3)
    first = run(net, X[:3])
    cont = np.ones((3, 2))
    cont[0, 0] = 0
    again = run(net, X[:3], cont)
    np.testing.assert_allclose(again[:, 0], first[:, 0], rtol=1e-5, atol=1e-6)
    assert np.abs(again[0, 1] - first[0, 1]).max() > 1e-3


@pytest.mark.parametrize(("fields", "cont", "goes_on"), [("", False, False), ("stateful: true", False, True)])
def test_without_cont_state_goes_on_where_stateful_is_set(fields, cont, goes_on):
    net = model(3, fields, cont)
    first, second = run(net, X[:3]), run(net, X[:3])
    assert (np.abs(first - second).max() > 1e-3) == goes_on


def test_the_indicator_begins_every_sequence_with_the_batch():
    layer = ContinuationIndicator(time_step=3, batch_size=2)
    assert layer.infer() == (3, 2)
    assert layer.apply((), ctx=PLAIN).tolist() == [[0, 0], [1, 1], [1, 1]]


def test_stateful_false_forgets_even_with_cont():
    net = model(3, "stateful: false")
    np.testing.assert_allclose(run(net, X[:3]), run(net, X[:3]), rtol=1e-5)


def test_the_carried_state_is_not_a_parameter_and_is_kept_by_a_jitted_call():
    net = model(3)
    assert [a.shape for a in net.get_weights()["l"]] == [(16, 3), (16,), (16, 4)]
    call = nnx.jit(lambda m, x: m(x=x, cont=jnp.ones((3, 2)))["y"])
    first, second = call(net, X[:3]), call(net, X[:3])
    assert np.abs(first - second).max() > 1e-3


def test_only_the_last_step():
    last = run(model(6, "return_sequences: false", cont=False), X)
    np.testing.assert_allclose(last, run(model(6, cont=False), X)[-1], rtol=1e-5, atol=1e-6)


def test_a_step_of_the_unit_is_a_step_of_the_lstm():
    layer = LSTM(num_output=2, return_sequences=False)
    w = tuple(jnp.asarray(np.random.RandomState(1).randn(*w.shape), jnp.float32) for w in layer.weights((1, 2, 3)))
    gates = X[:1] @ w[0].T + w[1]
    c, h = LSTMUnit().apply((), jnp.zeros((1, 2, 2)), gates, jnp.zeros((1, 2)), ctx=PLAIN)
    np.testing.assert_allclose(layer.apply(w, X[:1], ctx=PLAIN)[0], h[0], rtol=1e-6)
    i, _, o, g = np.split(np.asarray(gates), 4, axis=-1)
    np.testing.assert_allclose(c, np.tanh(g) / (1 + np.exp(-i)), rtol=1e-5)
    np.testing.assert_allclose(h, np.tanh(c) / (1 + np.exp(-o)), rtol=1e-5)


def test_no_gradient_enters_or_leaves_by_exposed_states():
    layer = RNN(num_output=4, expose_hidden=True)
    w = tuple(
        jnp.asarray(np.random.RandomState(1).randn(*w.shape), jnp.float32) for w in layer.weights((6, 2, 3), (6, 2))
    )
    x, h = jnp.asarray(X), jnp.ones((1, 2, 4))
    by_state = jax.grad(lambda x: jnp.sum(layer.apply(w, x, jnp.ones((6, 2)), h, ctx=PLAIN)[1]))(x)
    into_state = jax.grad(lambda h: jnp.sum(layer.apply(w, x, jnp.ones((6, 2)), h, ctx=PLAIN)[0]))(h)
    assert not by_state.any() and not into_state.any()


@pytest.mark.parametrize(
    ("layer", "bottoms", "bottom", "words"),
    [
        (LSTM(num_output=4), [(6, 2)], 0, ["at least 3", "6x2", "has 2"]),
        (LSTM(num_output=4), [(6, 2, 3), (6, 3)], 1, ["6x3", "6x2"]),
        (LSTM(num_output=4), [(6, 2, 3), (6, 2), (3, 5)], 2, ["3x5", "n = 2"]),
        (
            LSTM(num_output=4, expose_hidden=True),
            [(6, 2, 3), (6, 2), (1, 2, 4), (1, 2, 5)],
            3,
            ["`c`", "1x2x5", "1x2x4"],
        ),
        (RNN(num_output=4, expose_hidden=True), [(6, 2, 3), (6, 2)], None, ["2 bottoms", "3 to 4"]),
        (RNN(num_output=4, top=("y", "h")), [(6, 2, 3), (6, 2)], None, ["2 tops", "outputs 1"]),
        (LSTMUnit(), [(1, 2, 3), (1, 2, 9), (1, 2)], 1, ["1x2x12", "1x2x9"]),
    ],
)
def test_errors_name_the_bottom_and_values(layer, bottoms, bottom, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(*bottoms)
    assert caught.value.bottom == bottom
    assert [w for w in words if w not in caught.value.detail] == []


@pytest.mark.parametrize(
    ("bottoms", "shapes", "orders"),
    [
        (("words",), [(50, 24)], ["words 1, 0"]),
        (("x", "cont"), [(50, 24, 3), (24, 50)], ["x 1, 0, 2", "cont 1, 0"]),
        (("x", "cont", "s"), [(50, 24, 3), (50, 24), (50, 7)], ["x 1, 0, 2"]),
    ],
)
def test_the_error_of_a_shape_has_the_layer_that_turns_batch_first_to_time_first(bottoms, shapes, orders):
    layer = LSTM(name="l", num_output=4, bottom=bottoms)
    with pytest.raises(ShapeError) as caught:
        layer.infer(*shapes)
    for line in orders:
        name, order = line.split(" ", 1)
        assert (
            f'If `{name}` is batch first, (n, t, ...), use the top of: layer {{ name: "{name}_time_first" type: "Permute" '
            f'bottom: "{name}" top: "{name}_time_first" permute_param {{ order: [{order}] }} }}'
        ) in caught.value.detail


def test_the_layer_of_the_error_is_one_that_works():
    layer = LSTM(name="l", num_output=4, bottom=("x", "cont"))
    with pytest.raises(ShapeError) as caught:
        layer.infer((50, 24, 3), (24, 50))
    text = caught.value.detail.partition("use the top of: ")[2].partition("  If")[0]
    source = 'layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 50 dim: 24 dim: 3 } } }'
    assert netdef.load(source + text).blobs["x_time_first"].shape == (24, 50, 3)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_the_explanation_says_what_is_first(kind):
    from netdef.inspect import explain

    text = explain.text(explain.find(kind)[0])
    assert "time first" in text and "batch first" in text
