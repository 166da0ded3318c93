"""YOLO v2 detection: its loss and the evaluation of its boxes, which can be read and checked, but not run."""

from __future__ import annotations

import enum

from ..schema import param
from ..shape import UNKNOWN, Shape, ShapeError, count, show
from ._loss import Loss, check_batch
from .base import Example, Layer


def _check_cells(x: Shape, side: int, boxes: int, numbers: int) -> None:
    """Raises ShapeError unless an item of x has `boxes` boxes of `numbers` values for each of side x side cells."""
    wanted = side * side * boxes * numbers
    if len(x) < 2 or count(x[1:]) != wanted:
        raise ShapeError(
            f"the predictions are {show(x)}, but {side} x {side} cells of {boxes} boxes of {numbers} values require "
            f"{wanted} values per image; change `side`, the number of boxes or `num_class`.",
            bottom=0,
        )


class RegionLoss(Loss, type="RegionLoss", block="region_loss_param"):
    """The loss of YOLO v2: of the coordinates, the confidence and the class of `num` boxes per cell.

    Bottoms: predictions (n, cells, boxes and their values...); true boxes (n, count, 5).  Tops: loss ().
    Source: intel/caffe src/caffe/layers/region_loss_layer.cpp after Redmon and Farhadi 2016.
    Differs: cannot be run yet.
    """

    runs = False

    side: int = param("Number of cells along a side of the image.", default=13, at_least=1)
    num_class: int = param("Number of classes.", default=20, at_least=1)
    coords: int = param("Number of coordinates of a box.", default=4, at_least=1)
    num: int = param("Number of boxes per cell.", default=5, at_least=1)
    biases: tuple[float, ...] = param("Initial width and height of each box of a cell, in cells.", default=())
    bias_match: int = param("Whether true boxes are matched only by `biases`.", default=1, at_least=0)
    softmax: int = param("Whether the classes are mutually exclusive.", default=1, at_least=0)
    rescore: int = param("Whether the target of the confidence is the overlap.", default=1, at_least=0)
    object_scale: float = param("Weight of the confidence of boxes with an object.", default=1.0)
    noobject_scale: float = param("Weight of the confidence of boxes without an object.", default=0.5)
    class_scale: float = param("Weight of the classes.", default=1.0)
    coord_scale: float = param("Weight of the coordinates.", default=5.0)
    thresh: float = param("Overlap from which on a box does not count as empty.", default=0.2)
    jitter: float = param("Has no effect in the fork either.", default=0.2, inert=True)
    absolute: int = param("Has no effect in the fork either.", default=1, at_least=0, inert=True)
    random: int = param("Has no effect in the fork either.", default=1, at_least=0, inert=True)
    softmax_tree: str = param("File with the tree of classes.", default="")
    class_map: str = param("File that maps classes.", default="")

    examples = (
        Example(
            'layer { name: "loss" type: "RegionLoss" bottom: "boxes" bottom: "truth" top: "loss"\n'
            "        region_loss_param { side: 3 num_class: 2 num: 2 biases: [1, 1, 2, 2] } }",
            {"boxes": (2, 3, 3, 14), "truth": (2, 30, 5)},
        ),
    )

    def infer(self, x: Shape, truth: Shape) -> Shape:
        check_batch(x, truth)
        if self.biases and len(self.biases) != 2 * self.num:
            raise ShapeError(
                f"`biases` has {len(self.biases)} values for {self.num} boxes; give two for each.", field="biases"
            )
        return ()


class ScoreType(enum.Enum):
    """The score by which detections are ranked."""

    OBJ = 0
    PROB = 1
    MULTIPLY = 2


class EvalDetection(Layer, type="EvalDetection", block="eval_detection_param"):
    """Evaluates detections of YOLO: (class, score, correct, wrong) each, after the true boxes of each class.

    Bottoms: predictions (n, cells, boxes and their values...); true boxes (n, count, 5); optional images.
    Tops: (n, num_class + 4 side side num_object).
    Source: intel/caffe src/caffe/layers/eval_detection_layer.cpp.  Differs: cannot be run yet.
    """

    runs = False
    is_metric = True
    n_bottoms = (2, 3)

    side: int = param("Number of cells along a side of the image.", default=7, at_least=1)
    num_class: int = param("Number of classes.", default=20, at_least=1)
    num_object: int = param("Number of boxes per cell.", default=2, at_least=1)
    threshold: float = param("Overlap from which on a detection is correct.", default=0.5)
    nms: float = param("Boxes that overlap more than this are dropped; -1: none.", default=-1.0)
    score_type: ScoreType = param("Confidence, class, or their product.", default=ScoreType.MULTIPLY)
    biases: tuple[float, ...] = param("Initial width and height of each box of a cell, in cells.", default=())
    sqrt: bool = param("Has no effect in the fork either.", default=True, inert=True)
    constriant: bool = param("Has no effect in the fork either.", default=True, inert=True)

    examples = (
        Example(
            'layer { name: "found" type: "EvalDetection" bottom: "boxes" bottom: "truth" top: "found"\n'
            "        eval_detection_param { side: 3 num_class: 2 num_object: 2 biases: [1, 1, 2, 2] } }",
            {"boxes": (2, 3, 3, 14), "truth": (2, 30, 5)},
        ),
    )

    def infer(self, x: Shape, truth: Shape, image: Shape | None = None) -> Shape:
        _check_cells(x, self.side, self.num_object, self.num_class + 5)
        return (x[0] if x else UNKNOWN, self.num_class + 4 * self.side * self.side * self.num_object)
