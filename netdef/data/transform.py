"""transform_param: from records to the batch that the net sees.

Source: BVLC/caffe src/caffe/data_transformer.cpp.  In its order: crop (at random in TRAIN, centred in TEST), mirror at
random, subtract the mean, multiply by `scale`; channels stay B, G, R.  Random numbers come as a table with a row for
each record of a batch, so that a record's fate does not depend on who transforms it.
"""

from __future__ import annotations

from typing import Any

from ..caffe_proto import messages
from ..layer import Locate, Phase
from ..lazy import np
from ..schema import Block, param
from ..shape import UNKNOWN, Dim, Shape, ShapeError
from .base import DataLayer

MIRROR, ROW, COLUMN, DRAWS = range(4)  # columns of the table of random numbers, all in [0, 1)


class Transform(Block):
    """`transform_param { }`."""

    scale: float = param("Multiplies each value after the mean is subtracted.", default=1.0)
    mirror: bool = param("Mirror left to right at random, in either phase as in Caffe.", default=False)
    crop_size: int = param(
        "Side of the square that is cut out: at random in TRAIN, centred in TEST; 0: all.", default=0, at_least=0
    )
    crop_h: int = param("Height of the cut, where it is not a square (NVIDIA, SSD).", default=0, at_least=0)
    crop_w: int = param("Width of the cut, where it is not a square (NVIDIA, SSD).", default=0, at_least=0)
    mean_file: str = param("binaryproto file of a mean image, subtracted before the cut is made.", default="")
    mean_value: tuple[float, ...] = param("Mean to subtract: one, or one for each channel.", default=())
    force_color: bool = param("Decode images to three channels.", default=False)
    force_gray: bool = param("Decode images to one channel.", default=False)

    @property
    def color(self) -> bool | None:
        """What `images.decode` is told for encoded records."""
        return True if self.force_color else False if self.force_gray else None

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width) of the cut, 0 for all."""
        return self.crop_h or self.crop_size, self.crop_w or self.crop_size

    def check(self) -> None:
        """ShapeError if two fields exclude each other."""
        if self.mean_file and self.mean_value:
            raise ShapeError(
                "`mean_file` and `mean_value` are both given; a mean is subtracted once.", field="transform_param"
            )
        if self.force_color and self.force_gray:
            raise ShapeError(
                "`force_color` and `force_gray` are both given; an image has one of them.", field="transform_param"
            )

    def declared(self, color: bool | None) -> Shape:
        """(c, h, w) as far as the fields alone tell."""
        by_mean = len(self.mean_value) if len(self.mean_value) > 1 else UNKNOWN
        crop_h, crop_w = self.crop
        return {True: 3, False: 1, None: by_mean}[color], crop_h or UNKNOWN, crop_w or UNKNOWN

    def shape(self, c: Dim, h: Dim, w: Dim) -> Shape:
        """(c, h, w) of a transformed record.  ShapeError if it is smaller than the cut or does not fit the mean."""
        self.check()
        crop_h, crop_w = self.crop
        if crop_h > h or crop_w > w:
            raise ShapeError(
                f"the cut of {crop_h}x{crop_w} is larger than the image of {h}x{w}; "
                f"make `crop_size` at most {min(h, w)}.",
                field="transform_param",
            )
        if len(self.mean_value) > 1 and len(self.mean_value) != c and c is not UNKNOWN:
            raise ShapeError(
                f"{len(self.mean_value)} values of `mean_value` are given for {c} channels; give 1 or {c}.",
                field="transform_param",
            )
        return c, crop_h or h, crop_w or w


class Transformer:
    """A `Transform` at work in one layer and phase.  NetdefError if the mean file is missing or broken."""

    def __init__(self, layer: DataLayer, param: Transform, locate: Locate, phase: Phase):
        self.layer, self.param, self.train = layer, param, phase is Phase.TRAIN
        self.mean = self._read_mean(locate) if param.mean_file else None  # (c, h, w)

    def draw(self, rng: Any, records: int) -> Any:
        """The random numbers of a batch: (records, DRAWS) in [0, 1)."""
        return rng.random((records, DRAWS))

    def batch(self, images: list[Any], draws: Any, names: list[str]) -> Any:
        """images, each (c, h, w), uint8 or float -> (n, c, height, width) float32.  `names` are for messages."""
        first = images[0]
        shape = (len(images), *self._shape(first, names[0]))
        bytes_only = all(image.dtype == np.uint8 for image in images)
        cut = np.empty(shape, np.uint8 if bytes_only else np.float32)
        means = np.empty(shape, np.float32) if self.mean is not None else None
        for i, image in enumerate(images):
            if image.shape != first.shape and self._shape(image, names[i]) != shape[1:]:
                raise self.layer.fault(
                    f"{names[i]} is {_show(image.shape)}, but {names[0]} of the same batch is {_show(first.shape)}; "
                    "resize them to one size or give `crop_size`."
                )
            window, flip = self._window(image.shape, draws[i])
            cut[i] = image[window][..., ::-1] if flip else image[window]
            if means is not None:
                means[i] = (
                    self._mean_for(image, names[i])[window][..., ::-1]
                    if flip
                    else self._mean_for(image, names[i])[window]
                )
        return self._normalise(cut, means)

    def _window(self, shape: Shape, draw: Any) -> tuple[Any, bool]:
        """(the part of the record that is cut out, whether it is mirrored)."""
        crop_h, crop_w = self.param.crop
        top, left = (shape[1] - crop_h) // 2, (shape[2] - crop_w) // 2
        if self.train:
            top, left = int(draw[ROW] * (shape[1] - crop_h + 1)), int(draw[COLUMN] * (shape[2] - crop_w + 1))
        rows = slice(top, top + crop_h) if crop_h else slice(None)
        columns = slice(left, left + crop_w) if crop_w else slice(None)
        return (slice(None), rows, columns), self.param.mirror and draw[MIRROR] < 0.5

    def _normalise(self, cut: Any, means: Any) -> Any:
        """(x - mean) * scale in float32, over a whole batch."""
        made = cut.astype(np.float32)
        if means is not None:
            made -= means
        elif self.param.mean_value:
            made -= np.asarray(self.param.mean_value, np.float32)[:, None, None]
        if self.param.scale != 1.0:
            made *= np.float32(self.param.scale)
        return made

    def _shape(self, image: Any, name: str) -> Shape:
        try:
            return self.param.shape(*image.shape)
        except ShapeError as error:
            raise self.layer.fault(f"{name}: {error.detail}") from None

    def _mean_for(self, image: Any, name: str) -> Any:
        if self.mean is not None and self.mean.shape != image.shape:
            raise self.layer.fault(
                f"{name} is {_show(image.shape)}, but the mean in {self.param.mean_file} is {_show(self.mean.shape)}; "
                "both must have one shape before the cut."
            )
        return self.mean

    def _read_mean(self, locate: Locate) -> Any:
        path = locate(self.param.mean_file)
        if not path.exists():
            raise self.layer.fault(f"the mean file {path} does not exist; `netdef data mean` makes one.")
        return read_mean(path.read_bytes(), str(path))


def read_mean(data: bytes, name: str) -> Any:
    """The mean image in a binaryproto file as (c, h, w) float32.  NetdefError if it is none."""
    from google.protobuf.message import DecodeError

    from ..language.diagnostics import NetdefError

    try:
        blob = messages().BlobProto.FromString(data)
    except DecodeError:
        raise NetdefError(f"{name} is not a binaryproto file of a mean image.") from None
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    values = np.asarray(blob.data if len(blob.data) else blob.double_data, np.float32)
    if len(shape) < 3 or values.size == 0 or values.size != np.prod(shape[-3:]):
        raise NetdefError(f"{name} holds {values.size} values of shape {_show(shape)}; a mean image is 1xCxHxW.")
    return values.reshape(shape[-3:])


def _show(shape: Any) -> str:
    return "x".join(map(str, shape))
