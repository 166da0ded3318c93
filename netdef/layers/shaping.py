"""Joining, slicing and reshaping: Concat, Slice, Split, Flatten, Reshape, Silence.

None of them has weights or changes values.  The gradient of each value returns to where the value came from.
"""

from __future__ import annotations

from ..lazy import Array, jnp
from ..schema import Block, param
from ..shape import Dim, Shape, ShapeError, axis_of, count, show
from ._engine import Engine, engine
from .base import Context, Example, Layer


def _axis(layer: Layer, x: Shape, axis: int, old_name: str, old: int | None) -> int:
    """Returns the axis of Concat or Slice, from `axis` or its older name, which must not be negative."""
    if old is None:
        return axis_of(x, axis)
    if layer.given("axis"):
        raise ShapeError(f"`axis` is {axis} and `{old_name}` is {old}; give only `axis`.", field=old_name)
    return axis_of(x, old, old_name)


class Concat(Layer, type="Concat", block="concat_param"):
    """Concatenates the bottoms along an axis.

    Bottoms: any number of (n, c_i, ...), with equal sizes except along `axis`.  Tops: y (n, sum of c_i, ...).
    Source: BVLC/caffe src/caffe/layers/concat_layer.cpp; `engine` and `per_fla_fuse`: intel/caffe.  Differs: nothing.
    """

    family = "joining"
    n_bottoms = (1, None)

    axis: int = param("Axis of the concatenation; negative values count from the end.", default=1)
    concat_dim: int | None = param("Older name of `axis`.", default=None, at_least=0)
    per_fla_fuse: bool = param(
        "Whether to flatten the axes from 1 on first, to (n, values, 1, ...); only with `axis` 1.", default=False
    )
    engine: Engine = engine()

    examples = (
        Example(
            'layer { name: "join" type: "Concat" bottom: "a" bottom: "b" top: "join" }',
            {"a": (2, 3, 4, 4), "b": (2, 5, 4, 4)},
        ),
    )

    def infer(self, *bottoms: Shape) -> Shape:
        bottoms = tuple(self._joined(shape) for shape in bottoms)
        first = bottoms[0]
        axis = _axis(self, first, self.axis, "concat_dim", self.concat_dim)
        for i, shape in enumerate(bottoms):
            if len(shape) != len(first):
                raise ShapeError(
                    f"bottom 0 {show(first)} has {len(first)} axes, but bottom {i} {show(shape)} has {len(shape)}; "
                    "all bottoms must have the same number of axes.",
                    bottom=i,
                )
            others = [j for j in range(len(first)) if j != axis and first[j] != shape[j]]
            if others:
                raise ShapeError(
                    f"{show(first)} and {show(shape)} cannot be concatenated along axis {axis}: axis {others[0]} is "
                    f"{first[others[0]]} in bottom 0 and {shape[others[0]]} in bottom {i}; make them equal.",
                    bottom=i,
                )
        total: Dim = 0
        for shape in bottoms:
            total = total + shape[axis]
        return (*first[:axis], total, *first[axis + 1 :])

    def _joined(self, shape: Shape) -> Shape:
        """Returns the shape of a bottom after the flattening."""
        if not shape or not self.per_fla_fuse or (self.concat_dim or self.axis) != 1:
            return shape
        return (shape[0], count(shape[1:]), *(1,) * (len(shape) - 2))

    def channels_last(self, *bottoms: Shape) -> bool:
        return not self.per_fla_fuse and _axis(self, bottoms[0], self.axis, "concat_dim", self.concat_dim) == 1

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        if ctx.channels_last:
            return jnp.concatenate(bottoms, -1)
        axis = _axis(self, bottoms[0].shape, self.axis, "concat_dim", self.concat_dim)
        return jnp.concatenate([b.reshape(self._joined(b.shape)) for b in bottoms], axis)


