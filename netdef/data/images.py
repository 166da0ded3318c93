"""Images as Caffe sees them: decoded to BGR bytes, and resized as OpenCV does.

Arrays are (h, w, c) uint8 with channels B, G, R, as in OpenCV; gray images have c = 1.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

from ..lazy import need, np

_COEFFICIENT_BITS = 11  # OpenCV's fixed-point weights of bilinear interpolation


class Undecodable(ValueError):
    """The bytes cannot be decoded as an image; the message says why."""


def decode(data: Any, color: bool | None, scaled_to: tuple[int, int] | None = None) -> Any:
    """Decodes an image to (h, w, c) uint8.  `color` True: 3 channels; False: 1; None: as in the file (1, 3 or 4).

    `scaled_to`: a sufficient (height, width); a JPEG may then be decoded at a fraction of its size.
    Raises Undecodable if it is not an image.
    Source: OpenCV's imdecode with IMREAD_COLOR, IMREAD_GRAYSCALE, IMREAD_UNCHANGED.
    """
    pillow = need("PIL.Image", "decoding images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # because problems with metadata do not matter here
            image = pillow.open(io.BytesIO(data))
            if image.format == "JPEG" and (color is False or scaled_to):
                image.draft("L" if color is False else None, scaled_to[::-1] if scaled_to else None)
            image.load()
            return _channels(image, color)
    except Exception as error:  # pillow's readers raise many kinds for damaged files
        raise Undecodable(_why(error)) from None


def size_of(data: Any) -> tuple[int, int, int]:
    """Returns (height, width, channels as stored) from the header of an image.  Raises Undecodable if it is none."""
    pillow = need("PIL.Image", "decoding images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = pillow.open(io.BytesIO(data))
    except Exception as error:
        raise Undecodable(_why(error)) from None
    channels = 1 if image.mode in _GRAY else 4 if _has_alpha(image) else 3
    return image.height, image.width, channels


def file_type(data: bytes) -> str:
    """Returns the usual extension of an image file, by its contents: `jpg`, `png`, ...  Raises Undecodable."""
    pillow = need("PIL.Image", "recognizing images")
    try:
        kind = str(pillow.open(io.BytesIO(data)).format).lower()
    except Exception as error:
        raise Undecodable(_why(error)) from None
    return {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif"}.get(kind, kind)


def to_png(image: Any) -> bytes:
    """Returns the PNG file of (h, w, c) uint8, gray or B, G, R."""
    pillow = need("PIL.Image", "writing images")
    packed = io.BytesIO()
    pixels = image[:, :, 0] if image.shape[2] == 1 else image[:, :, ::-1]
    pillow.fromarray(np.ascontiguousarray(pixels)).save(packed, "PNG")
    return packed.getvalue()


def _why(error: Exception) -> str:
    words = str(error).split("\n")[0][:160]
    return "unknown image format" if "cannot identify" in words else words or type(error).__name__


_GRAY = ("L", "1", "I;16", "I;16B", "I", "F")


def _has_alpha(image: Any) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info)


def _channels(image: Any, color: bool | None) -> Any:
    if image.mode in ("I;16", "I;16B", "I"):  # 16 bits a pixel; OpenCV keeps the upper 8
        gray = (np.asarray(image, np.int64) >> 8).clip(0, 255).astype(np.uint8)[:, :, None]
        return np.repeat(gray, 3, 2) if color else gray
    if image.mode == "1":
        image = image.convert("L")
    if color is None:
        if image.mode == "L":
            return np.asarray(image)[:, :, None]
        wanted = "RGBA" if _has_alpha(image) else "RGB"
        pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
        return pixels[:, :, [2, 1, 0, 3]] if wanted == "RGBA" else pixels[:, :, ::-1]
    if image.mode == "L":
        gray = np.asarray(image)[:, :, None]
        return np.repeat(gray, 3, 2) if color else gray
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return rgb[:, :, ::-1] if color else to_gray(rgb, by_libpng=image.format == "PNG")


def to_gray(rgb: Any, *, by_libpng: bool = False) -> Any:
    """Converts (h, w, 3) uint8 to (h, w, 1), by 0.299 R + 0.587 G + 0.114 B with integer weights.

    Source: OpenCV's cvtColor; PNG files are converted by libpng before OpenCV, by other weights and truncated."""
    r, g, b = (rgb[:, :, i].astype(np.int32) for i in range(3))
    gray = (r * 9797 + g * 19234 + b * 3737) >> 15 if by_libpng else (r * 4899 + g * 9617 + b * 1868 + 8192) >> 14
    return gray.astype(np.uint8)[:, :, None]


