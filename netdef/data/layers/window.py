"""WindowData: windows of images for detection, foreground and background in a fixed ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files import Locate, shown
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ...shape import UNKNOWN, Shape, ShapeError
from .. import images
from ..base import Batch, DataLayer, Process, Reader
from ..damage import reason
from ..stamps import spaced
from ..transform import Transform, Transformer


@dataclass(frozen=True)
class Window:
    """One window of the file; its corners are pixels, both inclusive."""

    image: str
    label: int
    overlap: float
    box: tuple[int, int, int, int]  # x1, y1, x2, y2
    line: int  # of the window file, that names the image


class WindowData(DataLayer, type="WindowData", block="window_data_param"):
    """Random windows of images, warped to crop_size x crop_size; a fixed fraction of each batch are objects.

    A window is an object if its overlap is at least `fg_threshold`, and background (label 0) if it is less than
    `bg_threshold`.  For each image, the file has `# index`, path, channels, height, width, number of windows, and
    `label overlap x1 y1 x2 y2` for each window.
    Bottoms: none.  Tops: data (batch_size, 3, crop_size, crop_size), label (batch_size).  Background comes first.
    Source: BVLC/caffe src/caffe/layers/window_data_layer.cpp.  Differs: windows are drawn with the net's seed; an
    object with label 0 is an error that names its image.
    """

    n_tops = (1, 2)

    source: str = param("The window file.", default="")
    batch_size: int = param("Number of windows in a batch.", default=0, at_least=1)
    scale: float = param("Factor applied after the mean is subtracted.", default=1.0)
    mean_file: str = param("Belongs in transform_param.", default="", inert=True)
    crop_size: int = param("Belongs in transform_param.", default=0, at_least=0, inert=True)
    mirror: bool = param("Belongs in transform_param.", default=False, inert=True)
    fg_threshold: float = param("Smallest overlap of an object.", default=0.5)
    bg_threshold: float = param("Overlap below which a window is background.", default=0.5)
    fg_fraction: float = param("Fraction of objects in a batch.", default=0.25, at_least=0, at_most=1)
    context_pad: int = param("Pixels of context around the object, after warping.", default=0, at_least=0)
    crop_mode: str = param('"warp": warp the window; "square": use the tightest square around it.', default="warp")
    cache_images: bool = param(
        "Keep image files in memory; the operating system caches them.", default=False, inert=True
    )
    root_folder: str = param("Prefix of each path in the file.", default="")
    transform_param: Transform = param("Crop size, mirroring and mean.", default=Transform(), beside=True)

    @property
    def random_in_tests(self) -> tuple[str, ...]:
        """The fields of `transform_param` that change images at random in phase TEST."""
        return ("mirror",) if self.transform_param.mirror else ()

    def shapes(self, locate: Locate) -> list[Shape]:
        side = self.transform_param.crop_size
        if side == 0:
            raise ShapeError(
                "`transform_param { crop_size }` is required, because windows are warped to it.",
                field="transform_param",
            )
        if 2 * self.context_pad >= side:
            raise ShapeError(
                f"`context_pad` is {self.context_pad}; it must be less than half of `crop_size`, which is {side}.",
                field="context_pad",
            )
        batch = self.batch_size or UNKNOWN
        return [(batch, 3, side, side), (batch,)][: len(self.top)]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return _WindowReader(self, locate, phase, seed, process)

    def windows(self, locate: Locate) -> tuple[list[Window], list[Window]]:
        """Returns (objects, background) of the file.  Raises NetdefError, with the image, for an invalid line."""
        path = self.source_path(locate, self.source, "the window file", is_file=True)
        with self.reading(path, "window file"):
            lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        words = ((number, word) for number, line in enumerate(lines, 1) for word in line.split())
        at = 1  # the line of the last word

        def next_word() -> str:
            nonlocal at
            at, word = next(words)
            return word

        objects: list[Window] = []
        background: list[Window] = []
        image = ""
        try:
            for at, mark in words:  # noqa: B007  (`next_word` changes it, and the error names it)
                if mark != "#":
                    raise ValueError(f"expected `#` at the start of an image, not `{mark}`")
                next_word()
                image = next_word()
                line = at
                _, _, _, count = (int(next_word()) for _ in range(4))
                for _ in range(count):
                    label, overlap = int(next_word()), float(next_word())
                    x1, y1, x2, y2 = (int(next_word()) for _ in range(4))
                    if overlap >= self.fg_threshold:
                        if label <= 0:
                            raise ValueError(f"an object has label {label}, but labels of objects start at 1")
                        objects.append(Window(image, label, overlap, (x1, y1, x2, y2), line))
                    elif overlap < self.bg_threshold:
                        background.append(Window(image, 0, 0.0, (x1, y1, x2, y2), line))
        except (ValueError, StopIteration, RuntimeError) as error:
            why = str(error) if isinstance(error, ValueError) else "unexpected end of file"
            raise self.fault(f"{path}:{at}: after image `{image}`: {why}.") from None
        return objects, background


class _WindowReader(Reader):
    def __init__(self, layer: WindowData, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: WindowData = layer
        self.locate = locate
        self.side = layer.transform_param.crop_size
        self.mean = Transformer(layer, layer.transform_param, locate, phase).mean
        self.objects, self.background = layer.windows(locate)
        self.n_objects = int(np.float32(self.batch_size) * np.float32(layer.fg_fraction))
        self.size = len(self.objects) + len(self.background)
        for windows, number, what in (
            (self.background, self.batch_size - self.n_objects, "background"),
            (self.objects, self.n_objects, "object"),
        ):
            if number and not windows:
                raise layer.fault(
                    f"{layer.source} has no {what} windows, but each batch needs {number}; check the thresholds."
                )

    def sources(self) -> list[Path]:
        images = list(dict.fromkeys(window.image for window in (*self.objects, *self.background)))
        named = [self.locate(self.layer.root_folder + images[i]) for i in spaced(len(images))]
        return [self.locate(self.layer.source), *named]

    def batch(self, position: int) -> Batch:
        draws = self.random("windows", position).random((self.batch_size, 2))[self.rows]
        rows = range(self.batch_size)[self.rows]
        data = np.zeros((len(rows), 3, self.side, self.side), np.float32)
        labels = np.empty(len(rows), np.float32)
        for i, row in enumerate(rows):
            among = self.background if row < self.batch_size - self.n_objects else self.objects
            window = among[int(draws[i, 0] * len(among))]
            self._fill(data[i], window, self.layer.transform_param.mirror and draws[i, 1] < 0.5)
            labels[i] = window.label
        return dict(zip(self.layer.top, (data, labels), strict=False))

    def _fill(self, out: Any, window: Window, mirror: bool) -> None:
        """Warps a window into `out` (3, side, side); pixels outside of the image stay 0."""
        path = self.locate(self.layer.root_folder + window.image)
        try:
            image = images.decode(path.read_bytes(), True)  # (h, w, 3)
        except (OSError, ValueError) as error:
            listed = f"{self.locate(self.layer.source)}:{window.line}"
            raise self.layer.fault(f"{listed}: the image {shown(path)} cannot be read ({reason(error)}).") from None
        place = _place(window.box, image.shape[:2], self.side, self.layer.context_pad, self.layer.crop_mode == "square")
        x1, y1, x2, y2 = place.box
        part = image[y1 : y2 + 1, x1 : x2 + 1]
        if part.size == 0:
            raise self.layer.fault(
                f"{self.locate(self.layer.source)}: window {window.box} is outside of the image {path}, which is "
                f"{image.shape[1]}x{image.shape[0]}."
            )
        warped = images.resize(part, place.height, place.width)
        warped = (warped[:, ::-1] if mirror else warped).transpose(2, 0, 1).astype(np.float32)
        left = place.right if mirror else place.left
        warped = warped[:, :, : self.side - left]
        where = (slice(None), slice(place.top, place.top + warped.shape[1]), slice(left, left + warped.shape[2]))
        if self.mean is not None:
            offset = (self.mean.shape[2] - self.side) // 2
            warped = warped - self.mean[:, offset : offset + self.side, offset : offset + self.side][where]
        out[where] = warped * np.float32(self.layer.scale)


@dataclass(frozen=True)
class _Place:
    """The part of the image that is used, the size to warp it to, and the margins around it in the crop."""

    box: tuple[int, int, int, int]
    height: int
    width: int
    top: int = 0
    left: int = 0
    right: int = 0


def _place(box: tuple[int, int, int, int], size: tuple[int, int], side: int, pad: int, square: bool) -> _Place:
    """Widens a window so that `pad` pixels of context surround it after warping, and clips it to the image."""
    x1, y1, x2, y2 = box
    if pad == 0 and not square:
        return _Place(box, side, side)
    context = side / (side - 2 * pad)
    half_h, half_w = (y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2
    center_x, center_y = x1 + half_w, y1 + half_h
    if square:
        half_h = half_w = max(half_h, half_w)
    x1, x2 = _round(center_x - half_w * context), _round(center_x + half_w * context)
    y1, y2 = _round(center_y - half_h * context), _round(center_y + half_h * context)
    scale_x, scale_y = side / (x2 - x1 + 1), side / (y2 - y1 + 1)
    over = (max(0, -x1), max(0, -y1), max(0, x2 - size[1] + 1), max(0, y2 - size[0] + 1))
    x1, y1, x2, y2 = x1 + over[0], y1 + over[1], x2 - over[2], y2 - over[3]
    width, height = _round((x2 - x1 + 1) * scale_x), _round((y2 - y1 + 1) * scale_y)
    left, top, right = _round(over[0] * scale_x), _round(over[1] * scale_y), _round(over[2] * scale_x)
    return _Place((x1, y1, x2, y2), min(height, side - top), min(width, side - left), top, left, right)


def _round(x: float) -> int:
    """Rounds as C does: halves away from zero."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))
