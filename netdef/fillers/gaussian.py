"""The filler "gaussian"."""

from __future__ import annotations

from typing import Any

from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Draw, Filler


class Gaussian(Filler, type="gaussian"):
    """Normal with `mean` and `std`; with `sparse` s >= 0 an element is kept with probability s / shape[0], else 0.

    Caffe describes `sparse` as the number of inputs connected to each output.  Source: GaussianFiller."""

    by_rows = True

    mean: float = param("Mean.", default=0.0)
    std: float = param("Standard deviation.", default=1.0, at_least=0)
    sparse: int = param("Expected number of nonzero weights of an input; -1 keeps all.", default=-1, at_least=-1)

    def check(self, shape: Shape) -> None:
        if not shape and self.sparse >= 0:
            raise ShapeError(
                "`sparse` is a number of weights, but this parameter is a scalar; remove `sparse`.", field="sparse"
            )
        if shape and self.sparse > shape[0]:
            raise ShapeError(
                f"`sparse` is {self.sparse}; it must be at most {shape[0]}, the first dimension of the parameter, "
                f"which is {show(shape)}.",
                field="sparse",
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.np.float32(self.mean) + draw.np.float32(self.std) * draw.normal(shape)
        if self.sparse < 0:
            return values
        return values * (draw.uniform(shape) < self.sparse / shape[0])
