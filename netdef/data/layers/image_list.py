"""ImageData: images of a list file, with one label each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...files import Locate, shown
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ...shape import UNKNOWN, Shape, ShapeError
from .. import images
from ..base import Fit
from ..damage import reason
from ..stamps import spaced
from ._image_layer import Corrupt, ImageLayer, Record, Records

MOST_LABEL = 1 << 31  # labels are integers of 32 bits in Caffe


class ImageFiles(ImageLayer):
    """A layer that reads image files and may resize them."""

    of_files = True

    new_height: int = param("Resize to this height; 0 keeps the size.", default=0, at_least=0)
    new_width: int = param("Resize to this width; 0 keeps the size.", default=0, at_least=0)
    short_side: int = param("Resize so that the shorter side has this length (NVIDIA).", default=0, at_least=0)
    is_color: bool = param("Decode to three channels, else to one.", default=True)

    @property
    def color(self) -> bool | None:
        return self.is_color

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        if self.short_side:
            factor = self.short_side / min(height, width)
            return max(self.short_side, round(height * factor)), max(self.short_side, round(width * factor))
        return self.new_height or height, self.new_width or width

    def check_size(self) -> None:
        """Raises ShapeError if only one side of the new size is given."""
        if (self.new_height > 0) != (self.new_width > 0):
            raise ShapeError(
                f"`new_height` is {self.new_height} and `new_width` is {self.new_width}; give both or neither.",
                field="new_height" if self.new_height else "new_width",
            )

    def shapes(self, locate: Locate) -> list[Shape]:
        self.check_size()
        return super().shapes(locate)

    def declared_shapes(self) -> list[Shape] | None:
        c, h, w = self.transform_param.declared(self.is_color)
        h = self.new_height or UNKNOWN if h is UNKNOWN else h
        w = self.new_width or UNKNOWN if w is UNKNOWN else w
        return self._with_labels((c, h, w), [()])


class ImageData(ImageFiles, type="ImageData", block="image_data_param"):
    """Images of a list file with `path label` on each line, read and decoded when they are needed.

    Bottoms: none.  Tops: data (batch_size, c, h, w), label (batch_size).
    Source: BVLC/caffe src/caffe/layers/image_data_layer.cpp.
    Differs: a line without a label, or an image that cannot be decoded, is an error that names the line or file; random
    numbers come from the net's seed.
    """

    as_in_caffe = True

    source: str = param("Text file with `path label` on each line.", default="")
    batch_size: int = param("Number of images in a batch.", default=1, at_least=1)
    rand_skip: int = param("Skip a random number of images, less than this, at the start.", default=0, at_least=0)
    shuffle: bool = param("Shuffle the images in each epoch.", default=False)
    root_folder: str = param("Prefix of each path in the list.", default="")
    scale: float = param("Belongs in transform_param.", default=1.0, inert=True)
    mean_file: str = param("Belongs in transform_param.", default="", inert=True)
    crop_size: int = param("Belongs in transform_param.", default=0, at_least=0, inert=True)
    mirror: bool = param("Belongs in transform_param.", default=False, inert=True)
    threads: int = param("Number of threads in the NVIDIA fork.", default=4, at_least=0, inert=True)
    cache: bool = param("Keep files in memory (NVIDIA); the operating system caches them.", default=False, inert=True)
    precache: bool = param("Read all files first (NVIDIA).", default=False, inert=True)

    @classmethod
    def reads(cls, path: Path) -> Fit:
        return Fit.ANY if path.is_file() else Fit.NO

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        path = self.source_path(locate, self.source, "the list of images", is_file=True)
        lines, numbers = read_list(self, path, first_only)

        find = lambda i: locate(self.root_folder + lines[i][0])
        labels = np.array([label for _, label in lines], np.int64)
        return FileRecords(self, len(lines), find, [labels], lambda i: f"{path}:{numbers[i]}: ", path)


def read_list(layer: ImageLayer, path: Path, first_only: bool = False) -> tuple[list[tuple[str, int]], array[int]]:
    """Returns (path, label) of each line that is not blank, and the number of each of these lines; paths may contain
    spaces.  Raises NetdefError for a line without a label."""
    found, numbers = [], array("Q")
    with layer.reading(path, "list of images"), path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                found.append(_entry(layer, path, number, line.rstrip()))
                numbers.append(number)
                if first_only:
                    break
    if not found:
        raise layer.fault(f"the list of images {path} is empty; write `path label` on each line.")
    return found, numbers


def _entry(layer: ImageLayer, path: Path, number: int, line: str) -> tuple[str, int]:
    name, label = (line.rsplit(None, 1) + [""])[:2]
    try:
        value = int(label)
        if abs(value) < MOST_LABEL:
            return name.strip(), value
    except ValueError:
        pass
    raise layer.fault(f"{path}:{number}: expected `path label`, with an integer as the label, not `{line[:80]}`.")


class FileRecords(Records):
    """Image files and labels: `find(i)` returns the path of record i; `columns` has one array of labels per top.

    `place(i)` begins the errors of record i: the line of a list that names it; `listing` is that list."""

    def __init__(
        self,
        layer: ImageFiles,
        size: int,
        find: Callable[[int], Path],
        columns: Sequence[Any],
        place: Callable[[int], str] = lambda _: "",
        listing: Path | None = None,
    ):
        self.layer, self.size, self.find, self.columns, self.place = layer, size, find, columns, place
        self.listing = listing
        self.remedy = "check the list and `root_folder`" if listing else "restore it, or set `skip_corrupt`"

    def read(self, numbers: Any) -> list[tuple[int, Path]]:
        return [(int(number), self.find(int(number))) for number in numbers]

    def decode(self, raw: tuple[int, Path]) -> Record:
        number, path = raw
        try:
            image = images.decode(path.read_bytes(), self.layer.color)
        except images.Undecodable as error:
            text = f"{path} cannot be decoded as an image ({error}); replace it, or set `skip_corrupt`."
            raise self.corrupt(number, text) from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            text = f"the image {shown(path)} cannot be read ({reason(error)}); {self.remedy}."
            raise self.corrupt(number, text) from None
        labels = self.labels(number, *image.shape[:2])
        image = images.resize(image, *self.layer.size_of(*image.shape[:2]))
        return Record(image.transpose(2, 0, 1), labels, str(path))

    def labels(self, number: int, height: int, width: int) -> tuple[Any, ...]:
        """Returns the labels of a record, whose image has this size.  Raises Corrupt if they are wrong."""
        return tuple(column[number] for column in self.columns)

    def encoded(self, raw: tuple[int, Path]) -> bytes | None:
        with self.layer.reading(raw[1], "image"):
            return raw[1].read_bytes()

    def corrupt(self, number: int, text: str) -> Corrupt:
        """Returns the error of a record."""
        return Corrupt(str(self.layer.fault(self.place(number) + text)))

    def sources(self) -> list[Path]:
        images = [self.find(i) for i in spaced(self.size)]
        return images if self.listing is None else [self.listing, *images]

    def classes(self) -> Any:
        first = self.columns[0] if self.columns else None
        return first if first is not None and first.ndim == 1 and np.all(first == first.astype(np.int64)) else None
