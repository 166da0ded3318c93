"""Pooling beyond its recorded cases: ties, gradients compared with the plain form, masks, sampling, forks, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN, Alone
from one_layer import fault, outputs, text
from platforms import form as platform

import netdef
from netdef.layers.pooling import SPP, GlobalPooling, Pooling, PoolMethod, RoundMode
from netdef.shape import UNKNOWN, ShapeError

__all__ = ["platform"]

AVE, EXCLUDING, STOCHASTIC = PoolMethod.AVE, PoolMethod.AVE_EXC_PAD, PoolMethod.STOCHASTIC


def run(layer, x, train=True):
    """The tops of a pooling."""
    return jax.jit(lambda x: layer.apply((), x, ctx=Alone(train, key=3)))(x)


def geometry(form, shape):
    """The heights and widths of window, stride and padding."""
    if form.get("global_pooling"):
        return shape[2:], (1, 1), (0, 0), (0, 0)
    given = (("kernel", "kernel_size", 0), ("stride", "stride", 1), ("pad", "pad", 0))
    pairs = [[form.get(f"{of}_{side}", *form.get(field, (default,))) for side in "hw"] for of, field, default in given]
    (top, left) = (form.get(f"pad_{side}", pad) for side, pad in zip("tl", pairs[2], strict=True))
    (bottom, right) = (form.get(f"pad_{side}", pad) for side, pad in zip("br", pairs[2], strict=True))
    return [*pairs[:2], (top, left), (bottom, right)]


def windows_of(form, layer, shape):
    """Caffe's loop: every window as ((slice, slice), number of elements in the padded image)."""
    (_, _, height, width), (_, _, rows, columns) = shape, layer.infer(shape)[0]
    (kh, kw), (sh, sw), (ph, pw), (after_h, after_w) = geometry(form, shape)
    for i in range(rows):
        for j in range(columns):
            top, left = i * sh - ph, j * sw - pw
            bottom, right = min(top + kh, height + after_h), min(left + kw, width + after_w)
            inside = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
            yield i, j, inside, (bottom - top) * (right - left)


def by_loop(form, layer, x, dy):
    """Returns (y, mask, dx), computed element by element as in Caffe's loops."""
    y, mask, dx = np.zeros(layer.infer(x.shape)[0]), np.zeros(layer.infer(x.shape)[0]), np.zeros(x.shape)
    for i, j, (rows, columns), area in windows_of(form, layer, x.shape):
        for n, c in np.ndindex(*x.shape[:2]):
            window = x[n, c, rows, columns]
            area = area if layer.pool is AVE else window.size
            if layer.pool is not PoolMethod.MAX:
                y[n, c, i, j] = window.sum() / area
                dx[n, c, rows, columns] += dy[n, c, i, j] / area
                continue
            row, column = np.unravel_index(window.argmax(), window.shape)  # the first in case of ties
            row, column = row + rows.start, column + columns.start
            y[n, c, i, j], mask[n, c, i, j] = x[n, c, row, column], row * x.shape[3] + column
            dx[n, c, row, column] += dy[n, c, i, j]
    return y, mask, dx


