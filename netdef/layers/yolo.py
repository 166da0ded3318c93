"""Losses of YOLO: RegionLoss (v2) and YoloSeg; Yolov3 is in `yolov3`.

The loss of a box is the square of what the layer returns as its gradient, as in Darknet: the two are not those of one
formula.  Detections are in `yolo_output`.
"""

from __future__ import annotations

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from ._loss import Loss, check_same_count, learned
from ._yolo import (
    Box,
    Truth,
    best_overlap,
    check_biases,
    check_cells,
    check_truth,
    overlap,
    truth_of,
)
from .base import Context, Example


class RegionLoss(Loss, type="RegionLoss", block="region_loss_param"):
    """The loss of YOLO v2: of the coordinates, the confidence and the class of `num` boxes per cell.

    With s(x) = 1 / (1 + exp(-x)), a cell (i, j) predicts boxes ((i + s(x)) / w, (j + s(y)) / h, bias exp(w) / w,
    bias exp(h) / h), the confidence s(c) and classes by softmax.  A true box belongs to the cell of its center, and
    there to the box whose `biases` overlap it most; of two with the same box, the last one counts.
    The loss is the sum of d^2 / n, and the gradient d / n, for d of each value:
    coord_scale (s(x) - x*) s'(x) and so on for x and y, coord_scale (w - log w*) for w and h,
    object_scale (s(c) - overlap) s'(c) and class_scale (p - is class) where there is a true box, and
    noobject_scale s(c) s'(c) elsewhere, but 0 for boxes that overlap any true box by more than `thresh`.
    Without `rescore`, the target of the confidence is 1, and coord_scale is multiplied by 2 - w* h*.
    Bottoms: predictions (n, num (5 + num_class), h, w); true boxes (n, count, 5): class, x, y, w, h, up to the first
    row with x or w 0; or as in SSD, (1, 1, count, 8).  Tops: loss ().
    Source: eric612/MobileNet-YOLO src/caffe/layers/region_loss_layer.cpp, intel/caffe (true boxes as in SSD), after
    Redmon and Farhadi 2016.
    Differs: any number of rows, where the fork reads 300; a center at the right or lower edge is in the last cell; a
    class that is out of range is no class; a tree of classes is not supported.
    """

    side: int = param("Has no effect: the size is that of the predictions.", default=13, at_least=1, inert=True)
    num_class: int = param("Number of classes.", default=20, at_least=1)
    coords: int = param("Number of coordinates of a box.", default=4, at_least=4, at_most=4)
    num: int = param("Number of boxes per cell.", default=5, at_least=1)
    biases: tuple[float, ...] = param("Initial width and height of each box of a cell, in cells.", default=())
    bias_match: int = param("Whether true boxes are matched only by `biases`.", default=1, at_least=0)
    softmax: int = param("Has no effect in the fork either.", default=1, at_least=0, inert=True)
    rescore: int = param("Whether the target of the confidence is the overlap.", default=1, at_least=0)
    object_scale: float = param("Weight of the confidence of boxes with an object.", default=1.0)
    noobject_scale: float = param("Weight of the confidence of boxes without an object.", default=0.5)
    class_scale: float = param("Weight of the classes.", default=1.0)
    coord_scale: float = param("Weight of the coordinates.", default=5.0)
    thresh: float = param("Overlap from which on a box does not count as empty.", default=0.2)
    jitter: float = param("Has no effect in the fork either.", default=0.2, inert=True)
    absolute: int = param("Has no effect in the fork either.", default=1, at_least=0, inert=True)
    random: int = param("Has no effect in the fork either.", default=1, at_least=0, inert=True)
    softmax_tree: str = param("File with the tree of classes, which is not supported.", default="")
    class_map: str = param("File that maps classes; has no effect in the fork either.", default="", inert=True)

    examples = (
        Example(
            'layer { name: "loss" type: "RegionLoss" bottom: "boxes" bottom: "truth" top: "loss"\n'
            "        region_loss_param { num_class: 2 num: 2 biases: [1, 1, 2, 2] } }",
            {"boxes": (2, 14, 3, 3), "truth": (2, 4, 5)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, truth: Shape) -> Shape:
        if self.softmax_tree:
            raise ShapeError("a tree of classes is not supported; remove `softmax_tree`.", field="softmax_tree")
        check_cells(x, self.num, self.num_class)
        check_biases(self.biases, self.num)
        check_truth(x, truth)
        return ()

    def apply(self, w: tuple[Array, ...], x: Array, truth: Array, *, ctx: Context) -> Array:
        n, _, height, width = x.shape
        raw = lax.stop_gradient(x).reshape(n, self.num, 5 + self.num_class, height, width)
        places, sure = jax.nn.sigmoid(raw[:, :, :2]), jax.nn.sigmoid(raw[:, :, 4:5])
        made = jnp.concatenate([places, raw[:, :, 2:4], sure, jax.nn.softmax(raw[:, :, 5:], 2)], 2)
        true = truth_of(lax.stop_gradient(truth), n)
        size = jnp.array([width, height], jnp.float32)
        anchors = jnp.asarray(self.biases, jnp.float32).reshape(self.num, 2) / size
        boxes = boxes_of(made, anchors)
        empty = self.noobject_scale * sure[:, :, 0] ** 2 * (1 - sure[:, :, 0])
        empty = jnp.where(best_overlap(boxes, true) > self.thresh, 0.0, empty)
        start = jnp.zeros_like(made).at[:, :, 4].set(empty)

        def assign(t: Array, diff: Array) -> Array:
            one = true.row(t)
            i, j = cell_of(one.box, width, height)
            own = Box(*(side[jnp.arange(n), :, j, i] for side in boxes))  # (n, num)
            shapes = (anchors[:, 0], anchors[:, 1]) if self.bias_match else (own.w, own.h)
            fits = centered_overlap(*shapes, one.box)
            k = jnp.argmax(fits, 1)
            at = (jnp.arange(n), k, slice(None), j, i)
            value = self._matched(made[at], one, anchors[k], Box(*(side[at[:2]] for side in own)), (i, j), size)
            counted = one.counted & (jnp.max(fits, 1) > 0)
            return diff.at[at].set(jnp.where(counted[:, None], value, diff[at]))

        diff = lax.fori_loop(0, true.rows(), assign, start)
        return learned(jnp.sum(diff * diff) / n, diff.reshape(x.shape) / n, x)

    def _matched(
        self, made: Array, true: Truth, anchor: Array, box: Box, cell: tuple[Array, Array], size: Array
    ) -> Array:
        """Returns d (n, values) of the boxes that match a true box."""
        scale = self.coord_scale * (1.0 if self.rescore else 2 - true.box.w * true.box.h)
        wanted = coordinates_of(true.box, anchor, cell, size)
        places, sure = made[:, :2], made[:, 4]
        move = (made[:, :4] - wanted) * jnp.concatenate([places * (1 - places), jnp.ones_like(places)], 1)
        aim = overlap(box, true.box) if self.rescore else 1.0
        sure = self.object_scale * (sure - aim) * sure * (1 - sure)
        classes = self.class_scale * (made[:, 5:] - is_class(true.label, self.num_class))
        return jnp.concatenate([jnp.reshape(scale, (-1, 1)) * move, sure[:, None], classes], 1)


def boxes_of(made: Array, anchors: Array) -> Box:
    """Returns the boxes (n, num, h, w) of predictions with activated x and y; `anchors` (num, 2) are their sizes."""
    height, width = made.shape[-2:]
    wide, high = (anchors[:, side][None, :, None, None] for side in (0, 1))
    x = (jnp.arange(width) + made[:, :, 0]) / width
    y = (jnp.arange(height)[:, None] + made[:, :, 1]) / height
    return Box(x, y, jnp.exp(made[:, :, 2]) * wide, jnp.exp(made[:, :, 3]) * high)


def predicted(x: Array, boxes: int, anchors: Array, every: int = 1) -> tuple[Box, Array]:
    """Returns the boxes (n, rows) of predictions (n, boxes values, h, w) and their other values (n, rows, values), in
    the order of the cells and then of their boxes; `anchors` are in fractions of the image.  Of the first values of a
    box, each `every`-th one is a coordinate."""
    n, _, height, width = x.shape
    values = lax.stop_gradient(x).reshape(n, boxes, -1, height, width)
    places, sizes = values[:, :, : 2 * every : every], values[:, :, 2 * every : 4 * every : every]
    rest = [values[:, :, i : i + every - 1] for i in range(1, 4 * every, every)] if every > 1 else []
    rest = jnp.concatenate([*rest, values[:, :, 4 * every :]], 2)
    rows = lambda side: jnp.moveaxis(side, 1, 3).reshape(n, height * width * boxes, *side.shape[4:])
    found = boxes_of(jnp.concatenate([jax.nn.sigmoid(places), sizes], 2), anchors)
    return found.each(rows), rows(jnp.moveaxis(rest, 2, -1))


def cell_of(box: Box, width: int, height: int) -> tuple[Array, Array]:
    """Returns the column and the row of the cell that contains the center of each box."""
    inside = lambda at, size: jnp.clip((at * size).astype(jnp.int32), 0, size - 1)
    return inside(box.x, width), inside(box.y, height)


def centered_overlap(wide: Array, high: Array, box: Box) -> Array:
    """Returns the overlap (n, anchors) of boxes and anchors with the same center."""
    zero = jnp.zeros(())
    own = Box(zero, zero, box.w[:, None], box.h[:, None])
    return overlap(Box(zero, zero, wide, high), own)


def coordinates_of(box: Box, anchor: Array, cell: tuple[Array, Array], size: Array) -> Array:
    """Returns the predictions (n, 4), with activated x and y, of true boxes; `anchor` (n, 2) is in fractions of the
    image."""
    positive = lambda ratio: jnp.log(jnp.where(ratio > 0, ratio, 1.0))
    sizes = (positive(box.w / anchor[:, 0]), positive(box.h / anchor[:, 1]))
    return jnp.stack([box.x * size[0] - cell[0], box.y * size[1] - cell[1], *sizes], 1)


def is_class(label: Array, classes: int) -> Array:
    """Returns 1 at the class of each item, 0 elsewhere: (n, classes)."""
    return jnp.where(label[:, None] == jnp.arange(classes), 1.0, 0.0)


class YoloSeg(Loss, type="YoloSeg", block="yolo_seg_param"):
    """The loss of segmentation beside YOLO: sum of d^2 / n, and its gradient d / n, for d = scale (s(x) - label) with
    s(x) = 1 / (1 + exp(-x)).

    The scale is `object_scale`; with the third bottom, it is multiplied by 2 - a / b where the label is above 0.5, for
    a, the sum of the weights of the class in all images, and b, that of the image size less the weight.
    Bottoms: x (n, classes, h, w); labels, as many values; optional number of pixels of each class (n, classes).
    Tops: loss ().
    Source: eric612/MobileNet-YOLO src/caffe/layers/yolo_seg.cpp.  Differs: nothing.
    """

    n_bottoms = (2, 3)

    num_class: int = param("Has no effect in the fork either.", default=0, at_least=0, inert=True)
    object_scale: float = param("Weight of the loss.", default=5.0)
    class_scale: float = param("Has no effect in the fork either.", default=1.0, inert=True)
    use_logic_gradient: bool = param("Has no effect in the fork either.", default=False, inert=True)
    use_hardsigmoid: bool = param("Has no effect in the fork either.", default=False, inert=True)

    examples = (
        Example(
            'layer { name: "loss" type: "YoloSeg" bottom: "x" bottom: "label" bottom: "pixels" top: "loss"\n'
            "        yolo_seg_param { object_scale: 0.5 } }",
            {"x": (2, 3, 4, 5), "label": (2, 3, 4, 5), "pixels": (2, 3)},
            integers={"label": 2, "pixels": 20},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, label: Shape, pixels: Shape | None = None) -> Shape:
        check_same_count(x, label)
        if pixels is not None and (len(x) < 2 or count(pixels) != x[0] * x[1]):
            raise ShapeError(
                f"bottom 2, the pixels of each class, is {show(pixels)}; for the input {show(x)} it must be "
                f"{show(x[:2])}.",
                bottom=2,
            )
        return ()

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *pixels: Array, ctx: Context) -> Array:
        label = lax.stop_gradient(label).reshape(x.shape)
        diff = jax.nn.sigmoid(lax.stop_gradient(x)) - label
        scale = jnp.float32(self.object_scale)
        if pixels:
            weight = lax.stop_gradient(pixels[0]).reshape(x.shape[:2])
            share = jnp.sum(weight, 0) / jnp.sum(count(x.shape[2:]) - weight, 0)
            share = share.reshape(1, -1, *(1,) * (x.ndim - 2))
            scale = jnp.where(label > 0.5, scale * (2 - share), scale)
        diff = scale * diff
        return learned(jnp.sum(diff * diff) / x.shape[0], diff / x.shape[0], x)
