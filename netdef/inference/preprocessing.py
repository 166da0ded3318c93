"""The preprocessing of images, stored beside a net's weights, so that predictions do not need the training data.

A run has `preprocessing.json` in its folder; weights converted to NAME.caffemodel (or another format) have
NAME.preprocessing.json beside them.  The file contains the data layer as prototxt, with its transform_param; the size
of the records; the measured mean and standard deviation, or the mean image; and the names of the classes.  For a net
that reads a table, `tables` describes the file.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import images
from ..data.base import generator
from ..data.boxes import Fitted, fitted
from ..data.layers._box_layer import BoxLayer
from ..data.layers._image_layer import ImageLayer
from ..data.layers.arrays import ArrayData
from ..data.transform import AUTO, Transformer
from ..files import locator, write_atomically
from ..graph import Net
from ..interop import solver_state
from ..interop.formats.base import ending_of
from ..language.errors import NetdefError
from ..language.printer import print_message
from ..language.source import NOWHERE
from ..language.syntax import Message
from ..layers._resize import Resize
from ..layers.base import Phase
from ..passes.encode import encode_layer
from ..shape import known, show
from .boxes import Placing
from .stored_layer import layer_of, text_of
from .tables import TablePreprocessing, table_from, table_of

NAME = "preprocessing.json"
STILL = 0.75  # a random number that does not mirror


@dataclass(frozen=True)
class Preprocessing:
    """Turns images into rows of one input.  `shape`: (c, h, w) of a row, or (1, 1, n) if it is not an image; `record`:
    (h, w) of a record before it is transformed, if fixed; `standard`: (mean, deviation) of each channel; `mean`:
    (c, h, w), a mean image."""

    layer: ImageLayer
    shape: tuple[int, int, int]
    record: tuple[int, int] | None = None
    standard: tuple[np.ndarray, np.ndarray] | None = None
    mean: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    @property
    def color(self) -> bool:
        """Whether images are decoded to three channels."""
        return self.shape[0] != 1 if self.layer.color is None else self.layer.color

    def rows(self, decoded: Sequence[np.ndarray], names: Sequence[Any]) -> np.ndarray:
        """Turns images (h, w, c) uint8, channels B, G, R, into (n, c, h, w) float32, as the data layer in phase TEST.
        `names` are for messages."""
        sized = [images.resize(image, *self._size(*image.shape[:2])).transpose(2, 0, 1) for image in decoded]
        rows = self._transformed(sized, names)
        if rows.shape[1:] != self.shape:
            raise NetdefError(f"{names[0]}: its preprocessed shape is {show(rows.shape[1:])}, not {show(self.shape)}")
        return rows

    def of_arrays(self, rows: np.ndarray, names: Sequence[Any]) -> np.ndarray:
        """Turns rows of an array, which are records of the data layer, into (n, c, h, w) float32, without resizing."""
        if self.shape[:2] == (1, 1):  # not images
            found = rows.reshape(len(rows), 1, 1, -1)
        elif rows.ndim == 3:
            found = rows[:, None]
        else:
            last = isinstance(self.layer, ArrayData) and self.layer.channels_last
            found = rows.transpose(0, 3, 1, 2) if last else rows
        if found.ndim != 4:
            raise NetdefError(
                f"{names[0]} has the shape {show(rows.shape[1:])}; the rows of an array of images are (c, h, w)."
            )
        found = found if found.dtype == np.uint8 else found.astype(np.float32)
        return self._transformed(list(found), names)

    def placing(self, size: tuple[int, int]) -> Placing:
        """Returns where boxes of the input are in a picture of (height, width), which is resized and then cropped."""
        to, first = self._resize, self._size(*size)
        fit = Fitted(first, first) if to is None else fitted(to, *first)
        inputs = [cut or side for cut, side in zip(self.layer.transform_param.crop, fit.size, strict=True)]
        # A pixel of the input is so many of the picture; the first one is at this place.
        each = [own / part for own, part in zip(size, fit.part, strict=True)]
        edges = [
            (int(side) - int(cut)) // 2 - (side - part) / 2
            for side, cut, part in zip(fit.size, inputs, fit.part, strict=True)
        ]
        units = (to.height_scale, to.width_scale) if to is not None and to.rescales else inputs
        scale = [unit * one for unit, one in zip(units, each, strict=True)]
        shift = [edge * one for edge, one in zip(edges, each, strict=True)]
        return Placing(size, (scale[1], scale[0]), (shift[1], shift[0]))

    def restored(self, row: np.ndarray) -> np.ndarray:
        """Returns a row (c, h, w) without the mean and the scale, for a picture of it."""
        transform = self.layer.transform_param
        row = np.asarray(row, np.float32)
        if transform.squash or (self.mean is not None and self.mean.shape != row.shape):
            return row
        row = row / transform.scale if transform.scale else row
        if self.standard is not None:
            return row * self.standard[1][:, None, None] + self.standard[0][:, None, None]
        row = row + np.asarray(transform.mean_value, np.float32)[:, None, None] if transform.mean_value else row
        return row if self.mean is None else row + self.mean

    @property
    def words(self) -> str:
        """What is done to the records, as in the file but without `mirror`, which predictions do not; empty if nothing
        is."""
        still = self.layer.transform_param.replace(mirror=False)
        value = encode_layer(self.layer.replace(transform_param=still)).value
        field = value.get("transform_param") if isinstance(value, Message) else None
        return " ".join(print_message(Message((field,), NOWHERE)).split()) if field else ""

    def _transformed(self, sized: list[np.ndarray], names: Sequence[Any]) -> np.ndarray:
        bare = self.layer.transform_param.replace(mean_file="") if self.mean is not None else self.layer.transform_param
        at_work = Transformer(self.layer, bare, locator(None), Phase.TEST, standard=self.standard)
        at_work.mean = self.mean
        draws = np.full((len(sized), at_work.draw(generator(0, ""), 1).shape[1]), STILL)
        return at_work.batch(sized, draws, list(names))

    @property
    def _resize(self) -> Resize | None:
        """How the transformation resizes images; None if it does not."""
        to = self.layer.transform_param.resize
        return to if to is not None and to.height and to.width else None

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) to which an image is resized before it is transformed."""
        if isinstance(self.layer, BoxLayer) and self._resize is not None:
            return self.layer.size_of(height, width)  # its records have sizes of their own
        if self.layer.of_files:
            wanted = self.layer.size_of(height, width)
            if wanted != (height, width) or any(self.layer.transform_param.crop):
                return wanted
        return self.record or self.shape[1:]

    def as_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        mean, deviation = self.standard or (None, None)
        return {
            "layer": _text(self.layer),
            "shape": list(self.shape),
            "record": None if self.record is None else list(self.record),
            "mean": None if mean is None else [float(x) for x in mean],
            "deviation": None if deviation is None else [float(x) for x in deviation],
            "mean_image": None if self.mean is None else _packed(self.mean),
            "classes": list(self.classes),
        }

    def save(self, path: Path) -> None:
        """Writes the file atomically."""
        write_atomically(path, lambda new: new.write_text(json.dumps(self.as_dict(), indent=1), encoding="utf-8"))


