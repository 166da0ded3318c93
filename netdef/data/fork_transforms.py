"""The transformations that the NVIDIA, SSD and Intel forks added to transform_param, under their field names.

Their order is: `random_resize_param` or `random_aspect_ratio_param` (Intel), `distort_param` and `expand_param` (SSD,
TRAIN), resizing to a random size (NVIDIA, TRAIN), `resize_param`, `noise_param` (with its probability, TRAIN).  Images
are (c, h, w) uint8, B, G, R.
Source: NVIDIA/caffe branch caffe-0.17, src/caffe/data_transformer.cpp and src/caffe/util/im_transforms.cpp;
intel/caffe src/caffe/data_transformer.cpp.
Differs: cubic and area interpolation are those of pillow.
"""

from __future__ import annotations

import enum
from typing import Any, Self

from ..layers._resize import PadMode, Resize, ResizeMode
from ..lazy import need, np
from ..schema import Block, param
from ..shape import UNKNOWN, Dim
from . import images
from .boxes import EmitConstraint


class Algorithm(enum.Enum):
    """Interpolation methods of the NVIDIA fork."""

    INTER_NEAREST = 0
    INTER_LINEAR = 1
    INTER_CUBIC = 2
    INTER_AREA = 3


class SaltPepper(Block):
    """`saltpepper_param { }`."""

    fraction: float = param("Fraction of the pixels that are set.", default=0.0, at_least=0, at_most=1)
    value: tuple[float, ...] = param("Value of these pixels: one, or one for each channel.", default=())


class Noise(Block):
    """`noise_param { }`: applies all operations that are set, with probability `prob`."""

    prob: float = param("Probability that an image is changed.", default=0.0, at_least=0, at_most=1)
    hist_eq: bool = param("Equalize the histogram of brightness.", default=False)
    inverse: bool = param("Replace x by 255 - x.", default=False)
    decolorize: bool = param("Convert to gray, in three channels.", default=False)
    gauss_blur: bool = param("Gaussian blur with a standard deviation of 1.5 pixels.", default=False)
    jpeg: float = param("Quality of JPEG compression; -1: off.", default=-1.0)
    posterize: bool = param("Reduce to four levels of brightness.", default=False)
    erode: bool = param("Minimum of each pixel and its four neighbors.", default=False)
    saltpepper: bool = param("Set random pixels to a value.", default=False)
    saltpepper_param: SaltPepper = param("Which fraction, and to which value.", default=SaltPepper())
    clahe: bool = param("Equalize the histogram of brightness locally (CLAHE).", default=False)
    convert_to_hsv: bool = param("Convert B, G, R to hue (0 to 180), saturation and value.", default=False)
    convert_to_lab: bool = param("Convert B, G, R to CIE Lab (L 0 to 100, a and b around 0).", default=False)


class Distort(Block):
    """`distort_param { }`: random changes of color, in phase TRAIN."""

    brightness_prob: float = param("Probability of changing the brightness.", default=0.0)
    brightness_delta: float = param("Add or subtract up to this, of 255.", default=0.0, at_least=0)
    contrast_prob: float = param("Probability of changing the contrast.", default=0.0)
    contrast_lower: float = param("Smallest factor.", default=0.0, at_least=0)
    contrast_upper: float = param("Largest factor.", default=0.0, at_least=0)
    hue_prob: float = param("Probability of changing the hue.", default=0.0)
    hue_delta: float = param("Add or subtract up to this, of 180.", default=0.0, at_least=0)
    saturation_prob: float = param("Probability of changing the saturation.", default=0.0)
    saturation_lower: float = param("Smallest factor.", default=0.0, at_least=0)
    saturation_upper: float = param("Largest factor.", default=0.0, at_least=0)
    random_order_prob: float = param("Probability of permuting the channels.", default=0.0)


class Expand(Block):
    """`expand_param { }`: places the image on a larger canvas filled with the mean, in phase TRAIN."""

    prob: float = param("Probability that an image is changed.", default=1.0, at_least=0, at_most=1)
    max_expand_ratio: float = param("Largest ratio of the canvas's side to the image's.", default=1.0, at_least=1)


