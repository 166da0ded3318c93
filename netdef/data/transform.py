"""transform_param: from records to the batch that the net sees.

Source: BVLC/caffe src/caffe/data_transformer.cpp.  In its order: crop (random in TRAIN, centered in TEST), mirror at
random, subtract the mean, multiply by `scale`; channels stay B, G, R.  The transformations of the forks and of
`augment_param` precede the crop.  Random numbers are a table with one row per record of a batch, so that the result
does not depend on which worker transforms a record.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..files import Locate, shown
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..lazy import np
from ..schema import param
from ..shape import UNKNOWN, Dim, Shape, ShapeError
from . import augment
from .augment import Augment
from .base import DataLayer
from .damage import is_missing, obstacle
from .fork_transforms import ForkTransform

# Columns of the table of random numbers, all in [0, 1).
MIRROR, ROW, COLUMN, FLIP, HOLE_ROW, HOLE_COLUMN, KEY, DRAWS = range(8)

AUTO = "AUTO"


class Transform(ForkTransform):
    """`transform_param { }`."""

    scale: float = param("Factor applied after the mean is subtracted.", default=1.0)
    mirror: bool = param("Mirror left to right at random; in the layers of Caffe in both phases.", default=False)
    crop_size: int = param("Side of the square crop, random in TRAIN, centered in TEST; 0: off.", default=0, at_least=0)
    mean_file: str = param(
        'binaryproto file of a mean image, subtracted before the crop.  "AUTO": mean and standard deviation of '
        "each channel are measured once, and the values are normalized to mean 0 and standard deviation 1.",
        default="",
    )
    mean_source: str = param("Source whose records are measured for `AUTO`; default: the layer's own.", default="")
    mean_value: tuple[float, ...] = param("Mean to subtract: one value, or one for each channel.", default=())
    force_color: bool = param("Decode images to three channels.", default=False)
    force_gray: bool = param("Decode images to one channel.", default=False)
    squash: float = param("Then replace x by tanh(x / squash), which limits outliers; 0: off.", default=0.0, at_least=0)

    @property
    def color(self) -> bool | None:
        """The `color` of `images.decode` for encoded records."""
        return True if self.force_color else False if self.force_gray else None

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width) of the crop; 0 for the whole side."""
        return self.crop_h or self.crop_size, self.crop_w or self.crop_size

    def check(self) -> None:
        """Raises ShapeError if two fields exclude each other."""
        for one, other in (("mean_file", "mean_value"), ("force_color", "force_gray")):
            if getattr(self, one) and getattr(self, other):
                raise ShapeError(f"`{one}` and `{other}` are both given; keep one of them.", field="transform_param")

    def declared(self, color: bool | None) -> Shape:
        """Returns (c, h, w) as far as the fields determine it."""
        by_mean = len(self.mean_value) if len(self.mean_value) > 1 else UNKNOWN
        height, width = self.crop
        resized = self.resized()
        return {True: 3, False: 1, None: by_mean}[color], height or resized[0], width or resized[1]

    def shape(self, c: Dim, h: Dim, w: Dim) -> Shape:
        """Returns (c, h, w) of a transformed record.  Raises ShapeError if the record or the fields do not fit."""
        self.check()
        return self.cut_shape(c, *self.resized(h, w))

    def cut_shape(self, c: Dim, h: Dim, w: Dim) -> Shape:
        """Returns (c, h, w) of the crop.  Raises ShapeError if the record is smaller or does not fit `mean_value`."""
        height, width = self.crop
        if height > h or width > w:
            raise ShapeError(
                f"the crop of {height}x{width} is larger than the image of {h}x{w}; "
                f"`crop_size` must be at most {min(h, w)}.",
                field="transform_param",
            )
        if len(self.mean_value) > 1 and len(self.mean_value) != c and c is not UNKNOWN:
            raise ShapeError(
                f"`mean_value` has {len(self.mean_value)} values, but the image has {c} channels; "
                "give one value, or one per channel.",
                field="transform_param",
            )
        return c, height or h, width or w


class Places(NamedTuple):
    """Where records are cropped: arrays with one element per record, int32 and bool."""

    top: Any
    left: Any
    mirror: Any  # left to right
    over: Any  # top to bottom


