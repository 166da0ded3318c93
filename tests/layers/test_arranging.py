"""Permute, Tile, Reverse, Flip, BatchReindex and Filter beyond their recorded cases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.arranging import BatchReindex, Filter, Flip, Gather, Permute, Reverse, Tile
from netdef.shape import ShapeError

ROWS = jnp.arange(8.0).reshape(4, 2)


def test_filter_moves_chosen_rows_to_the_front_and_fills_with_zeros():
    layer = Filter(top=("a", "b"))
    assert layer.infer((4, 2), (4,), (4, 1, 1)) == [(4, 2), (4,)]
    a, b = layer.apply((), ROWS, jnp.array([1, 2, 3, 4]), jnp.array([0.0, 1, 0, 2]), ctx=PLAIN)
    assert a.tolist() == [[2, 3], [6, 7], [0, 0], [0, 0]]
    assert b.tolist() == [2, 4, 0, 0]


def test_gradient_of_filter_reaches_only_chosen_rows():
    weight = jnp.array([[1.0, 2], [3, 4], [5, 6], [7, 8]])
    chosen = jnp.array([0.0, 1, 0, 1])
    grad = jax.grad(lambda x: jnp.sum(weight * Filter(top=("y",)).apply((), x, chosen, ctx=PLAIN)[0]))(ROWS)
    assert grad.tolist() == [[0, 0], [1, 2], [0, 0], [3, 4]]


def test_batch_reindex_adds_gradients_of_a_row_picked_twice_and_marks_what_is_out_of_range():
    pick = lambda x, i: BatchReindex().apply((), x, jnp.array(i), ctx=PLAIN)
    grad = jax.grad(lambda x: jnp.sum(pick(x, [1, 1, 3])))(ROWS)
    assert grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]
    assert np.isnan(pick(ROWS, [0, 4, -1])).all(axis=1).tolist() == [False, True, True]


def test_reverse_turns_time_and_its_gradient():
    assert Reverse().apply((), ROWS, ctx=PLAIN).tolist() == ROWS[::-1].tolist()
    assert Reverse(axis=-1).apply((), ROWS, ctx=PLAIN).tolist() == ROWS[:, ::-1].tolist()
    grad = jax.grad(lambda x: jnp.sum(Reverse().apply((), x, ctx=PLAIN) * ROWS))(ROWS)
    assert grad.tolist() == ROWS[::-1].tolist()


def test_permute_appends_the_axes_that_are_left_out():
    assert Permute(order=[2]).infer((2, 3, 4)) == (4, 2, 3)
    assert Permute(order=[2]).apply((), jnp.zeros((2, 3, 4)), ctx=PLAIN).shape == (4, 2, 3)


@pytest.mark.parametrize(
    ("layer", "bottoms", "field", "bottom", "words"),
    [
        (Permute(order=[0, 3]), [(2, 3)], "order", None, ["contains 3", "2x3"]),
        (Permute(order=[1, 0, 1]), [(2, 3)], "order", None, ["axis 1 twice", "values 0 and 2"]),
        (Tile(tiles=2, axis=2), [(2, 3)], "axis", None, ["`axis` is 2"]),
        (Reverse(axis=2), [(2, 3)], "axis", None, ["`axis` is 2"]),
        (Flip(), [(2, 3)], None, 0, ["requires 4", "has 2"]),
        (BatchReindex(), [(2, 3), (2, 3)], None, 1, ["2x3 has 2 axes", "must have 1"]),
        (Filter(top=("y",)), [(4, 2), (4, 2)], None, 1, ["is 4x2", "each row: 4"]),
        (Filter(top=("y",)), [(4, 2), (5,)], None, 0, ["is 4x2", "selector is 5"]),
        (Filter(top=("y", "z")), [(4, 2), (4,)], None, None, ["selector is 1", "tops is 2"]),
    ],
)
def test_errors_name_field_and_values(layer, bottoms, field, bottom, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(*bottoms)
    assert (caught.value.field, caught.value.bottom) == (field, bottom)
    assert [w for w in words if w not in caught.value.detail] == []


def test_gather_takes_indices_of_any_shape():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    take = lambda **fields: Gather(top=("y",), **fields).apply((), x, ctx=PLAIN)[0]
    np.testing.assert_array_equal(take(indices=(1, 0, 2, 2), shape=(2, 2), axis=-1), x[..., [[1, 0], [2, 2]]])
    np.testing.assert_array_equal(take(indices=(1,), shape=(0,), axis=1), x[:, 1])
    np.testing.assert_array_equal(take(indices=(1,), shape=(1,)), x[1:])


def test_gather_without_indices_is_the_whole_batch_of_one_process():
    layer = Gather(top=("a", "b"))
    assert layer.infer((2, 3), (2,)) == [(2, 3), (2,)]
    a, b = layer.apply((), ROWS, ROWS + 1, ctx=PLAIN)
    assert a.tolist() == ROWS.tolist() and b.tolist() == (ROWS + 1).tolist()


@pytest.mark.parametrize(
    ("layer", "shapes", "words"),
    [
        (Gather(top=("y",), indices=(3,), shape=(1,)), [(3, 2)], "contains 3, but axis 0 .* has only 3"),
        (Gather(top=("y",), indices=(1, 2)), [(3, 2)], "2 `indices`, but `shape` scalar has 1"),
        (Gather(top=("y", "z")), [(3, 2)], "1 bottoms and 2 tops; Gather without `indices` has a top for each bottom"),
    ],
)
def test_errors_of_gather(layer, shapes, words):
    with pytest.raises(ShapeError, match=words):
        layer.infer(*shapes)