class RandomResize(Block):
    """`random_resize_param { }`: resizes the shorter side to a random length (Intel)."""

    min_size: int = param("Smallest length; 0: that of the image's shorter side.", default=0, at_least=0)
    max_size: int = param("Largest length; 0: that of the image's longer side.", default=0, at_least=0)
    resize_param: Resize = param("How to resize; its size is not read.", default=Resize())


class RandomAspectRatio(Block):
    """`random_aspect_ratio_param { }`: a random crop, resized to `crop_size` (Intel)."""

    min_area_ratio: float = param("Smallest area, as a fraction of the image.", default=0.5, above=0)
    max_area_ratio: float = param("Largest area, as a fraction of the image.", default=1.0, above=0)
    aspect_ratio_change: float = param("The sides change by a factor between this and 1 / this.", default=1.0, above=0)
    max_attempt: int = param("Number of crops tried before the whole image is used.", default=10, at_least=0)
    resize_param: Resize = param("How to resize; its size is not read.", default=Resize())


class ForkTransform(Block):
    """The fields of `transform_param { }` that the forks added."""

    crop_h: int = param("Height of the crop, if it is not square.", default=0, at_least=0)
    crop_w: int = param("Width of the crop, if it is not square.", default=0, at_least=0)
    img_rand_resize_lower: int = param("Smallest random length of the shorter side, in TRAIN.", default=0, at_least=0)
    img_rand_resize_upper: int = param("Largest random length of the shorter side, in TRAIN.", default=0, at_least=0)
    rand_resize_ratio_lower: float = param("Smallest ratio of the longer side to the shorter.", default=0.0, at_least=0)
    rand_resize_ratio_upper: float = param("Largest ratio of the longer side to the shorter.", default=0.0, at_least=0)
    vertical_stretch_lower: float = param("Smallest factor of the height.", default=1.0)
    vertical_stretch_upper: float = param("Largest factor of the height.", default=1.0)
    horizontal_stretch_lower: float = param("Smallest factor of the width.", default=1.0)
    horizontal_stretch_upper: float = param("Largest factor of the width.", default=1.0)
    interpolation_algo_down: Algorithm = param("Interpolation for smaller sizes.", default=Algorithm.INTER_NEAREST)
    interpolation_algo_up: Algorithm = param("Interpolation for larger sizes.", default=Algorithm.INTER_CUBIC)
    allow_upscale: bool = param("Whether images may be enlarged.", default=False)
    resize_param: tuple[Resize, ...] = param(
        "Resize to a fixed size. Of several, layers of boxes draw one every ten iterations of training, with `prob` as "
        "weights; otherwise the first one is used.",
        default=(),
    )
    noise_param: Noise | None = param("Degrade images at random, in phase TRAIN.", default=None)
    distort_param: Distort | None = param("Change colors at random, in phase TRAIN.", default=None)
    expand_param: Expand | None = param("Add a margin around images at random, in phase TRAIN.", default=None)
    random_resize_param: RandomResize | None = param("Resize to a random size (Intel).", default=None)
    random_aspect_ratio_param: RandomAspectRatio | None = param("Take a random crop (Intel).", default=None)
    emit_constraint: EmitConstraint | None = param("Which boxes belong to a part of an image.", default=None)
    random_seed: int = param("netdef uses the seed of the net.", default=-1, inert=True)
    use_gpu_transform: bool = param("Where the fork transforms images.", default=False, inert=True)
    num_labels: int = param("Used by the fork's display.", default=0, at_least=0, inert=True)
    display: bool = param("Show images on a screen.", default=False, inert=True)

    crop_size: int
    mirror: bool
    mean_value: tuple[float, ...]

    @property
    def resize(self) -> Resize | None:
        """The fixed size to which images are resized, if there is one."""
        return self.resize_param[0] if self.resize_param else None

    def of_size(self, i: int) -> Self:
        """Returns these fields with one of the sizes."""
        return self.replace(resize_param=self.resize_param[i : i + 1])

    @property
    def random_size(self) -> bool:
        """Whether images are resized to random sizes."""
        stretches = (self.vertical_stretch_lower, self.vertical_stretch_upper)
        stretches += (self.horizontal_stretch_lower, self.horizontal_stretch_upper)
        return bool(self.img_rand_resize_lower or self.rand_resize_ratio_upper > 1) or stretches != (1, 1, 1, 1)

    @property
    def random_in_tests(self) -> tuple[str, ...]:
        """The fields that change images at random in phase TEST, too."""
        names = ("mirror", "random_resize_param", "random_aspect_ratio_param")
        return tuple(name for name in names if getattr(self, name))

    def without_chance(self) -> Self:
        """Returns these fields without what is random in phase TEST: images have the middle of the random sizes, and
        `crop_size` as their shorter side in place of a random crop."""
        random, resize = self.random_resize_param, self.resize
        if self.random_aspect_ratio_param is not None:
            how = self.random_aspect_ratio_param.resize_param
            random = RandomResize(min_size=self.crop_size, max_size=self.crop_size, resize_param=how)
        if random is not None:
            middle, how = (random.min_size + random.max_size) // 2, _one_method(random.resize_param)
            whole = not random.min_size or not random.max_size  # those of the image itself
            random = None if whole else RandomResize(min_size=middle, max_size=middle, resize_param=how)
        return self.replace(
            mirror=False,
            random_resize_param=random,
            random_aspect_ratio_param=None,
            resize_param=(_one_method(resize),) if resize else (),
        )

    @property
    def resizes(self) -> bool:
        """Whether any transformation of the forks is set."""
        chosen = (self.resize, self.noise_param, self.distort_param, self.expand_param)
        chosen += (self.random_resize_param, self.random_aspect_ratio_param)
        return self.random_size or any(part is not None for part in chosen)

    def resized(self, h: Dim = UNKNOWN, w: Dim = UNKNOWN) -> tuple[Dim, Dim]:
        """Returns (height, width) before the crop, as far as these fields determine it."""
        if (self.random_size and self.crop_size) or self.random_resize_param or self.random_aspect_ratio_param:
            return UNKNOWN, UNKNOWN
        fixed = self.resize
        if fixed is None or not fixed.height or not fixed.width:
            return h, w
        return (UNKNOWN, UNKNOWN) if fixed.resize_mode is ResizeMode.FIT_SMALL_SIZE else (fixed.height, fixed.width)

    def apply(self, image: Any, rng: Any, train: bool) -> Any:
        """Applies these fields to one image (c, h, w).  Raises ValueError for fields that contradict each other."""
        if image.dtype != np.uint8:
            return image
        x = image.transpose(1, 2, 0)  # (h, w, c)
        if self.random_resize_param is not None:
            x = random_side(x, self.random_resize_param, rng)
        elif self.random_aspect_ratio_param is not None:
            x = _random_part(x, self.random_aspect_ratio_param, self.crop_size, rng)
        if train and self.distort_param is not None and x.shape[2] == 3:
            x = distorted(x, self.distort_param, rng)
        if train and self.expand_param is not None and rng.random() < self.expand_param.prob:
            x, _, _ = expanded(x, self.expand_param.max_expand_ratio, self.mean_value, rng)
        if train and self.random_size:
            x = self.to_random_size(x, rng)
        if self.resize is not None and (not train or rng.random() < self.resize.prob):
            x = fixed_size(x, self.resize, rng)
        if train and self.noise_param is not None and rng.random() < self.noise_param.prob:
            x = spoiled(x, self.noise_param, rng)
        return x.transpose(2, 0, 1)

    def to_random_size(self, x: Any, rng: Any) -> Any:
        """Resizes an image (h, w, c) to a random size (NVIDIA)."""
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


