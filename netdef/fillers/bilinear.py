"""The filler "bilinear"."""

from __future__ import annotations

import math
from typing import Any

from ..lazy import np
from ..shape import Shape, ShapeError, show
from .base import Draw, Filler


class Bilinear(Filler, type="bilinear"):
    """The kernel of bilinear interpolation, for a Deconvolution that upsamples: (o, i, k, k), all filters equal.

    Source: BilinearFiller. To upsample by f: kernel_size 2 f - f % 2, stride f, pad ceil((f - 1) / 2), group: channels.
    """

    def check(self, shape: Shape) -> None:
        if len(shape) != 4 or shape[2] != shape[3]:
            raise ShapeError(
                f'the filler "bilinear" requires square filters of a two-dimensional convolution, (o, i, k, k), but '
                f"this parameter is {show(shape)}; use equal kernel_h and kernel_w, or another filler."
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        side = shape[3]
        factor = math.ceil(side / 2)
        center = (side - 1) / (2.0 * factor)
        ramp = 1.0 - np.abs(np.arange(side) / factor - center)
        return np.broadcast_to(ramp[:, None] * ramp[None, :], shape).astype(np.float32)
