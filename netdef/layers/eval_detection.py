"""EvalDetection: detections of YOLO v2 compared with true boxes."""

from __future__ import annotations

import enum

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, show
from ._boxes import just_below, suppress
from ._matching import claims
from ._yolo import Truth, check_biases, check_cells, check_truth, corners, overlap, truth_of
from .base import Context, Example, Layer
from .yolo import predicted

LEAST_SCORE = 0.005  # detections with a lower score are not listed


class ScoreType(enum.Enum):
    """The score by which detections are ranked."""

    OBJ = 0
    PROB = 1
    MULTIPLY = 2


class EvalDetection(Layer, type="EvalDetection", block="eval_detection_param"):
    """Evaluates detections of YOLO v2: (class, score, correct, wrong) each, after the number of true boxes per class.

    Each box that a cell predicts, as for RegionLoss, is a detection of its most probable class.  Its score is the
    confidence (OBJ), the probability of the class (PROB), or their product (MULTIPLY).  A detection is dropped if it
    overlaps one with a higher score, of any class, by `nms` or more, or if its score is below 0.005.  It is correct if
    the true box of its class that it overlaps most, at least by `threshold`, is not found by one with a higher score,
    and wrong if it is, or if the image has no true box of its class.  As in the fork, a detection that overlaps all
    true boxes of its class by less is neither.
    Bottoms: predictions (n, num_object (5 + num_class), side, side); true boxes (n, count, 5): class, x, y, w, h, up to
    the first row with x or w 0; or as in SSD, (1, 1, count, 8); optional images, which are not used.
    Tops: (n, num_class + 4 side side num_object): the numbers of true boxes, then the detections by class and score,
    then zeros.
    Source: intel/caffe src/caffe/layers/eval_detection_layer.cpp.
    Differs: `num_object` boxes of a cell are read, where the fork always reads 5; with a negative `nms`, all boxes are
    listed, where the fork lists none; a class that is out of range, and a true box without an area, are not counted.
    """

    is_metric = True
    n_bottoms = (2, 3)

    side: int = param("Number of cells along a side of the image.", default=7, at_least=1)
    num_class: int = param("Number of classes.", default=20, at_least=1)
    num_object: int = param("Number of boxes per cell.", default=2, at_least=1)
    threshold: float = param("Overlap from which on a detection is correct.", default=0.5)
    nms: float = param("Boxes that overlap so much or more are dropped; below 0: none.", default=-1.0, at_most=1)
    score_type: ScoreType = param("What detections are ranked by.", default=ScoreType.MULTIPLY)
    biases: tuple[float, ...] = param("Initial width and height of each box of a cell, in cells.", default=())
    sqrt: bool = param("Has no effect in the fork either.", default=True, inert=True)
    constriant: bool = param("Has no effect in the fork either.", default=True, inert=True)

    examples = (
        Example(
            'layer { name: "found" type: "EvalDetection" bottom: "boxes" bottom: "truth" top: "found"\n'
            "        eval_detection_param { side: 3 num_class: 2 num_object: 2 biases: [1, 1, 2, 2] nms: 0.45 } }",
            {"boxes": (2, 14, 3, 3), "truth": (2, 4, 5)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, truth: Shape, image: Shape | None = None) -> Shape:
        check_cells(x, self.num_object, self.num_class)
        if (x[2], x[3]) != (self.side, self.side):
            raise ShapeError(
                f"the predictions are {show(x)}, but `side` is {self.side}; set it to their height and width, which "
                "must be equal.",
                field="side" if self.given("side") else None,
            )
        check_biases(self.biases, self.num_object)
        check_truth(x, truth)
        return (x[0], self.num_class + 4 * self.side * self.side * self.num_object)

    def apply(self, w: tuple[Array, ...], x: Array, truth: Array, image: Array | None = None, *, ctx: Context) -> Array:
        anchors = jnp.asarray(self.biases, jnp.float32).reshape(-1, 2) / self.side
        boxes, rest = predicted(x, self.num_object, anchors)
        classes = jax.nn.softmax(rest[..., 1:], -1)
        sure, most = jax.nn.sigmoid(rest[..., 0]), jnp.max(classes, -1)
        score = {ScoreType.OBJ: sure, ScoreType.PROB: most, ScoreType.MULTIPLY: sure * most}[self.score_type]
        label = jnp.argmax(classes, -1)
        kept = score > LEAST_SCORE
        order = jnp.argsort(jnp.where(kept, -score, jnp.inf), axis=1, stable=True)
        pick = lambda values: jnp.take_along_axis(values, order, 1)
        label, score, kept, boxes = pick(label), pick(score), pick(kept), boxes.each(pick)
        if self.nms >= 0:
            kept = suppress(corners(boxes), kept, just_below(self.nms))
        order = jnp.argsort(jnp.where(kept, label, self.num_class), axis=1, stable=True)
        label, score, kept, boxes = pick(label), pick(score), pick(kept), boxes.each(pick)
        true = truth_of(lax.stop_gradient(truth), x.shape[0])
        overlaps = overlap(boxes.each(lambda side: side[:, :, None]), true.box.each(lambda side: side[:, None]))
        same = (label[:, :, None] == true.label[:, None]) & true.counted[:, None]
        nearest, first = jax.vmap(lambda values: claims(values, self.threshold))(jnp.where(same, overlaps, -1.0))
        wrong = ~jnp.any(same, 2) | (jnp.any(nearest, 2) & ~first)
        rows = jnp.where(kept[..., None], jnp.stack([label, score, first, wrong], -1), 0.0)
        return jnp.concatenate([self._numbers(true), rows.reshape(x.shape[0], -1)], 1)

    def _numbers(self, true: Truth) -> Array:
        """Returns the numbers of true boxes (n, classes)."""
        is_class = true.label[:, :, None] == jnp.arange(self.num_class)
        return jnp.sum(is_class & true.counted[:, :, None], 1).astype(jnp.float32)
