"""The images of the test data that a detector gets most wrong, as pictures with the boxes found and the true ones."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..graph import Net

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


def _words(name: str, missed: list[Any], false: list[Any]) -> str:
    parts = [f"{what}: {_counted(boxes)}" for what, boxes in (("missed", missed), ("false", false)) if boxes]
    return f"{name}. {'; '.join(parts)}"


def _counted(boxes: list[Any]) -> str:
    """Returns the names of boxes with their numbers: `2 x car, dog`."""
    numbers = Counter(box.name for box in boxes)
    return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in sorted(numbers.items()))
