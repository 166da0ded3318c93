"""Shapes of arrays, with room for what is not known yet.

A shape is a tuple of dimensions, batch first as in Caffe: `(n, c, h, w)`.  A dimension that cannot be known (the
images of a database that is not there) is `UNKNOWN`: arithmetic with it gives UNKNOWN, and no comparison with it ever
finds a fault, so `infer` is written as if every number were known.  Write faults as `if wrong: raise`, never `if not
right: raise`.
A blob of unknown rank has the shape None; `infer` is not called with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class _Unknown:
    """The dimension nobody knows; absorbs arithmetic, equals everything, differs from nothing."""

    def _same(self, *_: Any) -> _Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = __rfloordiv__ = _same
    __mod__ = __rmod__ = __truediv__ = __rtruediv__ = __neg__ = __pow__ = __rpow__ = _same

    def __eq__(self, other: object) -> bool:
        return True

    def _never(self, other: object) -> bool:
        return False

    __ne__ = __lt__ = __gt__ = __le__ = __ge__ = _never  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return False  # `if a % b: raise` finds no fault

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "?"


UNKNOWN: Any = _Unknown()

Dim = Any  # int or UNKNOWN
Shape = tuple[Dim, ...]


class ShapeError(Exception):
    """Shapes or fields that do not fit.  `detail` says what is wrong with both numbers in it and what to do; `field`
    names the field of the layer that is to blame, `bottom` the number of the input; without either it is the whole
    layer."""

    def __init__(self, detail: str, *, field: str | None = None, bottom: int | None = None):
        super().__init__(detail)
        self.detail, self.field, self.bottom = detail, field, bottom


class Unavailable(Exception):
    """A shape cannot be known here because a file or module is missing; the text says which.  A warning, not an error.
    `shapes` is what is known of the tops all the same."""

    def __init__(self, detail: str, shapes: list[Shape] | None = None):
        super().__init__(detail)
        self.shapes = shapes


def known(shape: Shape | None) -> bool:
    """Whether every dimension is a number."""
    return shape is not None and all(d is not UNKNOWN for d in shape)


def count(dims: Iterable[Dim]) -> Dim:
    """The product of some dimensions: `count(shape[axis:])`."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return total


def without_leading_ones(shape: Shape) -> Shape:
    """`64x3`, of 1x1x64x3: Caffe's old blobs always had four axes."""
    return shape[next((i for i, d in enumerate(shape) if d != 1), len(shape)) :]


def same_shape(given: Shape, wanted: Shape) -> bool:
    """Equal, or equal but for leading ones."""
    return without_leading_ones(given) == without_leading_ones(wanted)


def show(shape: Shape | None) -> str:
    """`64x3x32x32`, as diagnostics and summaries write a shape; `?` for an unknown one, `scalar` for ()."""
    if shape is None:
        return "?"
    return "x".join(map(str, shape)) or "scalar"


def axis_of(shape: Shape, axis: int, field: str = "axis") -> int:
    """`axis` counted from the front; negative ones count from the back as in Caffe.  ShapeError if there is no such
    axis."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(
            f"`{field}` is {axis}, but the input {show(shape)} has only {len(shape)} axes; "
            f"give a number from {-len(shape)} to {len(shape) - 1}.",
            field=field,
        )
    return axis % len(shape)
