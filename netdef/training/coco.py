"""Average precision as COCO defines it, by faster-coco-eval: the mean over overlaps from 0.5 to 0.95, at 0.5 and at
0.75, and of small, medium and large objects (below 32 x 32 and 96 x 96 pixels, and above).

Pixels are those of the original images, if the layer has a `name_size_file`, or else of the net's input.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..files import locator
from ..graph import Net, Node, Value
from ..inference.boxes import per_image
from ..language.errors import NetdefError
from ..layers._image_sizes import read_sizes
from ..layers.detection import DetectionEvaluate
from ..lazy import need

# Our name of a measure, which follows the name of the output -> that of the package.
MEASURES = {
    "": "AP_all",
    "/AP50": "AP_50",
    "/AP75": "AP_75",
    "/AP_small": "AP_small",
    "/AP_medium": "AP_medium",
    "/AP_large": "AP_large",
}


class Compared(NamedTuple):
    """The bottoms of a DetectionEvaluate layer in one batch, and the number of its images."""

    found: Any  # (1, 1, rows, 7)
    truth: Any  # (1, 1, rows, 8)
    images: int


def measured(net: Net) -> bool:
    """Whether tests of a net report COCO's measures."""
    return net.solver is not None and net.solver.ap_version == "COCO"


def check_package(net: Net) -> None:
    """Raises a NetdefError if the package is missing."""
    if measured(net):
        need("faster_coco_eval", '`ap_version: "COCO"` of the solver')


def evaluator_of(net: Net, name: str) -> Node:
    """Returns the layer whose output is evaluated."""
    return next(n for n in net.layers if isinstance(n.layer, DetectionEvaluate) and n.tops[0].name == name)


def compared(net: Net, name: str) -> tuple[Value, ...]:
    """Returns the values of the detections and of the true boxes."""
    return evaluator_of(net, name).bottoms


def average_precisions(net: Net, name: str, batches: Sequence[Compared]) -> dict[str, np.float32]:
    """Returns the measures of an evaluated output; those of sizes that no object has are missing."""
    package = need("faster_coco_eval", '`ap_version: "COCO"` of the solver')
    layer: Any = evaluator_of(net, name).layer
    sizes = read_sizes(locator(net.folder)(layer.name_size_file)) if layer.name_size_file else [_input_size(net)]
    classes = [c for c in range(layer.num_classes) if c != layer.background_label_id]
    truth, found, first = [], [], 0
    for batch in batches:
        for row in _listed(batch.truth, batch.images):
            crowd = not layer.evaluate_difficult_gt and row[7] != 0
            truth.append({**_box(row, first, sizes), "id": len(truth) + 1, "iscrowd": int(crowd)})
        found += [{**_box(row, first, sizes), "score": float(row[2])} for row in _listed(batch.found, batch.images)]
        first += batch.images
    if not truth or not found:
        return {name: np.float32(0)}
    images = [{"id": i} for i in range(first)]
    categories = [{"id": c, "name": str(c)} for c in classes]
    with contextlib.redirect_stdout(io.StringIO()):
        true = package.COCO({"images": images, "categories": categories, "annotations": truth})
        judge = package.COCOeval_faster(true, true.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    values = {mine: float(judge.stats_as_dict[theirs]) for mine, theirs in MEASURES.items()}
    return {f"{name}{mine}": np.float32(value) for mine, value in values.items() if value >= 0}


def _listed(rows: Any, images: int) -> np.ndarray:
    """Returns the rows of the images of a batch, without padding."""
    return np.concatenate(per_image(np.asarray(rows, np.float64), images))


def _box(row: np.ndarray, first: int, sizes: Any) -> dict[str, Any]:
    image = first + int(row[0])
    height, width = (float(side) for side in sizes[image % len(sizes)])
    xmin, ymin, xmax, ymax = row[3:7] * (width, height, width, height)
    w, h = xmax - xmin, ymax - ymin
    return {"image_id": image, "category_id": int(row[1]), "bbox": [xmin, ymin, w, h], "area": w * h}


def _input_size(net: Net) -> tuple[int, int]:
    """Returns (height, width) of the images that the net reads."""
    for shape in (net.blobs[name].shape for name in net.inputs):
        if shape and len(shape) == 4 and shape[3] != 8:  # true boxes have rows of 8 values
            return int(shape[2]), int(shape[3])
    raise NetdefError('`ap_version: "COCO"` measures objects in pixels, but the test net has no input of images.')
