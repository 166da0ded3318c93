"""The transformations that the NVIDIA, SSD and Intel forks added to transform_param, by their field names.

In this order: `random_resize_param` or `random_aspect_ratio_param` (Intel), `distort_param` and `expand_param` (SSD,
TRAIN), resizing to a random size (NVIDIA, TRAIN), `resize_param`, `noise_param` (with its probability, TRAIN).  Images
are (c, h, w) uint8, B, G, R.
Source: NVIDIA/caffe branch caffe-0.17, src/caffe/data_transformer.cpp and src/caffe/util/im_transforms.cpp;
intel/caffe src/caffe/data_transformer.cpp.
Differs: cubic and area interpolation are pillow's.
"""

from __future__ import annotations

import enum
from typing import Any

from ..layers._resize import PadMode, Resize, ResizeMode
from ..lazy import need, np
from ..schema import Block, param
from ..shape import UNKNOWN, Dim
from . import images


class Algorithm(enum.Enum):
    """Interpolation of the NVIDIA fork."""

    INTER_NEAREST = 0
    INTER_LINEAR = 1
    INTER_CUBIC = 2
    INTER_AREA = 3


class SaltPepper(Block):
    """`saltpepper_param { }`."""

    fraction: float = param("Part of the pixels.", default=0.0, at_least=0, at_most=1)
    value: tuple[float, ...] = param("Value of these pixels: one, or one for each channel.", default=())


class Noise(Block):
    """`noise_param { }`: each that is on is done, with probability `prob`."""

    prob: float = param("Probability.", default=0.0, at_least=0, at_most=1)
    hist_eq: bool = param("Equalise the histogram of brightness.", default=False)
    inverse: bool = param("x becomes 255 - x.", default=False)
    decolorize: bool = param("Grey, in three channels.", default=False)
    gauss_blur: bool = param("Blur with a deviation of 1.5 pixels.", default=False)
    jpeg: float = param("Quality of a JPEG compression; -1: none.", default=-1.0)
    posterize: bool = param("Four steps of brightness.", default=False)
    erode: bool = param("Least of each pixel and its four neighbours.", default=False)
    saltpepper: bool = param("Set random pixels.", default=False)
    saltpepper_param: SaltPepper = param("How many, and to what.", default=SaltPepper())
    clahe: bool = param("Equalise the histogram of brightness place by place.", default=False)
    convert_to_hsv: bool = param("Hue (0 to 180), saturation and value in place of B, G, R.", default=False)
    convert_to_lab: bool = param("CIE Lab (L 0 to 100, a and b around 0) in place of B, G, R.", default=False)


class Distort(Block):
    """`distort_param { }`: colours at random, while training."""

    brightness_prob: float = param("Probability of changing the brightness.", default=0.0)
    brightness_delta: float = param("Add up to this either way, of 255.", default=0.0, at_least=0)
    contrast_prob: float = param("Probability of changing the contrast.", default=0.0)
    contrast_lower: float = param("Least factor.", default=0.0, at_least=0)
    contrast_upper: float = param("Largest factor.", default=0.0, at_least=0)
    hue_prob: float = param("Probability of changing the hue.", default=0.0)
    hue_delta: float = param("Add up to this either way, of 180.", default=0.0, at_least=0)
    saturation_prob: float = param("Probability of changing the saturation.", default=0.0)
    saturation_lower: float = param("Least factor.", default=0.0, at_least=0)
    saturation_upper: float = param("Largest factor.", default=0.0, at_least=0)
    random_order_prob: float = param("Probability of another order of the channels.", default=0.0)


class Expand(Block):
    """`expand_param { }`: the image small on a larger plane of the mean value, while training."""

    prob: float = param("Probability.", default=1.0, at_least=0, at_most=1)
    max_expand_ratio: float = param("Largest side, in sides of the image.", default=1.0, at_least=1)


