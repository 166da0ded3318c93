"""Embeddings: Embed by index, PositionEmbed by position in a sequence."""

from __future__ import annotations

from ..fillers import Constant, Filler
from ..fillers.gaussian import Gaussian
from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, show
from .base import Context, Example, Layer, Weight


class Embed(Layer, type="Embed", block="embed_param"):
    """y = W[x] + b: looks up one row of W per index, equivalent to InnerProduct of a one-hot vector.

    Bottoms: x (any shape), integers from 0 to input_dim - 1.  Tops: y (shape of x, num_output).
    Weights: W (input_dim, num_output); b (num_output).
    Source: BVLC/caffe src/caffe/layers/embed_layer.cpp.
    Differs: an index out of range outputs NaN, where Caffe reads out of bounds.
    """

    family = "product"
    takes_indices = True

    num_output: int = param("Size of each vector.", at_least=1)
    input_dim: int = param("Number of vectors; indices in x must be less than this.", at_least=1)
    bias_term: bool = param("Whether to add a bias b.", default=True)
    weight_filler: Filler = param("Filler of W.", default=Constant())
    bias_filler: Filler = param("Filler of b.", default=Constant())

    examples = (
        Example(
            'layer { name: "words" type: "Embed" bottom: "x" top: "words"\n'
            '        embed_param { input_dim: 10 num_output: 4 weight_filler { type: "gaussian" std: 0.1 } } }',
            {"x": (3, 5)},
            integers={"x": 10},
        ),
    )

    @property
    def most_indices(self) -> int | None:
        return self.input_dim

    def infer(self, x: Shape) -> Shape:
        return (*x, self.num_output)

    def weights(self, x: Shape) -> list[Weight]:
        bias = [Weight((self.num_output,), self.bias_filler)] if self.bias_term else []
        return [Weight((self.input_dim, self.num_output), self.weight_filler), *bias]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        rows = jnp.asarray(x).astype(jnp.int32)
        rows = jnp.where(rows < 0, self.input_dim, rows)  # negative indices are out of range, not counted from the end
        y = jnp.take(w[0], rows, axis=0, mode="fill", fill_value=jnp.nan)
        return y + w[1] if self.bias_term else y


class PositionEmbed(Layer, type="PositionEmbed", block="position_embed_param"):
    """y = x + W[position]: adds a learned vector to each position of a sequence.

    Bottoms: x (n, t, c), or (t, n, c) with axis 0.  Tops: y, same shape as x.
    Weights: W (input_dim, c); the first t rows are used.
    Source: netdef's own, after Gehring et al. 2017.  Differs: Caffe has no such layer.
    """

    family = "product"

    axis: int = param("Axis of the positions; negative values count from the end.", default=1)
    input_dim: int | None = param("Number of positions in W; default: t.", default=None, at_least=1)
    weight_filler: Filler = param("Filler of W.", default=Gaussian(std=0.02))

    examples = (
        Example('layer { name: "where" type: "PositionEmbed" bottom: "x" top: "where" }', {"x": (2, 5, 4)}),
        Example(
            'layer { name: "where" type: "PositionEmbed" bottom: "x" top: "where"\n'
            "        position_embed_param { axis: 0 input_dim: 9 } }",
            {"x": (5, 2, 4)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        axis = axis_of(x, self.axis)
        if axis == len(x) - 1:
            raise ShapeError(
                f"`axis` is {self.axis}, the last axis of {show(x)}, which contains the vectors; "
                "give the axis of the positions.",
                field="axis",
            )
        if self.input_dim is not None and x[axis] > self.input_dim:
            raise ShapeError(
                f"the sequence {show(x)} has {x[axis]} positions, but `input_dim` is {self.input_dim}; "
                f"give at least {x[axis]}.",
                field="input_dim",
            )
        return x

    def weights(self, x: Shape) -> list[Weight]:
        places = self.input_dim or x[axis_of(x, self.axis)]
        return [Weight((places, x[-1]), self.weight_filler)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        axis = axis_of(x.shape, self.axis)
        table = w[0][: x.shape[axis]]  # (t, c)
        return x + table.reshape(-1, *[1] * (x.ndim - axis - 2), x.shape[-1])
