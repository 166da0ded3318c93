"""What all layers that deliver images have in common: records, transformations, and the reader that joins them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
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

MEAN = "(mean)"  # of a table: the mean image


class Record(NamedTuple):
    """One image, (c, h, w) uint8 or float, what the further tops are given for it, and its name, as str."""

    image: Any
    labels: tuple[Any, ...]
    name: Any


class Corrupt(NetdefError):
    """One record that cannot be read; the text names file and record."""


class Records(ABC):
    """The records of one layer by number.  Reading must be safe from several threads."""

    size: int

    @abstractmethod
    def read(self, numbers: Any) -> list[Any]:
        """What is needed to decode each of these records: file names, raw bytes, arrays."""

    @abstractmethod
    def decode(self, raw: Any) -> Record:
        """One record.  Corrupt if it is broken."""

    def classes(self) -> Any:
        """The class of every record as an array of whole numbers; None if the records have none."""
        return None

    def close(self) -> None:  # noqa: B027  (most records are files, opened one by one)
        """Let go of files."""


class ImageLayer(DataLayer):
    """A data layer whose first top is images.  Subclasses give `records`, and `shuffled` if they have such a field."""

    n_tops = (1, 3)

    transform_param: Transform = param("What is made of each image.", default=Transform(), beside=True)
    augment_param: Augment = param("How images are varied in phase TRAIN.", default=Augment(), beside=True)
    sample_param: Sampling = param("Which records are taken, and in which order.", default=Sampling(), beside=True)

    of_files: ClassVar[bool] = False  # its records are image files, of any sizes

    source: str
    batch_size: int
    rand_skip: int = 0

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        """The records; `first_only`: nobody will ask for more than the first one and its shape.

        NetdefError if a file is missing or broken."""
        raise NotImplementedError

    @classmethod
    def reads(cls, path: Path) -> Fit:
        """How well a path that exists fits as the `source` of this layer."""
        return Fit.NO

    @classmethod
    def open_path(cls, path: Path, **fields: Any) -> Records:
        """The records of a path, for the tools; of `fields` those that the layer has."""
        known = {name: value for name, value in fields.items() if name in cls.params() and value is not None}
        layer = cls(name=path.name, top=cls.tops_of(path), source=str(path), batch_size=1, **known)
        return layer.records(locator(None))

    @classmethod
    def tops_of(cls, path: Path) -> tuple[str, ...]:
        """Names of the tops that the records of a path fill: images first, then the label."""
        return "data", "label"

    def shuffled(self, phase: Phase) -> bool:
        """Whether the layer's own fields ask for a new order in each epoch."""
        return False

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of a record after resizing."""
        return height, width

    def class_names(self, locate: Locate) -> list[str]:
        """Names of the classes in the order of their numbers; none where they are not known.  NetdefError if the data
        are missing."""
        return []

    @property
    def color(self) -> bool | None:
        """Whether images are decoded to three channels, to one, or as they are."""
        return self.transform_param.color

    def standard(self, locate: Locate) -> tuple[Any, Any]:
        """(mean, deviation) of each channel of the images of phase TRAIN, for `mean_file: "AUTO"`."""
        own = self.transform_param.mean_source
        layer = self.with_source(own) if own else self
        ignored = ("name", "top", "phase", "include", "exclude", "transform_param", "augment_param", "batch_size")
        fields = {name: getattr(layer, name) for name in layer.params() if name not in ignored}
        path = layer.source_path(locate, layer.source, "the source")
        records = layer.records(locate)

        def images() -> Iterator[Any]:
            sampling = layer.sample_param
            classes = records.classes() if sampling.split else None
            order = sampled_order(layer, sampling, records.size, classes, Phase.TRAIN, 0)
            for start in range(0, order.size, CHUNK):
                numbers = order.at(start, min(CHUNK, order.size - start))
                yield from (records.decode(raw).image for raw in records.read(numbers))

        try:
            return standard(images(), f"{self.type} {fields!r} {self.color} {fingerprint(path)}")
        finally:
            records.close()

    def with_source(self, source: str) -> ImageLayer:
        """The same layer on other data."""
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
                f"it has {len(self.top)} tops, and its records fill {len(found)}: image and {len(found) - 1} labels.",
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
    """Batches of images: read, decode, augment, transform."""

    delivers_rows = False  # whether the first top is no image and takes another shape at the end

    def __init__(self, layer: ImageLayer, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: ImageLayer = layer
        self.records = layer.records(locate)
        sampling = layer.sample_param
        classes = self.records.classes() if sampling.needs_classes else None
        self.order = sampled_order(
            layer, sampling, self.records.size, classes, phase, seed, shuffle=layer.shuffled(phase)
        )
        self.size = self.order.size
        self.weights = self._weights(classes) if sampling.class_weights else None
        standard = layer.standard(locate) if layer.transform_param.mean_file == AUTO else None
        self.transformer = Transformer(layer, layer.transform_param, locate, phase, layer.augment_param, standard)
        self._shape: Shape | None = None
        if layer.rand_skip:
            self.position = int(self.random("skip").integers(layer.rand_skip))

    def batch(self, position: int) -> Batch:
        draws, numbers = self.draws(position), self.numbers(position)
        records = self._decode(position + self.rows.start, numbers)
        data = self.transformer.batch([r.image for r in records], draws, [r.name for r in records])
        tops = [data, *(np.array(column, np.float32) for column in zip(*(r.labels for r in records), strict=True))]
        if self.weights is not None:
            tops = [*tops[: len(self.layer.top) - 1], self.weights[numbers]]
        self.transformer.soften(tops, draws)
        if len(tops) < len(self.layer.top):
            raise self.layer.fault(
                f"it has {len(self.layer.top)} tops, and records fill {len(tops)}: image and {len(tops) - 1} labels."
            )
        return dict(zip(self.layer.top, tops, strict=False))

    def numbers(self, position: int) -> Any:
        return self.order.at(position, self.batch_size)[self.rows]

    def draws(self, position: int) -> Any:
        """The random numbers of the records of a batch, a row for each."""
        return self.transformer.draw(self.random("transform", position), self.batch_size)[self.rows]

    @property
    def steady(self) -> bool:  # type: ignore[override]
        sampling, at_work = self.layer.sample_param, self.transformer
        drawn = sampling.balance or sampling.skip_corrupt
        moved = at_work.train and (at_work.param.mirror or any(at_work.param.crop))
        return not drawn and not moved and at_work.varied == Augment()

    def resident(self, budget: int) -> Table | None:
        """Every record's image and labels, and the mean image; None also where images are of several shapes."""
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
        """Whether the records are only cut, mirrored, turned over and normalized."""
        at_work = self.transformer
        varied = at_work.varied
        by_host = varied.reshapes or varied.noise or varied.cutout or varied.mixup or at_work.soft_labels
        return not (at_work.param.resizes or by_host or self.layer.sample_param.skip_corrupt or self.delivers_rows)

    def plan(self, position: int) -> Batch:
        """Numbers of the records, and where each is cut; all records have one shape."""
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
        return {top: self.transformer.normalised(x, jnp)} | made

    def _record_shape(self) -> Shape:
        shape = self._shape or self.records.decode(self.records.read([0])[0]).image.shape
        self._shape = shape
        return shape

    def name_of(self, position: int, row: int) -> str:
        numbers = self.order.at(position + self.rows.start + row, 1)
        return str(self.records.decode(self.records.read(numbers)[0]).name)

    def _decode(self, position: int, numbers: Any) -> list[Record]:
        """Decoded records; in place of a broken one, if that is wished, the next one in order that is whole."""
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
                    raw = self.records.read(self.order.at(position + i + step, 1))[0]
        return found

    def _weights(self, classes: Any) -> Any:
        if classes is None or len(self.layer.top) < 3:
            raise self.layer.fault("`class_weights` needs three tops and one whole-number label for each record.")
        return class_weights(classes)

    def close(self) -> None:
        self.records.close()
