"""Reduction: reduces all axes from a given one on to one value."""

from __future__ import annotations

import enum
from typing import Any

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, axis_of
from .base import Context, Example, Layer


class ReductionOp(enum.Enum):
    """The reduction over the axes."""

    SUM = 1
    ASUM = 2
    SUMSQ = 3
    MEAN = 4


class Reduction(Layer, type="Reduction", block="reduction_param"):
    """y = coeff times the sum, sum of magnitudes, sum of squares or mean over all axes from `axis` on.

    Bottoms: x (n..., k...).  Tops: y (n...), a scalar for axis 0.
    Source: BVLC/caffe src/caffe/layers/reduction_layer.cpp.  Differs: nothing.
    """

    family = "pooling"
    float32 = "it sums many values"

    operation: ReductionOp = param("The reduction over the axes.", default=ReductionOp.SUM)
    axis: int = param("First axis to reduce; negative values count from the end.", default=0)
    coeff: float = param("Factor of the result.", default=1.0)

    examples = (
        Example(
            'layer { name: "mean" type: "Reduction" bottom: "x" top: "mean"\n'
            "        reduction_param { operation: MEAN axis: 1 } }",
            {"x": (2, 3, 4)},
        ),
        Example(
            'layer { name: "energy" type: "Reduction" bottom: "x" top: "energy" loss_weight: 0.1\n'
            "        reduction_param { operation: SUMSQ coeff: 0.5 } }",
            {"x": (2, 3)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        return x[: axis_of(x, self.axis)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Any:
        axes = tuple(range(axis_of(x.shape, self.axis), x.ndim))
        if self.operation is ReductionOp.MEAN:
            return self.coeff * jnp.mean(x, axes)
        terms = {ReductionOp.SUM: lambda: x, ReductionOp.ASUM: lambda: jnp.abs(x), ReductionOp.SUMSQ: lambda: x * x}
        return self.coeff * jnp.sum(terms[self.operation](), axes)
