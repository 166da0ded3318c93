"""The loss of YOLO v3: Yolov3."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError
from ._loss import Loss, learned
from ._yolo import Box, Overlap, Truth, best_overlap, check_cells, check_truth, overlap, truth_of
from .base import Context, Example
from .yolo import boxes_of, cell_of, centered_overlap, coordinates_of, is_class


class _State(NamedTuple):
    """What the true boxes change, one after the other: d of each value (n, num, values, h, w), the sum of 1 - overlap
    and the number of matches."""

    diff: Array
    missed: Array
    matches: Array


class _Cells(NamedTuple):
    """The predictions, activated (n, num, values, h, w), and their boxes (n, num, h, w)."""

    made: Array
    boxes: Box
    size: Array  # width and height


class Yolov3(Loss, type="Yolov3", block="yolov3_param"):
    """The loss of YOLO v3 at one scale: of the coordinates, the confidence and the classes of `num` boxes per cell.

    With s(x) = 1 / (1 + exp(-x)), a cell (i, j) predicts boxes ((i + s(x)) / w, (j + s(y)) / h, bias exp(w) / W,
    bias exp(h) / H) with W = w anchors_scale, the confidence s(c) and s(p) for each class.  Of all `biases`, a true box
    belongs to the one that overlaps it most, if it is in the `mask` of this scale, and also to those of the mask that
    overlap it by more than `iou_thresh`, in the cell of its center; of two in the same place the last one counts, and
    the classes of both.
    The loss is the sum of d^2 / n, and the gradient d / n, multiplied by s' with `use_logic_gradient` except for w and
    h, for d of each value: coord_scale (2 - w* h*) (s(x) - x*) and so on; s(c) - 1 and class_scale (s(p) - is class)
    where there is a true box, s(c) elsewhere, but 0 for boxes that overlap any true box by more than `thresh`.  The
    targets of the classes are moved toward 1/2 by `label_smooth_eps` / 2.  With an `iou_loss` other than MSE, d of the
    coordinates is the derivative of this overlap times `iou_normalizer`, which the loss adds as the mean of 1 -
    overlap.
    Bottoms: predictions (n, num (5 + num_class), h, w); true boxes (n, count, 5): class, x, y, w, h, up to the first
    row with x or w 0; or as in SSD, (1, 1, count, 8).  Tops: loss ().
    Source: eric612/MobileNet-YOLO src/caffe/layers/yolov3_layer.cpp after Redmon and Farhadi 2018.
    Differs: any number of rows, where the fork reads 300; a center at the right or lower edge is in the last cell; a
    class that is out of range is no class.
    """

    side: int = param("Has no effect: the size is that of the predictions.", default=13, at_least=1, inert=True)
    num_class: int = param("Number of classes.", default=20, at_least=1)
    num: int = param("Number of boxes per cell.", default=5, at_least=1)
    object_scale: float = param("Weight of the confidence of true boxes, with `use_logic_gradient`.", default=1.0)
    class_scale: float = param("Weight of the classes.", default=1.0)
    noobject_scale: float = param("Has no effect in the fork either.", default=0.5, inert=True)
    coord_scale: float = param("Weight of the coordinates.", default=5.0)
    thresh: float = param("Overlap from which on a box does not count as empty.", default=0.2)
    anchors_scale: int = param("Pixels of the image per cell; `biases` are in pixels.", default=32, at_least=1)
    biases: tuple[float, ...] = param("Width and height of each box of all scales, in pixels.", default=())
    mask: tuple[int, ...] = param("Indices of the boxes of this scale in `biases`.", default=(), at_least=0)
    use_logic_gradient: bool = param("Whether the gradient includes that of s.", default=False)
    use_focal_loss: bool = param("Whether classes are weighted as in the focal loss.", default=False)
    iou_loss: Overlap = param("What the coordinates are trained for.", default=Overlap.MSE)
    iou_normalizer: float = param("Weight of the overlap in the loss.", default=0.25)
    iou_thresh: float = param("Overlap from which on further boxes match a true box; 1: none.", default=0.5)
    max_delta: float = param("Limit of d of the coordinates, without MSE.", default=10.0)
    accumulate: bool = param("Whether matches in one place are summed, without MSE.", default=True)
    label_smooth_eps: float = param("Distance of the targets of classes from 0 and 1, times 2.", default=0.1)

    examples = (
        Example(
            'layer { name: "loss" type: "Yolov3" bottom: "boxes" bottom: "truth" top: "loss"\n'
            "        yolov3_param { num_class: 2 num: 2 anchors_scale: 8 mask: [0, 1] biases: [4, 6, 9, 8, 20, 15] } }",
            {"boxes": (2, 14, 3, 3), "truth": (2, 4, 5)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, truth: Shape) -> Shape:
        check_cells(x, self.num, self.num_class)
        check_truth(x, truth)
        if not self.biases or len(self.biases) % 2:
            raise ShapeError(
                f"`biases` has {len(self.biases)} values; give a width and a height for each box.", field="biases"
            )
        if len(self.mask) < self.num or max(self.mask) >= len(self.biases) // 2:
            raise ShapeError(
                f"`mask` is {list(self.mask)}, but it must have {self.num} indices, one for each box of a cell, of the "
                f"{len(self.biases) // 2} pairs in `biases`.",
                field="mask" if self.mask else None,
            )
        return ()

    def apply(self, w: tuple[Array, ...], x: Array, truth: Array, *, ctx: Context) -> Array:
        n, _, height, width = x.shape
        raw = lax.stop_gradient(x).reshape(n, self.num, 5 + self.num_class, height, width)
        made = jnp.concatenate([jax.nn.sigmoid(raw[:, :, :2]), raw[:, :, 2:4], jax.nn.sigmoid(raw[:, :, 4:])], 2)
        true = truth_of(lax.stop_gradient(truth), n)
        size = jnp.array([width, height], jnp.float32)
        anchors = jnp.asarray(self.biases, jnp.float32).reshape(-1, 2) / (size * self.anchors_scale)
        cells = _Cells(made, boxes_of(made, anchors[jnp.asarray(self.mask[: self.num])]), size)
        empty = jnp.where(best_overlap(cells.boxes, true, self.iou_loss) > self.thresh, 0.0, made[:, :, 4])
        start = _State(jnp.zeros_like(made).at[:, :, 4].set(empty), jnp.float32(0), jnp.int32(0))
        state = lax.fori_loop(0, true.rows(), lambda t, state: self._row(state, cells, true.row(t), anchors), start)
        diff = state.diff
        loss = jnp.sum(diff**2)
        if self.iou_loss is not Overlap.MSE:
            misses = self.iou_normalizer * state.missed / jnp.maximum(state.matches, 1)
            loss = jnp.sum(diff[:, :, 4:] ** 2) + misses
        if self.use_logic_gradient:
            seen = made if self.iou_loss is Overlap.MSE else jnp.concatenate([raw[:, :, :4], made[:, :, 4:]], 2)
            slope = seen * (1 - seen)
            diff = diff * slope.at[:, :, 2:4].set(1.0)
        return learned(loss / n, diff.reshape(x.shape) / n, x)

    def _row(self, state: _State, cells: _Cells, true: Truth, anchors: Array) -> _State:
        """Returns the state after one true box of each image."""
        fits = centered_overlap(anchors[:, 0], anchors[:, 1], true.box)
        if self.iou_loss not in (Overlap.MSE, Overlap.IOU):
            zero = jnp.zeros(())
            own = Box(zero, zero, true.box.w[:, None], true.box.h[:, None])
            fits = overlap(Box(zero, zero, anchors[:, 0], anchors[:, 1]), own, self.iou_loss)
        best = jnp.where(jnp.max(fits, 1) > 0, jnp.argmax(fits, 1), -1)
        places = jnp.array([self._place(i) for i in range(len(anchors))])
        first = jnp.where(best >= 0, places[best], -1)
        state = self._match(state, cells, true, jnp.maximum(first, 0), true.counted & (first >= 0), anchors)
        best = jnp.where(first >= 0, first, best)  # the fork compares its index in the mask below
        for i in range(len(anchors)):
            place = self._place(i)
            if place >= 0 and self.iou_thresh < 1:
                again = true.counted & (best != i) & (fits[:, i] > self.iou_thresh)
                state = self._match(state, cells, true, jnp.full(best.shape, place), again, anchors)
        return state

    def _place(self, anchor: int) -> int:
        """Returns the box of a cell that has this anchor; -1 if none has."""
        mask = self.mask[: self.num]
        return mask.index(anchor) if anchor in mask else -1

    def _match(self, state: _State, cells: _Cells, true: Truth, k: Array, counted: Array, anchors: Array) -> _State:
        """Returns the state after a match of box k of the cell with the center of a true box, where `counted`."""
        height, width = cells.made.shape[-2:]
        n, (i, j) = jnp.arange(len(k)), cell_of(true.box, width, height)
        at = (n, k, slice(None), j, i)
        made, before = cells.made[at], state.diff[at]
        box = Box(*(side[n, k, j, i] for side in cells.boxes))
        if self.iou_loss is Overlap.MSE:
            scale = self.coord_scale * (2 - true.box.w * true.box.h)
            wanted = coordinates_of(true.box, anchors[jnp.asarray(self.mask)[k]], (i, j), cells.size)
            move, found = scale[:, None] * (made[:, :4] - wanted), overlap(box, true.box)
        else:
            found = overlap(box, true.box, Overlap.DIOU if self.iou_loss is Overlap.IOU else self.iou_loss)
            slopes = overlap_slopes(box, true.box, self.iou_loss) * self.iou_normalizer
            slopes = slopes * jnp.concatenate([jnp.ones_like(made[:, :2]), jnp.exp(made[:, 2:4])], 1)
            slopes = jnp.where(jnp.isfinite(slopes), slopes, 0.0)
            move = (before[:, :4] if self.accumulate else 0.0) - jnp.clip(slopes, -self.max_delta, self.max_delta)
        sure = (made[:, 4] - 1) * (self.object_scale if self.use_logic_gradient else 1.0)
        value = jnp.concatenate([move, sure[:, None], self._classes(made[:, 5:], before[:, 5:], true.label)], 1)
        diff = state.diff.at[at].set(jnp.where(counted[:, None], value, before))
        missed = state.missed + jnp.sum(jnp.where(counted, 1 - found, 0.0))
        return _State(diff, missed, state.matches + jnp.sum(counted))

    def _classes(self, made: Array, before: Array, label: Array) -> Array:
        """Returns d (n, classes): of all classes, or if the place has a class already, only of this one."""
        hit = is_class(label, self.num_class)
        smooth = self.label_smooth_eps
        plain = self.class_scale * (made - (hit * (1 - smooth) + 0.5 * smooth))
        whole = plain
        if self.use_focal_loss:
            p = jnp.sum(hit * made, 1, keepdims=True) + 1e-15
            slope = -(1 - p) * (2 * p * jnp.log(p) + p - 1)
            whole = self.class_scale * (made - hit) * 0.5 * slope
        taken = jnp.any((hit > 0) & (before != 0), 1, keepdims=True)
        return jnp.where(taken, jnp.where(hit > 0, plain, before), whole)


def overlap_slopes(box: Box, true: Box, kind: Overlap) -> Array:
    """Returns the derivatives (n, 4) of an overlap with respect to x, y, w and h as in Darknet: those with respect to w
    and h are twice as large, and have other signs in the terms of DIOU and CIOU."""
    sides = lambda b: (b.y - b.h / 2, b.y + b.h / 2, b.x - b.w / 2, b.x + b.w / 2)
    (top, bottom, left, right), (true_top, true_bottom, true_left, true_right) = sides(box), sides(true)
    high = jnp.minimum(bottom, true_bottom) - jnp.maximum(top, true_top)
    wide = jnp.minimum(right, true_right) - jnp.maximum(left, true_left)
    common = wide * high
    union = box.w * box.h + true.w * true.h - common
    whole = jnp.stack([-box.w, box.w, -box.h, box.h])  # derivatives by top, bottom, left, right
    zero = jnp.zeros_like(wide)
    inner = jnp.stack(
        [
            jnp.where(top > true_top, -wide, zero),
            jnp.where(bottom < true_bottom, wide, zero),
            jnp.where(left > true_left, -high, zero),
            jnp.where(right < true_right, high, zero),
        ]
    )
    outer = whole - inner
    slopes = jnp.where(union > 0, (union * inner - common * outer) / (union * union), 0.0)
    apart = (wide <= 0) | (high <= 0)
    before = jnp.stack([top < true_top, bottom > true_bottom, left < true_left, right > true_right])
    outer_w = jnp.maximum(right, true_right) - jnp.minimum(left, true_left)
    outer_h = jnp.maximum(bottom, true_bottom) - jnp.minimum(top, true_top)
    if kind is Overlap.GIOU:
        hull = outer_w * outer_h
        grown = jnp.where(before, jnp.stack([-outer_w, outer_w, -outer_h, outer_h]), 0.0)
        term = (hull * outer - union * grown) / (hull * hull)
        slopes = jnp.where(apart, term, slopes + jnp.where(hull > 0, term, 0.0))
    p_top, p_bottom, p_left, p_right = slopes
    centers = jnp.stack([p_left + p_right, p_top + p_bottom, p_right - p_left, p_bottom - p_top], 1)
    if kind not in (Overlap.DIOU, Overlap.CIOU):
        return centers
    is_top, is_bottom, is_left, is_right = jnp.where(before, 1.0, 0.0)
    distance, diagonal = (box.x - true.x) ** 2 + (box.y - true.y) ** 2, outer_w**2 + outer_h**2
    by_x, by_y = 2 * outer_w * (is_right - is_left), 2 * outer_h * (is_bottom - is_top)
    by_w, by_h = outer_w * (is_right + is_left), outer_h * (is_bottom + is_top)
    term = jnp.stack(
        [
            2 * (true.x - box.x) * diagonal - by_x * distance,
            2 * (true.y - box.y) * diagonal - by_y * distance,
            by_w * distance,
            by_h * distance,
        ],
        1,
    ) / (diagonal * diagonal).reshape(-1, 1)
    if kind is Overlap.CIOU:
        angle = jnp.arctan(true.w / true.h) - jnp.arctan(box.w / box.h)
        shape = 4 / math.pi**2 * angle**2
        alpha = shape / (1 - common / union + shape + 1e-6)
        turn = alpha * 8 / math.pi**2 * angle
        term = term + jnp.stack([zero, zero, turn * box.h, -turn * box.w], 1)
    return jnp.where(apart[:, None], term, centers + term)
