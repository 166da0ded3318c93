"""Losses of YOLO: RegionLoss (v2) and YoloSeg; Yolov3 is in `yolov3`.

The loss of a box is the square of what the layer returns as its gradient, as in Darknet: the two are not those of one
formula.  Detections are in `yolo_output`.
"""

from __future__ import annotations

from ..language.errors import NetdefError
from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from ._class_tree import ClassTree, read_map, read_tree
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

NOWHERE = 100_000  # a true box with a larger x and y has a class, but no place
LEAST_SURE = 0.3  # the confidence of the best box of such an image is raised to this


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
    With `softmax_tree`, p is the softmax over the classes with the same parent, and a true box is one of its class and
    of its ancestors, each among its siblings; an image with a true box whose x and y are above 100,000 has a class, but
    no place: it counts where the confidence times the probability of the class is highest, with 0.3 as the lowest
    target of s(c).
    Bottoms: predictions (n, num (5 + num_class), h, w); true boxes (n, count, 5): class, x, y, w, h, up to the first
    row with x or w 0; or as in SSD, (1, 1, count, 8), where label 1 is class 0, and class 1 with a tree.
    Tops: loss ().
    Source: eric612/MobileNet-YOLO src/caffe/layers/region_loss_layer.cpp, intel/caffe (true boxes as in SSD, trees),
    after Redmon and Farhadi 2016 and 2017.
    Differs: any number of rows, where the fork reads 300; a center at the right or lower edge is in the last cell; a
    class that is out of range is no class.
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
    softmax_tree: str = param("File with the tree of classes: a line `name parent` for each class.", default="")
    class_map: str = param("File with the class of each label, one per line; used with a tree.", default="")

    examples = (
        Example(
            'layer { name: "loss" type: "RegionLoss" bottom: "boxes" bottom: "truth" top: "loss"\n'
            "        region_loss_param { num_class: 2 num: 2 biases: [1, 1, 2, 2] } }",
            {"boxes": (2, 14, 3, 3), "truth": (2, 4, 5)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, truth: Shape) -> Shape:
        check_cells(x, self.num, self.num_class)
        check_biases(self.biases, self.num)
        check_truth(x, truth)
        return ()

    def apply(self, w: tuple[Array, ...], x: Array, truth: Array, *, ctx: Context) -> Array:
        n, _, height, width = x.shape
        raw = lax.stop_gradient(x).reshape(n, self.num, 5 + self.num_class, height, width)
        places, sure = jax.nn.sigmoid(raw[:, :, :2]), jax.nn.sigmoid(raw[:, :, 4:5])
        tree = self._tree(ctx)
        classes = jax.nn.softmax(raw[:, :, 5:], 2) if tree is None else tree.softmax(raw[:, :, 5:], 2)
        made = jnp.concatenate([places, raw[:, :, 2:4], sure, classes], 2)
        true = truth_of(lax.stop_gradient(truth), n, first=1 if tree is None else 0)
        size = jnp.array([width, height], jnp.float32)
        anchors = jnp.asarray(self.biases, jnp.float32).reshape(self.num, 2) / size
        boxes = boxes_of(made, anchors)
        empty = self.noobject_scale * sure[:, :, 0] ** 2 * (1 - sure[:, :, 0])
        empty = jnp.where(best_overlap(boxes, true) > self.thresh, 0.0, empty)
        start = jnp.zeros_like(made).at[:, :, 4].set(empty)
        if tree is not None:
            start, true = self._only_classes(start, made, true, tree)
            true = self._mapped(true, ctx)

        def assign(t: Array, diff: Array) -> Array:
            one = true.row(t)
            i, j = cell_of(one.box, width, height)
            own = Box(*(side[jnp.arange(n), :, j, i] for side in boxes))  # (n, num)
            shapes = (anchors[:, 0], anchors[:, 1]) if self.bias_match else (own.w, own.h)
            fits = centered_overlap(*shapes, one.box)
            k = jnp.argmax(fits, 1)
            at = (jnp.arange(n), k, slice(None), j, i)
            move = self._moves(made[at], one, anchors[k], own.each(lambda side: side[at[:2]]), (i, j), size)
            classes = self._classes(made[at][:, 5:], diff[at][:, 5:], one.label, tree)
            counted = one.counted & (jnp.max(fits, 1) > 0)
            return diff.at[at].set(jnp.where(counted[:, None], jnp.concatenate([move, classes], 1), diff[at]))

        diff = lax.fori_loop(0, true.rows(), assign, start)
        return learned(jnp.sum(diff * diff) / n, diff.reshape(x.shape) / n, x)

    def _moves(
        self, made: Array, true: Truth, anchor: Array, box: Box, cell: tuple[Array, Array], size: Array
    ) -> Array:
        """Returns d (n, 5) of the coordinates and the confidence of the boxes that match a true box."""
        scale = self.coord_scale * (1.0 if self.rescore else 2 - true.box.w * true.box.h)
        wanted = coordinates_of(true.box, anchor, cell, size)
        places, sure = made[:, :2], made[:, 4]
        move = (made[:, :4] - wanted) * jnp.concatenate([places * (1 - places), jnp.ones_like(places)], 1)
        aim = overlap(box, true.box) if self.rescore else 1.0
        sure = self.object_scale * (sure - aim) * sure * (1 - sure)
        return jnp.concatenate([jnp.reshape(scale, (-1, 1)) * move, sure[:, None]], 1)

    def _classes(self, made: Array, before: Array, label: Array, tree: ClassTree | None) -> Array:
        """Returns d (n, classes) of the classes; with a tree, that of other groups than the label's is as before."""
        if tree is None:
            return self.class_scale * (made - is_class(label, self.num_class))
        chain = tree.chain_of(label)
        among = lambda ids, own: jnp.any((ids[:, :, None] == own) & (chain >= 0)[:, :, None], 1)
        group = jnp.asarray(tree.group)
        d = self.class_scale * (made - among(chain, jnp.arange(self.num_class)))
        return jnp.where(among(group[jnp.maximum(chain, 0)], group), d, before)

    def _only_classes(self, diff: Array, made: Array, true: Truth, tree: ClassTree) -> tuple[Array, Truth]:
        """Returns d with that of images which have a class but no place, and the true boxes of the other images."""
        n, num, _, height, width = made.shape
        marked = true.counted & (true.box.x > NOWHERE) & (true.box.y > NOWHERE)
        found = jnp.any(marked, 1)
        label = jnp.take_along_axis(true.label, jnp.argmax(marked, 1)[:, None], 1)[:, 0]
        chain = tree.chain_of(label)[:, None, :, None, None]
        given = jnp.take_along_axis(made[:, :, 5:], jnp.maximum(chain, 0), 2)
        likely = made[:, :, 4] * jnp.prod(jnp.where(chain < 0, 1.0, given), 2)
        best = jnp.argmax(jnp.moveaxis(likely, 1, 3).reshape(n, -1), 1)
        j, i, k = jnp.unravel_index(best, (height, width, num))
        at = (jnp.arange(n), k, slice(None), j, i)
        own, before = made[at], diff[at]
        sure = own[:, 4]
        rise = jnp.where(sure < LEAST_SURE, self.object_scale * (sure - LEAST_SURE) * sure * (1 - sure), 0.0)
        value = [before[:, :4], rise[:, None], self._classes(own[:, 5:], before[:, 5:], label, tree)]
        diff = diff.at[at].set(jnp.where(found[:, None], jnp.concatenate(value, 1), before))
        return diff, true._replace(counted=true.counted & ~found[:, None])

    def _tree(self, ctx: Context) -> ClassTree | None:
        if not self.softmax_tree:
            return None
        tree = read_tree(path := ctx.locate(self.softmax_tree))
        if len(tree.group) != self.num_class:
            raise NetdefError(
                f"{path}: `softmax_tree` has {len(tree.group)} classes, but `num_class` is {self.num_class}; make them "
                "equal"
            )
        return tree

    def _mapped(self, true: Truth, ctx: Context) -> Truth:
        """Returns the true boxes with the classes of `class_map`."""
        if not self.class_map:
            return true
        classes = read_map(ctx.locate(self.class_map))
        known = (true.label >= 0) & (true.label < len(classes))
        label = jnp.where(known, jnp.asarray(classes)[jnp.where(known, true.label, 0)], -1)
        return true._replace(label=label)


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
