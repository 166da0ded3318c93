"""Predictions of a trained net: for the records of its data layer, for image files, or for arrays.

    for found in netdef.predict("deploy.prototxt", ["cat.jpg"], weights="vgg.caffemodel"):
        print(found.input, found.best(5))

`Predictor` pairs a net of phase TEST with its weights; `scores` returns a probability for each class, `detections` the
boxes that a detector found, `blobs` any named blob.
  Batches are padded to the net's own size, so that all of them use one compiled program, and to a multiple of the
devices that divide them; the rows that pad them are removed from the results.  Images are preprocessed
as in training: according to the file beside the weights (see `preprocessing`), else to the net's own data layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from ..compiler import load, with_shapes
from ..data import images
from ..data.feed import Feed
from ..data.layers.folder import images_in
from ..data.mesh import AXIS, Devices, chosen, mesh_of
from ..data.table_file import is_table
from ..graph import Net
from ..interop.weights import paths_of
from ..language.errors import NetdefError, printable
from ..model import Model, check_shapes, compile
from ..shape import known, show
from .answer import Answer, answer_of
from .boxes import Detection, Placing, detections_in, label_names, whole
from .preprocessing import NAME, Preprocessing, beside, preprocessing_of
from .preprocessing import load as load_preprocessing
from .tables import TablePreprocessing, table_of

CHUNK = 256  # images decoded at a time


class Prediction(NamedTuple):
    """The prediction for one input: `scores` (classes), probabilities if the net has a softmax."""

    input: str
    scores: np.ndarray
    names: tuple[str, ...] = ()

    def best(self, n: int = 5) -> list[tuple[str, float]]:
        """Returns (name, score) of the `n` classes with the highest scores."""
        name = lambda k: self.names[k] if k < len(self.names) else f"class {k}"
        return [(name(int(k)), float(self.scores[k])) for k in self.scores.argsort()[::-1][: max(n, 1)]]

    def __repr__(self) -> str:
        """One line with the best classes, because there may be thousands of scores."""
        return f"<Prediction {printable(self.input)}: {', '.join(f'{n} {s:.4g}' for n, s in self.best(3))}>"


def predict(
    net: Net | Model | str | Path,
    inputs: Any,
    weights: Any = None,
    blob: str | None = None,
    names: Sequence[str] = (),
    preprocessing: str | Path | None = None,
    devices: Devices = None,
    **options: Any,
) -> list[Any]:
    """Returns the predictions for images (paths of files or folders) or for an array of input rows: a `Prediction` for
    each, or a `Detection` with the boxes that a detector found, in pixels of the picture.

    `weights`: files, a snapshot, the folder of a run, or {layer: [arrays]}; a model has its own.  `preprocessing`: the
    preprocessing file, if it is not the one beside the weights.  `blob`: the blob of the scores.  `devices`:
    "all", a number of devices or their indices, which divide each batch; by default, the first one.  `options` are
    passed to `netdef.load`.  Raises CompileError; NetdefError for files that cannot be read."""
    stored = load_preprocessing(preprocessing) if preprocessing is not None else stored_with(weights)
    return list(_predictor(net, weights, blob, stored, devices, options).predictions(inputs, names))


def features(
    net: Net | Model | str | Path,
    blobs: Sequence[str],
    weights: Any = None,
    devices: Devices = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Returns blobs of a trained net for all records of its test data: {name: array with a row for each record}.

    The arguments are those of `predict`.  Raises CompileError; NetdefError for files that cannot be read and for blobs
    without a row for each record."""
    parts: dict[str, list[Any]] = {name: [] for name in blobs}
    for rows in _predictor(net, weights, None, None, devices, options).features(tuple(parts)):
        for name, array in rows.items():
            parts[name].append(array)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _predictor(
    net: Net | Model | str | Path,
    weights: Any,
    blob: str | None,
    stored: Preprocessing | TablePreprocessing | None,
    devices: Devices,
    options: Mapping[str, Any],
) -> Predictor:
    if weights is None and not isinstance(net, Model):
        raise NetdefError("the weights are missing; give a weight file, a snapshot or the folder of a run.")
    if not isinstance(net, (Net, Model)):
        net = load(net, phase="TEST", **{"trust_python": True, **options})
    return Predictor(net, weights, blob, stored, devices)


