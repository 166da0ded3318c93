"""Resizing by TensorFlow's rules, compared with a loop over the pixels."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.interpolation import ResizeBilinear, ResizeNearestNeighbor
from netdef.shape import UNKNOWN, ShapeError

X = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)  # n, h, w, c
RULES = ["", "align_corners", "half_pixel_centers"]
BILINEAR = [*RULES, "pytorch_half_pixel"]
NEAREST = [*RULES, "half_pixel_onnx"]
SIZES = [(7, 3), (8, 10), (1, 1), (4, 5), (3, 11)]


def place(i: int, size: int, result: int, rule: str) -> float:
    """The position of a pixel, as the fork computes it."""
    if rule == "align_corners":
        return i * (size - 1) / (result - 1) if result > 1 else i * size / result
    if rule in ("half_pixel_centers", "pytorch_half_pixel"):
        return -0.5 if result == 1 and rule == "pytorch_half_pixel" else (i + 0.5) * size / result - 0.5
    return i * size / result


def mixed(row: np.ndarray, at: float) -> np.ndarray:
    lower, upper = max(math.floor(at), 0), min(math.ceil(at), len(row) - 1)
    part = at - math.floor(at)
    return row[lower] * (1 - part) + row[upper] * part


@pytest.mark.parametrize("rule", BILINEAR)
@pytest.mark.parametrize("size", SIZES)
def test_bilinear(size, rule):
    height, width = size
    wanted = np.empty((2, height, width, 3))
    for i, j in np.ndindex(height, width):
        rows = mixed(X.swapaxes(0, 1), place(i, 4, height, rule))  # n, w, c
        wanted[:, i, j] = mixed(rows.swapaxes(0, 1), place(j, 5, width, rule))
    flags = {rule: True} if rule else {}
    layer = ResizeBilinear(output_height=height, output_width=width, **flags)
    assert layer.infer(X.shape) == wanted.shape
    np.testing.assert_allclose(layer.apply((), jnp.asarray(X), ctx=PLAIN), wanted, atol=1e-5)
    turned = ResizeBilinear(output_height=height, output_width=width, data_format="NCHW", **flags)
    y = turned.apply((), jnp.asarray(X.transpose(0, 3, 1, 2)), ctx=PLAIN)
    np.testing.assert_allclose(y, wanted.transpose(0, 3, 1, 2), atol=1e-5)


def nearest(i: int, size: int, result: int, rule: str) -> int:
    scale = (size - 1) / (result - 1) if rule == "align_corners" and result > 1 else size / result
    by = {
        "": math.floor(i * scale),
        "align_corners": math.floor(i * scale + 0.5),
        "half_pixel_centers": math.floor((i + 0.5) * scale),
        "half_pixel_onnx": math.floor((i + 0.5) * scale - 0.5),
    }
    return min(max(by[rule], 0), size - 1)


@pytest.mark.parametrize("rule", NEAREST)
@pytest.mark.parametrize("size", SIZES)
def test_nearest_neighbor(size, rule):
    rows = [nearest(i, 4, size[0], rule) for i in range(size[0])]
    columns = [nearest(j, 5, size[1], rule) for j in range(size[1])]
    layer = ResizeNearestNeighbor(output_height=size[0], output_width=size[1], **({rule: True} if rule else {}))
    np.testing.assert_array_equal(layer.apply((), jnp.asarray(X), ctx=PLAIN), X[:, rows][:, :, columns])


def test_a_size_without_a_height_is_the_scaled_one():
    assert ResizeBilinear(scale_height=1.5, output_width=9).infer((2, 5, 5, 3)) == (2, 7, 9, 3)
    assert ResizeNearestNeighbor(scale_width=2.0, data_format="NCHW").infer((2, 3, 4, 5)) == (2, 3, 4, 10)
    assert ResizeBilinear(scale_height=2.0).infer((2, UNKNOWN, 5, 3))[1] is UNKNOWN


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (ResizeBilinear(), (2, 3, 4), "the input 2x3x4 has 3 axes; it must have 4: NHWC"),
        (ResizeBilinear(scale_height=0.1), (2, 3, 4, 5), "the height is 3, and `scale_height` 0.1 makes it 0"),
        (ResizeBilinear(scale_width=float("inf")), (2, 3, 4, 5), "the width is 4, and `scale_width` inf makes it inf"),
        (ResizeBilinear(scale_width=float("nan")), (2, 3, 4, 5), "makes it nan"),
        (
            ResizeBilinear(align_corners=True, pytorch_half_pixel=True),
            (2, 3, 4, 5),
            "`align_corners` and `pytorch_half_pixel` are both true",
        ),
        (
            ResizeNearestNeighbor(half_pixel_centers=True, half_pixel_onnx=True),
            (2, 3, 4, 5),
            "`half_pixel_centers` and `half_pixel_onnx` are both true",
        ),
    ],
)
def test_errors_contain_both_values(layer, shape, words):
    with pytest.raises(ShapeError, match=words):
        layer.infer(shape)