def preprocessing_of(*nets: Net) -> Preprocessing | None:
    """Returns that of the first net that reads images; None if none does.  Raises NetdefError for missing files."""
    for net in nets:
        for node in net.layers:
            shape: Any = net.blobs[node.tops[0].name].shape if node.tops else None
            if not isinstance(node.layer, ImageLayer) or not known(shape):
                continue
            layer, locate = node.layer, locator(net.folder)
            if len(shape) != 4:
                if layer.transform_param == type(layer.transform_param)():
                    continue
                shape = (shape[0], 1, 1, math.prod(shape[1:]))
            file = layer.transform_param.mean_file
            return Preprocessing(
                layer,
                shape[1:],
                _record(layer, locate),
                layer.standard(locate) if file == AUTO else None,
                Transformer(layer, layer.transform_param, locate, Phase.TEST).mean if file not in ("", AUTO) else None,
                tuple(layer.class_names(locate)),
            )
    return None


def _record(layer: ImageLayer, locate: Any) -> tuple[int, int] | None:
    """Returns (height, width) of the first record of a database; None for image files."""
    if layer.of_files:
        return None
    records = layer.records(locate, first_only=True)
    try:
        return records.decode(records.read([0])[0]).image.shape[1:]
    finally:
        records.close()


def keep(nets: Sequence[Net], folder: Path) -> None:
    """Writes the preprocessing of a run's images or table to its folder, if it has some that can be read."""
    for net in nets:
        try:
            found = preprocessing_of(net) or table_of(net)
        except NetdefError:  # because the data of the other phase may exist
            continue
        if found is not None:
            found.save(folder / NAME)
            return


