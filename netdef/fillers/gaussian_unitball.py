"""The filler "gaussian_unitball"."""

from __future__ import annotations

from typing import Any

from ..shape import Shape
from .base import ByRow, Draw


class GaussianUnitball(ByRow, type="gaussian_unitball"):
    """Normal, then each row divided by its norm: uniform on the unit sphere.  Source: happynear/caffe-windows."""

    by_rows = True

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.normal(shape)
        return self.over(values, draw.np.sqrt(draw.np.square(values).reshape(len(values), -1).sum(axis=1) + 1e-12))
