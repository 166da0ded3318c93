"""The common part of all image layers: records, transformations, and the reader that combines them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ...files import Locate, locator
from ...language.errors import NetdefError
from ...layers.base import Phase
from ...lazy import jax, jnp, lax, np
from ...schema import param
from ...shape import UNKNOWN, Shape, ShapeError
from ..augment import Augment
from ..base import Batch, DataLayer, Fit, Process, Reader, Table
from ..records import Sampling, class_weights, sampled_order
from ..statistics import CHUNK, fingerprint, standard
from ..transform import AUTO, Transform, Transformer

MEAN = "(mean)"  # key of the mean image in a table


class Record(NamedTuple):
    """One image, (c, h, w) uint8 or float, the values of the other tops, and its name (by str) for messages."""

    image: Any
    labels: tuple[Any, ...]
    name: Any


class Corrupt(NetdefError):
    """A record that cannot be read; the message names file and record."""


class Records(ABC):
    """The records of one layer, by index.  Reading must be thread-safe."""

    size: int
    shards: Any = None  # where each file of many records begins, and `size`; they are shuffled by blocks

    @abstractmethod
    def read(self, numbers: Any) -> list[Any]:
        """Returns the input of `decode` for each of these records: file names, raw bytes, arrays."""

    @abstractmethod
    def decode(self, raw: Any) -> Record:
        """Returns one record.  Raises Corrupt if it is broken."""

    def encoded(self, raw: Any) -> bytes | None:
        """Returns the image file of a record as it is stored; None if its image is stored decoded."""
        return None

    def classes(self) -> Any:
        """Returns the class of every record as an array of integers; None if the records have none."""
        return None

    def sources(self) -> Sequence[Path]:
        """Returns the files that records are read from; of many images, evenly spaced ones."""
        return ()

    def close(self) -> None:  # noqa: B027  (most records are files, opened one by one)
        """Closes the files."""


class ImageLayer(DataLayer):
    """A data layer whose first top is images.  Subclasses define `records`, and `shuffled` if they have the field."""

    n_tops = (1, 3)

    transform_param: Transform = param("How each image is transformed.", default=Transform(), beside=True)
    augment_param: Augment = param("How images are augmented in phase TRAIN.", default=Augment(), beside=True)
    sample_param: Sampling = param("Which records are used, and in which order.", default=Sampling(), beside=True)

    of_files: ClassVar[bool] = False  # whether its records are image files, of any size
    as_in_caffe: ClassVar[bool] = False  # whether images are changed at random in phase TEST, if their fields say so

    source: str
    batch_size: int
    rand_skip: int = 0

    @property
    def random_in_tests(self) -> tuple[str, ...]:
        """The fields of `transform_param` that change images at random in phase TEST."""
        return self.transform_param.random_in_tests if self.as_in_caffe else ()

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        """Returns the records; with `first_only`, only the first record is needed.

        Raises NetdefError if a file is missing or broken."""
        raise NotImplementedError

    @classmethod
    def reads(cls, path: Path) -> Fit:
        """Returns how well an existing path fits as the `source` of this layer."""
        return Fit.NO

    @classmethod
    def open_path(cls, path: Path, **fields: Any) -> Records:
        """Returns the records of a path, for the tools; `fields` that the layer does not have are ignored."""
        known = {name: value for name, value in fields.items() if name in cls.params() and value is not None}
        layer = cls(name="", top=cls.tops_of(path), source=str(path), batch_size=1, **known)
        return layer.records(locator(None))

    @classmethod
    def tops_of(cls, path: Path) -> tuple[str, ...]:
        """Returns the names of the tops for the records of a path: images first, then the label."""
        return "data", "label"

    def shuffled(self, phase: Phase) -> bool:
        """Whether the layer's own fields request a new order in each epoch."""
        return False

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) of a record after resizing."""
        return height, width

    def class_names(self, locate: Locate) -> list[str]:
        """Returns the names of the classes, in the order of their indices; an empty list if they are unknown.  Raises
        NetdefError if the data is missing."""
        return []

    @property
    def color(self) -> bool | None:
        """Whether images are decoded to three channels (True), to one (False), or as stored (None)."""
        return self.transform_param.color

    def standard(self, locate: Locate) -> tuple[Any, Any]:
        """Returns (mean, deviation) of each channel of the images of phase TRAIN, for `mean_file: "AUTO"`."""
        own = self.transform_param.mean_source
        layer = self.with_source(own) if own else self
        ignored = ("name", "top", "phase", "include", "exclude", "transform_param", "augment_param", "batch_size")
        fields = {name: getattr(layer, name) for name in layer.params() if name not in ignored}
        source = layer.fingerprint(locate)
        records = layer.records(locate)

        def images() -> Iterator[Any]:
            sampling = layer.sample_param.replace(shuffle=False, shuffle_block=0)  # because their order does not matter
            classes = records.classes() if sampling.split or sampling.balance else None
            order = sampled_order(layer, sampling, records.size, classes, Phase.TRAIN, 0)
            for start in range(0, order.size, CHUNK):
                numbers = order.at(start, min(CHUNK, order.size - start))
                yield from (records.decode(raw).image for raw in records.read(numbers))

        try:
            return standard(images(), f"{self.type} {fields!r} {self.color} {source}")
        finally:
            records.close()

    def fingerprint(self, locate: Locate) -> str:
        """Returns a string that changes when the files of the source change.  Raises NetdefError if one is missing."""
        return fingerprint(self.source_path(locate, self.source, "the source"))

    def with_source(self, source: str) -> ImageLayer:
        """Returns the same layer with another source."""
        return type(self)(**{**{name: getattr(self, name) for name in self.params()}, "source": source})

    def shapes(self, locate: Locate) -> list[Shape]:
        self.transform_param.check()
        records = self.records(locate, first_only=True)
        try:
            first = records.decode(records.read([0])[0])
        finally:
            records.close()
        image = self.transform_param.shape(*first.image.shape)
        found = self._with_labels(image, [np.shape(label) for label in first.labels])
        if len(found) < len(self.top):
            raise ShapeError(
                f"it has {len(self.top)} tops, but its records have one image and {len(found) - 1} labels; "
                f"name at most {len(found)} tops.",
                field="top",
            )
        return found

    def declared_shapes(self) -> list[Shape] | None:
        return self._with_labels(self.transform_param.declared(self.color), [()])

    def _with_labels(self, image: Shape, labels: list[Shape]) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        if self.augment_param.num_labels and labels:
            labels[0] = (self.augment_param.num_labels,)
        if self.sample_param.class_weights:
            labels = [*labels[: len(self.top) - 2], ()]
        return [(batch, *shape) for shape in (image, *labels)][: len(self.top)]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return ImageReader(self, locate, phase, seed, process)


class ImageReader(Reader):
    """Batches of images: reads, decodes, augments and transforms them."""

    delivers_rows = False  # whether the first top is not an image and is reshaped at the end

    def __init__(self, layer: ImageLayer, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: ImageLayer = layer
        self.records = layer.records(locate)
        sampling = layer.sample_param
        classes = self.records.classes() if sampling.needs_classes else None
        self.order = sampled_order(
            layer,
            sampling,
            self.records.size,
            classes,
            phase,
            seed,
            shuffle=layer.shuffled(phase),
            batch_size=self.batch_size,
            shards=self.records.shards,
        )
        self.size = self.order.size
        self.weights = self._weights(classes) if sampling.class_weights else None
        standard = layer.standard(locate) if layer.transform_param.mean_file == AUTO else None
        way = (
            layer.transform_param
            if phase is Phase.TRAIN or layer.as_in_caffe
            else layer.transform_param.without_chance()
        )
        self.transformer = Transformer(layer, way, locate, phase, layer.augment_param, standard)
        self._shape: Shape | None = None
        self._mean = [locate(layer.transform_param.mean_file)] if self.transformer.mean is not None else []
        if layer.rand_skip:
            self.position = int(self.random("skip").integers(layer.rand_skip))

    def batch(self, position: int) -> Batch:
        read = self._read_rows
        draws = self.transformer.draw(self.random("transform", position), self.batch_size)[read]
        numbers = self.order.at(position, self.batch_size)[read]
        records = self._decode(position + read, numbers)
        data = self.transformer.batch([r.image for r in records], draws, [r.name for r in records])
        tops = [data, *(np.array(column, np.float32) for column in zip(*(r.labels for r in records), strict=True))]
        if self.weights is not None:
            tops = [*tops[: len(self.layer.top) - 1], self.weights[numbers]]
        self.transformer.soften(tops, draws)
        if len(tops) < len(self.layer.top):
            raise self.layer.fault(
                f"it has {len(self.layer.top)} tops, but its records have one image and {len(tops) - 1} labels; "
                f"name at most {len(tops)} tops."
            )
        own = np.searchsorted(read, np.arange(self.batch_size)[self.rows])
        return {top: rows[own] for top, rows in zip(self.layer.top, tops, strict=False)}

    @property
    def _read_rows(self) -> Any:
        """The rows of a batch that are read: those of this process, and those that `mixup` mixes them with."""
        rows = np.arange(self.batch_size)[self.rows]
        return np.union1d(rows, np.minimum(rows ^ 1, self.batch_size - 1)) if self.transformer.varied.mixup else rows

    def numbers(self, position: int) -> Any:
        return self.order.at(position, self.batch_size)[self.rows]

    def draws(self, position: int) -> Any:
        """Returns the random numbers of a batch, one row per record."""
        return self.transformer.draw(self.random("transform", position), self.batch_size)[self.rows]

    @property
    def steady(self) -> bool:  # type: ignore[override]
        sampling, transformer = self.layer.sample_param, self.transformer
        drawn = sampling.balance or sampling.skip_corrupt
        moved = transformer.train and (transformer.param.mirror or any(transformer.param.crop))
        return not drawn and not moved and transformer.varied == Augment()

    def resident(self, budget: int) -> Table | None:
        """Returns all images and labels, and the mean image; None also if the images differ in shape."""
        if not self._is_plain:
            return None
        first = self.records.decode(self.records.read([0])[0]).image
        if first.nbytes * self.records.size > budget:
            return None
        images = np.empty((self.records.size, *first.shape), first.dtype)
        rows: list[Any] = []
        for start in range(0, self.records.size, CHUNK):
            numbers = range(start, min(start + CHUNK, self.records.size))
            for i, raw in zip(numbers, self.records.read(numbers), strict=True):
                record = self.records.decode(raw)
                if record.image.shape != first.shape or record.image.dtype != first.dtype:
                    return None
                images[i] = record.image
                rows.append(record.labels)
        columns = [np.array(column, np.float32) for column in zip(*rows, strict=True)]
        if self.weights is not None:
            columns = [*columns[: len(self.layer.top) - 2], self.weights]
        table = dict(zip(self.layer.top, (images, *columns), strict=False))
        return table if self.transformer.mean is None else table | {MEAN: self.transformer.mean}

    @property
    def _is_plain(self) -> bool:
        """Whether the records are only cropped, mirrored, flipped and normalized."""
        transformer = self.transformer
        varied = transformer.varied
        by_host = varied.reshapes or varied.noise or varied.cutout or varied.mixup or transformer.soft_labels
        return not (transformer.param.resizes or by_host or self.layer.sample_param.skip_corrupt or self.delivers_rows)

    def plan(self, position: int) -> Batch:
        """Returns the indices of the records, and where each is cropped; all records have one shape."""
        places = self.transformer.places(self._record_shape(), self.draws(position))
        return super().plan(position) | places._asdict()

    def take(self, table: Table, plan: Batch) -> Batch:
        top, *others = (name for name in self.layer.top if name in table)
        image = table[top][plan["record"]]  # (n, c, h, w)
        height, width = self.transformer.param.crop
        size = (image.shape[1], height or image.shape[2], width or image.shape[3])
        cut = lambda x, place: lax.dynamic_slice(x, (0, place["top"], place["left"]), size)
        places = {name: plan[name] for name in ("top", "left")}
        x = jax.vmap(cut)(image, places).astype(jnp.float32)
        if MEAN in table:
            x = x - jax.vmap(cut, (None, 0))(table[MEAN], places)
        x = jnp.where(plan["mirror"][:, None, None, None], x[..., ::-1], x)
        x = jnp.where(plan["over"][:, None, None, None], x[:, :, ::-1], x)
        made = {name: table[name][plan["record"]] for name in others}
        return {top: self.transformer.normalized(x, jnp)} | made

    def _record_shape(self) -> Shape:
        shape = self._shape or self.records.decode(self.records.read([0])[0]).image.shape
        self._shape = shape
        return shape

    def name_of(self, position: int, row: int) -> str:
        numbers = self.order.at(position + self.row_of(row), 1)
        return str(self.records.decode(self.records.read(numbers)[0]).name)

    def _decode(self, positions: Any, numbers: Any) -> list[Record]:
        """Returns decoded records; with `skip_corrupt`, the next valid record replaces a broken one."""
        found = []
        for i, raw in enumerate(self.records.read(numbers)):
            for step in range(1, self.order.size + 1):
                try:
                    found.append(self.records.decode(raw))
                    break
                except Corrupt as error:
                    if not self.layer.sample_param.skip_corrupt or step == self.order.size:
                        raise
                    self.skipped.add(str(error))
                    raw = self.records.read(self.order.at(int(positions[i]) + step, 1))[0]
        return found

    def _weights(self, classes: Any) -> Any:
        if classes is None or len(self.layer.top) < 3:
            raise self.layer.fault("`class_weights` requires three tops, and one integer label for each record.")
        return class_weights(classes)

    def sources(self) -> list[Path]:
        return [*self.records.sources(), *self._mean]

    def close(self) -> None:
        self.records.close()
