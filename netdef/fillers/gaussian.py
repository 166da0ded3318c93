"""The filler "gaussian"."""

from __future__ import annotations

from typing import Any

from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Draw, Filler


class Gaussian(Filler, type="gaussian"):
    """Normal with `mean` and `std`; with `sparse` s >= 0 an element is kept with probability s / shape[0], or is 0.

    `sparse` is meant as the number of inputs that reach each output.  Source: GaussianFiller."""

    mean: float = param("Mean.", default=0.0)
    std: float = param("Standard deviation.", default=1.0, at_least=0)
    sparse: int = param("Expected number of weights that are kept for an input; -1 keeps all.", default=-1, at_least=-1)

    def check(self, shape: Shape) -> None:
        if not shape and self.sparse >= 0:
            raise ShapeError("`sparse` counts weights of an output, and this parameter is one number.", field="sparse")
        if shape and self.sparse > shape[0]:
            raise ShapeError(
                f"`sparse` keeps {self.sparse} weights of {shape[0]} (the parameter is {show(shape)}); give "
                f"{shape[0]} at most.",
                field="sparse",
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.np.float32(self.mean) + draw.np.float32(self.std) * draw.normal(shape)
        if self.sparse < 0:
            return values
        return values * (draw.uniform(shape) < self.sparse / shape[0])
