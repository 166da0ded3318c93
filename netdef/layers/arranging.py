"""Layers that put elements elsewhere: Permute, Tile, Reverse, Flip; of rows: BatchReindex, Filter.

None has weights; their gradients put each number back where it came from, adding up what was copied.
"""

from __future__ import annotations

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, show
from .base import Context, Example, Layer


class Permute(Layer, type="Permute", block="permute_param"):
    """The axes in another order: axis i of y is axis order[i] of x; axes that `order` leaves out follow in their order.

    Bottoms: x.  Tops: y.
    Source: weiliu89/caffe (branch ssd) and happynear/caffe-windows, src/caffe/layers/permute_layer.cpp.
    Differs: nothing.
    """

    family = "joining"

    order: tuple[int, ...] = param("Axes of x in the order of y.", default=(), at_least=0)

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
                    f"`order` names axis {axis}, but the input {show(x)} has only {len(x)} axes; "
                    f"give numbers from 0 to {len(x) - 1}.",
                    field="order",
                )
            if axis in self.order[:i]:
                raise ShapeError(
                    f"`order` names axis {axis} at places {self.order.index(axis)} and {i}; give it once.",
                    field="order",
                )
        return tuple(x[axis] for axis in self._axes(len(x)))

    def _axes(self, rank: int) -> list[int]:
        return [*self.order, *(axis for axis in range(rank) if axis not in self.order)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.transpose(x, self._axes(x.ndim))


class Tile(Layer, type="Tile", block="tile_param"):
    """The bottom `tiles` times over along an axis.

    Bottoms: x (n, c, ...).  Tops: y (n, tiles c, ...).
    Source: BVLC/caffe src/caffe/layers/tile_layer.cpp.  Differs: nothing.
    """

    family = "joining"

    axis: int = param("Axis along which it is repeated; negative ones count from the back.", default=1)
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
    """The bottom back to front along an axis: the second direction of a bidirectional LSTM.

    Bottoms: x.  Tops: y of its shape.
    Source: netdef's own, after the layer of that name in forks for text recognition.
    Differs: BVLC Caffe has no such layer.
    """

    family = "joining"

    axis: int = param("Axis that is turned round; negative ones count from the back.", default=0)

    examples = (Example('layer { name: "back" type: "Reverse" bottom: "x" top: "back" }', {"x": (4, 2, 3)}),)

    def infer(self, x: Shape) -> Shape:
        axis_of(x, self.axis)
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.flip(x, axis_of(x.shape, self.axis))


class Flip(Layer, type="Flip", block="flip_param"):
    """Images mirrored: left and right changed over by `flip_width`, top and bottom by `flip_height`.

    Bottoms: x (n, c, h, w).  Tops: y of its shape.
    Source: happynear/caffe-windows src/caffe/layers/flip_layer.cpp.
    Differs: an input without four axes is an error, where the fork takes missing axes as 1.
    """

    family = "joining"

    flip_width: bool = param("Whether columns are turned round.", default=True)
    flip_height: bool = param("Whether rows are turned round.", default=False)

    examples = (Example('layer { name: "mirror" type: "Flip" bottom: "x" top: "mirror" }', {"x": (2, 3, 4, 5)}),)

    def infer(self, x: Shape) -> Shape:
        if len(x) != 4:
            raise ShapeError(
                f"Flip takes images of 4 axes (n, c, h, w), and the input {show(x)} has {len(x)}.", bottom=0
            )
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.flip(x, [axis for axis, turned in ((2, self.flip_height), (3, self.flip_width)) if turned])


class BatchReindex(Layer, type="BatchReindex"):
    """Rows of x picked by number: y[i] = x[index[i]].  A row that is picked twice gets both gradients.

    Bottoms: x (n, ...), index (m), whole numbers from 0 to n - 1.  Tops: y (m, ...).
    Source: BVLC/caffe src/caffe/layers/batch_reindex_layer.cpp.
    Differs: an index out of range gives a row of NaN, where Caffe ends the program.
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
            raise ShapeError(f"the index must have 1 axis, and {show(index)} has {len(index)}; flatten it.", bottom=1)
        if not x:
            raise ShapeError("a scalar has no rows to pick; the first input needs at least 1 axis.", bottom=0)
        return (index[0], *x[1:])

    def apply(self, w: tuple[Array, ...], x: Array, index: Array, *, ctx: Context) -> Array:
        rows = jnp.asarray(index).astype(jnp.int32)
        rows = jnp.where(rows < 0, x.shape[0], rows)  # below 0 is out of range, not counted from the back
        return jnp.take(x, rows, axis=0, mode="fill", fill_value=jnp.nan)


class Filter(Layer, type="Filter"):
    """The rows whose selector is not 0, moved to the front in their order; the rows left over at the end are 0.

    Bottoms: one or more (n, ...), then the selector (n) or (n, 1, ...).
    Tops: one for each bottom but the selector, of its shape.
    Source: BVLC/caffe src/caffe/layers/filter_layer.cpp.
    Differs: Caffe's tops have as many rows as were selected; a compiled net has fixed shapes, so here they keep all n
    rows and fill up with zeros.  A loss counts the zero rows too, and a filtered label is 0 there.
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
                f"{len(blobs)} blobs are filtered into {len(self.top)} tops; give one for each but the selector."
            )
        if not selector or any(size != 1 for size in selector[1:]):
            raise ShapeError(
                f"the selector must have one number for each row, as {show(selector[:1])} has; it is {show(selector)}.",
                bottom=len(blobs),
            )
        for i, shape in enumerate(blobs):
            if not shape or shape[0] != selector[0]:
                raise ShapeError(
                    f"{show(shape)} and the selector {show(selector)} must have the same first axis.",
                    bottom=i,
                )
        return blobs

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        *blobs, selector = bottoms
        chosen = selector.reshape(-1) != 0  # (n)
        order = jnp.argsort(~chosen, stable=True)  # chosen rows first, each part in its order
        kept = jnp.arange(chosen.size) < chosen.sum()
        return [jnp.where(kept.reshape(-1, *[1] * (x.ndim - 1)), x[order], 0) for x in blobs]
