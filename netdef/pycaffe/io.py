"""`caffe.io`: images as arrays, and their preprocessing.

Images are float32 arrays (height, width, channels) from 0 to 1, with the channels R, G, B or a single gray channel.
Source: BVLC/caffe python/caffe/io.py for names and the order of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import images
from ..language.errors import NetdefError
from ..shape import show
from .blobs import unknown
from .proto import caffe_pb2


def load_image(filename: str | Path, color: bool = True) -> np.ndarray:
    """Reads an image file as (h, w, 3), or as (h, w, 1) if `color` is False. Raises NetdefError for other files."""
    try:
        data = Path(filename).read_bytes()
        decoded = images.decode(data, color)
    except (OSError, images.Undecodable) as error:
        why = getattr(error, "strerror", None) or error
        raise NetdefError(f"{filename}: cannot be read as an image: {why}") from None
    return np.ascontiguousarray(decoded[:, :, ::-1], np.float32) / np.float32(255)  # decoded is B, G, R


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """Resizes (h, w, k) to another (height, width), with linear interpolation or, for order 0, the nearest pixel.

    Unlike in pycaffe, which blends with the darkest value beyond the border, the border pixels are repeated there, and
    orders above 1 are not supported."""
    if interp_order not in (0, 1):
        raise NetdefError(f"interp_order must be 0 (nearest) or 1 (linear), not {interp_order}")
    made = np.asarray(im, np.float32)
    for axis, wanted in enumerate(new_dims[:2]):
        size = made.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * (size / wanted) - 0.5, 0, size - 1)
        if interp_order == 0:
            made = made.take(np.rint(at).astype(int), axis)
            continue
        low = np.floor(at).astype(int)
        part = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(made.ndim)])
        made = made.take(low, axis) * (1 - part) + made.take(np.minimum(low + 1, size - 1), axis) * part
    return made


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """Returns ten crops of each image (h, w, k) as (10 n, *crop_dims, k): corners and center, and these mirrored."""
    ch, cw = (int(d) for d in crop_dims[:2])
    cuts = []
    for image in images:
        h, w = image.shape[:2]
        if h < ch or w < cw:
            raise NetdefError(f"a crop of {ch}x{cw} is larger than the image of {h}x{w}")
        corners = [(y, x) for y in (0, h - ch) for x in (0, w - cw)] + [((h - ch) // 2, (w - cw) // 2)]
        plain = [image[y : y + ch, x : x + cw] for y, x in corners]
        cuts += [*plain, *(cut[:, ::-1] for cut in plain)]
    return np.stack(cuts).astype(np.float32)


class Transformer:
    """Converts an image (h, w, k) to the net's input (k, h, w) and back; `inputs` is {"data": its shape}.

    The steps, in order: resize, `set_transpose`, `set_channel_swap`, `set_raw_scale`, `set_mean`, `set_input_scale`."""

    def __init__(self, inputs: Mapping[str, Sequence[int]]):
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the image's axes in the net: (2, 0, 1)."""
        axes = len(self._shape(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise NetdefError(f"the order of the axes of `{in_}` must be a permutation of 0 to {axes - 1}, not {order}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the channels in the net: (2, 1, 0) converts R, G, B to B, G, R."""
        channels = self._shape(in_)[1]
        if sorted(order) != list(range(channels)):
            last = channels - 1
            raise NetdefError(f"the order of the channels of `{in_}` must be a permutation of 0 to {last}, not {order}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets the factor that is applied before the mean is subtracted: 255 for images from 0 to 1."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """Sets the mean to subtract: a value for each channel, or an image (k, h, w)."""
        shape, mean = self._shape(in_), np.asarray(mean, np.float32)
        whole = mean[:, None, None] if mean.ndim == 1 else mean[None] if mean.ndim == 2 else mean
        fits = whole.ndim == 3 and whole.shape[0] in (1, shape[1]) and whole.shape[1:] in ((1, 1), shape[2:])
        if not fits:
            raise NetdefError(f"a mean of {show(mean.shape)} does not match `{in_}`, which is {show(shape)}")
        self.mean[in_] = whole

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets the factor that is applied last."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Returns an image as input of the net."""
        shape = self._shape(in_)
        made = np.asarray(data, np.float32)
        order = self.transpose.get(in_, tuple(range(made.ndim)))
        if made.ndim != len(shape) - 1:
            raise NetdefError(f"`{in_}` expects images of {len(shape) - 1} axes, but this one is {show(made.shape)}")
        wanted = tuple(shape[1:][order.index(axis)] for axis in range(made.ndim))
        if made.shape[:2] != wanted[:2]:
            made = resize_image(made, wanted[:2])
        made = made.transpose(order)
        if in_ in self.channel_swap:
            made = made[list(self.channel_swap[in_])]
        made = made * np.float32(self.raw_scale.get(in_, 1.0))
        if in_ in self.mean:
            made = made - self.mean[in_]
        made = made * np.float32(self.input_scale.get(in_, 1.0))
        if made.shape != shape[1:]:
            raise NetdefError(
                f"`{in_}` expects {show(shape[1:])}, but the image is {show(made.shape)}; check set_transpose"
            )
        return made

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Reverses `preprocess`, except for the resizing."""
        self._shape(in_)
        made = np.array(data, np.float32).squeeze()
        made = made / np.float32(self.input_scale.get(in_, 1.0))
        if in_ in self.mean:
            made = made + self.mean[in_]
        made = made / np.float32(self.raw_scale.get(in_, 1.0))
        if in_ in self.channel_swap:
            made = made[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            made = made.transpose(np.argsort(self.transpose[in_]))
        return made

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise unknown(in_, "input", list(self.inputs))
        return self.inputs[in_]


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """Returns the array of a BlobProto, with four axes if it is in the old format."""
    numbers = np.asarray(blob.diff if return_diff else blob.data, np.float32)
    dims = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    if numbers.size != np.prod(dims, dtype=object):
        raise NetdefError(f"the blob has the shape {show(dims)}, but {numbers.size} values")
    return numbers.reshape(dims)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """Returns a BlobProto with the values of an array."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(np.shape(arr))
    blob.data.extend(np.asarray(arr, float).ravel().tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, float).ravel().tolist())
    return blob
