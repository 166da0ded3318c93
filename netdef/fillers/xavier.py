"""The filler "xavier"."""

from __future__ import annotations

import math
from typing import Any

from ..shape import Shape
from .base import ByVariance, Draw


class Xavier(ByVariance, type="xavier"):
    """Uniform on [-a, a] with a = sqrt(3 / n), where n is the fan-in unless `variance_norm` says otherwise.

    Source: Glorot and Bengio 2010 (who use the average), XavierFiller."""

    by_rows = True

    def fill(self, draw: Draw, shape: Shape) -> Any:
        a = math.sqrt(3.0 / self.connections(shape))
        return draw.uniform(shape, -a, a)
