"""Input: blobs that are fed from outside."""

from __future__ import annotations

from ..layer import Array, Context, Layer
from ..schema import Block, param
from ..shape import Shape, ShapeError


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
