"""Shapes of arrays, possibly with unknown dimensions.

A shape is a tuple of dimensions, batch first as in Caffe: `(n, c, h, w)`. A dimension that is not known (the size of
images in a missing database) is `UNKNOWN`: arithmetic with it returns UNKNOWN, and no comparison with it ever leads to
an error, so `infer` is written as if every dimension were known. Write checks as `if wrong: raise`, never as
`if not right: raise`.
A blob of unknown rank has the shape None; `infer` is not called with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class _Unknown:
    """The unknown dimension: arithmetic with it returns it, it equals everything, and `!=` and `<` are always False."""

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
        return False  # so `if a % b: raise` does not raise

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "?"


UNKNOWN: Any = _Unknown()

Dim = Any  # int or UNKNOWN
Shape = tuple[Dim, ...]


class ShapeError(Exception):
    """A mismatch of shapes or fields. `detail` contains what is wrong, both values and what to do. `field` is the name
    of the wrong field of the layer, or `bottom` the index of the wrong input; without them, the error is at the layer.
    """

    def __init__(self, detail: str, *, field: str | None = None, bottom: int | None = None):
        super().__init__(detail)
        self.detail, self.field, self.bottom = detail, field, bottom


class Unavailable(Exception):
    """A shape is unknown because a file or module is missing; the message says which. Reported as a warning, not an
    error. `shapes` is what is known about the tops nevertheless."""

    def __init__(self, detail: str, shapes: list[Shape] | None = None):
        super().__init__(detail)
        self.shapes = shapes


def known(shape: Shape | None) -> bool:
    """Whether every dimension is known."""
    return shape is not None and all(d is not UNKNOWN for d in shape)


def count(dims: Iterable[Dim]) -> Dim:
    """The product of some dimensions: `count(shape[axis:])`."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return total


def without_leading_ones(shape: Shape) -> Shape:
    """`64x3` for 1x1x64x3, because Caffe's old blobs always had four axes."""
    return shape[next((i for i, d in enumerate(shape) if d != 1), len(shape)) :]


def same_shape(given: Shape, wanted: Shape) -> bool:
    """Whether two shapes are equal except for leading ones."""
    return without_leading_ones(given) == without_leading_ones(wanted)


def show(shape: Shape | None) -> str:
    """A shape as in diagnostics and summaries: `64x3x32x32`, `?` for an unknown one, `scalar` for ()."""
    if shape is None:
        return "?"
    return "x".join(map(str, shape)) or "scalar"


def axis_of(shape: Shape, axis: int, field: str = "axis") -> int:
    """`axis` as an index from 0; a negative axis counts from the end, as in Caffe. Raises ShapeError if it does not
    exist."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(
            f"`{field}` is {axis}, but the input {show(shape)} has {len(shape)} axes; "
            f"it must be from {-len(shape)} to {len(shape) - 1}.",
            field=field,
        )
    return axis % len(shape)
