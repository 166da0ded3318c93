"""Blobs that no layer computes: Input is fed from outside, Parameter is trained."""

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
    """Tops that are given to the model when it is called.

    Bottoms: none.  Tops: any number, each of its own `shape`, or all of the one that is given.
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
                f"{len(self.shape)} shapes are given for {tops} tops; give one for all tops, or one for each.",
                field="shape" if self.shape else None,
            )
        shapes = [s.dim for s in self.shape]
        return shapes * tops if len(shapes) == 1 else shapes

    def apply(self, w: tuple[Array, ...], *, ctx: Context) -> list[Array]:
        raise AssertionError("an input is fed, not computed")


class Parameter(Layer, type="Parameter", block="parameter_param"):
    """A trained array as a blob, for other layers to take.

    Bottoms: none.  Tops: W.  Weights: W of the given shape.
    Source: BVLC/caffe include/caffe/layers/parameter_layer.hpp; `blob_filler` is happynear/caffe-windows's.
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