FORMS = [
    dict(kernel_size=(2,), stride=(2,)),
    dict(kernel_size=(3,), stride=(2,)),
    dict(kernel_size=(3,), stride=(2,), pad=(1,)),
    dict(kernel_size=(3,), pad=(1,)),
    dict(kernel_size=(2,), stride=(3,)),
    dict(kernel_h=3, kernel_w=2, stride_h=1, stride_w=2, pad_h=1, pad_w=0),
    dict(kernel_size=(5,), stride=(4,), pad=(2,), ceil_mode=False),
    dict(kernel_size=(9,), stride=(4,), pad=(4,)),
    dict(kernel_size=(40,), stride=(3,), pad=(39,)),
    dict(kernel_h=1, kernel_w=2, stride_h=1, stride_w=3, pad_h=0, pad_w=0),
    dict(kernel_size=(3,), stride=(2,), pad_t=0, pad_b=1, pad_l=0, pad_r=1),
    dict(kernel_size=(4,), stride=(3,), pad_t=2, pad_b=0, pad_l=1, pad_r=3, ceil_mode=False),
    dict(global_pooling=True),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pool", [PoolMethod.MAX, AVE, EXCLUDING])
@pytest.mark.usefixtures("platform")
def test_pools_as_a_loop_over_the_windows_does_and_ties_go_to_the_first(form, pool):
    layer = Pooling(pool=pool, top=("y", "mask") if pool is PoolMethod.MAX else ("y",), **form)
    random = np.random.default_rng(0)
    x = np.maximum(random.integers(-3, 3, (2, 2, 7, 8)), 0).astype(np.float32)  # as after a ReLU: ties everywhere
    dy = random.normal(size=layer.infer(x.shape)[0]).astype(np.float32)
    y, mask, dx = by_loop(form, layer, x, dy)

    @jax.jit
    def both(x, dy):
        tops, back = jax.vjp(lambda x: layer.apply((), x, ctx=Alone(True, key=3)), x)
        return tops, back([dy, *(jnp.zeros_like(t) for t in tops[1:])])[0]

    tops, got = both(x, dy)
    np.testing.assert_allclose(tops[0], y, atol=1e-6)
    np.testing.assert_allclose(got, dx, atol=1e-5)
    if pool is PoolMethod.MAX:
        np.testing.assert_array_equal(tops[1], mask)


def test_ties_in_large_windows_go_to_the_first_too():
    layer = Pooling(kernel_h=1, kernel_w=40, stride_h=1, stride_w=5)
    gradient = jax.grad(lambda x: run(layer, x)[0].sum())(jnp.zeros((1, 1, 1, 50)))
    assert jnp.flatnonzero(gradient).tolist() == [0, 5, 10]


def test_a_window_outside_the_image_is_zero():
    x = jnp.full((1, 1, 4, 4), -2.0)
    for pool in (PoolMethod.MAX, AVE):
        (y,) = run(Pooling(pool=pool, kernel_size=(1,), stride=(2,)), x)
        assert y[0, 0].tolist() == [[-2, -2, 0], [-2, -2, 0], [0, 0, 0]]


def test_any_number_of_spatial_axes():
    x = jnp.arange(2 * 3 * 4 * 4 * 4, dtype=jnp.float32).reshape(2, 3, 4, 4, 4)
    (y,) = run(Pooling(kernel_size=(2,), stride=(2,)), x)
    np.testing.assert_array_equal(y, x[:, :, 1::2, 1::2, 1::2])
    (y,) = run(Pooling(pool=AVE, kernel_size=(2,), stride=(2,)), x[0, 0])
    np.testing.assert_array_equal(y, (x[0, 0, :, :, ::2] + x[0, 0, :, :, 1::2]) / 2)


def test_rounding_is_up_unless_a_fork_or_caffe_says_otherwise():
    sizes = {
        (5, 6): dict(),
        (4, 5): dict(round_mode=RoundMode.FLOOR),
        (4, 5, 0): dict(ceil_mode=False),
        (5, 6, 0): dict(ceil_mode=True),
    }
    for size, fields in sizes.items():
        assert Pooling(kernel_size=(2,), stride=(2,), **fields).infer((1, 1, 9, 11))[0][2:] == size[:2]
    layer = Pooling(kernel_size=(3,), stride=(2,), pad=(1,))
    assert layer.infer((1, 1, 6, 7))[0][2:] == (4, 4)  # the window at 7 would start in the padding: dropped
    assert Pooling(kernel_size=(3,), stride=(2,)).infer((UNKNOWN, 3, UNKNOWN, 7))[0][3] == 3


def test_stochastic_pooling_draws_in_proportion_and_expects_the_weighted_mean():
    x = jnp.tile(jnp.array([[1.0, 3.0], [0.0, 4.0]]), (1, 1, 60, 60))
    layer = Pooling(pool=STOCHASTIC, kernel_size=(2,), stride=(2,))
    y, back = jax.vjp(lambda x: run(layer, x)[0], x)
    shares = [float(jnp.mean(y == value)) for value in (1.0, 3.0, 0.0, 4.0)]
    np.testing.assert_allclose(shares, [1 / 8, 3 / 8, 0, 4 / 8], atol=0.03)
    (dx,) = back(jnp.ones_like(y))
    assert float(dx.sum()) == y.size and bool(jnp.all((dx == 0) | (dx == 1)))
    (tested,) = run(layer, x, train=False)
    np.testing.assert_allclose(tested, 26 / 8, rtol=1e-6)
    (empty,) = run(layer, jnp.zeros_like(x), train=False)
    assert not empty.any()


def test_a_pyramid_is_its_levels_one_after_the_other():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8, 8)), jnp.float32)
    y = run(SPP(pyramid_height=2), x)
    assert y.shape == SPP(pyramid_height=2).infer(x.shape) == (2, 15)
    np.testing.assert_array_equal(y[:, :3], x.max((2, 3)))
    np.testing.assert_array_equal(y[:, 3:], x.reshape(2, 3, 2, 4, 2, 4).max((3, 5)).reshape(2, 12))
    with pytest.raises(ShapeError, match="`pyramid_height` is 4, but 3 pixels cannot be divided into 4 bins"):
        SPP(pyramid_height=4).infer((2, 3, 3, 3))


