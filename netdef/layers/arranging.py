"""Rearranging elements: Permute, Tile, Reverse, Flip, Gather; and rows: BatchReindex, Filter.

None of them has weights.  The gradient of each value returns to where the value came from; copies are summed.
"""

from __future__ import annotations

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from .base import Context, Example, Layer


class Permute(Layer, type="Permute", block="permute_param"):
    """Permutes axes: axis i of y is axis order[i] of x.  Axes that are not in `order` follow in their original order.

    Bottoms: x (any shape).  Tops: y, shape of x permuted.
    Source: weiliu89/caffe (branch ssd) and happynear/caffe-windows, src/caffe/layers/permute_layer.cpp.
    Differs: nothing.
    """

    family = "joining"

    order: tuple[int, ...] = param("Axes of x, in the order of y.", default=(), at_least=0)

    examples = (
        Example(
            'layer { name: "last" type: "Permute" bottom: "x" top: "last"\n'
            "        permute_param { order: 0 order: 2 order: 3 order: 1 } }",
            {"x": (2, 3, 4, 5)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        for i, axis in enumerate(self.order):
            if axis >= len(x):
                raise ShapeError(
                    f"`order` contains {axis}, but the input {show(x)} has only {len(x)} axes; "
                    f"use values from 0 to {len(x) - 1}.",
                    field="order",
                )
            if axis in self.order[:i]:
                raise ShapeError(
                    f"`order` contains axis {axis} twice, as values {self.order.index(axis)} and {i}; remove one.",
                    field="order",
                )
        return tuple(x[axis] for axis in self._axes(len(x)))

    def _axes(self, rank: int) -> list[int]:
        return [*self.order, *(axis for axis in range(rank) if axis not in self.order)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.transpose(x, self._axes(x.ndim))


class Tile(Layer, type="Tile", block="tile_param"):
    """Repeats x `tiles` times along an axis.

    Bottoms: x (n, c, ...).  Tops: y (n, tiles c, ...).
    Source: BVLC/caffe src/caffe/layers/tile_layer.cpp.  Differs: nothing.
    """

    family = "joining"

    axis: int = param("Axis to repeat; negative values count from the end.", default=1)
    tiles: int = param("Number of copies.", at_least=1)

    examples = (
        Example(
            'layer { name: "thrice" type: "Tile" bottom: "x" top: "thrice" tile_param { tiles: 3 } }', {"x": (2, 3, 4)}
        ),
    )

    def infer(self, x: Shape) -> Shape:
        axis = axis_of(x, self.axis)
        return (*x[:axis], x[axis] * self.tiles, *x[axis + 1 :])

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.concatenate([x] * self.tiles, axis_of(x.shape, self.axis))


class Reverse(Layer, type="Reverse", block="reverse_param"):
    """Reverses the order along an axis, as for the second direction of a bidirectional LSTM.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: netdef's own, after the layer of the same name in forks for text recognition.
    Differs: BVLC Caffe has no such layer.
    """

    family = "joining"

    axis: int = param("Axis to reverse; negative values count from the end.", default=0)

    examples = (Example('layer { name: "back" type: "Reverse" bottom: "x" top: "back" }', {"x": (4, 2, 3)}),)

    def infer(self, x: Shape) -> Shape:
        axis_of(x, self.axis)
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.flip(x, axis_of(x.shape, self.axis))


class Gather(Layer, type="Gather", block="gather_param"):
    """Selects elements along an axis: y[.., i, ..] = x[.., indices[i], ..].

    Without `indices`, it collects the parts of a batch that several processes computed, and each top is its bottom.
    Bottoms: x (any shape); without `indices`, any number.
    Tops: y, x with `axis` replaced by the axes of `shape`, or removed if `shape` is not given; without `indices`, one
    top per bottom, same shape.
    Source: synopsys-caffe src/caffe/layers/gather_layer.cpp, after tf.gather; without `indices`, yjxiong/caffe.
    Differs: nothing.
    """

    family = "joining"
    n_bottoms = (1, None)
    n_tops = (1, None)

    indices: tuple[int, ...] = param("Elements to select.", default=(), at_least=0)
    shape: tuple[int, ...] = param("Shape of the indices; 0 or none: a single index.", default=(), at_least=0)
    axis: int = param("Axis of x to select from; negative values count from the end.", default=0)

    examples = (
        Example(
            'layer { name: "some" type: "Gather" bottom: "x" top: "some"\n'
            "        gather_param { indices: [2, 0, 0] shape: 3 axis: 1 } }",
            {"x": (2, 3, 4)},
        ),
    )

    def infer(self, *bottoms: Shape) -> list[Shape]:
        first, wanted = bottoms[0], 1 if self.indices else len(bottoms)
        if len(self.top) > wanted or (self.indices and len(bottoms) > 1):
            which, most = ("with", "one bottom and one top") if self.indices else ("without", "a top for each bottom")
            raise ShapeError(
                f"there are {len(bottoms)} bottoms and {len(self.top)} tops; Gather {which} `indices` has {most}."
            )
        return [self._selected(first)] if self.indices else list(bottoms)[: max(1, len(self.top))]

    def _dims(self) -> tuple[int, ...]:
        return () if self.shape in ((), (0,)) else self.shape

    def _selected(self, x: Shape) -> Shape:
        axis = axis_of(x, self.axis)
        if len(self.indices) != count(self._dims()):
            raise ShapeError(
                f"there are {len(self.indices)} `indices`, but `shape` {show(self._dims())} has {count(self._dims())}; "
                "make them equal.",
                field="indices",
            )
        if x[axis] <= max(self.indices):
            raise ShapeError(
                f"`indices` contains {max(self.indices)}, but axis {axis} of the input {show(x)} has only {x[axis]} "
                "elements.",
                field="indices",
            )
        return (*x[:axis], *self._dims(), *x[axis + 1 :])

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        if not self.indices:
            return list(bottoms)[: max(1, len(self.top))]
        y = jnp.take(bottoms[0], jnp.asarray(self.indices), axis_of(bottoms[0].shape, self.axis))
        return [y.reshape(self._selected(bottoms[0].shape))]


class Flip(Layer, type="Flip", block="flip_param"):
    """Mirrors images: `flip_width` swaps left and right, `flip_height` top and bottom.

    Bottoms: x (n, c, h, w).  Tops: y, same shape as x.
    Source: happynear/caffe-windows src/caffe/layers/flip_layer.cpp.
    Differs: the input must have four axes; the fork assumes 1 for missing ones.
    """

    family = "joining"

    flip_width: bool = param("Whether to reverse the order of the columns.", default=True)
    flip_height: bool = param("Whether to reverse the order of the rows.", default=False)

    examples = (Example('layer { name: "mirror" type: "Flip" bottom: "x" top: "mirror" }', {"x": (2, 3, 4, 5)}),)

    def infer(self, x: Shape) -> Shape:
        if len(x) != 4:
            raise ShapeError(
                f"the input {show(x)} has {len(x)} axes; Flip requires 4: batch, channels, height, width.", bottom=0
            )
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.flip(x, [axis for axis, turned in ((2, self.flip_height), (3, self.flip_width)) if turned])


class BatchReindex(Layer, type="BatchReindex"):
    """Selects rows by index: y[i] = x[index[i]].  The gradients of a row that is selected several times are summed.

    Bottoms: x (n, ...); index (m), integers from 0 to n - 1.  Tops: y (m, ...).
    Source: BVLC/caffe src/caffe/layers/batch_reindex_layer.cpp.
    Differs: an index out of range outputs a row of NaN, where Caffe aborts.
    """

    family = "joining"
    n_bottoms = 2

    examples = (
        Example(
            'layer { name: "pick" type: "BatchReindex" bottom: "x" bottom: "i" top: "pick" }',
            {"x": (4, 3), "i": (6,)},
            integers={"i": 4},
        ),
    )

    def infer(self, x: Shape, index: Shape) -> Shape:
        if len(index) != 1:
            raise ShapeError(f"the index {show(index)} has {len(index)} axes; it must have 1: flatten it.", bottom=1)
        if not x:
            raise ShapeError("bottom 0 is a scalar, which has no rows; it must have at least 1 axis.", bottom=0)
        return (index[0], *x[1:])

    def apply(self, w: tuple[Array, ...], x: Array, index: Array, *, ctx: Context) -> Array:
        rows = jnp.asarray(index).astype(jnp.int32)
        rows = jnp.where(rows < 0, x.shape[0], rows)  # negative indices are out of range, not counted from the end
        return jnp.take(x, rows, axis=0, mode="fill", fill_value=jnp.nan)


class Filter(Layer, type="Filter"):
    """Keeps the rows whose selector is not 0 and moves them to the front, in order; the remaining rows are 0.

    Bottoms: one or more (n, ...), then the selector (n) or (n, 1, ...).
    Tops: one for each bottom except the selector, same shape as the bottom.
    Source: BVLC/caffe src/caffe/layers/filter_layer.cpp.
    Differs: in Caffe the tops have only the selected rows; because a compiled net has fixed shapes, here they have n
    rows and are padded with zeros.  A loss includes the padding rows, and a filtered label is 0 there.
    """

    family = "joining"
    n_bottoms = (2, None)
    n_tops = (1, None)

    examples = (
        Example(
            'layer { name: "some" type: "Filter" bottom: "x" bottom: "keep" top: "some" }',
            {"x": (4, 3), "keep": (4,)},
            integers={"keep": 2},
        ),
    )

    def infer(self, *bottoms: Shape) -> list[Shape]:
        *blobs, selector = bottoms
        if len(self.top) != len(blobs):
            raise ShapeError(
                f"the number of bottoms before the selector is {len(blobs)}, but the number of tops is "
                f"{len(self.top)}; give one top for each of these bottoms."
            )
        if not selector or any(size != 1 for size in selector[1:]):
            raise ShapeError(
                f"the selector is {show(selector)}; it must have one value for each row: {show(selector[:1])}.",
                bottom=len(blobs),
            )
        for i, shape in enumerate(blobs):
            if not shape or shape[0] != selector[0]:
                raise ShapeError(
                    f"bottom {i} is {show(shape)} and the selector is {show(selector)}; "
                    "their first axes must be equal.",
                    bottom=i,
                )
        return blobs

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        *blobs, selector = bottoms
        chosen = selector.reshape(-1) != 0  # (n)
        order = jnp.argsort(~chosen, stable=True)  # stable: chosen rows first, both parts in order
        kept = jnp.arange(chosen.size) < chosen.sum()
        return [jnp.where(kept.reshape(-1, *[1] * (x.ndim - 1)), x[order], 0) for x in blobs]
