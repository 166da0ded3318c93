"""Preprocessing that a user gives: by options, or by a training file, whose data may be gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import read_file
from ..data.layers._image_layer import ImageLayer
from ..data.layers.image_list import ImageData
from ..data.transform import AUTO, Transform, Transformer
from ..files import locator
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..passes.select import State, select
from .preprocessing import Preprocessing

USUAL = 256  # side of the records of ImageNet and of most nets that crop them


@dataclass(frozen=True)
class Given(Preprocessing):
    """Preprocessing of color images, whose channels may be exchanged to R, G, B."""

    rgb: bool = False

    def rows(self, decoded: Sequence[np.ndarray], names: Sequence[Any]) -> np.ndarray:
        turned = [image[..., ::-1] if self.rgb and image.shape[2] == 3 else image for image in decoded]
        return super().rows(turned, names)


def by_options(
    shape: tuple[int, int, int],
    mean: Sequence[float] = (),
    scale: float = 1.0,
    crop: int = 0,
    resize: tuple[int, int] | None = None,
    rgb: bool = False,
) -> Given:
    """Returns the preprocessing of Caffe's examples for an input (c, h, w): images are resized, the mean is subtracted,
    the center of crop x crop is cut out, and values are multiplied by `scale`.

    `resize` is (height, width): by default the input's, or 256 x 256 before a smaller crop.  Raises NetdefError if the
    result is not of that shape."""
    channels, height, width = shape
    size = resize or ((max(crop, USUAL),) * 2 if crop else (height, width))
    if crop > min(size):
        raise NetdefError(f"the crop of {crop} is larger than the resized image of {size[0]}x{size[1]}; use less.")
    made = (crop, crop) if crop else size
    if made != (height, width):
        raise NetdefError(
            f"the options make images of {made[0]}x{made[1]}, but the net's input is {height}x{width}; use "
            f"--crop {height}."
            if height == width
            else f"the options make {made[0]}x{made[1]}, not {height}x{width}."
        )
    if len(mean) not in (0, 1, channels):
        raise NetdefError(
            f"--mean has {len(mean)} values, but the net's input has {channels} channels; give one value, or "
            f"{channels}."
        )
    transform = Transform(scale=scale, mean_value=tuple(mean), crop_size=crop)
    color = channels != 1
    layer = ImageData(
        name="data", source="", batch_size=1, new_height=size[0], new_width=size[1], is_color=color,
        transform_param=transform,
    )  # fmt: skip
    return Given(layer, shape, rgb=rgb and color)


def by_training_file(path: str | Path, shape: tuple[int, int, int], rgb: bool = False) -> Given:
    """Returns the preprocessing of the data layer of a training file for an input (c, h, w).

    The records need not exist: their size is that of the mean image, or else 256 x 256 if they are cropped.  Raises
    CompileError, and NetdefError if no layer reads images or a mean is missing."""
    layer, folder = _data_layer(path)
    locate = locator(folder)
    file = layer.transform_param.mean_file
    mean, standard = None, None
    if file == AUTO:
        standard = layer.standard(locate)
    elif file:
        mean = Transformer(layer, layer.transform_param, locate, Phase.TEST).mean
    cropped = any(layer.transform_param.crop)
    record = mean.shape[1:] if mean is not None else (USUAL, USUAL) if cropped else shape[1:]
    return Given(layer, shape, (int(record[0]), int(record[1])), standard, mean, rgb=rgb)


def _data_layer(path: str | Path) -> tuple[ImageLayer, Path | None]:
    """Returns the layer that reads images, of phase TEST or else of TRAIN, and the folder of its file."""
    for phase in (Phase.TEST, Phase.TRAIN):
        parsed = read_file(path, phase=phase)
        parsed.report.stop_on_errors()
        for layer in select(parsed.program.layers, State(phase)):
            if isinstance(layer, ImageLayer):
                return layer, parsed.folder
    raise NetdefError(f"{path} has no data layer that reads images, so it says nothing about their preprocessing.")


def words_of(way: Preprocessing) -> str:
    """Says what a preprocessing does to an image."""
    layer, transform = way.layer, way.layer.transform_param
    height, width = way.record or (getattr(layer, "new_height", 0), getattr(layer, "new_width", 0))
    words = [f"resized to {height}x{width}"] if height and width else []
    words += ["channels R, G, B" if getattr(way, "rgb", False) else "channels B, G, R"] if way.shape[0] == 3 else []
    if transform.mean_value:
        words.append(f"mean {', '.join(f'{v:g}' for v in transform.mean_value)} subtracted")
    elif way.mean is not None:
        words.append(f"the mean image of {Path(transform.mean_file).name} subtracted")
    elif way.standard is not None:
        words.append("normalized to mean 0 and deviation 1")
    crop = tuple(side or whole for side, whole in zip(transform.crop, way.shape[1:], strict=True))
    words += [f"center {crop[0]}x{crop[1]}"] if any(transform.crop) else []
    words += [f"times {transform.scale:g}"] if transform.scale != 1 else []
    return ", ".join(words)
