"""What a trained net says: of the records of its data layer, of image files, or of arrays.

`Predictor` pairs a net of phase TEST with its weights; `scores` gives a probability for each class, `blobs` any named
blob.  Batches are filled up to the net's own size and cut again, so that one compiled program does all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .data import images
from .data.base import generator, locator
from .data.feed import Feed
from .data.folder import ImageFolder, images_in
from .data.image_layer import ImageLayer
from .data.image_list import ImageFiles
from .data.transform import AUTO, Transformer
from .graph import Net, Node, Value
from .language.diagnostics import NetdefError
from .layer import Phase
from .model import compile

LOSSES = ("SoftmaxWithLoss", "Accuracy", "FocalLoss")  # take scores before a softmax, and labels


class Predictor:
    """A net and its weights.  `weights`: files, or {layer: [arrays]}."""

    def __init__(self, net: Net, weights: Any, blob: str | None = None):
        self.net = net
        self.model = compile(net, weights=weights)
        self.blob, self.label, self._by_softmax = _scores_of(net, blob)
        self._data = next((node for node in net.layers if isinstance(node.layer, ImageLayer)), None)

    def batches(self, arrays: Any) -> Iterator[tuple[dict[str, Any], int]]:
        """Inputs of the net for rows (n, c, h, w) of its first input, with how many of them count; others are 0."""
        first, *others = self.net.inputs or (None,)
        if first is None:
            raise NetdefError("the net takes no images: it has neither an Input nor a data layer.")
        shapes = {name: self._shape(name) for name in self.net.inputs}
        size = shapes[first][0]
        for start in range(0, len(arrays), size):
            rows = np.asarray(arrays[start : start + size], np.float32)
            full = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), 0)])
            yield {first: full, **{name: np.zeros(shapes[name], np.float32) for name in others}}, len(rows)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.net.blobs[name].shape
        if shape is None or not all(isinstance(d, int) for d in shape):
            raise NetdefError(f"the shape of the net's input `{name}` is not known; its data must be there.")
        return shape

    def blobs(self, inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """Named blobs of one batch.  NetdefError for a name that the net does not have."""
        for name in names:
            if name not in self.net.blobs:
                there = ", ".join(n for n in self.net.blobs if not n.startswith("("))
                raise NetdefError(f"the net has no blob `{name}`; it has {there}.")
        made = self.model.blobs(**inputs)
        return {name: np.asarray(made[name]) for name in names}

    def scores(self, inputs: Mapping[str, Any]) -> Any:
        """Probabilities (n, classes) of one batch, or the blob as it is if no softmax belongs to it."""
        found = self.blobs(inputs, [self.blob])[self.blob]
        found = found.reshape(len(found), -1)
        if not self._by_softmax:
            return found
        raised = np.exp(found - found.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    def records(self, root: Path | None = None) -> Iterator[tuple[dict[str, Any], int]]:
        """One pass over the net's own data: inputs, and how many of their rows count."""
        with Feed(self.net, root=root) as feed:
            if feed.size is None or feed.batch_size is None:
                raise NetdefError("the net has no data layer to read; name images or arrays.")
            for start in range(0, feed.size, feed.batch_size):
                yield next(feed), min(feed.batch_size, feed.size - start)

    def class_names(self) -> list[str] | None:
        """Names of the classes, if the data layer knows them."""
        layer = self._data.layer if self._data is not None else None
        return layer.class_names(locator(self.net.folder)) if isinstance(layer, ImageFolder) else None

    def prepare(self, paths: Sequence[Path]) -> Any:
        """Image files as the net wants them, (n, c, h, w): by its data layer, or resized to its input."""
        layer = self._data.layer if self._data is not None else None
        c, h, w = self._shape(self.net.inputs[0])[1:] if self.net.inputs else (0, 0, 0)
        color = layer.color if isinstance(layer, ImageLayer) else c != 1
        decoded = []
        for path in paths:
            try:
                image = images.decode(path.read_bytes(), (c != 1) if color is None else color)
            except (OSError, images.Undecodable) as error:
                raise NetdefError(f"{path} is not an image that can be read ({error}).") from None
            to = layer.size_of(*image.shape[:2]) if isinstance(layer, ImageFiles) else (0, 0)
            decoded.append(images.resize(image, *(to if all(to) else (h, w))).transpose(2, 0, 1))
        if not isinstance(layer, ImageLayer):
            return np.stack(decoded).astype(np.float32)
        locate = locator(self.net.folder)
        standard = layer.standard(locate) if layer.transform_param.mean_file == AUTO else None
        at_work = Transformer(layer, layer.transform_param, locate, Phase.TEST, standard=standard)
        draws = np.full((len(decoded), at_work.draw(generator(0, ""), 1).shape[1]), 0.75)  # nothing is mirrored
        return at_work.batch(decoded, draws, list(paths))


def _scores_of(net: Net, wanted: str | None) -> tuple[str, str | None, bool]:
    """(blob of the scores, blob of the labels, whether a softmax is still to be taken)."""
    judge = next((n for n in net.layers if n.type in LOSSES and len(n.bottoms) > 1), None)
    label = judge.bottoms[1].name if judge else None
    softmax = next((n for n in reversed(net.layers) if n.type == "Softmax"), None)
    if wanted:
        return wanted, label, judge is not None and judge.bottoms[0].name == wanted
    if softmax is not None:
        return softmax.tops[0].name, label, False
    if judge is not None:
        return judge.bottoms[0].name, label, not _made_by(net, judge.bottoms[0], "Softmax")
    last = next((name for name in net.outputs if net.blobs[name].shape), None)
    if last is None:
        raise NetdefError("the net has no output with a row for each image; name a blob with --blob.")
    return last, None, False


def _made_by(net: Net, value: Value, kind: str) -> bool:
    maker: Node | None = next((n for n in net.layers if value in n.tops), None)
    return maker is not None and maker.type == kind


def confusion(predictor: Predictor) -> Any:
    """How often each class (row) was taken for each class (column), over the net's own data: (k, k) whole numbers."""
    if predictor.label is None:
        raise NetdefError("the net has no loss or accuracy with labels, so nothing can be confused.")
    counts: Any = None
    for inputs, rows in predictor.records():
        scores, labels = predictor.scores(inputs)[:rows], inputs[predictor.label]
        labels = labels.reshape(len(labels), -1)[:rows]
        if labels.shape[1] != 1:
            raise NetdefError(f"`{predictor.label}` has {labels.shape[1]} labels for a record; one is needed.")
        if counts is None:
            counts = np.zeros((scores.shape[1],) * 2, np.int64)
        np.add.at(counts, (labels[:, 0].astype(int), scores.argmax(1)), 1)
    return counts


def image_files(inputs: Sequence[str]) -> list[Path]:
    """Image files and those in folders.  NetdefError for a path that is not there, or a folder without images."""
    found: list[Path] = []
    for name in inputs:
        path = Path(name)
        if not path.exists():
            raise NetdefError(f"{path} does not exist.")
        inside = sorted(images_in(path)) if path.is_dir() else [path]
        if not inside:
            raise NetdefError(f"the folder {path} holds no images.")
        found += inside
    return found