class RandomResize(Block):
    """`random_resize_param { }`: the shorter side gets a length from `min_size` to `max_size` (Intel)."""

    min_size: int = param("Least length; 0: that of the image's shorter side.", default=0, at_least=0)
    max_size: int = param("Largest length; 0: that of the image's longer side.", default=0, at_least=0)
    resize_param: Resize = param("How to resize; its size is not read.", default=Resize())


class RandomAspectRatio(Block):
    """`random_aspect_ratio_param { }`: a random part of the image, resized to the cut (Intel)."""

    min_area_ratio: float = param("Least area, as a part of the image.", default=0.5, above=0)
    max_area_ratio: float = param("Largest area.", default=1.0, above=0)
    aspect_ratio_change: float = param("Sides change by a factor from this to 1 / this.", default=1.0, above=0)
    max_attempt: int = param("How many parts are tried before the whole image is taken.", default=10, at_least=0)
    resize_param: Resize = param("How to resize; its size is not read.", default=Resize())


class EmitType(enum.Enum):
    """When a box belongs to a cut."""

    CENTER = 0
    MIN_OVERLAP = 1


class EmitConstraint(Block):
    """`emit_constraint { }`: for boxes of AnnotatedData."""

    emit_type: EmitType = param("When a box belongs to a cut.", default=EmitType.CENTER)
    emit_overlap: float = param("Least overlap.", default=0.0)


