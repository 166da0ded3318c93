"""MultiHeadAttention compared with its formula, masks, and errors."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN, Alone

from netdef.layers.attention import MultiHeadAttention
from netdef.shape import UNKNOWN, ShapeError

RANDOM = np.random.RandomState(0)
QUERY, OTHER = RANDOM.randn(2, 3, 4).astype(np.float32), RANDOM.randn(2, 5, 6).astype(np.float32)


def weights(layer, *shapes):
    return tuple(RANDOM.randn(*w.shape).astype(np.float32) for w in layer.weights(*shapes))


def plain(w, query, key, value, heads, allowed):
    """The formula, for each head and position; `allowed[n][t]` are the positions that t may attend to."""
    q, k, v = (x @ w[i].T + w[i + 1] for i, x in zip((0, 2, 4), (query, key, value), strict=True))
    d = q.shape[-1] // heads
    seen = np.zeros_like(q)
    for n, t, h in np.ndindex(*q.shape[:2], heads):
        part, places = slice(h * d, (h + 1) * d), allowed[n][t]
        scores = np.exp([q[n, t, part] @ k[n, s, part] / math.sqrt(d) for s in places])
        seen[n, t, part] = (scores / scores.sum()) @ v[n, places, part]
    return seen @ w[6].T + w[7]


def test_attention_to_another_sequence_is_the_formula():
    layer = MultiHeadAttention(num_heads=2, head_dim=3, num_output=5)
    w = weights(layer, QUERY.shape, OTHER.shape)
    assert [a.shape for a in w] == [(6, 4), (6,), (6, 6), (6,), (6, 6), (6,), (5, 6), (5,)]
    y = layer.apply(w, QUERY, OTHER, ctx=PLAIN)
    np.testing.assert_allclose(y, plain(w, QUERY, OTHER, OTHER, 2, [[list(range(5))] * 3] * 2), rtol=1e-4, atol=1e-4)


def test_causal_and_masked_positions_are_not_attended_to():
    layer = MultiHeadAttention(num_heads=2, causal=True)
    w = weights(layer, QUERY.shape)
    mask = np.array([[1, 1, 1], [1, 0, 1]])
    allowed = [[[0], [0, 1], [0, 1, 2]], [[0], [0], [0, 2]]]
    y = layer.apply(w, QUERY, QUERY, QUERY, mask, ctx=PLAIN)
    np.testing.assert_allclose(y, plain(w, QUERY, QUERY, QUERY, 2, allowed), rtol=1e-4, atol=1e-4)


def test_a_place_that_may_look_nowhere_gets_numbers():
    layer = MultiHeadAttention(num_heads=2)
    y = layer.apply(weights(layer, QUERY.shape), QUERY, QUERY, QUERY, np.zeros((2, 3)), ctx=PLAIN)
    assert np.isfinite(y).all()


def test_dropout_only_in_training():
    layer = MultiHeadAttention(num_heads=1, dropout_ratio=0.5)
    w = weights(layer, QUERY.shape)
    still = layer.apply(w, QUERY, ctx=PLAIN)
    assert jnp.abs(layer.apply(w, QUERY, ctx=Alone(train=True)) - still).max() > 1e-3


@pytest.mark.parametrize(
    ("layer", "bottoms", "field", "bottom", "words"),
    [
        (MultiHeadAttention(num_heads=3), [(2, 3, 4)], "num_heads", None, ["`num_heads` is 3", "4 channels"]),
        (MultiHeadAttention(num_heads=2), [(2, 3)], None, 0, ["2x3", "2 axes"]),
        (MultiHeadAttention(num_heads=2), [(2, 3, 4), (3, 5, 4)], None, 1, ["3x5x4", "2x3x4"]),
        (MultiHeadAttention(num_heads=2), [(2, 3, 4), (2, 5, 4), (2, 6, 4)], None, 2, ["2x5x4", "2x6x4"]),
        (MultiHeadAttention(num_heads=2), [(2, 3, 4), (2, 5, 4), (2, 5, 4), (2, 3)], None, 3, ["2x5", "2x3"]),
    ],
)
def test_errors_name_field_and_values(layer, bottoms, field, bottom, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(*bottoms)
    assert (caught.value.field, caught.value.bottom) == (field, bottom)
    assert [w for w in words if w not in caught.value.detail] == []


def test_unknown_channels_are_no_error():
    assert MultiHeadAttention(num_heads=3, num_output=7).infer((2, UNKNOWN, UNKNOWN))[2] == 7
