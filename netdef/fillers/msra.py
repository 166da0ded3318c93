"""The filler "msra"."""

from __future__ import annotations

import math
from typing import Any

from ..schema import param
from ..shape import Shape
from .base import ByVariance, Draw


class Msra(ByVariance, type="msra"):
    """Normal with mean 0 and variance scale^2 2 / (n (1 + alpha^2)); n as in xavier.

    Source: He et al. 2015, MSRAFiller; `alpha` is happynear's, `scale` Intel's."""

    by_rows = True

    alpha: float = param("Negative slope of the ReLU that follows.", default=0.0)
    scale: float = param("Factor of the standard deviation.", default=1.0)

    def fill(self, draw: Draw, shape: Shape) -> Any:
        std = self.scale * math.sqrt(2.0 / (self.connections(shape) * (1.0 + self.alpha**2)))
        return draw.np.float32(std) * draw.normal(shape)