class ForkTransform(Block):
    """The forks' fields of `transform_param { }`."""

    crop_h: int = param("Height of the cut, where it is not a square.", default=0, at_least=0)
    crop_w: int = param("Width of the cut, where it is not a square.", default=0, at_least=0)
    img_rand_resize_lower: int = param("Least length of the shorter side, drawn in TRAIN.", default=0, at_least=0)
    img_rand_resize_upper: int = param("Largest length of the shorter side.", default=0, at_least=0)
    rand_resize_ratio_lower: float = param("Least ratio of the longer side to the shorter.", default=0.0, at_least=0)
    rand_resize_ratio_upper: float = param("Largest ratio of the longer side to the shorter.", default=0.0, at_least=0)
    vertical_stretch_lower: float = param("Least factor of the height.", default=1.0)
    vertical_stretch_upper: float = param("Largest factor of the height.", default=1.0)
    horizontal_stretch_lower: float = param("Least factor of the width.", default=1.0)
    horizontal_stretch_upper: float = param("Largest factor of the width.", default=1.0)
    interpolation_algo_down: Algorithm = param("How images are made smaller.", default=Algorithm.INTER_NEAREST)
    interpolation_algo_up: Algorithm = param("How images are made larger.", default=Algorithm.INTER_CUBIC)
    allow_upscale: bool = param("Whether images may become larger.", default=False)
    resize_param: Resize | None = param("Resize to a fixed size.", default=None)
    noise_param: Noise | None = param("Spoil images on purpose, while training.", default=None)
    distort_param: Distort | None = param("Vary the colours, while training.", default=None)
    expand_param: Expand | None = param("Make room around images, while training.", default=None)
    random_resize_param: RandomResize | None = param("Resize to a random size (Intel).", default=None)
    random_aspect_ratio_param: RandomAspectRatio | None = param("Cut out a random part (Intel).", default=None)
    emit_constraint: EmitConstraint | None = param("Which boxes are kept.", default=None, inert=True)
    random_seed: int = param("The seed is the net's.", default=-1, inert=True)
    use_gpu_transform: bool = param("Where the fork transforms.", default=False, inert=True)
    num_labels: int = param("Used by the fork's display.", default=0, at_least=0, inert=True)
    display: bool = param("Show images on a screen.", default=False, inert=True)

    crop_size: int
    mean_value: tuple[float, ...]

    @property
    def random_size(self) -> bool:
        """Whether images are resized to random sizes."""
        stretches = (self.vertical_stretch_lower, self.vertical_stretch_upper)
        stretches += (self.horizontal_stretch_lower, self.horizontal_stretch_upper)
        return bool(self.img_rand_resize_lower or self.rand_resize_ratio_upper > 1) or stretches != (1, 1, 1, 1)

    @property
    def resizes(self) -> bool:
        """Whether anything of the forks is wished."""
        wished = (self.resize_param, self.noise_param, self.distort_param, self.expand_param)
        wished += (self.random_resize_param, self.random_aspect_ratio_param)
        return self.random_size or any(part is not None for part in wished)

    def resized(self, h: Dim = UNKNOWN, w: Dim = UNKNOWN) -> tuple[Dim, Dim]:
        """(height, width) before the cut is made, where these fields fix it."""
        if (self.random_size and self.crop_size) or self.random_resize_param or self.random_aspect_ratio_param:
            return UNKNOWN, UNKNOWN
        fixed = self.resize_param
        if fixed is None or not fixed.height or not fixed.width:
            return h, w
        return (UNKNOWN, UNKNOWN) if fixed.resize_mode is ResizeMode.FIT_SMALL_SIZE else (fixed.height, fixed.width)

    def apply(self, image: Any, rng: Any, train: bool) -> Any:
        """One image (c, h, w) changed as these fields say.  ValueError for what netdef does not do."""
        if image.dtype != np.uint8:
            return image
        x = image.transpose(1, 2, 0)  # (h, w, c)
        if self.random_resize_param is not None:
            x = _random_side(x, self.random_resize_param, rng)
        elif self.random_aspect_ratio_param is not None:
            x = _random_part(x, self.random_aspect_ratio_param, self.crop_size, rng)
        if train and self.distort_param is not None and x.shape[2] == 3:
            x = _distorted(x, self.distort_param, rng)
        if train and self.expand_param is not None and rng.random() < self.expand_param.prob:
            x = _expanded(x, self.expand_param.max_expand_ratio, self.mean_value, rng)
        if train and self.random_size:
            x = self._random_size(x, rng)
        if self.resize_param is not None and (not train or rng.random() < self.resize_param.prob):
            x = _fixed_size(x, self.resize_param, rng)
        if train and self.noise_param is not None and rng.random() < self.noise_param.prob:
            x = _spoiled(x, self.noise_param, rng)
        return x.transpose(2, 0, 1)

    def _random_size(self, x: Any, rng: Any) -> Any:
        h, w = x.shape[:2]
        shorter = min(h, w)
        if self.img_rand_resize_lower and self.img_rand_resize_upper:
            shorter = int(rng.integers(self.img_rand_resize_lower, self.img_rand_resize_upper + 1))
        height, width = shorter * h / min(h, w), shorter * w / min(h, w)
        if self.rand_resize_ratio_lower >= 1 and self.rand_resize_ratio_upper > 1:
            ratio = rng.uniform(self.rand_resize_ratio_lower, self.rand_resize_ratio_upper)
            if width > height or (width == height and rng.random() < 0.5):
                width = height * ratio
            else:
                height = width * ratio
        height *= rng.uniform(self.vertical_stretch_lower, self.vertical_stretch_upper)
        width *= rng.uniform(self.horizontal_stretch_lower, self.horizontal_stretch_upper)
        size = [max(self.crop_size, round(height)), max(self.crop_size, round(width))]
        if not self.allow_upscale:
            size = [min(size[0], h), min(size[1], w)]
        smaller = size[0] <= h and size[1] <= w
        algorithm = self.interpolation_algo_down if smaller else self.interpolation_algo_up
        return images.interpolate(x, size[0], size[1], algorithm.name.removeprefix("INTER_"))


def _random_side(x: Any, to: RandomResize, rng: Any) -> Any:
    least, most = to.min_size or min(x.shape[:2]), to.max_size or max(x.shape[:2])
    if least > most:
        raise ValueError(f"`min_size` of `random_resize_param` is {least}, which is more than {most}.")
    return _shorter_side(x, int(rng.integers(least, most + 1)), to.resize_param, rng)


