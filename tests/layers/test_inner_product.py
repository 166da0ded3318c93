"""InnerProduct beyond its recorded cases: normalized rows, and weights that are bottoms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.inner_product import InnerProduct
from netdef.shape import ShapeError

X = jnp.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
W = jnp.array([[3.0, 4.0, 0.0], [1.0, 2.0, 2.0]])


def test_with_normalized_rows_the_length_of_a_row_has_no_effect():
    layer = InnerProduct(num_output=2, bias_term=False, normalize=True)
    y = layer.apply((W,), X, ctx=PLAIN)
    np.testing.assert_allclose(y, X @ (W / np.array([[5.0], [3.0]])).T, rtol=1e-5)
    grad = jax.grad(lambda w: jnp.sum(layer.apply((w,), X, ctx=PLAIN) ** 2))(W)
    np.testing.assert_allclose(jnp.sum(grad * W, axis=1), 0, atol=1e-4)  # no component along the row
    transposed = InnerProduct(num_output=2, bias_term=False, normalize=True, transpose=True)
    np.testing.assert_allclose(transposed.apply((W.T,), X, ctx=PLAIN), y, rtol=1e-6)


def test_weights_that_come_as_blobs_are_not_parameters():
    layer = InnerProduct(num_output=2)
    b = jnp.array([10.0, 20.0])
    assert [w.shape for w in layer.weights((2, 3))] == [(2, 3), (2,)]
    assert [w.shape for w in layer.weights((2, 3), (2, 3))] == [(2,)]
    assert layer.weights((2, 3), (2, 3), (2,)) == []
    whole = layer.apply((W, b), X, ctx=PLAIN)
    np.testing.assert_allclose(layer.apply((b,), X, W, ctx=PLAIN), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.apply((), X, W, b, ctx=PLAIN), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "bottoms", "bottom", "words"),
    [
        (InnerProduct(num_output=2), [(4, 3), (2, 4)], 1, ["2x4", "2x3"]),
        (InnerProduct(num_output=2, bias_term=False), [(4, 3), (2, 3), (2,)], 2, ["`bias_term` is false"]),
    ],
)
def test_blobs_that_do_not_fit(layer, bottoms, bottom, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(*bottoms)
    assert caught.value.bottom == bottom
    assert [w for w in words if w not in caught.value.detail] == []


def test_multiply_adds():
    assert InnerProduct(num_output=2).multiply_adds([(4, 3, 5)], [(4, 2)]) == 4 * 15 * 2


@pytest.mark.parametrize(("rows", "outputs"), [((2,), 7), ((9,), 4), ((2, 3), 5), ((1, 1), 1)])
def test_the_product_and_its_gradients_do_not_depend_on_the_number_of_rows(rows, outputs):
    draw = lambda *shape: np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)
    layer = InnerProduct(num_output=outputs, axis=-1)
    x, w, b, dy = draw(*rows, 6), draw(outputs, 6), draw(outputs), draw(*rows, outputs)

    def mine(x, w):
        return layer.apply((w, b), x, ctx=PLAIN)

    y, back = jax.jit(lambda x, w, dy: (lambda y, back: (y, back(dy)))(*jax.vjp(mine, x, w)))(x, w, dy)
    np.testing.assert_allclose(y, np.einsum("...k,ok->...o", x, w) + b, atol=1e-5)
    np.testing.assert_allclose(back[0], np.einsum("...o,ok->...k", dy, w), atol=1e-5)
    np.testing.assert_allclose(back[1], dy.reshape(-1, outputs).T @ x.reshape(-1, 6), atol=1e-5)
