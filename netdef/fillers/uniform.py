"""The filler "uniform"."""

from __future__ import annotations

from typing import Any

from ..schema import param
from ..shape import Shape, ShapeError
from .base import Draw, Filler


class Uniform(Filler, type="uniform"):
    """Uniform between `min` and `max`.  Source: UniformFiller."""

    by_rows = True

    min: float = param("Lower bound.", default=0.0)
    max: float = param("Upper bound.", default=1.0)

    def check(self, shape: Shape) -> None:
        if self.min > self.max:
            raise ShapeError(
                f"`min` is {self.min:g}, greater than `max`, which is {self.max:g}; swap them.", field="min"
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        return draw.uniform(shape, self.min, self.max)
