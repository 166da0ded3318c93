"""Eltwise: combines blobs of the same shape element by element."""

from __future__ import annotations

import enum
from functools import reduce

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError, show
from ._engine import Engine, engine
from .base import Context, Example, Layer


class EltwiseOp(enum.Enum):
    """How elements are combined."""

    PROD = 0
    SUM = 1
    MAX = 2
    SORT = 3


class Eltwise(Layer, type="Eltwise", block="eltwise_param"):
    """Sum (weighted by `coeff`), product or maximum of the bottoms, element by element; SORT: product of all 1 + x.

    Bottoms: two or more of the same shape.  Tops: y of that shape.
    In case of ties, the gradient of MAX goes to the second bottom if it ties with the first, else to the first of the
    ties, as in Caffe.
    Source: BVLC/caffe src/caffe/layers/eltwise_layer.cpp; SORT: happynear/caffe-windows; `engine`: intel/caffe.
    Differs: the gradient of PROD is always the stable one, which is finite where a factor is 0.
    """

    family = "joining"
    n_bottoms = (2, None)

    operation: EltwiseOp = param("How elements are combined.", default=EltwiseOp.SUM)
    coeff: tuple[float, ...] = param("Factor of each bottom in a SUM; 1 if not given; ignored by MAX.", default=())
    stable_prod_grad: bool = param(
        "Selects the gradient of PROD in Caffe; here it is always stable.", default=True, inert=True
    )
    engine: Engine = engine()

    examples = (
        Example('layer { name: "add" type: "Eltwise" bottom: "a" bottom: "b" top: "add" }', {"a": (2, 3), "b": (2, 3)}),
        Example(
            'layer { name: "mul" type: "Eltwise" bottom: "a" bottom: "b" bottom: "c" top: "mul"\n'
            "        eltwise_param { operation: PROD } }",
            {"a": (2, 3), "b": (2, 3), "c": (2, 3)},
        ),
        Example(
            'layer { name: "max" type: "Eltwise" bottom: "a" bottom: "b" top: "max" eltwise_param { operation: MAX } }',
            {"a": (2, 3), "b": (2, 3)},
        ),
    )

    def details(self) -> list[str]:
        return [self.operation.name.lower()]

    def infer(self, *bottoms: Shape) -> Shape:
        if self.coeff and self.operation is EltwiseOp.PROD:
            raise ShapeError(
                "`coeff` requires `operation: SUM`, but `operation` is PROD; remove one of them.", field="coeff"
            )
        if self.coeff and len(self.coeff) != len(bottoms):
            raise ShapeError(
                f"the number of `coeff` is {len(self.coeff)}, but the number of bottoms is {len(bottoms)}; "
                "give one for each.",
                field="coeff",
            )
        for i, shape in enumerate(bottoms):
            if shape != bottoms[0]:
                raise ShapeError(
                    f"bottom 0 is {show(bottoms[0])}, but bottom {i} is {show(shape)}; "
                    "all bottoms must have the same shape.",
                    bottom=i,
                )
        return bottoms[0]

    def channels_last(self, *bottoms: Shape) -> bool:
        return True

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        if self.operation is EltwiseOp.PROD:
            return reduce(jnp.multiply, bottoms)
        if self.operation is EltwiseOp.SORT:
            return reduce(jnp.multiply, [x + 1 for x in bottoms])
        if self.operation is EltwiseOp.SUM:
            terms = [c * x for c, x in zip(self.coeff, bottoms, strict=True)] if self.coeff else bottoms
            return reduce(jnp.add, terms)
        top = jnp.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])  # a tie goes to the second
        return reduce(lambda y, x: jnp.where(x > y, x, y), bottoms[2:], top)  # later ties do not change it
