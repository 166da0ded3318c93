"""Boxes that a detector found: read from its output, placed on the picture, and written as COCO JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.label_map import is_label_map, label_map_of
from ..files import locator
from ..graph import Net, Node
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..language.source import Source

IMAGE, LABEL, CONFIDENCE, BOX = 0, 1, 2, slice(3, 7)  # the columns of a detection
TRUE_BOX, DIFFICULT = slice(3, 7), 7  # columns of a true box, after its image and label


class Box(NamedTuple):
    """One object in a picture; the corners are in pixels of the picture. The score of a true box is 1."""

    label: int
    name: str
    score: float
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False

    @property
    def corners(self) -> tuple[float, float, float, float]:
        return self.xmin, self.ymin, self.xmax, self.ymax


class Detection(NamedTuple):
    """The objects in one input, the highest score first; `size` is (height, width) of the picture, in whose pixels the
    boxes are."""

    input: str
    boxes: tuple[Box, ...]
    size: tuple[int, int]


class Placing(NamedTuple):
    """From fractions of the net's input to pixels of a picture: x -> x scale + shift, for (x, y).  `size` is (height,
    width) of the picture."""

    size: tuple[int, int]
    scale: tuple[float, float]
    shift: tuple[float, float] = (0.0, 0.0)

    def __call__(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        (sx, sy), (dx, dy) = self.scale, self.shift
        xmin, ymin, xmax, ymax = map(float, box)
        return xmin * sx + dx, ymin * sy + dy, xmax * sx + dx, ymax * sy + dy


def whole(size: tuple[int, int]) -> Placing:
    """The placing of an input that shows the whole picture of (height, width)."""
    return Placing(size, (float(size[1]), float(size[0])))


def detector_of(net: Net) -> Node | None:
    """Returns the last layer that outputs detections."""
    return next((node for node in reversed(net.layers) if node.layer.detects and node.tops), None)


def truth_of(net: Net) -> str | None:
    """Returns the blob of true boxes with which a layer compares the detections."""
    for node in net.layers:
        at = node.layer.truth_bottom
        if at is not None and at < len(node.bottoms):
            return node.bottoms[at].name
    return None


def per_image(rows: np.ndarray, images: int) -> list[np.ndarray]:
    """Returns the detections (count, 7) or true boxes (count, 8) of each image of a batch."""
    rows = np.asarray(rows).reshape(-1, rows.shape[-1])
    numbers = np.trunc(rows[:, IMAGE])
    return [rows[(numbers == i) & (rows[:, LABEL] != -1)] for i in range(images)]


def detections_in(
    top: np.ndarray, labels: Sequence[str], places: Sequence[Placing], names: Mapping[int, str]
) -> list[Detection]:
    """Returns the objects in each image of a batch, of which a layer output these detections."""
    found = zip(labels, per_image(top, len(labels)), places, strict=True)
    return [Detection(label, boxes_of(rows, names, place), place.size) for label, rows, place in found]


def boxes_of(rows: np.ndarray, names: Mapping[int, str], place: Placing) -> tuple[Box, ...]:
    """Returns the detections of one image, the highest score first."""
    kept = rows[np.argsort(-rows[:, CONFIDENCE], kind="stable")]
    label = lambda row: int(row[LABEL])
    return tuple(Box(label(r), name_of(names, label(r)), float(r[CONFIDENCE]), *place(r[BOX])) for r in kept)


def true_boxes_of(rows: np.ndarray, names: Mapping[int, str], place: Placing) -> tuple[Box, ...]:
    """Returns the true boxes of one image."""
    label = lambda row: int(row[LABEL])
    return tuple(
        Box(label(r), name_of(names, label(r)), 1.0, *place(r[TRUE_BOX]), difficult=bool(r[DIFFICULT])) for r in rows
    )


def name_of(names: Mapping[int, str], label: int) -> str:
    return names.get(label, f"class {label}")


Names = Mapping[int, str] | Sequence[str]  # by label, or a list, which may leave out the background


def label_names(net: Net, given: Names = (), stored: Sequence[str] = ()) -> dict[int, str]:
    """Returns the names of the labels of a detector: those given, or of the label map that the net names, or those
    `stored` with its weights.

    A list of as many names as there are kinds of objects begins with label 1, because label 0 is the background."""
    node = detector_of(net)
    file = getattr(getattr(node and node.layer, "save_output_param", None), "label_map_file", "")
    path = locator(net.folder)(file) if file and not given else None
    found = names_in(path) if path is not None and path.is_file() else given or stored
    if isinstance(found, Mapping):
        return dict(found)
    background = getattr(node and node.layer, "background_label_id", None)
    objects = getattr(node and node.layer, "num_classes", 0) - (background == 0)
    return dict(enumerate(found, int(len(found) == objects and background in (0, None))))


def names_in(path: Path) -> Names:
    """Returns the names in a label map, or in a text file with one name per line.  NetdefError if it cannot be read."""
    try:
        source = Source(str(path), path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise NetdefError(f"{path}: the names of the classes cannot be read: {error}") from None
    if not is_label_map(source):
        return source.text.splitlines()
    report = Report()
    found = label_map_of(source, report)
    report.stop_on_errors()
    return found.names if found else {}


def coco(found: Sequence[Detection], names: Mapping[int, str]) -> dict[str, Any]:
    """Returns detections in the format of COCO; `annotations` are results as `loadRes` of pycocotools accepts them.

    The id of an image is the number that is its file name, if all have one, as in COCO; else they count from 1."""
    numbers = [match and int(match[1]) for d in found for match in [re.search(r"(\d+)(\.\w+)?$", Path(d.input).name)]]
    whole = all(Path(d.input).stem.isdigit() for d in found) and len({*numbers}) == len(found)
    ids = numbers if whole else range(1, len(found) + 1)
    labels = sorted({*names} - {0} | {box.label for d in found for box in d.boxes})
    images = [
        {"id": i, "file_name": d.input, "height": d.size[0], "width": d.size[1]}
        for i, d in zip(ids, found, strict=True)
    ]
    results = [_result(i, box) for i, d in zip(ids, found, strict=True) for box in d.boxes]
    return {
        "images": images,
        "categories": [{"id": label, "name": name_of(names, label)} for label in labels],
        "annotations": [{"id": k, **result} for k, result in enumerate(results, 1)],
    }


def _result(image: Any, box: Box) -> dict[str, Any]:
    width, height = box.xmax - box.xmin, box.ymax - box.ymin
    return {
        "image_id": image,
        "category_id": box.label,
        "bbox": [round(x, 3) for x in (box.xmin, box.ymin, width, height)],
        "area": round(width * height, 3),
        "iscrowd": 0,
        "score": round(box.score, 6),
    }


def coco_text(found: Sequence[Detection], names: Mapping[int, str]) -> str:
    return json.dumps(coco(found, names), indent=1) + "\n"
