"""Programs for accelerators contain XLA's own operations, where these are fast there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from contexts import PLAIN
from platforms import ACCELERATORS, program

from netdef.layers.batch_norm import normalize
from netdef.layers.convolution import Convolution, Deconvolution
from netdef.layers.inner_product import InnerProduct
from netdef.layers.lrn import LRN
from netdef.layers.pooling import Pooling, PoolMethod

X = jax.ShapeDtypeStruct((4, 6, 9, 8), jnp.float32)


def backward(layer):
    return lambda w, x: jax.grad(lambda w, x: jnp.sum(layer.apply(w, x, ctx=PLAIN)[0] ** 2), (0, 1))(w, x)


def weights(layer):
    return tuple(jax.ShapeDtypeStruct(w.shape, jnp.float32) for w in layer.weights(X.shape))


def test_the_gradient_of_max_pooling_is_xlas_own_on_a_tpu():
    layer = Pooling(kernel_size=(3,), stride=(2,))
    own = program(backward(layer), (), X, platform="tpu")
    assert own.count("select_and_scatter") == 1 and own.count("stablehlo.reduce_window") == 1


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_elsewhere_no_position_of_a_maximum_is_scattered(platform):
    own = program(backward(Pooling(kernel_size=(3,), stride=(2,))), (), X, platform=platform)
    assert "scatter" not in own and "reduce_window" not in own


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize(
    ("layer", "at_most"), [(Pooling(pool=PoolMethod.AVE, kernel_size=(3,), stride=(2,)), 2), (LRN(local_size=3), 2)]
)
def test_sums_of_windows_are_xlas_own(platform, layer, at_most):
    own = program(backward(layer) if isinstance(layer, Pooling) else _of_one(layer), (), X, platform=platform)
    assert 1 <= own.count("stablehlo.reduce_window") <= at_most
    assert "stablehlo.reduce_window" not in program(
        backward(layer) if isinstance(layer, Pooling) else _of_one(layer), (), X, platform="cpu"
    )


def _of_one(layer):
    return lambda w, x: jax.grad(lambda x: jnp.sum(layer.apply(w, x, ctx=PLAIN) ** 2))(x)


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize(
    "fields",
    [
        dict(kernel_size=(3,), pad=(1,)),
        dict(kernel_size=(1,)),
        dict(kernel_size=(3,), group=6),
        dict(kernel_size=(4,), stride=(2,)),
    ],
)
@pytest.mark.parametrize("cls", [Convolution, Deconvolution])
def test_a_convolution_and_its_gradients_are_three_of_xlas(platform, fields, cls):
    layer = cls(num_output=6, bias_term=False, **fields)
    own = program(backward(layer), weights(layer), X, platform=platform)
    assert own.count("stablehlo.convolution") == 3
    assert "stablehlo.while" not in own and "stablehlo.dot_general" not in own


@pytest.mark.parametrize("platform", ACCELERATORS)
def test_statistics_are_computed_in_one_pass_over_the_batch(platform):
    channels = jax.ShapeDtypeStruct((6,), jnp.float32)
    run = lambda x, scale, near: normalize()(x, scale, scale, 1e-5, 1, near)
    own = program(run, X, channels, channels, platform=platform)
    assert "dimensions = [0, 2, 3]" in own  # not one axis after the other
    # the two sums are independent: both use x - near, which is the only subtraction before them
    first = own[: own.index("stablehlo.reduce")]
    assert first.count("stablehlo.subtract") == 1


@pytest.mark.parametrize("platform", ACCELERATORS)
def test_a_matrix_product_and_its_gradients_are_three_of_xlas(platform):
    layer = InnerProduct(num_output=40, bias_term=False)
    own = program(backward(layer), weights(layer), X, platform=platform)
    assert own.count("stablehlo.dot_general") == 3
    assert "optimization_barrier" not in own and "LayoutConstraint" not in own
    assert "optimization_barrier" in program(backward(layer), weights(layer), X, platform="cpu")
