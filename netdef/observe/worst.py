"""The images of the test data that a net gets most wrong: of a classifier those with the most certain wrong class, of a
detector those with the most mistakes, with the boxes found and the true ones."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..graph import Net
    from ..inference.predict import Classified, Predictor

SHOWN = 12  # images
SURE = 0.3  # least score of the boxes that count


@dataclass(frozen=True)
class Worst:
    """An image with its mistakes: PNG file, and a line about them."""

    picture: bytes
    words: str


@dataclass(frozen=True)
class Found:
    """What a detector found in its test data: numbers of images, of true boxes, of those that it missed, and of false
    detections; and the images with the most mistakes, the worst first."""

    images: int
    boxes: int
    missed: int
    false: int
    snapshot: str
    worst: tuple[Worst, ...]


def found_of(net: Net, path: Path) -> Found:
    """Returns what a detector with the weights of a snapshot finds in its data.  Raises NetdefError."""
    from ..inference.boxes import label_names, truth_of
    from ..inference.examined import examined, mistakes
    from ..inference.predict import Predictor, stored_with
    from ..interop import snapshot
    from ..language.errors import NetdefError
    from ..passes.precision import as_computed

    if truth_of(net) is None:
        raise NetdefError("the test net compares its detections with no true boxes")
    predictor = Predictor(as_computed(net), snapshot.weights(path), None, stored_with(path))
    names = label_names(predictor.net, (), predictor.class_names() or ())
    images = boxes = missing = wrong = 0
    worst = []  # a heap of the worst images so far; the number of the image makes entries distinct
    for one in examined(predictor, names):
        missed, false = mistakes(one, SURE)
        images, boxes = images + 1, boxes + sum(not box.difficult for box in one.truth)
        missing, wrong = missing + len(missed), wrong + len(false)
        cost = len(missed) + sum(box.score for box in false)
        if cost:
            entry = (cost, -images, one, missed, false)
            heapq.heappush(worst, entry) if len(worst) < SHOWN else heapq.heappushpop(worst, entry)
    shown = [Worst(one.picture(SURE), _words(one.found.input, m, f)) for _, _, one, m, f in sorted(worst, reverse=True)]
    return Found(images, boxes, missing, wrong, path.name, tuple(shown))


class WorstRows:
    """The images of a classifier that it gets most wrong, collected batch by batch: by how much the score of the wrong
    class is above that of the true one."""

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.seen = 0
        self.heap: list[tuple[float, int, int, int, float, Any]] = []  # the number of the record makes entries distinct

    def __call__(self, batch: Classified) -> None:
        rows, guesses = batch.inputs[self.predictor.net.inputs[0]], batch.scores.argmax(1)
        for i in (guesses != batch.labels).nonzero()[0]:
            label, guess = int(batch.labels[i]), int(guesses[i])
            score = float(batch.scores[i, guess])
            cost = score - float(batch.scores[i, label])
            entry = (cost, -self.seen - int(i), label, guess, score, rows[i])
            add = heapq.heappush if len(self.heap) < SHOWN else heapq.heappushpop
            add(self.heap, entry)
        self.seen += len(guesses)

    def worst(self, names: Sequence[str]) -> tuple[Worst, ...]:
        """Returns the images, the worst first; none if the input is not images.  NetdefError without pillow."""
        from ..data.images import to_png
        from ..inference.pictures import stretched

        name = lambda k: names[k] if k < len(names) else f"class {k}"
        way, found = self.predictor.preprocessing, []
        for _, number, label, guess, score, row in sorted(self.heap, key=lambda entry: entry[:2], reverse=True):
            if row.ndim != 3 or min(row.shape[1:]) < 2:
                return ()
            restored = way.restored(row) if way is not None and way.shape == row.shape else row
            words = f"record {-number}: {name(label)}, classified as {name(guess)} ({score:.0%})"
            found.append(Worst(to_png(stretched(restored)), words))
        return tuple(found)


def _words(name: str, missed: list[Any], false: list[Any]) -> str:
    parts = [f"{what}: {_counted(boxes)}" for what, boxes in (("missed", missed), ("false", false)) if boxes]
    return f"{name}. {'; '.join(parts)}"


def _counted(boxes: list[Any]) -> str:
    """Returns the names of boxes with their numbers: `2 x car, dog`."""
    numbers = Counter(box.name for box in boxes)
    return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in sorted(numbers.items()))
