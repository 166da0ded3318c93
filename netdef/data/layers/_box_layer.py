"""The common part of data layers that deliver images with boxes: the label (1, 1, rows, 8), of a constant size.

A batch has as many rows as its images have boxes, but a compiled program has static shapes.  Therefore the label has
the rows of the batch with the most boxes, and rows of -1 follow those that are used; MultiBoxLoss and DetectionEvaluate
skip them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from ...files import Locate
from ...language.diagnostics import Report
from ...language.errors import NetdefError
from ...layers.base import Phase
from ...lazy import np
from ...shape import UNKNOWN, Dim, Shape, ShapeError
from .. import augment
from ..augment import Augment
from ..base import Batch, Process, Reader, Table
from ..box_sampler import BatchSampler, Jitter
from ..box_transform import Labeled, placed, prepared
from ..boxes import COLUMNS, LABEL, XMAX, XMIN, YMAX, YMIN, Boxes, most_rows
from ..label_map import LabelMap, label_map_of
from ..transform import KEY
from ._image_layer import ImageLayer, ImageReader, Record, Records

EMPTY = -1.0  # the value of rows without a box
YOLO_COLUMNS = 5


class BoxRecords(Records):
    """Records whose label is `Boxes`."""

    @abstractmethod
    def counts(self) -> Any:
        """Returns the number of boxes of every record, as an array of integers."""

    def names(self) -> dict[int, str]:
        """Returns the name of each label; an empty dict if they are unknown."""
        return {}


class BoxLayer(ImageLayer):
    """A data layer of images with boxes."""

    n_tops = (1, 2)
    pads_rows = True

    label_rows: int = 0  # a field of layers that are netdef's own
    label_per_image: int = 0  # rows (class, x, y, width, height) of each image, as YOLO expects them; 0: one label
    shuffle: bool
    batches_per_size: int = 0  # after so many batches, the size of the images is drawn again; 0: it is the first one

    # The fields that move parts of an image in ways that boxes do not follow.
    unboxed: ClassVar[tuple[str, ...]] = ("area_lower", "rotate", "mixup", "num_labels", "label_smoothing")

    @property
    def samplers(self) -> Sequence[BatchSampler | Jitter]:
        """The random parts of images that are used."""
        return ()

    @property
    def sizes(self) -> int:
        """The number of sizes of the images."""
        return len(self.transform_param.resize_param)

    def of_size(self, i: int) -> Self:
        """Returns the layer with one of the sizes of its images."""
        return self.replace(transform_param=self.transform_param.of_size(i))

    def used(self, rows: Any) -> Any:
        """Returns which boxes a label for each image contains."""
        return np.ones(len(rows), bool)

    def records(self, locate: Locate, first_only: bool = False) -> BoxRecords:
        raise NotImplementedError

    def label_map(self, locate: Locate, name: str) -> LabelMap | None:
        """Returns the label map in a file; None if no file is given.  Raises NetdefError if it is missing or wrong."""
        if not name:
            return None
        path = locate(name)
        report = Report()
        try:
            found = label_map_of(path, report)
        except NetdefError as error:
            raise self.fault(f"`label_map_file`: {error}") from error
        if found is None:
            first = report.in_order()[0]
            raise self.fault(f"`label_map_file`: {path}: {first.message}; `netdef check {path}` shows the line.")
        return found

    def class_names(self, locate: Locate) -> list[str]:
        records = self.records(locate)
        try:
            names = records.names()
        finally:
            records.close()
        return [names.get(label, str(label)) for label in range(max(names) + 1)] if names else []

    def check(self) -> None:
        """Raises ShapeError for fields that boxes do not follow."""
        self.transform_param.check()
        default = Augment()
        for name in self.unboxed:
            if getattr(self.augment_param, name) != getattr(default, name):
                raise ShapeError(
                    f"`{name}` of `augment_param` is for images with classes; boxes do not follow it: remove it.",
                    field="augment_param",
                )
        if self.transform_param.random_aspect_ratio_param is not None:
            raise ShapeError(
                "boxes do not follow `random_aspect_ratio_param`; use `batch_sampler` for random parts of images.",
                field="transform_param",
            )
        for one in self.samplers:
            one.check()

    def rows(self, records: BoxRecords) -> int:
        """Returns the number of rows of the label."""
        sampling = self.sample_param
        moved = self.shuffle or sampling.shuffle or sampling.split or sampling.limit
        return self.most_rows(records, self.batch_size, in_order=not moved)

    def most_rows(self, records: BoxRecords, images: int, in_order: bool = False) -> int:
        """Returns the largest number of boxes of so many images: of consecutive records, or of any records."""
        if self.label_rows:
            return self.label_rows
        counts = records.counts()
        if self.sample_param.skip_corrupt:  # because a record can take the place of several broken ones
            return max(1, images * int(counts.max()))
        return most_rows(counts, images, in_order)

    def shapes(self, locate: Locate) -> list[Shape]:
        self.check()
        records = self.records(locate)
        try:
            first = records.decode(records.read([0])[0])
            rows = self.rows(records) if len(self.top) > 1 and not self.label_per_image else 0
        finally:
            records.close()
        image = self.transform_param.shape(*first.image.shape)
        return [(self.batch_size, *image), self.label_shape(rows)][: len(self.top)]

    def label_shape(self, rows: Dim) -> Shape:
        """Returns the shape of the label, which has this number of rows, or a constant number for each image."""
        if self.label_per_image:
            return (self.batch_size or UNKNOWN, 1, self.label_per_image, YOLO_COLUMNS)
        return (1, 1, rows, COLUMNS + 1)

    def declared_shapes(self) -> list[Shape]:
        image = self.transform_param.declared(self.color)
        return [(self.batch_size or UNKNOWN, *image), self.label_shape(UNKNOWN)][: len(self.top)]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return BoxReader(self, locate, phase, seed, process)


class BoxReader(ImageReader):
    """Batches of images with boxes."""

    steady = False  # type: ignore[assignment]

    def __init__(self, layer: BoxLayer, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, locate, phase, seed, process)
        self.numbered = layer.top[1] if len(layer.top) > 1 and not layer.label_per_image else ""
        self.label_rows = layer.rows(self.records) if self.numbered else 0  # type: ignore[arg-type]
        self.samplers = layer.samplers
        self.chance = phase is Phase.TRAIN or layer.as_in_caffe

    def batch(self, position: int) -> Batch:
        draws = self.draws(position)
        records = self._decode(position + np.arange(self.batch_size)[self.rows], self.numbers(position))
        way = self._way(position)
        labeled = [self._prepared(way, record, draw) for record, draw in zip(records, draws, strict=True)]
        images = [one.image.transpose(2, 0, 1) for one in labeled]
        data = self.transformer.finish(images, draws, [record.name for record in records])
        tops = [data]
        if len(self.layer.top) > 1:
            tops.append(self._label(way, labeled, draws, [record.name for record in records]))
        return dict(zip(self.layer.top, tops, strict=False))

    def most_numbered(self, images: int) -> int:
        return self.layer.most_rows(self.records, images)  # type: ignore[attr-defined]

    def _way(self, position: int) -> Any:
        """Returns how the images of a batch are transformed, with the size that is drawn for it."""
        layer, way = self.layer, self.transformer.param
        if layer.sizes < 2 or not layer.batches_per_size:  # type: ignore[attr-defined]
            return way
        first = position // self.batch_size // layer.batches_per_size  # type: ignore[attr-defined]
        weights = np.array([one.prob for one in way.resize_param])
        chances = weights / weights.sum() if weights.any() else None
        return way.of_size(int(self.random("size", first).choice(len(weights), p=chances)))

    def _prepared(self, way: Any, record: Record, draw: Any) -> Labeled:
        """Applies what precedes the crop to an image and its boxes."""
        varied = self.transformer.varied
        x, rows = record.image.transpose(1, 2, 0), record.labels[0].rows
        try:
            made = prepared(x, rows, way, self.samplers, augment.generator_of(draw[KEY], 0), self.chance)
            changed = augment.reshape(
                made.image.transpose(2, 0, 1), varied, way.crop, augment.generator_of(draw[KEY], 2)
            )
        except ValueError as error:
            raise self.layer.fault(f"{record.name}: {error}") from None
        return made._replace(image=changed.transpose(1, 2, 0))

    def _label(self, way: Any, labeled: list[Labeled], draws: Any, names: list[Any]) -> Any:
        """Returns the label of a batch."""
        found = [
            placed(one, self.transformer.place((one.image.shape[2], *one.image.shape[:2]), draw), way.crop, way)
            for one, draw in zip(labeled, draws, strict=True)
        ]
        if not self.numbered:
            return self._label_of_each(found, names)
        used = sum(map(len, found))
        if used > self.label_rows:
            raise self.layer.fault(
                f"a batch has {used} boxes, but `label_rows` is {self.label_rows}; set it to {used} or more, or remove "
                "it for the largest number that is possible."
            )
        label = np.full((1, 1, self.label_rows, COLUMNS + 1), EMPTY, np.float32)
        label[0, 0, :used, 1:] = np.concatenate(found)
        label[0, 0, :used, 0] = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        return label

    def _label_of_each(self, found: list[Any], names: list[Any]) -> Any:
        """Returns the label (n, 1, rows, 5) of YOLO: class, center and size; rows of 0 follow the boxes of an image."""
        most = self.layer.label_per_image  # type: ignore[attr-defined]
        label = np.zeros((len(found), 1, most, YOLO_COLUMNS), np.float32)
        for own, rows, name in zip(label[:, 0], found, names, strict=True):
            used = rows[self.layer.used(rows)]  # type: ignore[attr-defined]
            if len(used) > most:
                raise self.layer.fault(
                    f"{name} has {len(used)} boxes; a label of YOLO has at most {most} for an image."
                )
            least, largest = used[:, XMIN : YMIN + 1], used[:, XMAX : YMAX + 1]
            own[: len(used)] = np.concatenate(
                [used[:, LABEL : LABEL + 1] - 1, (least + largest) / 2, largest - least], 1
            )
        return label

    def resident(self, budget: int) -> Table | None:
        return None  # because a batch is not a row of a table for each record


def boxes_of(rows: Sequence[Sequence[float]]) -> Boxes:
    """Returns the boxes of a record, from tuples in the order of their columns."""
    return Boxes(np.array(rows, np.float32).reshape(-1, COLUMNS))
