"""Convolutions beyond their recorded cases: identities between the layers, fields of forks, errors."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN
from one_layer import fault, text

import netdef
from netdef.layers.convolution import Convolution, ConvolutionDepthwise, Deconvolution, Im2col
from netdef.shape import UNKNOWN, ShapeError


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def one(layer, w, x):
    return jax.jit(lambda w, x: layer.apply(w, x, ctx=PLAIN)[0])(w, x)


FORMS = [
    dict(kernel_size=(4,), stride=(2,), pad=(1,)),
    dict(kernel_size=(3,), stride=(2,), pad=(1,)),
    dict(kernel_h=2, kernel_w=3, stride=(2,), pad_h=1, dilation=(2,)),
    dict(kernel_size=(3, 2), stride_h=1, stride_w=2, pad=(2, 1), dilation=(1, 2)),
    dict(kernel_size=(3,), pad_t=2, pad_b=0, pad_l=1, pad_r=0),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_convolution_is_a_matrix_times_the_columns_of_im2col(form):
    x = normal(2, 4, 8, 9)
    layer = Convolution(num_output=6, bias_term=False, **form)
    (weight,) = layer.weights(x.shape)
    w = normal(*weight.shape, seed=1)
    y = one(layer, (w,), x)
    assert [y.shape] == layer.infer(x.shape)
    columns = jax.jit(lambda x: Im2col(**form).apply((), x, ctx=PLAIN))(x)
    assert columns.shape == Im2col(**form).infer(x.shape)
    wanted = np.einsum("ok,nkhw->nohw", np.asarray(w).reshape(6, -1), columns)
    np.testing.assert_allclose(y, wanted, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("group", [1, 2])
def test_a_deconvolution_is_the_transpose_of_a_convolution(form, group):
    back = Deconvolution(num_output=4, group=group, bias_term=False, **form)
    forth = Convolution(num_output=6, group=group, bias_term=False, **form)
    x = normal(2, 6, 5, 4)
    (shape,) = back.infer(x.shape)
    (weight,) = back.weights(x.shape)
    assert [weight.shape] == [other.shape for other in forth.weights(shape)] == [(6, 4 // group, *weight.shape[2:])]
    w, other = normal(*weight.shape, seed=1), normal(*shape, seed=2)
    # The convolution of an output of this size has the size of x, so <deconv(x), z> = <x, conv(z)>.
    np.testing.assert_allclose(np.vdot(one(back, (w,), x), other), np.vdot(x, one(forth, (w,), other)), rtol=1e-4)


def test_a_depthwise_convolution_has_one_group_per_channel():
    x, w, b = normal(2, 3, 6, 5), normal(6, 1, 3, 3, seed=1), normal(6, seed=2)
    depthwise = ConvolutionDepthwise(num_output=6, kernel_size=(3,), pad=(1,))
    grouped = Convolution(num_output=6, kernel_size=(3,), pad=(1,), group=3)
    assert [v.shape for v in depthwise.weights(x.shape)] == [(6, 1, 3, 3), (6,)]
    np.testing.assert_allclose(one(depthwise, (w, b), x), one(grouped, (w, b), x), atol=1e-5)
    alone = Convolution(num_output=2, kernel_size=(3,), pad=(1,))
    each = [one(alone, (w[2 * c : 2 * c + 2], b[2 * c : 2 * c + 2]), x[:, c : c + 1]) for c in range(3)]
    np.testing.assert_allclose(one(depthwise, (w, b), x), np.concatenate(each, 1), atol=1e-5)


def test_axes_before_the_channels_are_a_batch():
    layer = Convolution(num_output=2, kernel_size=(3,), axis=-2)
    x, w, b = normal(2, 5, 3, 7), normal(2, 3, 3, seed=1), normal(2, seed=2)
    y = one(layer, (w, b), x)
    assert layer.infer(x.shape) == [(2, 5, 2, 5)] and [v.shape for v in layer.weights(x.shape)] == [(2, 3, 3), (2,)]
    wanted = [sum(np.correlate(x[1, 3, c], w[o, c]) for c in range(3)) + b[o] for o in range(2)]
    np.testing.assert_allclose(y[1, 3], wanted, atol=1e-5)


def test_no_spatial_axis_is_left_of_a_matrix_product():
    layer = Convolution(num_output=2, kernel_size=(1,))
    x, w, b = normal(4, 3), normal(2, 3, seed=1), normal(2, seed=2)
    np.testing.assert_allclose(one(layer, (w, b), x), x @ w.T + b, atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        dict(x=(6, 5, 9, 8), num_output=7, kernel_size=(3,), pad=(1,)),
        dict(x=(5, 4, 9, 10), num_output=6, kernel_size=(3,), stride=(2,), group=2),
        dict(x=(4, 3, 12, 11), num_output=5, kernel_size=(2, 3), dilation=(2, 1), pad=(0, 2)),
        dict(x=(3, 4, 6, 7), num_output=4, kernel_size=(1,)),
        dict(x=(3, 6, 8, 8), num_output=6, kernel_size=(3,), pad=(1,), group=6),
        dict(x=(2, 4, 11, 9), num_output=6, kernel_size=(4, 2), stride=(2,), pad=(1, 0), group=2),
        dict(x=(2, 3, 11, 9), num_output=4, kernel_size=(3, 5), stride=(3, 2), pad=(1, 2)),
        dict(x=(2, 3, 7, 8), num_output=4, kernel_size=(1,), stride=(2,), pad=(1,)),
        dict(x=(3, 4, 6, 7), num_output=9, kernel_size=(1,)),
        dict(x=(2, 33, 11, 8), num_output=4, kernel_size=(3,), stride=(2,), pad=(1,)),
        dict(x=(2, 32, 9, 7), num_output=4, kernel_size=(4, 1), stride=(2,)),
        dict(x=(1, 32, 8, 9), num_output=3, kernel_size=(3,), stride=(2,), pad_t=2, pad_b=0, pad_l=0, pad_r=5),
        dict(x=(2, 32, 13), num_output=4, kernel_size=(4,), stride=(3,), pad=(1,)),
        dict(x=(3, 4, 9, 8), num_output=8, kernel_size=(3,), stride=(2,), pad=(1,), group=4),
        dict(x=(2, 3, 7, 10), num_output=6, kernel_size=(2, 3), stride=(1, 2), pad=(0, 1), group=3),
        dict(x=(3, 3, 23, 19), num_output=6, kernel_size=(12, 9), stride=(5, 3), pad=(3, 4), group=3),
        dict(
            x=(2, 2, 30, 17), num_output=2, kernel_size=(9, 8), stride=(4,), pad_t=9, pad_b=0, pad_l=1, pad_r=5, group=2
        ),
        dict(x=(2, 3, 90), num_output=3, kernel_size=(70,), stride=(6,), group=3),
        dict(x=(2, 2, 7, 6, 9), num_output=4, kernel_size=(5, 4, 5), stride=(2, 3, 2), pad=(1, 0, 1), group=2),
        dict(x=(2, 41, 9, 8), num_output=43, kernel_size=(3,), pad=(1,)),
        dict(x=(2, 43, 9, 8), num_output=3, kernel_size=(3,), pad=(1,)),
        dict(x=(2, 2, 10, 18), num_output=5, kernel_size=(3,), stride=(2,)),
        dict(x=(2, 1, 7, 37), num_output=20, kernel_size=(5,), pad=(1,)),
        dict(x=(2, 5, 6, 7), num_output=6, kernel_size=(3,), pad=(4,)),
        dict(x=(1, 3, 4, 24), num_output=6, kernel_size=(3,), pad=(10,)),
        dict(x=(2, 5, 4, 5, 9), num_output=6, kernel_size=(3,), pad=(1, 0, 1)),
    ],
)
def test_values_and_gradients_are_those_of_the_plain_form(form):
    x = normal(*form.pop("x"))
    layer = Convolution(bias_term=False, **form)
    w = normal(*layer.weights(x.shape)[0].shape, seed=1)
    dy = normal(*layer.infer(x.shape)[0], seed=2)

    def plain(w, x):
        axes = x.ndim - 2
        slide = layer.strides(axes), layer.pads(axes)
        return jax.lax.conv_general_dilated(
            x, w, *slide, rhs_dilation=layer.dilations(axes), feature_group_count=layer.group
        )

    mine = lambda w, x: layer.apply((w,), x, ctx=PLAIN)[0]
    every = lambda f, w, x: (f(w, x), *jax.vjp(f, w, x)[1](dy))
    both = jax.jit(lambda w, x: (every(mine, w, x), every(plain, w, x)))(w, x)
    for mine, wanted in zip(*both, strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-3)


@pytest.mark.parametrize(
    "form",
    [
        dict(num_output=7, kernel_size=(3,), pad=(1,)),
        dict(num_output=2, kernel_size=(3,), pad=(1,)),
        dict(num_output=6, kernel_size=(2, 3), stride=(3, 2), dilation=(2,), group=2),
    ],
)
def test_convolutions_in_loops_have_the_axes_in_the_fast_order(form):
    layer = Convolution(bias_term=False, **form)
    x = normal(3, 4, 12, 13)
    w = normal(*layer.weights(x.shape)[0].shape, seed=1)
    square = lambda w, x: jnp.sum(layer.apply((w,), x, ctx=PLAIN)[0] ** 2)

    def loop(w, x):
        return jax.lax.fori_loop(0, 2, lambda _, of: jax.tree.map(jnp.add, of, jax.grad(square, (0, 1))(*of)), (w, x))

    if jax.default_backend() != "cpu":
        pytest.skip("the order is that of CPUs")
    program = jax.jit(loop).lower(w, x).compile().as_text()
    orders = re.findall(r" convolution\(.*dim_labels=(\S+?)[, ]", program)
    assert orders and set(orders) == {"b01f_01io->b01f"}


def test_unknown_dimensions_stay_unknown():
    layer = Convolution(num_output=4, kernel_size=(3,), group=2)
    assert repr(layer.infer((UNKNOWN, UNKNOWN, UNKNOWN, 9))) == "[(?, 4, ?, 7)]"
    assert repr(Deconvolution(num_output=4, kernel_size=(3,)).infer((8, 2, UNKNOWN, 9))) == "[(8, 4, ?, 11)]"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        (dict(), "kernel_size", "one for each of 2 spatial axes"),
        (dict(kernel_size=(3, 3, 3)), "kernel_size", "3 values.* 2 spatial axes"),
        (dict(kernel_size=(9,)), "kernel_size", "height of the window is 9, .* only 8.* the total padding by 1"),
        (dict(kernel_size=(3,), dilation=(4,), pad=(0, 1)), "kernel_size", "height of the window is 9, .* only 8"),
        (dict(kernel_size=(3,), kernel_h=3), "kernel_h", "`kernel_h` and `kernel_size` are both given"),
        (dict(kernel_h=3), "kernel_h", "without `kernel_w`"),
        (dict(kernel_size=(3,), stride_w=2), "stride_w", "without `stride_h`"),
        (dict(kernel_size=(3,), pad_l=2, pad=(1,)), "pad_l", "`pad_l` and `pad` are both given"),
        (dict(kernel_size=(3,), dilation=(1, 2, 3)), "dilation", "3 values.* 2 spatial axes"),
        (dict(kernel_size=(3,), group=4), "group", "4, which does not divide the 6 channels"),
        (dict(kernel_size=(3,), group=3), "group", "3, which does not divide `num_output` 4"),
        (dict(kernel_size=(3,), axis=4), "axis", "4, but the input 2x6x8x7 has 4 axes"),
    ],
)
def test_errors_name_the_field_and_both_values(fields, field, words):
    with pytest.raises(ShapeError, match=words) as caught:
        Convolution(num_output=4, **fields).infer((2, 6, 8, 7))
    assert caught.value.field == field


def test_errors_of_the_others():
    with pytest.raises(ShapeError, match="bottom 1 is 2x3x8x9, but bottom 0 is 2x3x8x8") as caught:
        Convolution(num_output=4, kernel_size=(3,)).infer((2, 3, 8, 8), (2, 3, 8, 9))
    assert caught.value.bottom == 1
    with pytest.raises(ShapeError, match="`num_output` is 4, which is not a multiple of the 3 channels"):
        ConvolutionDepthwise(num_output=4, kernel_size=(3,)).infer((2, 3, 8, 8))
    with pytest.raises(ShapeError, match="height of the output would be -1: 3 without padding, less 4"):
        Deconvolution(num_output=4, kernel_size=(3,), pad=(2,)).infer((2, 3, 1, 8))
    with pytest.raises(ShapeError, match="`kernel_h` requires 2 spatial axes, but the input has 1"):
        Im2col(kernel_h=2, kernel_w=2).infer((2, 3, 8))


def test_an_error_is_reported_at_the_field():
    conv = 'layer {{ name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param {{ num_output: 4 {} }} }}'
    place, message = fault(conv.format("kernel_size: 3 group: 3"), x=(2, 6, 8, 8))
    assert place == "3" and "`group` is 3" in message
    place, message = fault(conv.format("kernel_size: 9"), x=(2, 6, 8, 7))
    assert place == "9" and "height of the window is 9, but the height of the input is only 8" in message


def test_fields_of_forks_are_read():
    fields = (
        "num_output: 4 kernel_size: 3 engine: MKL2017 mem_group_size: 2 cudnn_worspace_allow_on_groups: true "
        "force_nd_im2col: true pad_l: 1 pad_r: 1"
    )
    layer = f'layer {{ name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param {{ {fields} }} }}'
    net = netdef.load(text(layer, {"x": (2, 3, 8, 8)}))
    assert net.blobs["y"].shape == (2, 4, 6, 8)
    assert not [d for d in net.diagnostics if d.severity == "error"]


def test_multiply_adds():
    small, large = (2, 6, 8, 8), (2, 4, 10, 10)
    assert Convolution(num_output=6, kernel_size=(3,), group=2).multiply_adds([large], [small]) == 2 * 6 * 64 * 18
    assert Deconvolution(num_output=4, kernel_size=(3,)).multiply_adds([small], [large]) == 2 * 6 * 64 * 36