class Slice(Layer, type="Slice", block="slice_param"):
    """Slices x along an axis, at the slice points or into equal parts.

    Bottoms: x (n, c, ...).  Tops: (n, c_i, ...), where the sum of the c_i is c.
    Source: BVLC/caffe src/caffe/layers/slice_layer.cpp.  Differs: nothing.
    """

    family = "joining"
    n_tops = (1, None)

    axis: int = param("Axis to slice; negative values count from the end.", default=1)
    slice_point: tuple[int, ...] = param(
        "First index of each part except the first; if not given, equal parts.", default=(), at_least=0
    )
    slice_dim: int | None = param("Older name of `axis`.", default=None, at_least=0)

    examples = (
        Example(
            'layer { name: "cut" type: "Slice" bottom: "x" top: "a" top: "b" top: "c"\n'
            "        slice_param { slice_point: 1 slice_point: 3 } }",
            {"x": (2, 6, 3)},
        ),
    )

    def infer(self, x: Shape) -> list[Shape]:
        axis = _axis(self, x, self.axis, "slice_dim", self.slice_dim)
        edges = self._edges(x, axis)
        return [(*x[:axis], stop - start, *x[axis + 1 :]) for start, stop in zip(edges, edges[1:], strict=False)]

    def _edges(self, x: Shape, axis: int) -> list[Dim]:
        """Returns the start of each part, and the end of the last."""
        size, parts = x[axis], len(self.top)
        if not self.slice_point:
            if size % parts:
                raise ShapeError(
                    f"axis {axis} of {show(x)} has {size} elements, which cannot be divided into {parts} equal tops; "
                    f"give `slice_point` {parts - 1} times, or change the number of tops.",
                )
            return [i * (size // parts) for i in range(parts + 1)]
        if len(self.slice_point) != parts - 1:
            raise ShapeError(
                f"the number of slice points is {len(self.slice_point)}; {parts} tops require {parts - 1}.",
                field="slice_point",
            )
        for before, point in zip((0, *self.slice_point), self.slice_point, strict=False):
            if point <= before:
                raise ShapeError(
                    f"slice point {point} comes after {before}; slice points must increase, because no part may be "
                    "empty.",
                    field="slice_point",
                )
            if point >= size:
                raise ShapeError(
                    f"slice point {point} is outside axis {axis} of {show(x)}; give values from 1 to {size - 1}.",
                    field="slice_point",
                )
        return [0, *self.slice_point, size]

    def channels_last(self, *bottoms: Shape) -> bool:
        return _axis(self, bottoms[0], self.axis, "slice_dim", self.slice_dim) == 1

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> list[Array]:
        axis = x.ndim - 1 if ctx.channels_last else _axis(self, x.shape, self.axis, "slice_dim", self.slice_dim)
        return jnp.split(x, self._edges(x.shape, axis)[1:-1], axis)


class Split(Layer, type="Split"):
    """Outputs copies of x, whose gradients are summed.  Not needed in files: any number of layers can use a blob.

    Bottoms: x (any shape).  Tops: any number, same shape as x.
    Source: BVLC/caffe src/caffe/layers/split_layer.cpp.  Differs: nothing.
    """

    family = "joining"
    n_tops = (1, None)

    examples = (Example('layer { name: "two" type: "Split" bottom: "x" top: "a" top: "b" }', {"x": (2, 3)}),)

    def infer(self, x: Shape) -> list[Shape]:
        return [x] * len(self.top)

    def channels_last(self, *bottoms: Shape) -> bool:
        return True

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> list[Array]:
        return [x] * len(self.top)


class Silence(Layer, type="Silence"):
    """Consumes blobs that no other layer uses, so they are not outputs of the net.

    Bottoms: any number.  Tops: none.
    Source: BVLC/caffe src/caffe/layers/silence_layer.cpp.  Differs: nothing.
    """

    family = "joining"
    n_bottoms = (1, None)
    n_tops = 0

    examples = (Example('layer { name: "quiet" type: "Silence" bottom: "x" }', {"x": (2, 3)}),)

    def infer(self, *bottoms: Shape) -> list[Shape]:
        return []

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        return []


class Flatten(Layer, type="Flatten", block="flatten_param"):
    """Flattens the axes from `axis` to `end_axis` into one.

    Bottoms: x (n, c, h, w).  Tops: y (n, c h w) by default.
    Source: BVLC/caffe src/caffe/layers/flatten_layer.cpp.
    Differs: an `end_axis` before `axis` is an error, where Caffe adds an axis of size 1.
    """

    family = "joining"

    axis: int = param("First axis to flatten.", default=1)
    end_axis: int = param("Last axis to flatten.", default=-1)

    examples = (Example('layer { name: "flat" type: "Flatten" bottom: "x" top: "flat" }', {"x": (2, 3, 2, 2)}),)

    def infer(self, x: Shape) -> Shape:
        start, end = axis_of(x, self.axis), axis_of(x, self.end_axis, "end_axis")
        if end < start:
            raise ShapeError(
                f"`end_axis` is {end}, before `axis`, which is {start}, in the input {show(x)}; "
                f"give {start} or more, or -1 for the last axis.",
                field="end_axis",
            )
        return (*x[:start], count(x[start : end + 1]), *x[end + 1 :])

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x.reshape(self.infer(x.shape))


class NewShape(Block):
    """`shape { dim: 0 dim: -1 }`."""

    dim: tuple[int, ...] = param(
        "Size of each axis; 0 copies it from the bottom, and one -1 is inferred.", default=(), at_least=-1
    )


class Reshape(Layer, type="Reshape", block="reshape_param"):
    """Changes the shape of x; the values and their order are the same.

    Bottoms: x (any shape).  Tops: x with `num_axes` axes from `axis` on replaced by `shape`.
    Source: BVLC/caffe src/caffe/layers/reshape_layer.cpp.  Differs: nothing.
    """

    family = "joining"

    shape: NewShape = param("The new axes.", default=NewShape())
    axis: int = param("First axis to replace; -1 is the position after the last axis.", default=0)
    num_axes: int = param("Number of axes to replace; -1: all from `axis` on.", default=-1, at_least=-1)

    examples = (
        Example(
            'layer { name: "wide" type: "Reshape" bottom: "x" top: "wide" reshape_param { shape { dim: 0 dim: -1 } } }',
            {"x": (2, 3, 4)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        start, end = self._span(x)
        dims = self.shape.dim
        if dims.count(-1) > 1:
            raise ShapeError(
                f"`shape` has {dims.count(-1)} dimensions of -1, but only one can be inferred; give the others.",
                field="shape",
            )
        copied = [start + i for i, dim in enumerate(dims) if dim == 0]
        for axis in copied:
            if axis >= len(x):
                raise ShapeError(
                    f"`shape` copies axis {axis} (a dimension of 0), but the input {show(x)} has only {len(x)} axes; "
                    "give the size, or -1.",
                    field="shape",
                )
        new = [x[start + i] if dim == 0 else dim for i, dim in enumerate(dims)]
        if -1 in dims:
            # copied axes cancel, so an unknown batch size does not make the other dimensions unknown
            left = count(x[a] for a in range(start, end) if a not in copied)
            given = count([d for d in dims if d > 0] + [x[a] for a in copied if a >= end])
            new[dims.index(-1)] = self._inferred(x, left, given)
        y = (*x[:start], *new, *x[end:])
        if count(y) != count(x):
            raise ShapeError(
                f"the input {show(x)} has {count(x)} values, but the new shape {show(y)} has {count(y)}; "
                "make them equal, or give -1 for one dimension.",
                field="shape",
            )
        return y

    def _span(self, x: Shape) -> tuple[int, int]:
        """Returns the first replaced axis and the one after the last."""
        start = self.axis if self.axis >= 0 else len(x) + self.axis + 1
        if not 0 <= start <= len(x):
            raise ShapeError(
                f"`axis` is {self.axis}, but the input {show(x)} has only {len(x)} axes; "
                f"give a value from {-len(x) - 1} to {len(x)}.",
                field="axis",
            )
        end = len(x) if self.num_axes == -1 else start + self.num_axes
        if end > len(x):
            raise ShapeError(
                f"`num_axes` is {self.num_axes} from axis {start} on, but the input {show(x)} has only {len(x)} axes; "
                f"give {len(x) - start} or less.",
                field="num_axes",
            )
        return start, end

    @staticmethod
    def _inferred(x: Shape, left: Dim, given: Dim) -> Dim:
        if given == 0 or left % given:
            raise ShapeError(
                f"the dimension -1 cannot be inferred: the {left} values of the input {show(x)} are not a multiple of "
                f"{given}, the product of the other dimensions; change them.",
                field="shape",
            )
        return left // given

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x.reshape(self.infer(x.shape))
