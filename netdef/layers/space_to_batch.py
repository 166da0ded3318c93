"""Pixels moved into the batch and back: SpaceToBatchND and BatchToSpaceND, with which TensorFlow writes dilated
convolutions."""

from __future__ import annotations

import math

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Context, Example, Layer


class _Blocks(Layer):
    """Blocks of pixels along the axes from 1 on."""

    family = "joining"

    block_shape: tuple[int, ...] = param("Size of a block along each axis from 1 on.", default=(), at_least=1)

    def _pairs(self, x: Shape, field: str) -> list[tuple[int, int]]:
        """Returns the two values of a field for each axis of the blocks."""
        values, axes = getattr(self, field), len(self.block_shape)
        if axes >= len(x):
            raise ShapeError(
                f"`block_shape` has {axes} values, but the input {show(x)} has only {len(x) - 1} axes after the batch.",
                field="block_shape",
            )
        if len(values) != 2 * axes:
            raise ShapeError(
                f"`{field}` has {len(values)} values, but `block_shape` has {axes}; give {2 * axes}, two for each "
                "axis: before and after.",
                field=field,
            )
        return list(zip(values[::2], values[1::2], strict=True))


class SpaceToBatchND(_Blocks, type="SpaceToBatchND", block="space_to_batch_nd_param"):
    """Pads x with zeros and makes each position inside a block an item of the batch of its own.

    Bottoms: x (n, spatial..., rest...).  Tops: y (product of blocks times n, (size + paddings) / block..., rest...).
    Source: synopsys-caffe src/caffe/layers/space_to_batch_nd_layer.cpp, after tf.space_to_batch_nd.
    Differs: it has a gradient.
    """

    paddings: tuple[int, ...] = param("Zeros before and after each axis: two values per axis.", default=(), at_least=0)

    examples = (
        Example(
            'layer { name: "apart" type: "SpaceToBatchND" bottom: "x" top: "apart"\n'
            "        space_to_batch_nd_param { block_shape: [2, 3] paddings: [0, 1, 2, 2] } }",
            {"x": (2, 3, 5, 2)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        batch, sizes = x[0] if x else 1, []
        pairs = self._pairs(x, "paddings")
        for axis, (block, pad) in enumerate(zip(self.block_shape, pairs, strict=True), 1):
            size = x[axis] + sum(pad)
            if size % block:
                raise ShapeError(
                    f"axis {axis} of the input {show(x)} has {size} elements with padding, not a multiple of the block "
                    f"of {block}; change `paddings` or `block_shape`.",
                    field="paddings",
                )
            batch, sizes = batch * block, [*sizes, size // block]
        return (batch, *sizes, *x[1 + len(sizes) :])

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        pairs, blocks = self._pairs(x.shape, "paddings"), self.block_shape
        padded = jnp.pad(x, [(0, 0), *pairs, *[(0, 0)] * (x.ndim - 1 - len(pairs))])
        sides = zip(padded.shape[1:], blocks, strict=False)
        parts = [part for size, block in sides for part in (size // block, block)]
        y = padded.reshape(x.shape[0], *parts, *x.shape[1 + len(blocks) :])
        inner, axes = range(2, 1 + len(parts), 2), range(1, 1 + len(parts), 2)
        y = y.transpose(*inner, 0, *axes, *range(1 + len(parts), y.ndim))
        return y.reshape(self.infer(x.shape))


class BatchToSpaceND(_Blocks, type="BatchToSpaceND", block="batch_to_space_nd_param"):
    """The inverse of SpaceToBatchND: items of the batch become the positions inside blocks, which are then cropped.

    Bottoms: x (product of blocks times n, spatial..., rest...).  Tops: y (n, size times block - crops..., rest...).
    Source: synopsys-caffe src/caffe/layers/batch_to_space_nd_layer.cpp, after tf.batch_to_space_nd.
    Differs: it has a gradient.
    """

    crops: tuple[int, ...] = param("Elements to crop before and after: two values per axis.", default=(), at_least=0)

    examples = (
        Example(
            'layer { name: "whole" type: "BatchToSpaceND" bottom: "x" top: "whole"\n'
            "        batch_to_space_nd_param { block_shape: [2, 3] crops: [0, 1, 2, 2] } }",
            {"x": (12, 2, 3, 2)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        pairs, items = self._pairs(x, "crops"), math.prod(self.block_shape)
        if x[0] % items:
            raise ShapeError(
                f"the batch of {x[0]} is not a multiple of {items}, the elements of a block; change `block_shape`.",
                field="block_shape",
            )
        sizes = []
        for axis, (block, crop) in enumerate(zip(self.block_shape, pairs, strict=True), 1):
            size = x[axis] * block
            if size <= sum(crop):
                raise ShapeError(
                    f"axis {axis} has {size} elements, but `crops` removes {sum(crop)}; use less.", field="crops"
                )
            sizes.append(size - sum(crop))
        return (x[0] // items, *sizes, *x[1 + len(sizes) :])

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        blocks, axes = self.block_shape, len(self.block_shape)
        y = x.reshape(*blocks, x.shape[0] // math.prod(blocks), *x.shape[1:])
        order = [axes, *(axis for i in range(axes) for axis in (axes + 1 + i, i)), *range(2 * axes + 1, y.ndim)]
        sizes = [size * block for size, block in zip(x.shape[1:], blocks, strict=False)]
        y = y.transpose(order).reshape(-1, *sizes, *x.shape[1 + axes :])
        pairs = self._pairs(x.shape, "crops")
        return y[(slice(None), *(slice(a, size - b) for (a, b), size in zip(pairs, sizes, strict=True)))]
