"""Embed and PositionEmbed: indices out of range, sequences shorter than the table, errors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.embed import Embed, PositionEmbed
from netdef.shape import UNKNOWN, ShapeError

TABLE = jnp.arange(6.0).reshape(3, 2)


def test_numbers_out_of_range_become_nan():
    y = Embed(input_dim=3, num_output=2, bias_term=False).apply((TABLE,), jnp.array([2.0, 3, -1]), ctx=PLAIN)
    assert y[0].tolist() == [4, 5]
    assert np.isnan(y[1:]).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_positions_are_added_along_their_axis(axis):
    layer = PositionEmbed(axis=axis, input_dim=3)
    x = jnp.zeros((2, 2, 2))
    (weight,) = layer.weights(x.shape)
    assert weight.shape == (3, 2)
    y = layer.apply((TABLE,), x, ctx=PLAIN)
    assert y.take(0, axis=1 - axis).tolist() == TABLE[:2].tolist()
    assert y.take(1, axis=1 - axis).tolist() == TABLE[:2].tolist()


@pytest.mark.parametrize(
    ("layer", "x", "field", "words"),
    [
        (PositionEmbed(input_dim=3), (2, 4, 5), "input_dim", ["4 positions", "`input_dim` is 3"]),
        (PositionEmbed(), (2, 4), "axis", ["last axis of 2x4"]),
        (PositionEmbed(axis=3), (2, 4, 5), "axis", ["`axis` is 3"]),
    ],
)
def test_errors(layer, x, field, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(x)
    assert caught.value.field == field
    assert [w for w in words if w not in caught.value.detail] == []


def test_a_sequence_of_unknown_length_is_no_error():
    assert PositionEmbed(input_dim=3).infer((2, UNKNOWN, 5))[2] == 5
