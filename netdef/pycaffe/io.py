"""`caffe.io`: images as arrays, and their preprocessing.

Images are float32 arrays (height, width, channels) from 0 to 1, with the channels R, G, B or a single gray channel.
Source: BVLC/caffe python/caffe/io.py for names and the order of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..data import images
from ..language.errors import NetdefError
from ..shape import show
from .errors import WrongValue, unknown
from .proto import caffe_pb2


def load_image(filename: str | Path | IO[bytes], color: bool = True) -> np.ndarray:
    """Reads an image, a path or an open file, as (h, w, 3), or as (h, w, 1) if `color` is False. Raises NetdefError for
    other files."""
    try:
        data = Path(filename).read_bytes() if isinstance(filename, (str, Path)) else filename.read()
        decoded = images.decode(data, color)
    except (OSError, images.Undecodable) as error:
        why = getattr(error, "strerror", None) or error
        name = filename if isinstance(filename, (str, Path)) else getattr(filename, "name", "the open file")
        raise NetdefError(f"{name}: cannot be read as an image: {why}") from None
    return np.ascontiguousarray(decoded[:, :, ::-1], np.float32) / np.float32(255)  # decoded is B, G, R


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """Resizes (h, w, k) or (h, w) to another (height, width), by splines: order 0 is the nearest pixel, 1 linear
    interpolation, 3 cubic, up to 5.

    Unlike in pycaffe, which blends with the darkest value beyond the border, the border pixels are repeated there."""
    if interp_order not in range(6):
        raise WrongValue(f"interp_order must be an integer from 0 (nearest) to 5, not {interp_order}")
    made = np.asarray(im, np.float32)
    if interp_order > 1:
        from scipy import ndimage  # a requirement of jax; imported here because it is slow and rarely used

        factors = [wanted / size for wanted, size in zip(new_dims, made.shape, strict=False)]
        factors += [1] * (made.ndim - len(factors))
        return np.asarray(ndimage.zoom(made, factors, order=interp_order, mode="nearest", grid_mode=True), np.float32)
    for axis, wanted in enumerate(int(d) for d in new_dims[:2]):
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
            raise WrongValue(f"a crop of {ch}x{cw} is larger than the image of {h}x{w}")
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
            raise WrongValue(f"the order of the axes of `{in_}` must be a permutation of 0 to {axes - 1}, not {order}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the channels in the net: (2, 1, 0) converts R, G, B to B, G, R."""
        channels = self._shape(in_)[1]
        if sorted(order) != list(range(channels)):
            last = channels - 1
            raise WrongValue(f"the order of the channels of `{in_}` must be a permutation of 0 to {last}, not {order}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets the factor that is applied before the mean is subtracted: 255 for images from 0 to 1."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """Sets the mean to subtract: a value for each channel, or an image (k, h, w) or (h, w), which is resized to the
        size of the input."""
        shape, mean = self._shape(in_), np.asarray(mean, np.float32)
        whole = mean[:, None, None] if mean.ndim == 1 else mean[None] if mean.ndim == 2 else mean
        if whole.ndim != 3 or whole.shape[0] not in (1, shape[1]):
            raise WrongValue(f"a mean of {show(mean.shape)} does not match `{in_}`, which is {show(shape)}")
        if whole.shape[1:] not in ((1, 1), shape[2:]):
            whole = resize_image(whole.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = whole

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets the factor that is applied last."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Returns an image as input of the net."""
        shape = self._shape(in_)
        made = np.asarray(data, np.float32)
        order = self.transpose.get(in_)
        if made.ndim == 2 and len(shape) == 4 and shape[1] == 1:  # a gray image without an axis of channels
            made, order = made[:, :, None], order or (2, 0, 1)
        order = order or tuple(range(made.ndim))
        if made.ndim != len(shape) - 1:
            raise WrongValue(f"`{in_}` expects images of {len(shape) - 1} axes, but this one is {show(made.shape)}")
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
            raise WrongValue(
                f"`{in_}` expects {show(shape[1:])}, but the image is {show(made.shape)}; check set_transpose"
            )
        return made

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Reverses `preprocess` of one image, except for the resizing."""
        axes = len(self._shape(in_)) - 1
        made = np.array(data, np.float32)
        made = made.reshape(made.shape[-axes:]) if made.ndim >= axes else made
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
    is_old = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    dims = (blob.num, blob.channels, blob.height, blob.width) if is_old else tuple(blob.shape.dim)
    if numbers.size != np.prod(dims, dtype=object):
        raise WrongValue(f"the blob has the shape {show(dims)}, but {numbers.size} values")
    return numbers.reshape(dims)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """Returns a BlobProto with the values of an array."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(np.shape(arr))
    blob.data.extend(np.asarray(arr, float).ravel().tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, float).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Sequence[np.ndarray]) -> bytes:
    """Returns a BlobProtoVector of arrays as bytes."""
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist]).SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """Returns the arrays of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """Returns a Datum of an image (k, h, w): uint8 as bytes, other types as floats."""
    if arr.ndim != 3:
        raise WrongValue(f"a Datum has three axes, channels, height and width, but the array is {show(arr.shape)}")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """Returns the image of a Datum as (k, h, w): uint8, or float if it has floats."""
    if datum.encoded:
        raise WrongValue("the Datum has a compressed image; caffe.io.load_image(io.BytesIO(datum.data)) decodes it")
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, float)
    dims = (datum.channels, datum.height, datum.width)
    if values.size != np.prod(dims, dtype=object):
        raise WrongValue(f"the Datum is {show(dims)}, but has {values.size} values")
    return values.reshape(dims).copy()
