"""SpaceToBatchND and BatchToSpaceND, compared with TensorFlow's examples and with each other."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.space_to_batch import BatchToSpaceND, SpaceToBatchND
from netdef.shape import UNKNOWN, ShapeError


def apart(x, **fields):
    return np.asarray(SpaceToBatchND(**fields).apply((), jnp.asarray(x), ctx=PLAIN))


def whole(x, **fields):
    return np.asarray(BatchToSpaceND(**fields).apply((), jnp.asarray(x), ctx=PLAIN))


def test_the_examples_of_tensorflows_manual():
    x = np.arange(1.0, 17).reshape(1, 4, 4, 1)
    y = apart(x, block_shape=(2, 2), paddings=(0, 0, 0, 0))
    assert y[..., 0].tolist() == [[[1, 3], [9, 11]], [[2, 4], [10, 12]], [[5, 7], [13, 15]], [[6, 8], [14, 16]]]
    y = apart(x.reshape(2, 2, 4, 1), block_shape=(2, 2), paddings=(0, 0, 2, 0))
    assert y.shape == (8, 1, 3, 1)
    assert y[:, 0, :, 0].tolist() == [
        [0, 1, 3], [0, 9, 11], [0, 2, 4], [0, 10, 12], [0, 5, 7], [0, 13, 15], [0, 6, 8], [0, 14, 16],
    ]  # fmt: skip
    assert whole(y, block_shape=(2, 2), crops=(0, 0, 2, 0)).tolist() == x.reshape(2, 2, 4, 1).tolist()


@pytest.mark.parametrize("blocks", [(2,), (3, 2), (1, 2, 2)])
def test_the_batch_goes_back_to_where_it_came_from(blocks):
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 6, 3)).astype(np.float32)
    ends = tuple(v for size, block in zip(x.shape[1:], blocks, strict=False) for v in (1, -(size + 1) % block))
    y = apart(x, block_shape=blocks, paddings=ends)
    assert y.shape == SpaceToBatchND(block_shape=blocks, paddings=ends).infer(x.shape)
    np.testing.assert_array_equal(whole(y, block_shape=blocks, crops=ends), x)


def test_an_unknown_batch_stays_unknown():
    layer = SpaceToBatchND(block_shape=(2, 2), paddings=(0, 0, 0, 0))
    assert layer.infer((UNKNOWN, 4, 6, 3))[1:] == (2, 3, 3)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (SpaceToBatchND(block_shape=(2,)), (1, 4), "`paddings` has 0 values, but `block_shape` has 1; give 2"),
        (SpaceToBatchND(block_shape=(2,), paddings=(0, 1)), (1, 4), "5 elements with padding, not a multiple .* of 2"),
        (SpaceToBatchND(block_shape=(2, 2), paddings=(0, 0, 0, 0)), (1, 4), "2 values, but the input 1x4 has only 1"),
        (BatchToSpaceND(block_shape=(2,), crops=(0, 0)), (3, 4), "the batch of 3 is not a multiple of 2"),
        (BatchToSpaceND(block_shape=(2,), crops=(4, 4)), (2, 4), "8 elements, but `crops` removes 8"),
    ],
)
def test_errors_contain_both_values(layer, shape, words):
    with pytest.raises(ShapeError, match=words):
        layer.infer(shape)
