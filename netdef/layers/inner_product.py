"""Fully connected layers: InnerProduct."""

from __future__ import annotations

from typing import Any

from ..fillers import Constant, Filler
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Dim, Shape, ShapeError, axis_of, count, show
from ._classes import ClassWeights
from ._product import rows_product
from .base import Context, Example, Weight

NORM_EPS = 1e-6  # under the root, as in happynear/caffe-windows


class InnerProduct(ClassWeights, type="InnerProduct", block="inner_product_param"):
    """y = W x + b over all axes of x from `axis` on: a fully connected layer.

    With `normalize`, each row of W is divided by its L2 norm.
    Bottoms: x (n..., k...); optional W and b, used in place of the layer's own.  Tops: y (n..., num_output).
    Weights: W (num_output, product of k...), or its transpose with `transpose`; b (num_output).
    Source: BVLC/caffe src/caffe/layers/inner_product_layer.cpp; `normalize` and W, b as bottoms: the same file in
    happynear/caffe-windows.
    Differs: with `normalize` the fork overwrites W with its normalized rows at each pass and ignores the normalization
    in the gradient; here W is unchanged and the gradient is exact, which changes their directions in the same way.
    """

    family = "product"
    n_bottoms = (1, 3)

    num_output: int = param("Number of outputs.", at_least=1)
    bias_term: bool = param("Whether to add a bias b.", default=True)
    weight_filler: Filler = param("Filler of W.", default=Constant())
    bias_filler: Filler = param("Filler of b.", default=Constant())
    axis: int = param("First axis to flatten; negative values count from the end.", default=1)
    transpose: bool = param("Whether W is stored transposed, (inputs, num_output).", default=False)
    normalize: bool = param("Whether each row of W is divided by its L2 norm.", default=False)

    examples = (
        Example(
            'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"\n'
            '        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }',
            {"x": (2, 3, 4, 4)},
        ),
        Example(
            'layer { name: "cosines" type: "InnerProduct" bottom: "x" top: "cosines"\n'
            '        inner_product_param { num_output: 5 normalize: true weight_filler { type: "msra" } } }',
            {"x": (2, 3)},
        ),
    )

    def infer(self, x: Shape, *blobs: Shape) -> Shape:
        axis = axis_of(x, self.axis)
        given = self._shapes(count(x[axis:]))[: len(blobs)]
        for i, (blob, wanted, name) in enumerate(zip(blobs, given, ("W", "b"), strict=False)):
            if count(blob) != count(wanted):
                raise ShapeError(
                    f"bottom {i + 1}, {name}, is {show(blob)}, but this layer requires {show(wanted)}; change "
                    f"`num_output` or the layer that outputs {name}.",
                    bottom=i + 1,
                )
        if self.divides and self.transpose:
            name = "shard" if self.shard else "multinode"
            raise ShapeError(
                f"`{name}` divides rows, one for each class, but with `transpose` each class is a column; remove one "
                "of them.",
                field=name,
            )
        if len(blobs) == 2 and not self.bias_term:
            raise ShapeError("`bias_term` is false, but b is given as bottom 2; remove one of them.", bottom=2)
        return (*x[:axis], self.num_output)

    def _shapes(self, inputs: Dim) -> list[Shape]:
        """Returns the shapes of W and b."""
        matrix = (inputs, self.num_output) if self.transpose else (self.num_output, inputs)
        return [matrix, (self.num_output,)]

    def weights(self, x: Shape, *blobs: Shape) -> list[Weight]:
        matrix, vector = self._shapes(count(x[axis_of(x, self.axis) :]))
        own = [Weight(matrix, self.weight_filler) if self.transpose else self.rows(matrix, self.weight_filler)]
        if self.bias_term:
            own.append(Weight(vector, self.bias_filler, parts=own[0].parts))
        return own[len(blobs) :]

    def apply(self, w: tuple[Array, ...], x: Array, *blobs: Array, ctx: Context) -> Array:
        axis = axis_of(x.shape, self.axis)
        flat = x.reshape(*x.shape[:axis], -1)  # (n..., k)
        matrix, vector = self._shapes(flat.shape[-1])
        weight, *bias = (*blobs, *w)
        weight = weight.reshape(matrix)
        if self.normalize and not blobs:
            inputs = 0 if self.transpose else 1
            weight = weight * lax.rsqrt(jnp.sum(weight * weight, inputs, keepdims=True) + NORM_EPS)
        y = flat @ weight if self.transpose else rows_product(flat, weight)
        return y + bias[0].reshape(vector) if self.bias_term else y

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return count(tops[0]) * count(bottoms[0][axis_of(bottoms[0], self.axis) :])
