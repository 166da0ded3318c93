"""ImageData: images named in a list, with a label each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..layer import Locate, Phase
from ..lazy import np
from ..schema import param
from ..shape import UNKNOWN, Shape, ShapeError
from . import images
from .base import Batch, DataLayer, Process, Reader
from .records import Order
from .transform import Transform, Transformer


class ImageData(DataLayer, type="ImageData", block="image_data_param"):
    """Images of a list file, one `path label` on each line, read and decoded as they are needed.

    Bottoms: none.  Tops: data (batch_size, c, h, w), label (batch_size).
    Source: BVLC/caffe src/caffe/layers/image_data_layer.cpp.
    Differs: a line without a label, and an image that does not decode, end the run with the line or file named; random
    numbers come from the net's seed.
    """

    n_tops = (1, 2)

    source: str = param("Text file with `path label` on each line.", default="")
    batch_size: int = param("Images of a batch.", default=1, at_least=0)
    rand_skip: int = param("Skip a random number of images below this at the start.", default=0, at_least=0)
    shuffle: bool = param("Draw the order of images anew for each epoch.", default=False)
    new_height: int = param("Resize to this height; 0 keeps the size.", default=0, at_least=0)
    new_width: int = param("Resize to this width; 0 keeps the size.", default=0, at_least=0)
    short_side: int = param("Resize so that the shorter side has this length (NVIDIA).", default=0, at_least=0)
    is_color: bool = param("Three channels, else one.", default=True)
    root_folder: str = param("Put in front of each path in the list.", default="")
    scale: float = param("Belongs into transform_param.", default=1.0, inert=True)
    mean_file: str = param("Belongs into transform_param.", default="", inert=True)
    crop_size: int = param("Belongs into transform_param.", default=0, at_least=0, inert=True)
    mirror: bool = param("Belongs into transform_param.", default=False, inert=True)
    threads: int = param("Threads of the NVIDIA fork.", default=4, at_least=0, inert=True)
    cache: bool = param("Keep files in memory (NVIDIA); the system's page cache does.", default=False, inert=True)
    precache: bool = param("Read all files first (NVIDIA).", default=False, inert=True)
    transform_param: Transform = param("What is made of each image.", default=Transform(), beside=True)

    def lines(self, locate: Locate) -> list[tuple[str, int]]:
        """(path, label) of each line.  NetdefError naming the line without a label."""
        path = self.source_path(locate, self.source, "the list of images")
        found = []
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(), 1):
            if not line.strip():
                continue
            name, _, label = line.strip().rpartition(" ")
            if "\t" in label or not name:
                name, _, label = line.strip().rpartition("\t")
            try:
                found.append((name.strip(), int(label)))
                ok = bool(name)
            except ValueError:
                ok = False
            if not ok:
                raise self.fault(
                    f"{path}:{number}: a line is `path label` with a whole number at its end, not `{line[:80]}`."
                )
        if not found:
            raise self.fault(f"the list of images {path} is empty.")
        return found

    def find(self, locate: Locate, name: str) -> Path:
        """Where an image of the list is."""
        return locate(self.root_folder + name)

    def load(self, path: Path) -> Any:
        """One image, decoded and resized, (c, h, w) uint8.  NetdefError naming the file."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self.fault(
                f"the image {path} cannot be read ({error.strerror}); see `root_folder` and the list."
            ) from None
        try:
            image = images.decode(data, self.is_color)
        except images.Undecodable as error:
            raise self.fault(f"{path} does not decode as an image ({error}).") from None
        height, width = self._size(*image.shape[:2])
        return images.resize(image, height, width).transpose(2, 0, 1)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.short_side:
            factor = self.short_side / min(height, width)
            return max(self.short_side, round(height * factor)), max(self.short_side, round(width * factor))
        return self.new_height or height, self.new_width or width

    def shapes(self, locate: Locate) -> list[Shape]:
        if (self.new_height > 0) != (self.new_width > 0):
            raise ShapeError(
                f"`new_height` is {self.new_height} and `new_width` {self.new_width}; give both, or none.",
                field="new_height" if self.new_height else "new_width",
            )
        first = self.load(self.find(locate, self.lines(locate)[0][0]))
        batch = self.batch_size or UNKNOWN
        return [(batch, *self.transform_param.shape(*first.shape)), (batch,)][: len(self.top)]

    def declared_shapes(self) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        c, h, w = self.transform_param.declared(self.is_color)
        resized = (c, self.new_height or UNKNOWN, self.new_width or UNKNOWN)
        return [(batch, c, *(a if a is not UNKNOWN else b for a, b in zip((h, w), resized[1:], strict=True))), (batch,)][
            : len(self.top)
        ]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return _ImageReader(self, locate, phase, seed, process)


class _ImageReader(Reader):
    def __init__(self, layer: ImageData, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: ImageData = layer
        self.transformer = Transformer(layer, layer.transform_param, locate, phase)
        self.lines, self.locate = layer.lines(locate), locate
        self.size = len(self.lines)
        shuffled = (lambda epoch: self.random("shuffle", epoch).permutation(self.size)) if layer.shuffle else None
        self.order = Order(len(self.lines), shuffled)
        if layer.rand_skip:
            self.position = int(self.random("skip").integers(layer.rand_skip))

    def batch(self, position: int) -> Batch:
        draws = self.transformer.draw(self.random("transform", position), self.batch_size)[self.rows]
        lines = [self.lines[i] for i in self.order.at(position, self.batch_size)[self.rows]]
        paths = [self.layer.find(self.locate, name) for name, _ in lines]
        data = self.transformer.batch([self.layer.load(path) for path in paths], draws, [str(path) for path in paths])
        label = np.array([label for _, label in lines], np.float32)
        return dict(zip(self.layer.top, (data, label), strict=False))