def resize(image: Any, height: int, width: int) -> Any:
    """Resizes by bilinear interpolation without antialiasing, in OpenCV's fixed-point arithmetic.

    image (h, w, c) uint8 -> (height, width, c) uint8.  Source: OpenCV's resize with INTER_LINEAR.
    """
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        return image
    x, ax = _taps(w, width)
    y, ay = _taps(h, height)
    rows, back = np.unique(np.stack([y, np.minimum(y + 1, h - 1)]), return_inverse=True)
    back = back.reshape(2, height)
    used = image[rows].astype(np.int32)  # (rows in use, w, c)
    one = 1 << _COEFFICIENT_BITS
    left, right = used[:, x], used[:, np.minimum(x + 1, w - 1)]
    across = left * (one - ax)[:, None] + right * ax[:, None]  # (rows, width, c), scaled by 2^11
    across >>= 4
    top = (across[back[0]] * (one - ay)[:, None, None]) >> 16
    bottom = (across[back[1]] * ay[:, None, None]) >> 16
    return ((top + bottom + 2) >> 2).clip(0, 255).astype(np.uint8)


def _taps(size: int, wanted: int) -> tuple[Any, Any]:
    """Returns for each output pixel the left input pixel and the weight of its right neighbor, in 1 / 2^11."""
    at = ((np.arange(wanted) + 0.5) * (size / wanted) - 0.5).astype(np.float32)
    left = np.floor(at).astype(np.int64)
    weight = at - left
    weight[left < 0] = 0
    left[left < 0] = 0
    weight[left >= size - 1] = 0
    left[left >= size - 1] = size - 1
    return left, np.rint(weight * (1 << _COEFFICIENT_BITS)).astype(np.int32)


def interpolate(image: Any, height: int, width: int, how: str) -> Any:
    """Resizes (h, w, c) uint8 by NEAREST, LINEAR (both as OpenCV), AREA, CUBIC or LANCZOS4 (as pillow)."""
    if image.shape[:2] == (height, width):
        return image
    if how == "LINEAR":
        return resize(image, height, width)
    if how == "NEAREST":
        rows = np.minimum((np.arange(height) * (image.shape[0] / height)).astype(np.int64), image.shape[0] - 1)
        columns = np.minimum((np.arange(width) * (image.shape[1] / width)).astype(np.int64), image.shape[1] - 1)
        return image[rows[:, None], columns]
    pillow = need("PIL.Image", "resizing images")
    method = getattr(pillow.Resampling, {"AREA": "BOX", "CUBIC": "BICUBIC", "LANCZOS4": "LANCZOS"}[how])
    pixels = np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image)
    made = np.asarray(pillow.fromarray(pixels).resize((width, height), method))
    return made[:, :, None] if made.ndim == 2 else made


def through_jpeg(image: Any, quality: int) -> Any:
    """Compresses (h, w, c) uint8 as JPEG and decodes it again."""
    pillow = need("PIL.Image", "compressing images")
    pixels = image[:, :, 0] if image.shape[2] == 1 else image[:, :, ::-1]
    packed = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(pixels)).save(packed, "JPEG", quality=min(95, max(1, quality)))
    return decode(packed.getvalue(), image.shape[2] == 3)


def to_hsv(image: Any) -> Any:
    """Converts B, G, R to hue (0 to 179, in 2 degrees), saturation and value (0 to 255), as OpenCV does."""
    b, g, r = (image[:, :, i].astype(np.float32) for i in range(3))
    value = image.max(2).astype(np.float32)
    spread = value - image.min(2)
    safe = np.where(spread == 0, 1, spread)
    hue = np.where(value == r, (g - b) / safe, np.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe)) * 30
    hue = np.where(spread == 0, 0, hue) % 180
    saturation = np.where(value == 0, 0, 255 * spread / np.where(value == 0, 1, value))
    return np.stack([np.rint(hue) % 180, np.rint(saturation), value], 2).astype(np.uint8)


def from_hsv(hsv: Any) -> Any:
    """Converts hue, saturation and value as in `to_hsv`, integers or not, to B, G, R.  (h, w, 3) -> uint8."""
    hue, saturation, value = (np.asarray(hsv[:, :, i], np.float32) for i in range(3))
    sector = hue / 30 % 6
    made = [  # R, G, B: V - V S max(0, min(k, 4 - k, 1)), where k counts from the channel's own sector
        value - value * saturation / 255 * np.clip(np.minimum(k := (shift + sector) % 6, 4 - k), 0, 1)
        for shift in (5, 3, 1)
    ]
    return np.clip(np.rint(np.stack(made[::-1], 2)), 0, 255).astype(np.uint8)
