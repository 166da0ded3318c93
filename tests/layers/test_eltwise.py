"""Eltwise beyond its recorded cases: ties of MAX, products with a zero, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from contexts import PLAIN

from netdef.layers.eltwise import Eltwise, EltwiseOp
from netdef.shape import ShapeError

MAX, PROD = Eltwise(operation=EltwiseOp.MAX), Eltwise(operation=EltwiseOp.PROD)


def gradients(layer, *bottoms):
    arrays = [jnp.asarray(b) for b in bottoms]
    return jax.grad(lambda xs: jnp.sum(layer.apply((), *xs, ctx=PLAIN)))(arrays)


def test_ties_of_max_go_to_the_second_of_the_first_two_and_else_stay():
    a, b, c = gradients(MAX, [1.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 1.0])
    assert a.tolist() == [0, 1, 0, 0]
    assert b.tolist() == [1, 0, 0, 1]
    assert c.tolist() == [0, 0, 1, 0]


def test_sort_is_the_product_of_one_plus_each():
    layer = Eltwise(operation=EltwiseOp.SORT)
    assert layer.apply((), jnp.array([1.0, -1.0]), jnp.array([2.0, 5.0]), ctx=PLAIN).tolist() == [6, 0]


def test_gradient_of_a_product_with_a_zero_is_finite_whatever_the_file_says():
    rough = Eltwise(operation=EltwiseOp.PROD, stable_prod_grad=False)
    assert [g.tolist() for g in gradients(rough, [0.0], [3.0], [2.0])] == [[6], [0], [0]]


@pytest.mark.parametrize(
    ("layer", "field", "words"),
    [
        (Eltwise(coeff=[1, 2, 3]), "coeff", ["`coeff` is 3", "bottoms is 2"]),
        (Eltwise(operation=EltwiseOp.PROD, coeff=[1, 2]), "coeff", ["SUM", "PROD"]),
    ],
)
def test_coefficients_that_do_not_fit(layer, field, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer((2, 3), (2, 3))
    assert caught.value.field == field
    assert [w for w in words if w not in caught.value.detail] == []


def test_shapes_must_be_one():
    with pytest.raises(ShapeError, match="bottom 0 is 2x3, but bottom 2 is 3x2") as caught:
        Eltwise().infer((2, 3), (2, 3), (3, 2))
    assert caught.value.bottom == 2
