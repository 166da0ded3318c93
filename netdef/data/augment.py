"""augment_param: random augmentation of images, in phase TRAIN only.  An addition of netdef's.

Images are (c, h, w), uint8 or float, with channels B, G, R.  The order is: random resized crop, rotation, brightness,
contrast, saturation and hue; then, in `Transformer`, flip, noise, cutout and mixup.
"""

from __future__ import annotations

import math
from typing import Any

from ..lazy import need, np
from ..schema import Block, param


class Augment(Block):
    """`augment_param { }`."""

    area_lower: float = param(
        "Smallest fraction of the image's area that a random crop covers; it is resized to crop_size.  0: off.",
        default=0.0,
        at_least=0,
        at_most=1,
    )
    area_upper: float = param("Largest fraction of the area that it covers.", default=1.0, above=0, at_most=1)
    aspect: float = param("Largest ratio of the sides of that crop.", default=4 / 3, at_least=1)
    rotate: float = param("Rotate by up to this many degrees.", default=0.0, at_least=0, at_most=180)
    flip_vertical: bool = param("Flip top to bottom at random.", default=False)
    brightness: float = param("Multiply by a factor from 1 - this to 1 + this.", default=0.0, at_least=0, at_most=1)
    contrast: float = param("The same for the difference from the image's mean.", default=0.0, at_least=0, at_most=1)
    saturation: float = param("The same for the difference from gray.", default=0.0, at_least=0, at_most=1)
    hue: float = param(
        "Rotate the hue by up to this fraction of the color circle.", default=0.0, at_least=0, at_most=0.5
    )
    noise: float = param("Standard deviation of Gaussian noise, in units of the input.", default=0.0, at_least=0)
    cutout: int = param("Side of a random square that is set to 0 after the mean is subtracted.", default=0, at_least=0)
    mixup: float = param(
        "Mix pairs of records of a batch, with a weight drawn from Beta(mixup, mixup); requires `num_labels`.",
        default=0.0,
        at_least=0,
    )
    label_smoothing: float = param(
        "Fraction of a label spread over all classes; requires `num_labels`.", default=0.0, at_least=0, at_most=1
    )
    num_labels: int = param(
        "Deliver labels as rows of probabilities over this many classes, in both phases; 0: off.", default=0, at_least=0
    )

    @property
    def reshapes(self) -> bool:
        """Whether an image is changed before the crop."""
        return any((self.area_lower, self.rotate, self.brightness, self.contrast, self.saturation, self.hue))


def generator_of(draw: float, stream: int) -> Any:
    """Returns the random generator of one record, from one number in [0, 1)."""
    return np.random.Generator(np.random.Philox(key=[int(draw * 2**53), stream]))


def reshape(image: Any, varied: Augment, crop: tuple[int, int], rng: Any) -> Any:
    """Applies the augmentations that come before the crop to an image (c, h, w)."""
    if varied.area_lower:
        image = _random_part(image, varied, crop, rng)
    if varied.rotate:
        image = _rotated(image, rng.uniform(-varied.rotate, varied.rotate))
    if varied.brightness or varied.contrast or varied.saturation or varied.hue:
        image = _colored(image, varied, rng)
    return image


def _random_part(image: Any, varied: Augment, crop: tuple[int, int], rng: Any) -> Any:
    """Resizes a part of random area and aspect ratio to `crop` (to the image's own size where that is 0)."""
    _, h, w = image.shape
    area = h * w * rng.uniform(varied.area_lower, max(varied.area_lower, varied.area_upper))
    ratio = math.exp(rng.uniform(-math.log(varied.aspect), math.log(varied.aspect)))
    height, width = min(h, math.sqrt(area / ratio)), min(w, math.sqrt(area * ratio))
    top, left = rng.uniform(0, h - height), rng.uniform(0, w - width)
    pillow = need("PIL.Image", "resizing images")
    size = (crop[1] or w, crop[0] or h)
    box = (left, top, left + width, top + height)
    return _each(image, lambda part: part.resize(size, pillow.Resampling.BILINEAR, box=box))


def _rotated(image: Any, degrees: float) -> Any:
    """Rotates an image around its center; the corners are filled with its mean."""
    pillow = need("PIL.Image", "rotating images")
    means = [float(v) for v in image.mean((1, 2))]
    fills = {"L": round(means[0]), "RGB": tuple(map(round, means)), "F": means[0]}

    def rotate(part: Any) -> Any:
        return part.rotate(degrees, pillow.Resampling.BILINEAR, fillcolor=fills[part.mode])

    return _each(image, rotate)


def _each(image: Any, change: Any) -> Any:
    """Applies a function of pillow images to (c, h, w): to all channels at once if pillow can, else to each."""
    pillow = need("PIL.Image", "varying images")
    if image.dtype == np.uint8 and image.shape[0] in (1, 3):
        pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
        made = np.asarray(change(pillow.fromarray(np.ascontiguousarray(pixels))))
        return made[None] if made.ndim == 2 else made.transpose(2, 0, 1)
    channels = [np.asarray(change(pillow.fromarray(np.ascontiguousarray(c, np.float32)))) for c in image]
    return np.stack(channels)


def _colored(image: Any, varied: Augment, rng: Any) -> Any:
    """Changes brightness, contrast, saturation and hue; uint8 stays uint8."""
    x = image.astype(np.float32)  # (c, h, w)
    factors = 1 + rng.uniform(-1, 1, 3) * (varied.brightness, varied.contrast, varied.saturation)
    turn = rng.uniform(-varied.hue, varied.hue)
    x *= np.float32(factors[0])
    if varied.contrast:
        x = (x - x.mean()) * np.float32(factors[1]) + x.mean()
    if len(x) == 3 and (varied.saturation or varied.hue):
        x = np.tensordot(_color_matrix(factors[2], turn), x, 1)
    return x.clip(0, 255).round().astype(np.uint8) if image.dtype == np.uint8 else x


def _color_matrix(saturation: float, turn: float) -> Any:
    """Returns the matrix on B, G, R that scales and rotates the two color axes of YIQ and keeps the brightness."""
    to_yiq = np.array([[0.114, 0.587, 0.299], [-0.322, -0.274, 0.596], [0.312, -0.523, 0.211]])
    angle = 2 * math.pi * turn
    c, s = saturation * math.cos(angle), saturation * math.sin(angle)
    change = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return (np.linalg.inv(to_yiq) @ change @ to_yiq).astype(np.float32)


def cut_hole(x: Any, side: int, row: float, column: float) -> None:
    """Sets a square around a random center of x (c, h, w) to 0, in place; it is clipped to the image."""
    top, left = int(row * x.shape[1]) - side // 2, int(column * x.shape[2]) - side // 2
    x[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0


def mix(x: Any, alpha: float, keys: Any) -> Any:
    """Mixes each record with its neighbor, 0 with 1, 2 with 3, ...: weight * x + (1 - weight) * neighbor.

    Source: H. Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018, which draws the pairs at random."""
    n = len(x)
    partners = np.arange(n) ^ 1
    partners[partners >= n] = n - 1
    parts = [generator_of(keys[i - i % 2], 3).beta(alpha, alpha) for i in range(n)]
    own = np.array([max(p, 1 - p) for p in parts], np.float32).reshape(n, *(1,) * (x.ndim - 1))
    return own * x + (1 - own) * x[partners]
