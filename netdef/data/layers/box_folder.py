"""BoxFolder: images with boxes, from the label files of VOC or COCO, or from a table.  An addition of netdef's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files import Locate
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from .. import box_files, boxes
from ..base import Fit
from ..box_files import Described
from ..box_sampler import BatchSampler
from ..damage import reading
from ._box_layer import BoxLayer, BoxRecords
from .image_list import FileRecords, ImageFiles


class BoxFolder(BoxLayer, ImageFiles, type="BoxFolder", block="box_folder_param"):
    """Images with boxes: `source` is a folder of VOC, a .json file of COCO, a .csv file, or a folder with one of these.

    Bottoms: none.  Tops: data (batch_size, c, h, w), label (1, 1, rows, 8): index of the image in the batch, label,
    instance, xmin, ymin, xmax, ymax, difficult; rows of -1 follow the boxes.
    The classes have the labels 1, 2, ... in sorted order (COCO: by id), or those of `label_map_file`; 0 is the
    background.  VOC: XML files in the folder or in its `Annotations`, images beside them or in `JPEGImages`.  A table
    has the columns image, label, xmin, ymin, xmax, ymax, and optionally difficult, in pixels, and a line for each box.
    In phase TRAIN, the images are shuffled, and changed as `transform_param` and `batch_sampler` say.  If
    `resize_param` is given several times, training draws one of these sizes every ten iterations.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    source: str = param("Folder, .json file or .csv file.", default="")
    root_folder: str = param("Folder of the images; default: that of the labels.", default="")
    image_set: str = param("Text file with the name of an image on each line: only these are used.", default="")
    label_map_file: str = param("Label map with the label of each name.", default="")
    batch_size: int = param("Number of images in a batch.", default=32, at_least=1)
    shuffle: bool = param("Shuffle the images in each epoch, in phase TRAIN.", default=True)
    label_rows: int = param(
        "Number of rows of the label; 0: enough for the images with the most boxes.", default=0, at_least=0
    )
    batch_sampler: tuple[BatchSampler, ...] = param("Random parts of the images, one of which is used.", default=())

    @classmethod
    def reads(cls, path: Path) -> Fit:
        known = box_files.is_labels(path)
        return (Fit.NAME if path.is_dir() else Fit.CONTENT) if known else Fit.NO

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle and phase is Phase.TRAIN

    @property
    def samplers(self) -> Sequence[BatchSampler]:
        return self.batch_sampler

    def declared_shapes(self) -> list[Any]:
        return BoxLayer.declared_shapes(self)

    def shapes(self, locate: Locate) -> list[Any]:
        ImageFiles.check_size(self)
        return BoxLayer.shapes(self, locate)

    def records(self, locate: Locate, first_only: bool = False) -> BoxRecords:
        path = self.source_path(locate, self.source, "the folder of images with boxes")
        with self.naming(), reading(path, "folder of labels"):
            found, names = box_files.read(path, locate(self.root_folder) if self.root_folder else None)
        if self.image_set:
            found = self._selected(found, locate)
        if not found:
            raise self.fault(f"{path} describes no images.")
        given = self.label_map(locate, self.label_map_file)
        labels = {item.name: item.label for item in given.item} if given else {n: i for i, n in enumerate(names, 1)}
        shown = given.names if given else {0: "background"} | {i: n for n, i in labels.items()}
        rows = self._rows(found, labels)
        return LabeledFiles(self, [one._replace(boxes=()) for one in found], rows, shown)

    def _selected(self, found: list[Described], locate: Locate) -> list[Described]:
        """Returns the images that `image_set` names, in its order."""
        path = self.source_path(locate, self.image_set, "the list of images", is_file=True)
        known = {one.image.name: one for one in found} | {one.image.stem: one for one in found}
        with self.reading(path, "list of images"):
            lines = path.read_text(encoding="utf-8").splitlines()
        made = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            if line.strip() not in known:
                raise self.fault(f"{path}:{number}: no labels describe an image `{line.strip()[:80]}`.")
            made.append(known[line.strip()])
        return made

    def _rows(self, found: list[Described], labels: Mapping[str, int]) -> list[Any]:
        """Returns the boxes of each image in pixels.  Raises NetdefError for a name without a label."""
        made = []
        for one in found:
            rows = np.zeros((len(one.boxes), boxes.COLUMNS), np.float32)
            for row, box in zip(rows, one.boxes, strict=True):
                if box.name not in labels:
                    raise self.fault(
                        f"{one.place}a box has the name `{box.name}`, which is not in {self.label_map_file}; add it "
                        "there, or correct it."
                    )
                row[boxes.LABEL], row[boxes.SIDES], row[boxes.DIFFICULT] = labels[box.name], box.sides, box.difficult
            made.append(boxes.grouped(rows))
        return made


class LabeledFiles(FileRecords, BoxRecords):
    """Image files with boxes in pixels, which become fractions of the image when it is decoded."""

    def __init__(self, layer: BoxFolder, found: list[Described], rows: list[Any], names: dict[int, str]):
        super().__init__(layer, len(found), lambda i: found[i].image, (), lambda i: found[i].place)
        self.remedy = "check `root_folder` and the names in the labels, or set `skip_corrupt`"
        self._found, self._boxes, self._names = found, rows, names

    def labels(self, number: int, height: int, width: int) -> tuple[Any, ...]:
        rows, said, place = self._boxes[number], self._found[number].size, str(self._found[number].image)
        if said is not None and said != (height, width):
            raise self.corrupt(
                number,
                f"{place} is {height}x{width} (height x width), but its labels are for {said[0]}x{said[1]}; correct "
                "the labels, or set `skip_corrupt`.",
            )
        if what := boxes.fault(rows, (), height, width):
            raise self.corrupt(number, f"{place}: {what}; correct it, or set `skip_corrupt`.")
        made = rows.copy()
        made[:, boxes.SIDES] /= np.array([width, height, width, height], np.float32)
        return (boxes.Boxes(made),)

    def counts(self) -> Any:
        return np.array([len(rows) for rows in self._boxes], np.int64)

    def names(self) -> dict[int, str]:
        return self._names
