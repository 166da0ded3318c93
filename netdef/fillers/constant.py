"""The filler "constant"."""

from __future__ import annotations

from typing import Any

from ..schema import param
from ..shape import Shape
from .base import Draw, Filler


class Constant(Filler, type="constant"):
    """Sets every element to `value`.  Source: ConstantFiller."""

    by_rows = True

    value: float = param("Value of every element.", default=0.0)

    def fill(self, draw: Draw, shape: Shape) -> Any:
        return draw.full(shape, self.value)
