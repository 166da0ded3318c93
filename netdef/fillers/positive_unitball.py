"""The filler "positive_unitball"."""

from __future__ import annotations

from typing import Any

from ..shape import Shape
from .base import ByRow, Draw


class PositiveUnitball(ByRow, type="positive_unitball"):
    """Uniform on [0, 1), then each row divided by its sum, so that it sums to 1.  Source: PositiveUnitballFiller."""

    by_rows = True

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.uniform(shape)
        return self.over(values, values.reshape(len(values), -1).sum(axis=1))
