"""Resizing layers compared with loops and with the operations that they reverse, and their errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN
from one_layer import outputs

from netdef.layers.pooling import Pooling
from netdef.layers.resampling import Crop, CropCenter, Interp, Reorg, ShuffleChannel, Upsample
from netdef.shape import UNKNOWN, ShapeError


def run(layer, *x):
    return np.asarray(jax.jit(lambda *x: layer.apply((), *x, ctx=PLAIN))(*x))


def numbers(*shape):
    return jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)


def test_interp_is_linear_between_pixels_with_corners_on_corners():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    y = run(Interp(height=9, width=3), x)
    assert y.shape == (2, 3, 9, 3)
    for i, j in np.ndindex(9, 3):
        row, column = i * 3 / 8, j * 4 / 2
        r, c = min(int(row), 2), min(int(column), 3)
        a, b = row - r, column - c
        wanted = (1 - a) * ((1 - b) * x[..., r, c] + b * x[..., r, c + 1])
        wanted += a * ((1 - b) * x[..., r + 1, c] + b * x[..., r + 1, c + 1])
        np.testing.assert_allclose(y[..., i, j], wanted, atol=1e-5)
    np.testing.assert_array_equal(run(Interp(height=1, width=1), x), x[..., :1, :1])


def test_the_sizes_of_interp():
    x, like = (2, 3, 9, 13), (1, 8, 30, 40)
    assert Interp(zoom_factor=8).infer(x) == (2, 3, 65, 97)
    assert Interp(shrink_factor=4).infer(x) == (2, 3, 3, 4)
    assert Interp(shrink_factor=4, zoom_factor=2).infer(x) == (2, 3, 5, 7)
    assert Interp(zoom_factor=2, pad_beg=-1, pad_end=-2).infer(x) == (2, 3, 11, 19)
    assert Interp(use_blob_size=True).infer(x, like) == Interp().infer(x, like) == (2, 3, 30, 40)
    assert repr(Interp(zoom_factor=2).infer((UNKNOWN, 3, 4, UNKNOWN))) == "(?, 3, 7, ?)"
    cut = run(Interp(height=3, width=3, pad_beg=-1), numbers(1, 1, 4, 4))
    np.testing.assert_array_equal(cut, numbers(1, 1, 4, 4)[:, :, 1:, 1:])


def test_upsample_undoes_a_pooling_and_hands_the_gradient_back():
    x = jnp.asarray(np.random.default_rng(0).permutation(2 * 3 * 5 * 6).reshape(2, 3, 5, 6), jnp.float32)
    y, mask = Pooling(kernel_size=(2,), stride=(2,), top=("y", "mask")).apply((), x, ctx=PLAIN)
    layer = Upsample(pad_out_h=True)
    up, back = jax.vjp(jax.jit(lambda y: layer.apply((), y, mask, ctx=PLAIN)), y)
    assert up.shape == layer.infer(y.shape, mask.shape) == x.shape
    np.testing.assert_array_equal(up, jnp.where(jnp.isin(x, y), x, 0))
    np.testing.assert_array_equal(back(x)[0], y)


def test_a_repeated_position_has_its_gradient_twice_and_one_outside_none():
    mask = jnp.array([[[[1.0, 1.0], [0.0, 99.0]]]])
    gradient = jax.grad(lambda x: (Upsample().apply((), x, mask, ctx=PLAIN) * numbers(1, 1, 4, 4)).sum())
    assert gradient(jnp.ones((1, 1, 2, 2)))[0, 0].tolist() == [[1, 1], [0, 0]]


def test_upsample_in_a_net_of_the_segnet_kind():
    layers = (
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }\n'
        'layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u"\n'
        "        upsample_param { scale: 2 upsample_w: 3 upsample_h: 2 } }"
    )
    made = outputs(layers, x=np.array([[[[1, 2, 7], [5, 3, 9]]]], np.float32))
    assert made["u"].tolist() == [[[[0, 0, 0], [5, 0, 9]]]]


def test_upsample_without_a_mask_repeats():
    y = run(Upsample(scale_h=2, scale_w=3), numbers(1, 1, 1, 2))
    assert y[0, 0].tolist() == [[0, 0, 0, 1, 1, 1]] * 2


def test_crop_with_one_offset_for_all_axes_or_one_for_each():
    x = numbers(2, 5, 6, 7)
    like = jnp.zeros((9, 3, 4, 4))
    np.testing.assert_array_equal(run(Crop(axis=1, offset=(2, 0, 3)), x, like), x[:, 2:5, :4, 3:])
    np.testing.assert_array_equal(run(Crop(offset=(1,)), x, like), x[:, :, 1:5, 1:5])
    assert Crop(axis=-1).infer((2, 5, 6, UNKNOWN), (2, 5, 9, 4)) == (2, 5, 6, 4)


def test_crop_center_removes_as_much_at_both_ends():
    layer = CropCenter(crop_size=(0, 1, 2))
    np.testing.assert_array_equal(run(layer, numbers(2, 3, 7)), numbers(2, 3, 7)[:, 1:2, 2:5])
    assert layer.infer((2, 3, UNKNOWN))[1] == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_reorg_moves_memory_as_darknet_does(reverse):
    n, c, h, w, s = 2, 8, 4, 6, 2
    x = np.asarray(numbers(n, c, h, w))
    outer = c // (s * s)
    wanted, memory = np.zeros(x.size), x.ravel()
    for b, k, j, i in np.ndindex(n, c, h, w):
        here = i + w * (j + h * (k + c * b))
        oy, ox = divmod(k // outer, s)
        there = i * s + ox + w * s * (j * s + oy + h * s * (k % outer + outer * b))
        if reverse:
            wanted[there] = memory[here]
        else:
            wanted[here] = memory[there]
    layer = Reorg(stride=s, reverse=reverse)
    y = run(layer, x)
    assert y.shape == layer.infer(x.shape) == ((2, 2, 8, 12) if reverse else (2, 32, 2, 3))
    np.testing.assert_array_equal(y.ravel(), wanted)


def test_shuffled_channels_come_from_each_group_in_turn():
    x = numbers(2, 6, 1, 2)
    np.testing.assert_array_equal(run(ShuffleChannel(group=2), x), x[:, [0, 3, 1, 4, 2, 5]])
    np.testing.assert_array_equal(run(ShuffleChannel(group=3), x[..., 0, 0]), x[:, [0, 2, 4, 1, 3, 5], 0, 0])


@pytest.mark.parametrize(
    ("layer", "shapes", "words"),
    [
        (Interp(), [(1, 2, 3, 3)], "the output size is missing"),
        (Interp(height=3), [(1, 2, 3, 3)], "the output size is missing"),
        (
            Interp(height=3, width=3, zoom_factor=2),
            [(1, 2, 3, 3)],
            "`zoom_factor` and `height` or `width` are both given",
        ),
        (Interp(use_blob_size=True), [(1, 2, 3, 3)], "requires a second bottom"),
        (Interp(zoom_factor=2, pad_beg=-3), [(1, 2, 3, 4)], "the height is 3, but `pad_beg` and `pad_end` crop 3"),
        (Interp(zoom_factor=2), [(1, 2, 3)], "bottom 0 1x2x3 has 3 axes; it must have 4"),
        (Upsample(), [(1, 2, 3, 3), (1, 2, 3, 4)], "the mask is 1x2x3x4 and x is 1x2x3x3"),
        (Upsample(scale=3, pad_out_w=True), [(1, 2, 3, 3), (1, 2, 3, 3)], "`pad_out_w` requires .* the scale is 3"),
        (Upsample(scale_h=3), [(1, 2, 3, 3)], "only `scale_h` is given; give both `scale_h` and `scale_w`"),
        (
            Crop(offset=(3,)),
            [(1, 2, 6, 6), (1, 2, 4, 3)],
            "axis 2 of 1x2x6x6 has only 6 elements, but the crop is 4 elements from 3 on",
        ),
        (Crop(offset=(1, 2, 3)), [(1, 2, 6, 6), (1, 2, 4, 3)], "3 values, but 2 axes are cropped"),
        (Crop(), [(1, 2, 6, 6), (1, 2, 4)], "bottom 1 is 1x2x4 and bottom 0 is 1x2x6x6"),
        (Crop(axis=4), [(1, 2, 6, 6), (1, 2, 4, 4)], "`axis` is 4, but the input 1x2x6x6 has 4 axes"),
        (CropCenter(crop_size=(0, 1)), [(1, 2, 3)], "`crop_size` has 2 values, but the input 1x2x3 has 3 axes"),
        (CropCenter(crop_size=(0, 1)), [(1, 2)], "axis 1 of the input 1x2 has 2 elements, .* removes 1 at each end"),
        (Reorg(stride=2), [(1, 4, 6, 5)], "the width is 5, which is not a multiple of `stride` 2"),
        (Reorg(stride=3), [(1, 4, 6, 6)], "the 4 channels are not a multiple of 9"),
        (ShuffleChannel(group=4), [(1, 6, 2, 2)], "`group` is 4, which does not divide the 6 channels"),
    ],
)
def test_errors_contain_both_values(layer, shapes, words):
    with pytest.raises(ShapeError, match=words):
        layer.infer(*shapes)