def _random_part(x: Any, of: RandomAspectRatio, side: int, rng: Any) -> Any:
    h, w = x.shape[:2]
    if not side:
        raise ValueError("`random_aspect_ratio_param` needs `crop_size`.")
    for _ in range(of.max_attempt):
        root = (rng.uniform(of.min_area_ratio, of.max_area_ratio) * h * w) ** 0.5
        change = rng.uniform(*sorted((of.aspect_ratio_change, 1 / of.aspect_ratio_change)))
        height, width = int(root * change), int(root / change)
        if rng.random() < 0.5:
            height, width = width, height
        if 0 < height <= h and 0 < width <= w:
            top, left = int(rng.integers(h - height + 1)), int(rng.integers(w - width + 1))
            part = x[top : top + height, left : left + width]
            return images.interpolate(part, side, side, _method(of.resize_param, rng))
    return _shorter_side(x, side, of.resize_param, rng)


def _shorter_side(x: Any, length: int, how: Resize, rng: Any) -> Any:
    """Resized so that the shorter side has this length."""
    h, w = x.shape[:2]
    height, width = (length, int(w / h * length)) if h < w else (int(h / w * length), length)
    return images.interpolate(x, height, width, _method(how, rng))


def _method(how: Resize, rng: Any) -> str:
    return how.interp_mode[int(rng.integers(len(how.interp_mode)))].name if how.interp_mode else "LINEAR"


def _fixed_size(x: Any, to: Resize, rng: Any) -> Any:
    h, w = x.shape[:2]
    if not to.height or not to.width:
        raise ValueError("`resize_param` needs `height` and `width`.")
    how = _method(to, rng)
    if to.resize_mode is ResizeMode.WARP:
        return images.interpolate(x, to.height, to.width, how)
    aspect = w / h
    wider = aspect > to.width / to.height
    if (to.resize_mode is ResizeMode.FIT_SMALL_SIZE) != wider:
        height, width = max(1, int(to.width / aspect)), to.width
    else:
        height, width = to.height, max(1, int(aspect * to.height))
    x = images.interpolate(x, height, width, how)
    if to.resize_mode is ResizeMode.FIT_SMALL_SIZE:
        return x
    top, left = (to.height - height) // 2, (to.width - width) // 2
    return _padded(x, ((top, to.height - height - top), (left, to.width - width - left), (0, 0)), to)


def _padded(x: Any, margins: Any, to: Resize) -> Any:
    if to.pad_mode is not PadMode.CONSTANT:
        return np.pad(x, margins, "reflect" if to.pad_mode is PadMode.MIRRORED else "edge")
    made = np.empty((x.shape[0] + sum(margins[0]), x.shape[1] + sum(margins[1]), x.shape[2]), np.uint8)
    made[:] = np.array(to.pad_value or (0,), np.float32).clip(0, 255).astype(np.uint8)
    made[margins[0][0] : margins[0][0] + x.shape[0], margins[1][0] : margins[1][0] + x.shape[1]] = x
    return made


def _expanded(x: Any, largest: float, mean: tuple[float, ...], rng: Any) -> Any:
    """The image at a random place of a plane that is up to `largest` times as long, filled with the mean."""
    ratio = rng.uniform(1, largest)
    height, width = int(x.shape[0] * ratio), int(x.shape[1] * ratio)
    top, left = int(rng.uniform(0, height - x.shape[0])), int(rng.uniform(0, width - x.shape[1]))
    made = np.empty((height, width, x.shape[2]), np.uint8)
    made[:] = np.array(mean or (0,), np.float32).round().clip(0, 255).astype(np.uint8)
    made[top : top + x.shape[0], left : left + x.shape[1]] = x
    return made


