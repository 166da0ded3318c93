"""PriorBox: the default boxes of the SSD detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..lazy import Array, jnp, np
from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Context, Example, Layer


class PriorBox(Layer, type="PriorBox", block="prior_box_param"):
    """Default boxes at each position of a feature map: xmin, ymin, xmax, ymax as fractions of the image, and variances.

    The boxes at a position, for each min_size s: s x s; a square of side sqrt(s max_size), if there is a max_size; and
    s sqrt(r) x s / sqrt(r) for each aspect ratio r except 1.
    Bottoms: features (n, c, h, w); image (n, c, height, width).  Tops: boxes and variances (1, 2, h w boxes 4).
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/prior_box_layer.cpp.  Differs: nothing.
    """

    float32 = "its tops are coordinates"
    n_bottoms = 2
    shape_only = (1,)

    min_size: tuple[float, ...] = param("Smaller sides of boxes.", default=(), above=0, unit="pixels")
    max_size: tuple[float, ...] = param("Larger sides, one for each min_size.", default=(), above=0, unit="pixels")
    aspect_ratio: tuple[float, ...] = param("Width / height; 1 is always included.", default=(), above=0)
    flip: bool = param("Whether to include 1 / r for each aspect ratio r.", default=True)
    clip: bool = param("Whether to clip boxes at the border of the image.", default=False)
    variance: tuple[float, ...] = param(
        "One value for all coordinates, or one for each of the four; default: 0.1.", default=(), above=0
    )
    img_size: int | None = param("Side of the image.", default=None, at_least=1, unit="pixels")
    img_h: int | None = param("Height of the image.", default=None, at_least=1, unit="pixels")
    img_w: int | None = param("Width of the image.", default=None, at_least=1, unit="pixels")
    step: float | None = param("Distance of positions in the image.", default=None, above=0, unit="pixels")
    step_h: float | None = param("Distance of rows in the image.", default=None, above=0, unit="pixels")
    step_w: float | None = param("Distance of columns in the image.", default=None, above=0, unit="pixels")
    offset: float = param("Position of the center of a box in its cell, as a fraction.", default=0.5)

    examples = (
        Example(
            'layer { name: "boxes" type: "PriorBox" bottom: "features" bottom: "image" top: "boxes"\n'
            "        prior_box_param { min_size: 30 max_size: 60 aspect_ratio: 2 variance: [0.1, 0.1, 0.2, 0.2] } }",
            {"features": (1, 8, 3, 2), "image": (1, 3, 48, 32)},
            differentiable=False,
        ),
    )

    def ratios(self) -> list[float]:
        """Returns the distinct aspect ratios, 1 first."""
        found = [1.0]
        for ratio in self.aspect_ratio:
            if all(abs(ratio - r) >= 1e-6 for r in found):
                found += [ratio, 1 / ratio] if self.flip else [ratio]
        return found

    def infer(self, x: Shape, image: Shape) -> Shape:
        for i, shape in enumerate((x, image)):
            if len(shape) != 4:
                raise ShapeError(
                    f"bottom {i} {show(shape)} has {len(shape)} axes; it must have 4: batch, channels, height, width.",
                    bottom=i,
                )
        self._check()
        boxes = len(self.ratios()) * len(self.min_size) + len(self.max_size)
        return (1, 2, x[2] * x[3] * boxes * 4)

    def _check(self) -> None:
        if not self.min_size:
            raise ShapeError("`min_size` is missing; give at least one.", field="min_size")
        if self.max_size and len(self.max_size) != len(self.min_size):
            raise ShapeError(
                f"the number of `max_size` is {len(self.max_size)}, but the number of `min_size` is "
                f"{len(self.min_size)}; give one for each, or none.",
                field="max_size",
            )
        for small, large in zip(self.min_size, self.max_size, strict=False):
            if large <= small:
                raise ShapeError(
                    f"`max_size` {large:g} is not above its `min_size` {small:g}; give a larger value.",
                    field="max_size",
                )
        if len(self.variance) not in (0, 1, 4):
            raise ShapeError(f"`variance` has {len(self.variance)} values; give one or four.", field="variance")
        for one, two in (("img_size", ("img_h", "img_w")), ("step", ("step_h", "step_w"))):
            given = [name for name in two if getattr(self, name) is not None]
            if given and getattr(self, one) is not None:
                raise ShapeError(
                    f"`{one}` and `{given[0]}` are both given; give only `{one}`, or `{two[0]}` and `{two[1]}`.",
                    field=one,
                )
            if len(given) == 1:
                raise ShapeError(f"only `{given[0]}` is given; give both `{two[0]}` and `{two[1]}`.", field=given[0])

    def apply(self, w: tuple[Array, ...], x: Array, image: Array, *, ctx: Context) -> Array:
        return jnp.asarray(self.boxes(x.shape[2:], image.shape[2:]), x.dtype)

    def boxes(self, places: Shape, image: Shape) -> Any:
        """Returns the top as a NumPy array, from the sizes (h, w) of the features and of the image."""
        size, variance = self.image(image), self.variance or (0.1,)
        return prior_boxes(places, self.steps(places, image), self.sides(), size, variance, self.offset, self.clip)

    def image(self, image: Shape) -> tuple[int, int]:
        """Returns (height, width) of the image, as the fields say or else of the bottom."""
        return (self.img_h or self.img_size or image[0]), (self.img_w or self.img_size or image[1])

    def steps(self, places: Shape, image: Shape) -> tuple[float, float]:
        """Returns the distances of rows and columns, from the sizes (h, w) of the features and of the image."""
        height, width = self.image(image)
        return self.step_h or self.step or height / places[0], self.step_w or self.step or width / places[1]

    def sides(self) -> list[tuple[float, float]]:
        """Returns the widths and heights of the boxes at one position."""
        sides = []
        for i, small in enumerate(map(int, self.min_size)):  # the fork truncates sizes to integers
            sides.append((float(small), float(small)))
            if self.max_size:
                sides.append((math.sqrt(small * int(self.max_size[i])),) * 2)
            roots = [math.sqrt(ratio) for ratio in self.ratios()[1:]]
            sides += [(small * root, small / root) for root in roots]
        return sides


def prior_boxes(
    places: Sequence[int],
    steps: Sequence[float],
    sides: Sequence[tuple[float, float]],
    image: Sequence[int],
    variance: Sequence[float],
    offset: float = 0.5,
    clip: bool = False,
) -> Any:
    """Returns boxes of these sides at each of (h, w) places, as fractions of the image, and their variances: a NumPy
    array (1, 2, boxes 4)."""
    height, width = image
    y = (np.arange(places[0]) + offset) * steps[0]
    x = (np.arange(places[1]) + offset) * steps[1]
    centers = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), -1)[:, :, None]  # (h, w, 1, 2) of x, y
    halves = np.asarray(sides)[None, None] / 2  # (1, 1, boxes, 2)
    corners = np.concatenate([centers - halves, centers + halves], -1) / [width, height, width, height]
    corners = np.clip(corners, 0, 1) if clip else corners
    spread = np.broadcast_to(np.asarray(variance), corners.shape)
    return np.stack([corners.reshape(-1), spread.reshape(-1)])[None].astype(np.float32)
