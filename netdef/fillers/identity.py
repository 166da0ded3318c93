"""The filler "identity"."""

from __future__ import annotations

from typing import Any

from ..lazy import np
from ..shape import Shape, ShapeError, show
from .base import Draw, Filler


class Identity(Filler, type="identity"):
    """1 where the first two indices agree and later ones are in the middle, else 0: the layer gives its input.

    Source: happynear/caffe-windows, which has it for blobs (k, k) alone."""

    def check(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[0] != shape[1]:
            raise ShapeError(
                f'a filler "identity" needs as many outputs as inputs, and this parameter is {show(shape)}; '
                "make the first two numbers equal, or give another filler."
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        middle = tuple((k - 1) // 2 for k in shape[2:])
        values = np.zeros(shape, np.float32)
        diagonal = np.arange(shape[0])
        values[(diagonal, diagonal, *middle)] = 1.0
        return values