def beside(weights: str | Path) -> Path | None:
    """Returns the preprocessing file of weights, of a snapshot or of the folder of a run; None if there is none."""
    path = Path(weights)
    places = [_named_after(path), path / NAME, path.parent / NAME]
    return next((place for place in places if place.is_file()), None)


def carry(source: str | Path, to: str | Path) -> Path | None:
    """Copies the preprocessing file of some weights for others; returns the new file, or None if there is none."""
    found, target = beside(source), _named_after(Path(to))
    if found is None:
        return None
    load(found).save(target)
    return target


def _named_after(weights: Path) -> Path:
    """Returns `vgg.preprocessing.json` for `vgg.caffemodel` or `vgg.solverstate`."""
    stem = weights.name.removesuffix(ending_of(weights) or solver_state.ending_of(weights))
    return weights.with_name(f"{stem}.{NAME}")


def load(path: str | Path) -> Preprocessing | TablePreprocessing:
    """Reads a preprocessing file.  Raises NetdefError if it is invalid."""
    path = Path(path)
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if "table" in given:
            return table_from(given, NAME)
        layer = _layer(given["layer"])
        shape, record = tuple(map(int, given["shape"])), given["record"]
        classes = tuple(map(str, given["classes"]))
        if len(shape) != 3:
            raise ValueError(f"its shape is {given['shape']}, not [c, h, w]")
        standard = None
        if given["mean"] is not None:
            standard = (np.array(given["mean"], np.float32), np.array(given["deviation"], np.float32))
            if any(a.shape != shape[:1] for a in standard):
                raise ValueError(f"its mean and deviation do not have {shape[0]} channels")
        mean = None if given["mean_image"] is None else _unpacked(given["mean_image"])
        return Preprocessing(layer, shape, record and (int(record[0]), int(record[1])), standard, mean, classes)
    except OSError as error:
        raise NetdefError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise NetdefError(f"{path}: not a preprocessing file of netdef, or it is damaged: {why}") from None


def _text(layer: ImageLayer) -> str:
    """Returns the layer as prototxt, without the fields for training and the paths on this host."""
    defaults = {n: layer.params()[n].default for n in ("include", "exclude", "augment_param", "sample_param")}
    return text_of(layer.replace(**defaults, top=layer.top[:1], source=""))


def _layer(text: str) -> ImageLayer:
    found = layer_of(text, NAME)
    if not isinstance(found, ImageLayer):
        raise ValueError("expected one layer that reads images")
    return found


def _packed(array: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(array, "<f4").tobytes()
    return {"shape": list(array.shape), "float32": base64.b64encode(data).decode("ascii")}


def _unpacked(given: dict[str, Any]) -> np.ndarray:
    shape, data = tuple(map(int, given["shape"])), base64.b64decode(given["float32"], validate=True)
    if len(shape) != 3 or any(d < 1 for d in shape) or math.prod(shape) * 4 != len(data):
        raise ValueError(f"its mean image is {show(shape)}, but has {len(data) // 4} values")
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(shape)
