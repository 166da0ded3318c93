"""Inputs and parameters: Input is passed to the model by the caller, Parameter is trained."""

from __future__ import annotations

from ..fillers import Constant, Filler
from ..lazy import Array
from ..schema import Block, param
from ..shape import Shape, ShapeError
from .base import Context, Example, Layer, Weight


class BlobShape(Block):
    """`shape { dim: 1 dim: 3 }`."""

    dim: tuple[int, ...] = param("Size of each axis, batch first.", default=(), at_least=0)


class Input(Layer, type="Input", block="input_param"):
    """Inputs of the net, passed to the model when it is called.

    Bottoms: none.  Tops: any number, each with its own `shape`, or all with the same one.
    Source: BVLC/caffe src/caffe/layers/input_layer.cpp.  Differs: nothing.
    """

    n_bottoms = 0
    n_tops = (1, None)
    is_input = True

    shape: tuple[BlobShape, ...] = param("Shape of each top, or one for all.", default=())

    def infer(self) -> list[Shape]:
        tops = len(self.top)
        if len(self.shape) not in (1, tops):
            raise ShapeError(
                f"there are {len(self.shape)} `shape` blocks for {tops} tops; give one for all tops, or one for each.",
                field="shape" if self.shape else None,
            )
        shapes = [s.dim for s in self.shape]
        return shapes * tops if len(shapes) == 1 else shapes

    def apply(self, w: tuple[Array, ...], *, ctx: Context) -> list[Array]:
        raise AssertionError("an input is passed by the caller, not computed")


class Parameter(Layer, type="Parameter", block="parameter_param"):
    """Outputs a trained array as a blob, as input for other layers.

    Bottoms: none.  Tops: W (`shape`).  Weights: W (`shape`).
    Source: BVLC/caffe include/caffe/layers/parameter_layer.hpp; `blob_filler`: happynear/caffe-windows.
    Differs: nothing.
    """

    family = "data"
    n_bottoms = 0

    shape: BlobShape = param("Shape of the array.", default=BlobShape())
    blob_filler: Filler = param("Filler of the array.", default=Constant())

    examples = (
        Example(
            'layer { name: "w" type: "Parameter" top: "w"\n'
            '        parameter_param { shape { dim: 2 dim: 3 } blob_filler { type: "xavier" } } }',
            {},
        ),
    )

    def infer(self) -> Shape:
        return self.shape.dim

    def weights(self) -> list[Weight]:
        return [Weight(self.shape.dim, self.blob_filler)]

    def apply(self, w: tuple[Array, ...], *, ctx: Context) -> Array:
        return w[0]