def random_side(x: Any, to: RandomResize, rng: Any) -> Any:
    """Resizes an image (h, w, c) so that its shorter side has a random length (Intel)."""
    least, most = to.min_size or min(x.shape[:2]), to.max_size or max(x.shape[:2])
    if least > most:
        raise ValueError(f"`min_size` of `random_resize_param` is {least}; it must be at most {most}.")
    return _shorter_side(x, int(rng.integers(least, most + 1)), to.resize_param, rng)


def _random_part(x: Any, of: RandomAspectRatio, side: int, rng: Any) -> Any:
    h, w = x.shape[:2]
    if not side:
        raise ValueError("`random_aspect_ratio_param` requires `crop_size`.")
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
    """Resizes an image so that its shorter side has this length."""
    h, w = x.shape[:2]
    height, width = (length, int(w / h * length)) if h < w else (int(h / w * length), length)
    return images.interpolate(x, height, width, _method(how, rng))


def _one_method(how: Resize) -> Resize:
    return how.replace(interp_mode=how.interp_mode[:1])


def _method(how: Resize, rng: Any) -> str:
    return how.interp_mode[int(rng.integers(len(how.interp_mode)))].name if how.interp_mode else "LINEAR"


def fixed_size(x: Any, to: Resize, rng: Any) -> Any:
    """Resizes an image (h, w, c) by `resize_param`."""
    h, w = x.shape[:2]
    if not to.height or not to.width:
        raise ValueError("`resize_param` requires both `height` and `width`.")
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