class Transformer:
    """Applies a `Transform` in one layer and phase.  Raises NetdefError if the mean file is missing or broken.

    `standard` is (mean, deviation) of each channel if `mean_file` is AUTO."""

    def __init__(
        self,
        layer: DataLayer,
        param: Transform,
        locate: Locate,
        phase: Phase,
        varied: Augment | None = None,
        standard: tuple[Any, Any] | None = None,
    ):
        self.layer, self.param, self.train = layer, param, phase is Phase.TRAIN
        self.varied = varied if varied is not None and self.train else Augment()
        self.standard = standard
        self.is_prepared = param.resizes or self.varied.reshapes  # records change before the crop
        self.mean = self._read_mean(locate) if param.mean_file not in ("", AUTO) else None  # (c, h, w)

    def draw(self, rng: Any, records: int) -> Any:
        """Returns the random numbers of a batch: (records, DRAWS) in [0, 1)."""
        return rng.random((records, DRAWS))

    def batch(self, images: list[Any], draws: Any, names: list[Any]) -> Any:
        """Transforms images (c, h, w), uint8 or float, to (n, c, height, width) float32.  `names` are for messages."""
        if self.is_prepared:
            images = [self._prepared(image, draw, name) for image, draw, name in zip(images, draws, names, strict=True)]
        return self.finish(images, draws, names)

    def finish(self, images: list[Any], draws: Any, names: list[Any]) -> Any:
        """Applies the crop and all that follows it to images that are prepared."""
        whole = self._cut(images, draws, names)
        if self.varied.noise:
            whole = whole.astype(np.float32)
            for x, draw in zip(whole, draws, strict=True):
                rng = augment.generator_of(draw[KEY], 1)
                x += self.varied.noise * rng.standard_normal(x.shape, np.float32)
        whole = self.normalized(whole)
        if self.varied.cutout:
            for x, draw in zip(whole, draws, strict=True):
                augment.cut_hole(x, self.varied.cutout, draw[HOLE_ROW], draw[HOLE_COLUMN])
        if self.varied.mixup:
            whole = augment.mix(whole, self.varied.mixup, draws[:, KEY])
        return whole

    def soften(self, tops: list[Any], draws: Any) -> None:
        """Replaces the labels, the second of `tops`, by rows of probabilities, if `augment_param` says so."""
        if self.soft_labels and len(tops) > 1:
            tops[1] = self._soft(tops[1], draws)

    @property
    def soft_labels(self) -> int:
        """Number of classes in the rows of soft labels; 0 if labels stay as they are."""
        return getattr(self.layer, "augment_param", Augment()).num_labels

    def _soft(self, labels: Any, draws: Any) -> Any:
        classes, smooth = self.soft_labels, self.varied.label_smoothing
        if labels.ndim != 1 or labels.min() < 0 or labels.max() >= classes:
            raise self.layer.fault(
                f"`num_labels` is {classes}, but a batch has labels from {labels.min():g} to {labels.max():g}; "
                f"they must be integers from 0 to {classes - 1}."
            )
        rows = np.eye(classes, dtype=np.float32)[labels.astype(np.int64)] * np.float32(1 - smooth)
        rows += np.float32(smooth / classes)
        return augment.mix(rows, self.varied.mixup, draws[:, KEY]) if self.varied.mixup else rows

    def _cut(self, images: list[Any], draws: Any, names: list[Any]) -> Any:
        """Crops and mirrors all records into one array of bytes or float32, and subtracts a mean image."""
        first = images[0]
        shape = self._shape(first, names[0])
        bytes_only = self.mean is None and all(image.dtype == np.uint8 for image in images)
        whole = np.empty((len(images), *shape), np.uint8 if bytes_only else np.float32)
        alike = all(image.shape == first.shape for image in images)
        if alike and self.mean is None and not self.moves:
            return np.stack(images, out=whole, casting="unsafe")
        if not alike:
            self._check_shapes(images, shape, names)
        places = self.places(first.shape, draws) if alike else None
        for i, image in enumerate(images):
            own = Places(*(column[i] for column in places)) if places else self.place(image.shape, draws[i])
            window = _window(own, shape)
            if self.mean is None:
                whole[i] = image[window]
            else:
                np.subtract(image[window], self._mean_for(image, names[i])[window], out=whole[i])
        return whole

    def _check_shapes(self, images: list[Any], shape: Shape, names: list[Any]) -> None:
        for image, name in zip(images, names, strict=True):
            if self._shape(image, name) != shape:
                raise self.layer.fault(
                    f"{name} is {_show(image.shape)}, but {names[0]} of the same batch is {_show(images[0].shape)}; "
                    "resize them to the same size, or set `crop_size`."
                )

    def _prepared(self, image: Any, draw: Any, name: Any) -> Any:
        """Applies the forks' transformations and the augmentations that come before the crop."""
        try:
            image = self.param.apply(image, augment.generator_of(draw[KEY], 0), self.train)
            return augment.reshape(image, self.varied, self.param.crop, augment.generator_of(draw[KEY], 2))
        except ValueError as error:
            raise self.layer.fault(f"{name}: {error}") from None

    def place(self, shape: Shape, draw: Any) -> Places:
        """Returns where one record is cropped."""
        return Places(*(column[0] for column in self.places(shape, draw[None])))

    @property
    def moves(self) -> bool:
        """Whether records are cropped, mirrored or flipped."""
        return any(self.param.crop) or self.param.mirror or self.varied.flip_vertical

    def places(self, shape: Shape, draws: Any) -> Places:
        """Returns where records of one shape are cropped."""
        height, width = self.param.crop
        room = shape[1] - (height or shape[1]), shape[2] - (width or shape[2])  # positions of the crop, minus 1
        if self.train:
            top, left = (
                (draws[:, which] * (r + 1)).astype(np.int32) for which, r in zip((ROW, COLUMN), room, strict=True)
            )
        else:
            top, left = (np.full(len(draws), r // 2, np.int32) for r in room)
        mirror = (draws[:, MIRROR] < 0.5) & self.param.mirror
        return Places(top, left, mirror, (draws[:, FLIP] < 0.5) & self.varied.flip_vertical)

    def normalized(self, whole: Any, xp: Any = None) -> Any:
        """Returns (x - mean) * scale of a batch in float32, squashed if set.  `xp` may be jax.numpy."""
        xp = xp or np
        means, factors = self.param.mean_value, [np.float32(self.param.scale)] if self.param.scale != 1.0 else []
        if self.standard is not None:
            means = self.standard[0]
            factors = [(1 / self.standard[1])[:, None, None], *factors]
        if len(means):
            whole = xp.subtract(whole, np.asarray(means, np.float32)[:, None, None])  # bytes become float32 here
        elif whole.dtype != np.float32:
            whole = whole.astype(np.float32)
        for factor in factors:
            whole = xp.multiply(whole, factor) if xp is not np else np.multiply(whole, factor, out=whole)
        return xp.tanh(whole / np.float32(self.param.squash)) if self.param.squash else whole

    def _shape(self, image: Any, name: Any) -> Shape:
        try:
            return self.param.cut_shape(*image.shape)
        except ShapeError as error:
            raise self.layer.fault(f"{name}: {error.detail}") from None

    def _mean_for(self, image: Any, name: Any) -> Any:
        if self.mean is not None and self.mean.shape != image.shape:
            raise self.layer.fault(
                f"{name} is {_show(image.shape)}, but the mean in {self.param.mean_file} is {_show(self.mean.shape)}; "
                "they must have the same shape before the crop."
            )
        return self.mean

    def _read_mean(self, locate: Locate) -> Any:
        path = locate(self.param.mean_file)
        if is_missing(path):
            raise self.layer.fault(f"the mean file {shown(path)} does not exist; `netdef data mean` creates one.")
        if why := obstacle(path, is_file=True):
            raise self.layer.fault(f"`mean_file`: {shown(path)} cannot be read ({why}).")
        from ..interop.means import mean_image  # here, because it imports NumPy

        try:
            return mean_image(path)
        except NetdefError as error:
            raise self.layer.fault(f"`mean_file`: {error}") from error


def _window(place: Places, shape: Shape) -> Any:
    """Returns the crop of one record, (c, h, w) as `shape`, as an index."""
    top, left = int(place.top), int(place.left)
    return slice(None), _span(top, shape[1], bool(place.over)), _span(left, shape[2], bool(place.mirror))


def _span(start: int, length: int, backward: bool) -> slice:
    """Returns the indices from `start` on, or the same indices reversed."""
    if not backward:
        return slice(start, start + length)
    return slice(start + length - 1, start - 1 if start else None, -1)


def _show(shape: Any) -> str:
    return "x".join(map(str, shape))