def test_global_pooling_drops_the_axes():
    x = jnp.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_allclose(GlobalPooling().apply((), x, ctx=PLAIN), x.mean((2, 3)))
    layer = GlobalPooling(pool=PoolMethod.MAX, axis=-1)
    np.testing.assert_allclose(layer.apply((), x, ctx=PLAIN), x.max(-1))
    assert layer.infer(x.shape) == (2, 3, 2)
    tied = jax.grad(lambda x: layer.apply((), x, ctx=PLAIN).sum())(jnp.ones((1, 3)))
    assert tied.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        (dict(), "kernel_size", "`kernel_size` is missing"),
        (dict(kernel_size=(3,), pad=(3,)), "pad", "`pad` is 3, but the window is only 3; .* at most 2"),
        (dict(kernel_size=(3,), pad_r=3), "pad_r", "`pad_r` is 3, but the window is only 3; .* at most 2"),
        (dict(kernel_size=(3,), pad=(1,), pad_l=1), "pad_l", "`pad_l` and `pad` are both given"),
        (dict(kernel_size=(3,), pad_h=1), "pad_h", "without `pad_w`"),
        (dict(kernel_size=(3,), global_pooling=True), "kernel_size", "the window is the whole image"),
        (dict(global_pooling=True, stride=(2,)), "stride", "stride 1"),
        (dict(kernel_size=(9,)), "kernel_size", "height of the window is 9, but the height of the input is only 6"),
        (dict(kernel_size=(3,), pad=(1,), pool=STOCHASTIC), "pad", "`pad` is 1"),
        (dict(kernel_size=(3,), pool=AVE, top=("y", "mask")), "top", "2 tops .* AVE; only MAX"),
    ],
)
def test_errors_name_the_field_and_both_values(fields, field, words):
    with pytest.raises(ShapeError, match=words) as caught:
        Pooling(**fields).infer((2, 3, 6, 7))
    assert caught.value.field == field


def test_errors_in_a_file():
    pool = 'layer {{ name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param {{ {} }} }}'
    place, message = fault(pool.format("kernel_size: 2 ceil_mode: true round_mode: FLOOR"), x=(2, 3, 6, 6))
    assert place == "true" and "`ceil_mode: true` contradicts `round_mode: FLOOR`" in message
    place, message = fault(pool.format("kernel_size: 2"), x=(2, 3))
    assert place == '"x"' and "the input 2x3 has 2 axes" in message


def test_a_mask_is_a_blob_like_any_other():
    block = "pooling_param { kernel_size: 2 stride: 2 }"
    layer = f'layer {{ name: "p" type: "Pooling" bottom: "x" top: "y" top: "mask" {block} }}'
    assert netdef.load(text(layer, {"x": (1, 1, 2, 4)})).blobs["mask"].shape == (1, 1, 1, 2)
    made = outputs(layer, x=np.array([[[[1, 2, 7, 0], [5, 3, 1, 1]]]], np.float32))
    assert made["mask"].tolist() == [[[[4, 2]]]] and made["y"].tolist() == [[[[5, 7]]]]


def test_sides_of_padding_that_are_0_count_as_not_given():
    layer = Pooling(kernel_size=(3,), pad=(1,), pad_t=0, pad_b=0, pad_l=0, pad_r=0)
    assert layer.infer((1, 1, 6, 7)) == [(1, 1, 6, 7)]


def test_ave_tf_is_the_older_name_of_ave_exc_pad():
    layer = (
        'layer { name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: AVE_TF kernel_size: 2 pad: 1 } }'
    )
    made = outputs(layer, x=np.array([[[[1, 2], [5, 4]]]], np.float32))
    assert made["y"].tolist() == [[[[1, 1.5, 2], [3, 3, 3], [5, 4.5, 4]]]]
    x = jnp.arange(6.0).reshape(1, 2, 3)
    assert GlobalPooling(pool=EXCLUDING).apply((), x, ctx=PLAIN).tolist() == [[1, 4]]
