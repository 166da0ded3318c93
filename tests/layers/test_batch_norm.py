"""Batch normalization beyond recorded cases: what each dialect stores, the custom gradient, frozen and grouped batches.

Two batches of one channel, [1, 2, 3, 6] and [0, 4, 4, 8], and then the input 5, with 0.9 of the old kept: the numbers
were computed by hand from each fork's source.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import Alone
from platforms import form

import netdef
from netdef.fillers import Constant
from netdef.fillers.base import NumpyRandom
from netdef.layers.batch_norm import BatchNorm, normalize, plain_normalize, statistics, statistics_at_once
from netdef.layers.bn import BN, BNDialect, BNMode
from netdef.shape import UNKNOWN, ShapeError

__all__ = ["form"]

ONE = Constant(value=1.0)
BATCHES = jnp.array([[1.0, 2.0, 3.0, 6.0], [0.0, 4.0, 4.0, 8.0]])[:, :, None, None]  # (batch, n, 1, 1)
FIVE = jnp.full((1, 1, 1), 5.0)


def start(layer, channels=1):
    return tuple(jnp.asarray(w.filler.fill(NumpyRandom(0), w.shape)) for w in layer.weights((4, channels, 1)))


def after(layer, w, x):
    """Weights after a batch in phase TRAIN."""
    given = Alone()

    def run(w, x):
        layer.apply(w, x, ctx=given)
        return given.updates

    updates = jax.jit(run)(w, x)
    for i, value in updates.items():
        assert value.shape == w[i].shape
    return tuple(updates.get(i, v) for i, v in enumerate(w))


def trained(layer):
    w = start(layer)
    for x in BATCHES:
        w = after(layer, w, x)
    return w


def answer(layer, w, x=FIVE):
    y = layer.apply(w, x, ctx=Alone(train=False))
    return (y[0] if isinstance(y, list) else y)[0, 0, 0]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("layer", "stored", "y"),
    [
        (BatchNorm(moving_average_fraction=0.9), (6.7, 14.8666667, 1.9), 0.5268344),
        (BatchNorm(moving_average_fraction=0.9, use_weight_bias=True), (6.7, 14.8666667, 1.9, 1, 0), 0.5268344),
        (BatchNorm(moving_average_fraction=0.9, scale_bias=True), (3.1, 5.2666667, 1, 1, 0), 0.8279141),
        (BN(slope_filler=ONE), (1, 0, 0.67, 0.8934623), 3.8686916),
        (BN(slope_filler=ONE, dialect=BNDialect.HAPPYNEAR_CUDNN), (1, 0, 3.87, 10.03), 0.3568024),
        (BN(slope_filler=ONE, dialect=BNDialect.YJXIONG), (1, 0, 0.67, 1.925), 4.33 / 1.925005**0.5),
        (BN(scale_filler=ONE, decay=0.95), (1, 0, 0.3425, 1.46875), 3.8430756),
    ],
)
def test_what_each_dialect_stores_and_outputs(layer, stored, y):
    w = trained(layer)
    np.testing.assert_allclose([float(v.reshape(())) for v in w], stored, rtol=1e-6)
    np.testing.assert_allclose(answer(layer, w), y, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shapes", "kinds"),
    [
        (BatchNorm(), [(3,), (3,), (1,)], ["stat"] * 3),
        (BatchNorm(scale_filler=ONE), [(3,), (3,), (1,), (3,), (3,)], ["stat"] * 3 + ["param"] * 2),
        (BatchNorm(bias_filler=ONE), [(3,), (3,), (1,), (3,), (3,)], ["stat"] * 3 + ["param"] * 2),
        (BatchNorm(filler=ONE), [(3,), (3,), (1,), (3,), (3,)], ["stat"] * 3 + ["param"] * 2),
        (BN(), [(1, 3)] * 4, ["param", "param", "stat", "stat"]),
        (BN(moving_average=True), [(1, 3, 1, 1)] * 4, ["param", "param", "stat", "stat"]),
        (BN(shift_filler=ONE), [(1, 3, 1, 1)] * 2, ["param", "param"]),
        (BN(bn_mode=BNMode.INFERENCE), [(1, 3, 1, 1)] * 2, ["param", "param"]),
    ],
)
def test_blobs_in_the_order_of_each_dialect(layer, shapes, kinds):
    made = layer.weights((2, 3, 4, 4))
    assert [w.shape for w in made] == shapes
    assert [w.kind for w in made] == kinds
    assert {w.lr_mult for w in made if w.kind == "stat"} <= {0.0}
    assert layer.weights((UNKNOWN, UNKNOWN))[0].shape[-1 if len(shapes[0]) < 3 else 1] is UNKNOWN


def test_fillers_of_scale_and_shift():
    value = lambda layer, i: float(start(layer)[i].reshape(-1)[0])
    assert [value(BatchNorm(scale_bias=True), i) for i in (2, 3, 4)] == [1, 1, 0]
    assert [value(BatchNorm(filler=Constant(value=3), bias_filler=Constant(value=2)), i) for i in (2, 3, 4)] == [
        0,
        3,
        2,
    ]
    assert [value(BN(), i) for i in range(4)] == [0, 0, 0, 1]
    assert [value(BN(scale_filler=Constant(value=3), shift_filler=ONE), i) for i in range(2)] == [3, 1]


X = 3 + jax.random.normal(jax.random.key(0), (6, 3, 4, 5))
DY = jax.random.normal(jax.random.key(1), X.shape)
SCALE, SHIFT = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.0, 1.0, 2.0])


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (120, 3)])
def test_own_gradient_equals_that_of_the_plain_form(shape):
    x, dy = X.reshape(shape), DY.reshape(shape)
    objective = lambda f: lambda *given: jnp.vdot(f(*given, 0.01)[0], dy)
    own = jax.jit(jax.grad(objective(normalize()), (0, 1, 2)))(x, SCALE, SHIFT)
    plain = jax.jit(jax.grad(objective(plain_normalize), (0, 1, 2)))(x, SCALE, SHIFT)
    for got, want in zip(own, plain, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 31, 37, 64, 74])
def test_statistics_of_any_batch_size_with_the_channels_last(n):
    x = np.random.default_rng(n).normal(2, 3, (n, 5, 3)).astype(np.float32)
    mean, var = jax.jit(lambda x: statistics(x, -1))(x)
    np.testing.assert_allclose(mean, x.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(var, x.var((0, 1)), rtol=1e-4)


def test_a_large_mean_leaves_the_variance_its_digits():
    y, mean, var = normalize()(X + 1000, SCALE, SHIFT, 0.0)
    want, _, want_var = plain_normalize(np.asarray(X, np.float64), SCALE, SHIFT, 0.0)
    np.testing.assert_allclose(var, want_var, rtol=1e-3)
    np.testing.assert_allclose(y, want, atol=5e-3)
    np.testing.assert_allclose(mean, np.asarray(X).mean((0, 2, 3)) + 1000, rtol=1e-6)


@pytest.mark.parametrize("off", [0.0, 3.0, -20.0])
def test_one_pass_has_all_digits_where_an_estimate_of_the_mean_is_near(off):
    mean, var = statistics_at_once(X + 1000, 1003.0 + off * jnp.ones(3))
    want_mean, want_var = statistics(np.asarray(X, np.float64))
    np.testing.assert_allclose(mean, want_mean + 1000, rtol=1e-6)
    np.testing.assert_allclose(var, want_var, rtol=1e-3)
    assert (statistics_at_once(jnp.full((4, 3, 5, 5), 1000.1), jnp.zeros(3))[1] >= 0).all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    "layer",
    [BatchNorm(), BatchNorm(scale_bias=True), BN(slope_filler=ONE, momentum=0.5), BatchNorm(stats_batch_size=3)],
)
def test_a_layer_far_from_zero_has_its_digits_once_it_has_seen_a_batch(layer):
    w = start(layer, 3)
    for _ in range(20):
        w = after(layer, w, X + 1000)
    first = lambda y: y[0] if isinstance(y, list) else y
    moved, plain = (first(layer.apply(w, x, ctx=Alone())) for w, x in ((w, X + 1000), (start(layer, 3), X)))
    np.testing.assert_allclose(moved, plain, atol=5e-3)


@pytest.mark.parametrize(
    "layer",
    [
        BatchNorm(use_global_stats=True),
        BatchNorm(use_global_stats=True, scale_bias=True),
        BN(slope_filler=ONE, frozen=True),
        BN(slope_filler=ONE, frozen=True, dialect=BNDialect.YJXIONG),
    ],
)
def test_a_frozen_layer_keeps_its_statistics_and_acts_as_in_test(layer):
    w = tuple(v + 0.5 for v in start(layer, 3))
    assert after(layer, w, X) == w
    first = lambda y: y[0] if isinstance(y, list) else y
    train, test = (first(layer.apply(w, X, ctx=Alone(train))) for train in (True, False))
    np.testing.assert_allclose(train, test, rtol=1e-5, atol=1e-6)
    dx = jax.grad(lambda x: jnp.vdot(first(layer.apply(w, x, ctx=Alone())), DY))(X)
    ratio = np.asarray(dx / DY)  # a fixed factor of each channel
    np.testing.assert_allclose(ratio, ratio[:1, :, :1, :1] + 0 * ratio, rtol=1e-4)


def test_frozen_bn_trains_neither_scale_nor_shift():
    layer = BN(slope_filler=ONE, frozen=True)
    gradients = jax.grad(lambda w: jnp.vdot(layer.apply(w, X, ctx=Alone())[0], DY))(start(layer, 3))
    assert all((g == 0).all() for g in gradients)


def test_use_global_stats_false_learns_in_phase_test_too():
    given = Alone(train=False)
    BatchNorm(use_global_stats=False).apply(start(BatchNorm(), 3), X, ctx=given)
    assert float(given.updates[2][0]) == 1.0


def test_without_statistics_test_divides_by_the_root_of_eps():
    layer = BatchNorm(eps=0.25)
    np.testing.assert_allclose(answer(layer, start(layer)), 10.0)  # Caffe: the factor of 0 counts as statistics of 0


def test_nvidias_first_batch_is_copied_and_loaded_statistics_are_not_lost():
    layer = BatchNorm(scale_bias=True, moving_average_fraction=0.9)
    first = after(layer, start(layer), BATCHES[0])
    np.testing.assert_allclose([float(first[0][0]), float(first[1][0])], [3.0, 14 / 3], rtol=1e-6)
    loaded = (jnp.array([1.0]), jnp.array([2.0]), *start(layer)[2:])
    np.testing.assert_allclose(after(layer, loaded, BATCHES[0])[0], [0.9 * 1 + 0.1 * 3], rtol=1e-6)


def test_items_in_groups_have_their_own_statistics():
    layer, w = BatchNorm(stats_batch_size=4, moving_average_fraction=0.9), start(BatchNorm())
    both = jnp.concatenate(BATCHES)
    given = Alone()
    y = layer.apply(w, both, ctx=given)
    parts = [BatchNorm().apply(w, x, ctx=Alone()) for x in BATCHES]
    np.testing.assert_allclose(y, jnp.concatenate(parts), rtol=1e-6)
    stored = [float(given.updates[i][0]) for i in range(3)]
    np.testing.assert_allclose(stored, (6.7, 14.8666667, 1.9), rtol=1e-6)  # as if they were two batches
    with pytest.raises(ShapeError, match="batch size 6 is not a multiple of `stats_batch_size` 4") as caught:
        layer.infer((6, 3))
    assert caught.value.field == "stats_batch_size"


def test_intels_relu():
    y = BatchNorm(relu=True).apply(start(BatchNorm()), BATCHES[0], ctx=Alone())
    assert float(y.min()) == 0.0 and float(y.max()) > 1.5


def test_a_blob_of_one_axis_is_one_channel_and_one_value_has_no_bias_correction():
    w = after(BatchNorm(), start(BatchNorm()), BATCHES[0].reshape(4))
    assert [float(v[0]) for v in w] == [3.0, pytest.approx(14 / 3), 1.0]
    assert [float(v[0]) for v in after(BatchNorm(), start(BatchNorm()), jnp.full((1, 1), 7.0))] == [7.0, 0.0, 1.0]
    with pytest.raises(ShapeError, match="a batch axis") as caught:
        BatchNorm().infer(())
    assert caught.value.bottom == 0


def test_segnet_uses_the_batch_in_both_phases_or_only_scale_and_shift():
    x, w = BATCHES[0], (jnp.full((1, 1, 1, 1), 2.0), jnp.full((1, 1, 1, 1), 10.0))
    learn = BN(scale_filler=ONE, top=("y", "mean", "var"))
    y, mean, var = learn.apply(w, x[..., None], ctx=Alone(train=False))
    np.testing.assert_allclose(y[:, 0, 0, 0], 10 + 2 * (np.array([1, 2, 3, 6]) - 3) / 3.5**0.5, rtol=1e-6)
    assert (float(mean.reshape(())), float(var.reshape(()))) == (3.0, 3.5)
    assert learn.infer((4, 3, 5, 5)) == [(4, 3, 5, 5), (1, 3, 1, 1), (1, 3, 1, 1)]
    inference = BN(bn_mode=BNMode.INFERENCE)
    assert inference.apply(w, x, ctx=Alone())[0][:, 0, 0].tolist() == [12.0, 14.0, 16.0, 22.0]


@pytest.mark.parametrize("layer", [BN(top=("y", "mean")), BN(bn_mode=BNMode.INFERENCE, top=("y", "mean"))])
def test_only_segnet_in_learn_mode_has_more_tops(layer):
    with pytest.raises(ShapeError, match="2 tops, but only SEGNET") as caught:
        layer.infer((4, 3, 5, 5))
    assert caught.value.field == "top"


def test_moving_average_false_uses_the_batch_in_phase_test():
    layer = BN(scale_filler=ONE, moving_average=False)
    given = Alone(train=False)
    y = layer.apply(start(layer), BATCHES[0], ctx=given)[0]
    np.testing.assert_allclose(y.mean(), 0, atol=1e-6)
    assert given.updates == {}


def test_statistics_of_parts_of_the_batch_for_a_whole_net():
    x = np.random.RandomState(3).randn(4, 2, 3).astype(np.float32) + np.arange(4, dtype=np.float32)[:, None, None]
    net = lambda batch, own="": netdef.compile(
        f"force_backward: true {batch} "
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 2 dim: 3 } } }"
        f"layer {{ name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'y' batch_norm_param {{ {own} }} }}",
        phase="TRAIN",
    )
    wanted = np.asarray(net("", "stats_batch_size: 2")(x=x)["y"])
    np.testing.assert_allclose(net("bn_stats_batch_size: 2")(x=x)["y"], wanted, atol=1e-5)
    assert np.abs(np.asarray(net("")(x=x)["y"]) - wanted).max() > 0.1
    with pytest.raises(netdef.NetdefError, match="the batch size 4 is not a multiple of `bn_stats_batch_size` 3"):
        net("bn_stats_batch_size: 3")(x=x)
