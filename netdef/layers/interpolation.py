"""Resizing of images by TensorFlow's rules, in nets that were converted from it: ResizeBilinear and
ResizeNearestNeighbor."""

from __future__ import annotations

from typing import Any

from ..lazy import Array, jnp, lax, np
from ..schema import param
from ..shape import UNKNOWN, Dim, Shape, ShapeError, known, show
from .base import Context, Example, Layer


def _example(type: str, block: str, differentiable: bool = True) -> Example:
    text = f'layer {{ name: "up" type: "{type}" bottom: "x" top: "up" {block} }}'
    return Example(text, {"x": (2, 3, 4, 5)}, differentiable=differentiable)


class _Resize(Layer):
    """The size of the result and the positions of its pixels in the image."""

    family = "pooling"

    align_corners: bool = param("Whether the corners of both images coincide.", default=False)
    output_height: int | None = param("Height of the output.", default=None, at_least=1)
    output_width: int | None = param("Width of the output.", default=None, at_least=1)
    scale_height: float = param("Factor of the height, without `output_height`.", default=1.0, above=0)
    scale_width: float = param("Factor of the width, without `output_width`.", default=1.0, above=0)
    half_pixel_centers: bool = param("Whether pixels are at their centers, as in TensorFlow 2.", default=False)
    data_format: str = param("The order of the axes.", default="NHWC", choices=("NHWC", "NCHW"))

    def _first(self) -> int:
        """Returns the axis of the height."""
        return 1 if self.data_format == "NHWC" else 2

    def _check(self, other: str) -> None:
        names = [name for name in ("align_corners", "half_pixel_centers", other) if getattr(self, name)]
        if len(names) > 1:
            raise ShapeError(f"`{names[0]}` and `{names[1]}` are both true; set only one of them.", field=names[1])

    def infer(self, x: Shape) -> Shape:
        if len(x) != 4:
            raise ShapeError(f"the input {show(x)} has {len(x)} axes; it must have 4: {self.data_format}.", bottom=0)
        first, sizes = self._first(), list(x)
        for axis, side in ((first, "height"), (first + 1, "width")):
            sizes[axis] = self._size(x[axis], side)
        return tuple(sizes)

    def _size(self, size: Dim, side: str) -> Dim:
        given, scale = getattr(self, f"output_{side}"), getattr(self, f"scale_{side}")
        if given is not None or not known((size,)):
            return UNKNOWN if given is None else given
        with np.errstate(over="ignore", invalid="ignore"):
            made = float(np.floor(np.float32(size) * np.float32(scale)))
        if not 1 <= made < 2**31:
            raise ShapeError(
                f"the {side} is {size}, and `scale_{side}` {scale:g} makes it {made:g}; use a "
                f"{'smaller' if made > 1 else 'larger'} scale.",
                field=f"scale_{side}",
            )
        return int(made)

    def _scale(self, size: int, result: int) -> Any:
        """Returns the distance between pixels of the result in the image, in float32 as in the fork."""
        if self.align_corners and result > 1:
            return np.float32(size - 1) / np.float32(result - 1)
        return np.float32(size) / np.float32(result)


class ResizeBilinear(_Resize, type="ResizeBilinear", block="resize_bilinear_param"):
    """Bilinear resizing: y[i] is x at position i in / out, interpolated.

    The position is i (in - 1) / (out - 1) with `align_corners`, (i + 1/2) in / out - 1/2 with `half_pixel_centers` or
    `pytorch_half_pixel`.
    Bottoms: x (n, h, w, c), or (n, c, h, w) with `data_format: "NCHW"`.
    Tops: y, x with the new height and width: `output_height` and `output_width`, or the size times a scale.
    Source: synopsys-caffe src/caffe/layers/resize_bilinear_layer.cpp, after tf.image.resize_bilinear.
    Differs: it has a gradient; three spatial axes and quantized outputs are not supported.
    """

    pytorch_half_pixel: bool = param(
        "As `half_pixel_centers`, but an output of one pixel is the first pixel.", default=False
    )

    examples = (
        _example("ResizeBilinear", 'resize_bilinear_param { output_height: 7 output_width: 3 data_format: "NCHW" }'),
        _example("ResizeBilinear", "resize_bilinear_param { scale_height: 2 scale_width: 2 half_pixel_centers: true }"),
    )

    def infer(self, x: Shape) -> Shape:
        self._check("pytorch_half_pixel")
        return super().infer(x)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        first, y = self._first(), x
        for axis, result in enumerate(self.infer(x.shape)[first : first + 2], first):
            matrix = self._between(x.shape[axis], result)
            y = jnp.moveaxis(jnp.tensordot(y, matrix, (axis, 1), precision=lax.Precision.HIGHEST), -1, axis)
        return y

    def _between(self, size: int, result: int) -> Any:
        """Returns the matrix (result, size) that interpolates along one axis."""
        place = np.arange(result, dtype=np.float32)
        half, scale = np.float32(0.5), self._scale(size, result)
        if self.pytorch_half_pixel and result == 1:
            place = place - half
        elif self.half_pixel_centers or self.pytorch_half_pixel:
            place = (place + half) * scale - half
        else:
            place = place * scale
        below = np.floor(place)
        lower = np.maximum(below.astype(np.int32), 0)
        upper = np.minimum(np.ceil(place).astype(np.int32), size - 1)
        part = (place - below)[:, None]
        rows = np.eye(size, dtype=np.float32)
        return (1 - part) * rows[lower] + part * rows[upper]


class ResizeNearestNeighbor(_Resize, type="ResizeNearestNeighbor", block="resize_nearest_neighbor_param"):
    """Resizing by repetition: y[i] is x[floor(i in / out)].

    The index is i (in - 1) / (out - 1), rounded, with `align_corners`; floor((i + 1/2) in / out) with
    `half_pixel_centers`; floor((i + 1/2) in / out - 1/2) with `half_pixel_onnx`.
    Bottoms: x (n, h, w, c), or (n, c, h, w) with `data_format: "NCHW"`.
    Tops: y, x with the new height and width: `output_height` and `output_width`, or the size times a scale.
    Source: synopsys-caffe src/caffe/layers/resize_nearest_neighbor_layer.cpp, after TensorFlow.
    Differs: it has a gradient.
    """

    half_pixel_onnx: bool = param("Whether pixels are at their centers, rounded down as in ONNX.", default=False)

    examples = (
        _example(
            "ResizeNearestNeighbor",
            'resize_nearest_neighbor_param { output_height: 7 output_width: 3 data_format: "NCHW" }',
        ),
    )

    def infer(self, x: Shape) -> Shape:
        self._check("half_pixel_onnx")
        return super().infer(x)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        first, y = self._first(), x
        for axis, result in enumerate(self.infer(x.shape)[first : first + 2], first):
            y = jnp.take(y, self._nearest(x.shape[axis], result), axis)
        return y

    def _nearest(self, size: int, result: int) -> Any:
        """Returns the index of the pixel that each pixel of the result repeats."""
        place, half = np.arange(result, dtype=np.float32), np.float32(0.5)
        scale = self._scale(size, result)
        if self.half_pixel_centers or self.half_pixel_onnx:
            place = (place + half) * scale - (half if self.half_pixel_onnx else 0)
        else:
            place = place * scale + (half if self.align_corners else 0)
        return np.clip(np.floor(place).astype(np.int32), 0, size - 1)