def stored_with(weights: Any) -> Preprocessing | TablePreprocessing | None:
    """Returns the preprocessing stored beside some weights; of several files, beside the last one that has it."""
    if weights is None or isinstance(weights, Mapping):
        return None
    found = [file for path in paths_of(weights) if (file := beside(path))]
    return load_preprocessing(found[-1]) if found else None


class Predictor:
    """A net and its weights.  `weights`: files, or {layer: [arrays]}; `stored`: the preprocessing of images, if it does
    not come from the net's data layer; `devices` divide the rows of each batch."""

    def __init__(
        self,
        net: Net | Model,
        weights: Any,
        blob: str | None = None,
        stored: Preprocessing | TablePreprocessing | None = None,
        devices: Devices = None,
    ):
        found = [] if devices is None else chosen(devices)
        if isinstance(stored, TablePreprocessing) and isinstance(net, Net) and not _is_known(net):
            net = with_shapes(net, stored.shapes())
        self.model = compile(net, weights=weights) if isinstance(net, Net) else net
        self.net = self.model.net
        if isinstance(net, Model) and weights is not None:
            net.set_weights(weights) if isinstance(weights, Mapping) else net.load_weights(weights)
        self._devices = max(1, len(found))
        self._divide: NamedSharding | None = None  # of inputs, whose rows the devices divide
        if found:
            mesh = mesh_of(found)
            self._divide = NamedSharding(mesh, PartitionSpec(AXIS))
            self.model = _on_every(self.model, NamedSharding(mesh, PartitionSpec()))
        self.answer, self.blob, self.label, self._by_softmax = answer_of(self.net, blob)
        self._stored = stored

    @property
    def detects(self) -> bool:
        """Whether the net outputs boxes."""
        return self.answer is Answer.BOXES

    @cached_property
    def preprocessing(self) -> Preprocessing | None:
        """The preprocessing of images; None if it is unknown."""
        if isinstance(self._stored, TablePreprocessing):
            return None
        return self._stored or preprocessing_of(self.net)

    @cached_property
    def table(self) -> TablePreprocessing | None:
        """How tables are read; None if it is unknown."""
        return self._stored if isinstance(self._stored, TablePreprocessing) else table_of(self.net)

    def predictions(self, inputs: Any, names: Sequence[str] = ()) -> Iterator[Any]:
        """Yields the predictions for paths of images, or for an array of rows."""
        known = tuple(names or self.class_names() or ())
        if isinstance(inputs, (str, Path)) and is_table(Path(inputs)):
            for labels, given, count in self.table_batches(inputs):
                yield from (Prediction(*pair, known) for pair in zip(labels, self.scores(given)[:count], strict=True))
            return
        shown = label_names(self.net, names, known) if self.detects else {}
        for labels, rows, places in self._rows(inputs):
            for given, count in self.batches(rows):
                if self.detects:
                    yield from self.detections(labels[:count], given, places[:count], shown)
                else:
                    scores = self.scores(given)[:count]
                    yield from (Prediction(label, own, known) for label, own in zip(labels, scores, strict=False))
                labels, places = labels[count:], places[count:]

    def _rows(self, inputs: Any) -> Iterator[tuple[list[str], Any, list[Placing]]]:
        if isinstance(inputs, np.ndarray) or hasattr(inputs, "__array__"):
            rows = np.asarray(inputs)
            yield [f"row {i}" for i in range(len(rows))], rows, [whole(rows.shape[-2:])] * len(rows)
            return
        files = image_files([inputs] if isinstance(inputs, (str, Path)) else inputs)
        for start in range(0, len(files), CHUNK):
            some = files[start : start + CHUNK]
            places = [self.placing(size_of_file(path)) for path in some] if self.detects else []
            yield [str(path) for path in some], self.prepare(some), places

    def table_batches(self, path: str | Path) -> Iterator[tuple[list[str], dict[str, Any], int]]:
        """Yields the names of the rows of a table, inputs of the net for them, and their number; labels are 0."""
        if self.table is None:
            raise NetdefError(f"{path} is a table, but the net reads no table, so its columns mean nothing to it.")
        shapes = {name: self._shape(name) for name in self.net.inputs}
        used = [name for name in self.net.inputs if not self._is_label(name)]
        return self.table.batches(Path(path), shapes, used, lambda size: self._full(size, shapes))

    def _is_label(self, name: str) -> bool:
        """Whether only losses and metrics use an input."""
        uses = [node.layer for node in self.net.layers if any(value.name == name for value in node.bottoms)]
        return bool(uses) and all(layer.is_loss or layer.is_metric for layer in uses)

    def placing(self, size: tuple[int, int]) -> Placing:
        """Returns where boxes of the input are in a picture of (height, width) pixels."""
        way = self.preprocessing
        return whole(size) if way is None else way.placing(size)

    def detections(
        self, labels: Sequence[str], inputs: Mapping[str, Any], places: Sequence[Placing], names: Mapping[int, str]
    ) -> list[Detection]:
        """Returns the objects in each image of a batch, in pixels of its picture."""
        assert self.blob is not None
        return detections_in(self.blobs(inputs, [self.blob])[self.blob], labels, places, names)

    def batches(self, arrays: Any) -> Iterator[tuple[dict[str, Any], int]]:
        """Yields inputs of the net for rows (n, c, h, w) of its first input, and their number; other inputs are 0."""
        first, *others = self.net.inputs or (None,)
        if first is None:
            raise NetdefError("the net has no input for images: it has neither an Input nor a data layer.")
        shapes = {name: self._shape(name) for name in self.net.inputs}
        batch = shapes[first][0]
        size = self._full(batch, shapes)
        wide = {n: (size, *shapes[n][1:]) if shapes[n][:1] == (batch,) else shapes[n] for n in others}
        for start in range(0, len(arrays), size):
            rows = np.asarray(arrays[start : start + size], np.float32)
            yield {first: _padded(rows, size), **{n: np.zeros(wide[n], np.float32) for n in others}}, len(rows)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.net.blobs[name].shape
        if shape is None or not all(isinstance(d, int) for d in shape):
            raise NetdefError(f"the shape of the net's input `{name}` is unknown, because its data is not available.")
        return shape

    def blobs(self, inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """Returns named blobs of one batch.  Raises NetdefError for a name that does not exist."""
        for name in names:
            if name not in self.net.blobs:
                there = ", ".join(n for n in self.net.blobs if not n.startswith("("))
                raise NetdefError(f"the net has no blob `{name}`; it has {there}.")
        made = self.model.blobs(**inputs) if self._divide is None else self._divided(inputs)
        return {name: np.asarray(made[name]) for name in names}

    def _divided(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the blobs of one batch, whose rows the devices divide; the last row fills a batch that they cannot
        divide evenly."""
        assert self._divide is not None
        rows = len(next(iter(inputs.values()), ()))
        full = self._full(rows, {name: np.shape(array) for name, array in inputs.items()})
        whole = NamedSharding(self._divide.mesh, PartitionSpec())
        placed = {}
        for name, array in inputs.items():
            array = _padded(array, full) if len(array) == rows else array
            placed[name] = jax.device_put(array, whole if len(array) % self._devices else self._divide)
        made = self.model.blobs(**placed)
        return {name: array[:rows] if array.ndim and len(array) == full else array for name, array in made.items()}

    def _full(self, rows: int, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Returns the number of rows that the devices divide evenly; `rows` if the net works on no other number: each
        device then computes all of them."""
        full = -(-rows // self._devices) * self._devices
        if full == rows:
            return rows
        try:
            check_shapes(self.net, tuple((n, (full, *s[1:]) if s[:1] == (rows,) else s) for n, s in shapes.items()))
        except NetdefError:
            return rows
        return full

    def row(self, array: Any, i: int, inputs: Mapping[str, Any]) -> Any:
        """Returns what a blob has for row i of a batch of inputs; all of it, if it has no rows."""
        first, whole = next(iter(inputs.items()))
        if self.table is not None and self.table.layer.record_axis(first) and array.shape[:2] == whole.shape[:2]:
            return array[:, i]  # time first, as the input
        rows = whole.shape[self.table.layer.record_axis(first) if self.table is not None else 0]
        return array[i] if array.ndim and len(array) == rows else array

    def scores(self, inputs: Mapping[str, Any]) -> Any:
        """Returns the probabilities (n, classes) of one batch, or the blob itself if it has no softmax."""
        if self.blob is None:
            raise NetdefError("the net has no output with one row per image; select a blob with --blob.")
        found = self.blobs(inputs, [self.blob])[self.blob]
        found = found.reshape(len(found), -1)
        if not self._by_softmax:
            return found
        raised = np.exp(found - found.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    def records(self, root: Path | None = None) -> Iterator[tuple[dict[str, Any], int]]:
        """Yields one pass over the net's own data: inputs, and their number of valid rows."""
        with Feed(self.net, root=root) as feed:
            if feed.size is None or feed.batch_size is None:
                raise NetdefError("the net has no data layer to read; give images or arrays.")
            for start in range(0, feed.size, feed.batch_size):
                yield next(feed), min(feed.batch_size, feed.size - start)

    def features(self, names: Sequence[str], root: Path | None = None) -> Iterator[dict[str, Any]]:
        """Yields named blobs of each batch of the net's own data, without the rows that fill the last one."""
        for inputs, count in self.records(root):
            made = self.blobs(inputs, names)
            for name, array in made.items():
                if array.ndim == 0 or len(array) < count or name in self.net.padded:
                    raise NetdefError(
                        f"`{name}` has the shape {array.shape}; only blobs with one row for each record can be written."
                    )
            yield {name: array[:count] for name, array in made.items()}

    def class_names(self) -> list[str] | None:
        """Returns the names of the classes, if the training data has them."""
        try:
            found = self.preprocessing or self.table
        except NetdefError:  # because predictions for rows do not need the data, which has the names
            return None
        return list(found.classes) or None if found else None

    def prepare_rows(self, rows: Any, name: str) -> Any:
        """Returns rows of an array as input rows: prepared as by the data layer in training, if it is known."""
        way, shape = self.preprocessing, self._shape(self.net.inputs[0])[1:] if self.net.inputs else ()
        made = rows if way is None else way.of_arrays(rows, [f"{name}[{i}]" for i in range(len(rows))])
        if way is None and self.table is not None and self.net.inputs:
            made = self.table.of_array(self.net.inputs[0], rows, name)
        if np.size(made) and np.prod(made.shape[1:], dtype=int) != np.prod(shape, dtype=int):
            wanted = f"the net's input `{self.net.inputs[0]}` expects {show(shape)}"
            given = np.shape(rows)[1:] if len(shape) == 1 else made.shape[1:]  # vectors are prepared as images of a row
            raise NetdefError(f"{name}: a row has the shape {show(given)}, but {wanted}.")
        return np.asarray(made, np.float32).reshape(len(made), *shape)

    def prepare(self, paths: Sequence[Path]) -> Any:
        """Returns image files as input rows (n, c, h, w): preprocessed as in training, or resized to the input if the
        preprocessing is unknown."""
        given = self._shape(self.net.inputs[0])[1:] if self.net.inputs else ()
        if len(given) != 3:
            raise NetdefError("the net has no input for images: the shape of its first input is not (n, c, h, w).")
        way = self.preprocessing
        if way is not None and way.shape != given:
            raise NetdefError(
                f"images are preprocessed to {show(way.shape)}, but the net's input `{self.net.inputs[0]}` expects "
                f"{show(given)}; the weights or their {NAME} belong to another net."
            )
        c, h, w = given
        decoded = [picture_of_file(path, way.color if way else c != 1) for path in paths]
        if way is not None:
            return way.rows(decoded, [str(path) for path in paths])
        return np.stack([images.resize(image, h, w).transpose(2, 0, 1) for image in decoded]).astype(np.float32)


def _is_known(net: Net) -> bool:
    return all(known(net.blobs[name].shape) for name in net.inputs)


def picture_of_file(path: Path, color: bool | None = True) -> np.ndarray:
    """Returns an image file as (h, w, c) uint8.  Raises NetdefError if it is none."""
    return _read(path, lambda data: images.decode(data, color))


def size_of_file(path: Path) -> tuple[int, int]:
    """Returns (height, width) of an image file.  Raises NetdefError if it is none."""
    return _read(path, images.size_of)[:2]


def _read(path: Path, read: Any) -> Any:
    try:
        return read(path.read_bytes())
    except (OSError, images.Undecodable) as error:
        raise NetdefError(f"{path}: not an image, or the file is damaged: {error}") from None


def _padded(array: Any, rows: int) -> Any:
    """Returns an array with its last row repeated, so that it has this number of rows."""
    return np.concatenate([array, np.repeat(array[-1:], rows - len(array), 0)]) if len(array) < rows else array


def _on_every(model: Model, place: NamedSharding) -> Model:
    """Returns a copy of a model with its arrays on every device."""
    copy = nnx.clone(model)
    for owner, array in model.arrays().items():
        copy.variable(owner).set_value(jax.device_put(array, place))
    return copy


class Classified(NamedTuple):
    """A batch of the net's own data: its inputs, and for each record the scores of the classes and the true class."""

    inputs: Mapping[str, Any]
    scores: Any
    labels: Any


def classified(predictor: Predictor) -> Iterator[Classified]:
    """Yields the net's own data once, with what the net says about it."""
    if predictor.label is None:
        raise NetdefError("the net has no loss or accuracy with labels, which a confusion matrix requires.")
    for inputs, rows in predictor.records():
        scores, labels = predictor.scores(inputs)[:rows], inputs[predictor.label]
        labels = labels.reshape(len(labels), -1)[:rows]
        if labels.shape[1] != 1:
            raise NetdefError(f"`{predictor.label}` has {labels.shape[1]} labels per record; one is required.")
        yield Classified(inputs, scores, labels[:, 0].astype(int))


def confusion(predictor: Predictor, see: Callable[[Classified], None] = lambda batch: None) -> Any:
    """Counts how often each class (row) was classified as each class (column), over the net's own data: (k, k).  `see`
    is called with each batch."""
    counts: Any = None
    for batch in classified(predictor):
        if counts is None:
            counts = np.zeros((batch.scores.shape[1],) * 2, np.int64)
        np.add.at(counts, (batch.labels, batch.scores.argmax(1)), 1)
        see(batch)
    return counts


def image_files(inputs: Sequence[str | Path]) -> list[Path]:
    """Returns image files and those in folders.  Raises NetdefError for a missing path or a folder without images."""
    found: list[Path] = []
    for name in inputs:
        path = Path(name)
        if not path.exists():
            raise NetdefError(f"{path} does not exist.")
        inside = sorted(images_in(path)) if path.is_dir() else [path]
        if not inside:
            raise NetdefError(f"the folder {path} contains no images.")
        found += inside
    return found
