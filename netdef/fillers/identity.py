"""The filler "identity"."""

from __future__ import annotations

from typing import Any

from ..lazy import np
from ..shape import Shape, ShapeError, show
from .base import Draw, Filler


class Identity(Filler, type="identity"):
    """1 where the first two indices are equal and the others in the middle, else 0: the layer returns its input.

    Source: happynear/caffe-windows, which has it for blobs (k, k) only."""

    def check(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[0] != shape[1]:
            raise ShapeError(
                f'the filler "identity" requires as many outputs as inputs, but this parameter is {show(shape)}; '
                "make the first two dimensions equal, or use another filler."
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        middle = tuple((k - 1) // 2 for k in shape[2:])
        values = np.zeros(shape, np.float32)
        diagonal = np.arange(shape[0])
        values[(diagonal, diagonal, *middle)] = 1.0
        return values
