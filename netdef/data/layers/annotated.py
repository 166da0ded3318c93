"""AnnotatedData: images with boxes, from a database of the SSD fork."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ...files import Locate
from ...language.errors import NetdefError
from ...layers._resize import ResizeMode
from ...layers.base import Phase
from ...lazy import np
from ...schema import Block, param
from ...shape import UNKNOWN, Shape
from .. import boxes
from ..base import Fit
from ..box_sampler import BatchSampler, Jitter
from ..key_value import Database, open_database
from ..statistics import cached, fingerprint
from ._box_layer import BoxLayer, BoxRecords, boxes_of
from ._image_layer import Record
from .database import Backend, Data, DatumRecords, Key

YOLO_ROWS = 300  # boxes of an image in a label of YOLO
JITTER = 0.3  # the default of YOLO


class AnnotationType(enum.Enum):
    """Kind of annotation."""

    BBOX = 0


class AnnotatedDataBlock(Block):
    """`annotated_data_param { }`."""

    batch_sampler: tuple[BatchSampler, ...] = param("Random parts of the images, one of which is used.", default=())
    label_map_file: str = param("File with the names of the labels; others are errors.", default="")
    anno_type: AnnotationType | None = param("Kind of annotation.", default=None)
    yolo_data_type: int = param("1: the label is (batch_size, 1, 300, 5) (YOLO).", default=0, at_least=0, at_most=1)
    yolo_data_jitter: float | None = param(
        "Without `batch_sampler`, the sides of a random part are shorter by up to this fraction (YOLO); default: 0.3 "
        "with `yolo_data_type: 1`, else 0.",
        default=None,
    )
    train_diffcult: bool = param("Whether the label of YOLO contains difficult boxes.", default=True)
    difficult_label_warmup: bool = param("Of the fork's program; without effect.", default=False, inert=True)
    single_class: bool = param("Whether label images have one class (YOLO).", default=True, inert=True)
    seg_scales: int = param("Factor by which label images are smaller (YOLO).", default=8, inert=True)
    seg_resize_width: int = param("Width of label images (YOLO).", default=0, inert=True)
    seg_resize_height: int = param("Height of label images (YOLO).", default=0, inert=True)


class AnnotatedData(BoxLayer, type="AnnotatedData", block="data_param"):
    """Images with boxes of a database, in the order of its keys, repeated without end.

    Bottoms: none.  Tops: data (batch_size, c, h, w), label (1, 1, rows, 8): index of the image in the batch, label,
    instance, xmin, ymin, xmax, ymax, difficult.  The label has the rows of the batch with the most boxes, so all
    records are read once, and the result is cached; rows of -1 follow the boxes.  `distort_param`, `expand_param`,
    `batch_sampler`, `resize_param` and `mirror` change images and boxes, as in the fork in both phases.
    With `yolo_data_type: 1`, the label is (batch_size, 1, 300, 5): label - 1, x and y of the center, width, height;
    rows of 0 follow the boxes of an image.  `netdef data convert` writes such databases.
    If `resize_param` is given several times, training draws one of these sizes every ten iterations.
    Source: weiliu89/caffe branch ssd, src/caffe/layers/annotated_data_layer.cpp; the fields of YOLO are
    eric612/MobileNet-YOLO's.
    Differs: random numbers come from the net's seed; images are not compressed again after each step; a box that is
    empty, inverted or outside the image is an error that names the record, where the fork drops or clips it.
    """

    as_in_caffe = True
    n_tops = (1, 3)

    source: str = param("Folder of the database.", default="")
    batch_size: int = param("Number of images in a batch.", default=0, at_least=1)
    backend: Backend = param("Kind of the database.", default=Backend.LEVELDB)
    rand_skip: int = param("Skip a random number of records, less than this, at the start.", default=0, at_least=0)
    prefetch: int = param("Number of batches that Caffe prefetches.", default=4, at_least=0, inert=True)
    shuffle: bool = param("Shuffle the records in each epoch.", default=False)
    threads: int = param("Number of threads in the NVIDIA fork.", default=0, at_least=0, inert=True)
    parser_threads: int = param("Number of threads in the NVIDIA fork.", default=0, at_least=0, inert=True)
    cache: bool = param("Keep records in memory (NVIDIA); the operating system caches them.", default=False, inert=True)
    annotated_data_param: AnnotatedDataBlock = param("Boxes.", default=AnnotatedDataBlock(), beside=True)

    @classmethod
    def reads(cls, path: Path) -> Fit:
        from ..annotated_wire import is_annotated  # here, because it imports NumPy

        if Data.reads(path) is Fit.NO or not path.exists():
            return Fit.NO
        try:
            database = open_database(path)
            try:
                pair = next(iter(database.pairs()), None)
            finally:
                database.close()
        except NetdefError:
            return Fit.NO
        return Fit.CONTENT if pair is not None and is_annotated(pair[1]) else Fit.NO

    def shapes(self, locate: Locate) -> list[Shape]:
        if len(self.top) > 2:
            raise self.fault("the label images of YoloSeg, its third top, cannot be read; use MemoryData or HDF5Data.")
        return super().shapes(locate)

    def declared_shapes(self) -> list[Shape]:
        return [*super().declared_shapes(), (self.batch_size or UNKNOWN, *[UNKNOWN] * 3)][: len(self.top)]

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle

    @property
    def samplers(self) -> Sequence[BatchSampler | Jitter]:
        own = self.annotated_data_param
        most = (JITTER if own.yolo_data_type else 0) if own.yolo_data_jitter is None else own.yolo_data_jitter
        if own.batch_sampler or not most:
            return own.batch_sampler
        resize = self.transform_param.resize
        padded = resize is not None and resize.resize_mode is ResizeMode.FIT_LARGE_SIZE_AND_PAD
        return (Jitter(most, padded),)

    @property
    def label_per_image(self) -> int:  # type: ignore[override]
        return YOLO_ROWS if self.annotated_data_param.yolo_data_type else 0

    def used(self, rows: Any) -> Any:
        return (rows[:, boxes.DIFFICULT] == 0) | self.annotated_data_param.train_diffcult

    @property
    def random_in_tests(self) -> tuple[str, ...]:
        given = ("distort_param", "expand_param")
        return (*super().random_in_tests, *(n for n in given if getattr(self.transform_param, n) is not None))

    def records(self, locate: Locate, first_only: bool = False) -> BoxRecords:
        path = self.source_path(locate, self.source, "the database")
        names = self.label_map(locate, self.annotated_data_param.label_map_file)
        with self.naming():
            database = open_database(path)
            if database.is_empty:
                raise NetdefError(f"the database {path} is empty.")
        return _AnnotatedDatums(self, database, names.names if names else {})


class _AnnotatedDatums(DatumRecords, BoxRecords):
    kind = "AnnotatedDatum"
    called = "an AnnotatedDatum, the record that convert_annoset and `netdef data convert` write"
    has_floats = False

    def __init__(self, layer: AnnotatedData, database: Database, names: dict[int, str]):
        super().__init__(layer, database)
        self._names = names
        self._labels: Collection[int] = frozenset(names)

    def datum(self, message: Any) -> Any:
        return message.datum

    def decode(self, raw: tuple[bytes, bytes]) -> Record:
        found = self.parsed(raw)
        rows = [
            (group.group_label, one.instance_id, box.xmin, box.ymin, box.xmax, box.ymax, box.difficult)
            for group in found.annotation_group
            for one in group.annotation
            for box in (one.bbox,)
        ]
        if what := boxes.fault(rows, self._labels):
            raise self.corrupt(raw, f"is wrong: {what}")
        return Record(self.image(raw, found.datum), (boxes_of(rows),), Key(raw[0], self.database))

    def counts(self) -> Any:
        from ..annotated_wire import count  # here, because it imports NumPy

        def measured() -> dict[str, Any]:
            with self.layer.naming():
                return {"counts": [count(value) for _, value in self.database.pairs()]}

        key = f"boxes {fingerprint(self.database.path)}"
        return np.array(cached("boxes", key, ("counts",), measured)["counts"], np.int64)

    def names(self) -> dict[int, str]:
        return self._names