def _distorted(x: Any, by: Distort, rng: Any) -> Any:
    """Brightness, contrast, saturation and hue; contrast comes second or last."""
    contrast_first = rng.random() > 0.5
    if rng.random() < by.brightness_prob:
        x = _bytes(x + np.float32(rng.uniform(-by.brightness_delta, by.brightness_delta)))
    chance, factor = rng.random() < by.contrast_prob, rng.uniform(by.contrast_lower, by.contrast_upper)
    if chance and contrast_first:
        x = _bytes(x * np.float32(factor))
    saturate, turn = rng.random() < by.saturation_prob, rng.random() < by.hue_prob
    if saturate or turn:
        hsv = images.to_hsv(x).astype(np.float32)
        if saturate:
            hsv[:, :, 1] = (hsv[:, :, 1] * rng.uniform(by.saturation_lower, by.saturation_upper)).clip(0, 255)
        if turn:
            hsv[:, :, 0] = (hsv[:, :, 0] + rng.uniform(-by.hue_delta, by.hue_delta)) % 180
        x = images.from_hsv(hsv)
    if chance and not contrast_first:
        x = _bytes(x * np.float32(factor))
    if rng.random() < by.random_order_prob:
        x = x[:, :, rng.permutation(3)]
    return x


def _spoiled(x: Any, by: Noise, rng: Any) -> Any:
    if by.decolorize and x.shape[2] == 3:
        x = np.repeat(images.to_gray(x[:, :, ::-1]), 3, 2)
    if by.gauss_blur:
        x = _blurred(x)
    if by.hist_eq:
        x = _equalised(x)
    if by.clahe:
        x = _equalised_locally(x)
    if by.jpeg > 0:
        x = images.through_jpeg(x, int(by.jpeg))
    if by.erode:
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), "edge")
        around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        x = np.minimum.reduce([x, *around])
    if by.posterize:
        x = (x // 64) * 64 + 32
    if by.inverse:
        x = 255 - x
    if by.saltpepper:
        count = int(by.saltpepper_param.fraction * x.shape[0] * x.shape[1])
        x = x.copy()
        where = rng.integers(x.shape[0], size=count), rng.integers(x.shape[1], size=count)
        x[where] = np.array(by.saltpepper_param.value or (0,)).clip(0, 255).astype(np.uint8)
    if x.shape[2] != 3:
        return x
    x = images.to_hsv(x) if by.convert_to_hsv else x
    return _lab(x) if by.convert_to_lab else x


def _blurred(x: Any) -> Any:
    """Seven taps of a normal curve of deviation 1.5 along each axis."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2)).astype(np.float32)
    taps /= taps.sum()
    padded = np.pad(x, ((3, 3), (3, 3), (0, 0)), "reflect" if min(x.shape[:2]) > 3 else "edge").astype(np.float32)
    rows = np.sum([taps[i] * padded[i : i + x.shape[0]] for i in range(7)], 0)
    return _bytes(np.sum([taps[i] * rows[:, i : i + x.shape[1]] for i in range(7)], 0))


def _equalised(x: Any) -> Any:
    """Brightness spread so that all levels are equally frequent; colours keep their distance from it."""
    gray = images.to_gray(x[:, :, ::-1])[:, :, 0] if x.shape[2] == 3 else x[:, :, 0]
    counts = np.bincount(gray.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = gray.size - counts[first]
    if rest == 0:
        return x
    levels = ((np.cumsum(counts) - counts[first]) * (255.0 / rest)).clip(0, 255).round()
    return _bytes(x.astype(np.float32) + (levels[gray] - gray)[:, :, None])


def _equalised_locally(x: Any) -> Any:
    """Contrast-limited adaptive equalisation of the brightness, limit 4 and 8x8 tiles, by OpenCV as in the fork."""
    cv2 = need("cv2", "`clahe`")
    equalise = cv2.createCLAHE(clipLimit=4.0).apply
    if x.shape[2] != 3:
        return equalise(np.ascontiguousarray(x[:, :, 0]))[:, :, None]
    planes = cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_BGR2YCrCb)
    planes[:, :, 0] = equalise(np.ascontiguousarray(planes[:, :, 0]))
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR)


def _lab(x: Any) -> Any:
    """CIE Lab as float32 (h, w, 3), of values that OpenCV takes for sRGB."""
    cv2 = need("cv2", "`convert_to_lab`")
    return cv2.cvtColor(np.ascontiguousarray(x).astype(np.float32) / 255, cv2.COLOR_BGR2Lab)


def _bytes(x: Any) -> Any:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