def expanded(x: Any, largest: float, mean: tuple[float, ...], rng: Any) -> tuple[Any, int, int]:
    """Places an image at random on a canvas filled with the mean, with sides up to `largest` times as long.  Returns
    the canvas, and the top and left side of the image on it."""
    ratio = rng.uniform(1, largest)
    height, width = int(x.shape[0] * ratio), int(x.shape[1] * ratio)
    top, left = int(rng.uniform(0, height - x.shape[0])), int(rng.uniform(0, width - x.shape[1]))
    made = np.empty((height, width, x.shape[2]), np.uint8)
    made[:] = np.array(mean or (0,), np.float32).round().clip(0, 255).astype(np.uint8)
    made[top : top + x.shape[0], left : left + x.shape[1]] = x
    return made, top, left


def distorted(x: Any, by: Distort, rng: Any) -> Any:
    """Changes brightness, contrast, saturation and hue; contrast comes second or last."""
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


def spoiled(x: Any, by: Noise, rng: Any) -> Any:
    """Applies the operations of `noise_param` to an image (h, w, c)."""
    if by.decolorize and x.shape[2] == 3:
        x = np.repeat(images.to_gray(x[:, :, ::-1]), 3, 2)
    if by.gauss_blur:
        x = _blurred(x)
    if by.hist_eq:
        x = _equalized(x)
    if by.clahe:
        x = _equalized_locally(x)
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
    """Blurs along each axis with seven taps of a Gaussian of standard deviation 1.5."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2)).astype(np.float32)
    taps /= taps.sum()
    padded = np.pad(x, ((3, 3), (3, 3), (0, 0)), "reflect" if min(x.shape[:2]) > 3 else "edge").astype(np.float32)
    rows = np.sum([taps[i] * padded[i : i + x.shape[0]] for i in range(7)], 0)
    return _bytes(np.sum([taps[i] * rows[:, i : i + x.shape[1]] for i in range(7)], 0))


def _equalized(x: Any) -> Any:
    """Spreads the brightness so that all levels are equally frequent; color differences are kept."""
    gray = images.to_gray(x[:, :, ::-1])[:, :, 0] if x.shape[2] == 3 else x[:, :, 0]
    counts = np.bincount(gray.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = gray.size - counts[first]
    if rest == 0:
        return x
    levels = ((np.cumsum(counts) - counts[first]) * (255.0 / rest)).clip(0, 255).round()
    return _bytes(x.astype(np.float32) + (levels[gray] - gray)[:, :, None])


def _equalized_locally(x: Any) -> Any:
    """Contrast-limited adaptive equalization of the brightness, limit 4 and 8x8 tiles, by OpenCV as in the fork."""
    cv2 = need("cv2", "`clahe`")
    equalize = cv2.createCLAHE(clipLimit=4.0).apply
    if x.shape[2] != 3:
        return equalize(np.ascontiguousarray(x[:, :, 0]))[:, :, None]
    planes = cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_BGR2YCrCb)
    planes[:, :, 0] = equalize(np.ascontiguousarray(planes[:, :, 0]))
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR)


def _lab(x: Any) -> Any:
    """Converts to CIE Lab, float32 (h, w, 3); OpenCV interprets the values as sRGB."""
    cv2 = need("cv2", "`convert_to_lab`")
    return cv2.cvtColor(np.ascontiguousarray(x).astype(np.float32) / 255, cv2.COLOR_BGR2Lab)


def _bytes(x: Any) -> Any:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
