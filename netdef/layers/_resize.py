"""`resize_param` of the SSD fork: how a data layer resizes images, and a detection layer resizes boxes back."""

from __future__ import annotations

import enum

from ..schema import Block, param


class ResizeMode(enum.Enum):
    """WARP to the size, or keep the aspect ratio: fit the smaller side, or fit the larger side and pad."""

    WARP = 1
    FIT_SMALL_SIZE = 2
    FIT_LARGE_SIZE_AND_PAD = 3


class PadMode(enum.Enum):
    """The padding around an image."""

    CONSTANT = 1
    MIRRORED = 2
    REPEAT_NEAREST = 3


class InterpMode(enum.Enum):
    """The interpolation of an image."""

    LINEAR = 1
    AREA = 2
    NEAREST = 3
    CUBIC = 4
    LANCZOS4 = 5


class Resize(Block):
    """`resize_param { }`: resizing to a fixed size."""

    prob: float = param("Probability in phase TRAIN; phase TEST always resizes.", default=1.0, at_least=0, at_most=1)
    resize_mode: ResizeMode = param("Whether the aspect ratio is kept.", default=ResizeMode.WARP)
    height: int = param("New height.", default=0, at_least=0)
    width: int = param("New width.", default=0, at_least=0)
    height_scale: int = param("Of boxes in FIT_SMALL_SIZE, in DetectionEvaluate.", default=0, at_least=0)
    width_scale: int = param("Of boxes in FIT_SMALL_SIZE, in DetectionEvaluate.", default=0, at_least=0)
    pad_mode: PadMode = param("Type of padding.", default=PadMode.CONSTANT)
    pad_value: tuple[float, ...] = param("Value of the padding: one, or one per channel.", default=())
    interp_mode: tuple[InterpMode, ...] = param("One of these is chosen at random for each image.", default=())

    @property
    def rescales(self) -> bool:
        """Whether boxes are fractions of `width_scale` and `height_scale`, instead of the image."""
        fits = self.resize_mode is ResizeMode.FIT_SMALL_SIZE
        return fits and self.height_scale > 0 and self.width_scale > 0
