"""Layers that multiply by a matrix: InnerProduct."""

from __future__ import annotations

from typing import Any

from ..fillers import Constant, Filler
from ..layer import Array, Context, Example, Layer, Weight
from ..lazy import jnp
from ..schema import param
from ..shape import Shape, axis_of, count


class InnerProduct(Layer, type="InnerProduct", block="inner_product_param"):
    """y = W x + b over all axes of x from `axis` on: a fully connected layer.

    Bottoms: x (n..., k...).  Tops: y (n..., num_output).
    Weights: W (num_output, count of k...), or its transpose with `transpose`; b (num_output).
    Source: BVLC/caffe src/caffe/layers/inner_product_layer.cpp.  Differs: nothing.
    """

    num_output: int = param("Number of outputs.", at_least=1)
    bias_term: bool = param("Whether b is there.", default=True)
    weight_filler: Filler = param("Filler of W.", default=Constant())
    bias_filler: Filler = param("Filler of b.", default=Constant())
    axis: int = param("First axis that is flattened.", default=1)
    transpose: bool = param("Whether W is stored with inputs first.", default=False)

    examples = (
        Example(
            'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"\n'
            '        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }',
            {"x": (2, 3, 4, 4)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        return (*x[: axis_of(x, self.axis)], self.num_output)

    def weights(self, x: Shape) -> list[Weight]:
        inputs = count(x[axis_of(x, self.axis) :])
        shape = (inputs, self.num_output) if self.transpose else (self.num_output, inputs)
        bias = [Weight((self.num_output,), self.bias_filler)] if self.bias_term else []
        return [Weight(shape, self.weight_filler), *bias]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        axis = axis_of(x.shape, self.axis)
        flat = x.reshape(*x.shape[:axis], -1)  # (n..., k)
        y = flat @ (w[0] if self.transpose else w[0].T)
        return y + w[1] if self.bias_term else y

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return count(tops[0]) * count(bottoms[0][axis_of(bottoms[0], self.axis) :])
