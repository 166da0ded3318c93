"""MultiBoxLoss: the loss of the SSD detector."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from ._boxes import (
    Boxes,
    CodeType,
    NonMaximumSuppression,
    Priors,
    boxes_of,
    check_background,
    check_predictions,
    decode,
    encode,
    outside,
    overlap,
    priors_of,
    suppress,
)
from ._image_numbers import own_image
from ._loss import Loss, LossParam, floored
from ._matching import best_matches, bipartite
from .activation import Sigmoid
from .base import Context, Example, Layer
from .detection import DetectionOutput
from .shaping import Flatten, NewShape, Reshape
from .softmax import SMALLEST_LOG, Softmax

LEAST_OVERLAP = 1e-6  # smaller overlaps are not matched
SMALLEST = 1e-5  # smaller boxes are dropped by suppression


class LocLossType(enum.Enum):
    """The loss of the coordinates."""

    L2 = 0
    SMOOTH_L1 = 1


class ConfLossType(enum.Enum):
    """The loss of the confidences."""

    SOFTMAX = 0
    LOGISTIC = 1


class MatchType(enum.Enum):
    """Which default boxes are matched with a true box."""

    BIPARTITE = 0
    PER_PREDICTION = 1


class MiningType(enum.Enum):
    """Which boxes without an object are used."""

    NONE = 0
    MAX_NEGATIVE = 1
    HARD_EXAMPLE = 2


class _Truth(NamedTuple):
    """The true boxes of a batch (boxes), in the order of the file."""

    image: Array
    label: Array
    boxes: Boxes
    counted: Array  # of an image of the batch, and not excluded as difficult


class _Matches(NamedTuple):
    """The matches (n, 1 or classes, boxes) of predictions with true boxes."""

    truth: Array  # index of the true box, 0 where there is none
    positive: Array  # there is one
    free: Array  # there is none, and the box is not ignored because it crosses the border
    overlap: Array  # the largest overlap with a true box


class MultiBoxLoss(Loss, type="MultiBoxLoss", block="multibox_loss_param"):
    """(loc_weight sum of L(loc, code of the true box) + sum of H(conf, label)) / N: coordinates of the boxes that match
    a true box, and classes of these and of boxes without an object.

    Each true box is matched with the default box that it overlaps most, highest overlap first; with PER_PREDICTION,
    every other default box also with the true box that it overlaps most, if at least by `overlap_threshold`.  H has the
    label of the background for boxes without a match: for all (`mining_type` NONE); for those with the highest loss and
    an overlap below `neg_overlap`, `neg_pos_ratio` for each match (MAX_NEGATIVE); or, of all boxes, matched or not,
    only the `sample_size` with the highest loss are used (HARD_EXAMPLE).  With mining, an image without true boxes adds
    nothing.  N is the number of matches, or as in `loss_param`.
    Bottoms: coordinates (n, boxes 4), or (n, boxes classes 4) without `share_location`; confidences (n, boxes classes);
    default boxes (1, 2, boxes 4); true boxes (1, 1, count, 8): image, label, instance, xmin, ymin, xmax, ymax,
    difficult.  Rows with image -1 are skipped.  Tops: loss ().
    As in the fork, the gradient with `encode_variance_in_target` is that of the prediction divided by its variance;
    `nms_param` without `top_k` selects no box; and with LOGISTIC without mining, the targets of all images but the
    first are misplaced.
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/multibox_loss_layer.cpp.
    Differs: a label that is out of range or the background's makes the loss NaN, where the fork aborts; of more than 16
    boxes with equal loss, the fork selects others, depending on the C++ library.
    """

    float32 = "coordinates are compared with thresholds"
    truth_bottom = 3
    n_bottoms = 4

    examples = (
        Example(
            'layer { name: "loss" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "truth"\n'
            '        top: "loss" multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE } }',
            {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24), "truth": (1, 1, 5, 8)},
            differentiable=False,
        ),
    )

    num_classes: int = param("Number of classes, including the background.", at_least=1)
    loc_loss_type: LocLossType = param("Loss of coordinates.", default=LocLossType.SMOOTH_L1)
    conf_loss_type: ConfLossType = param("Loss of confidences.", default=ConfLossType.SOFTMAX)
    loc_weight: float = param("Weight of the loss of coordinates.", default=1.0)
    share_location: bool = param("Whether all classes share the coordinates of a box.", default=True)
    match_type: MatchType = param("Which boxes are matched.", default=MatchType.PER_PREDICTION)
    overlap_threshold: float = param("Overlap from which on boxes are matched.", default=0.5)
    use_prior_for_matching: bool = param("Whether to match default boxes instead of predicted ones.", default=True)
    background_label_id: int = param("Class of the background.", default=0, at_least=0)
    use_difficult_gt: bool = param("Whether to use true boxes marked as difficult.", default=True)
    do_neg_mining: bool | None = param("Old form of `mining_type`, which it must agree with.", default=None)
    neg_pos_ratio: float = param("Number of boxes without an object for each box with one.", default=3.0)
    neg_overlap: float = param("Overlap below which a box has no object.", default=0.5)
    code_type: CodeType = param("How boxes are encoded.", default=CodeType.CORNER)
    encode_variance_in_target: bool = param("Whether the predictions include the variances.", default=False)
    map_object_to_agnostic: bool = param("Whether all objects are one class.", default=False)
    ignore_cross_boundary_bbox: bool = param("Whether to ignore boxes that cross the border.", default=False)
    bp_inside: bool = param("Whether only coordinates inside the image have a gradient.", default=False)
    mining_type: MiningType = param("Which boxes without an object are used.", default=MiningType.MAX_NEGATIVE)
    nms_param: NonMaximumSuppression | None = param("Suppression of overlapping boxes in mining.", default=None)
    sample_size: int = param("Number of boxes that HARD_EXAMPLE uses.", default=64, at_least=1)
    use_prior_for_nms: bool = param("Whether to suppress default boxes instead of predicted ones.", default=False)
    loss_param: LossParam = param("How the sum is normalized.", default=LossParam(), beside=True)

    def deployed_layers(self, bottoms: Sequence[str]) -> Sequence[Layer]:
        """Returns the layers from the scores to the detections, with the thresholds of the SSD fork's examples."""
        if len(bottoms) < 3:  # an error that is reported elsewhere
            return ()
        loc, conf, priors = bottoms[:3]
        rows, scores, flat = f"{conf}_reshape", f"{conf}_{self.conf_loss_type.name.lower()}", f"{conf}_flatten"
        softmax = self.conf_loss_type is ConfLossType.SOFTMAX
        classes = NewShape(dim=(0, -1, self.num_classes))
        normalized = Softmax(axis=2) if softmax else Sigmoid()
        found = DetectionOutput(
            num_classes=self.num_classes,
            share_location=self.share_location,
            background_label_id=self.background_label_id,
            nms_param=NonMaximumSuppression(nms_threshold=0.45, top_k=400),
            code_type=self.code_type,
            variance_encoded_in_target=self.encode_variance_in_target,
            keep_top_k=200,
            confidence_threshold=0.01,
        )
        made = (
            (Reshape(shape=classes), (conf,), rows),
            (normalized, (rows,), scores),
            (Flatten(), (scores,), flat),
            (found, (loc, flat, priors), "detection_out"),
        )
        return [layer.replace(name=top, bottom=used, top=(top,)) for layer, used, top in made]

    @property
    def _mines(self) -> bool:
        return self.mining_type is not MiningType.NONE

    def infer(self, loc: Shape, conf: Shape, priors: Shape, truth: Shape) -> Shape:
        check_predictions(priors, loc, conf, self.num_classes, self.share_location)
        check_background(self.background_label_id, self.num_classes)
        if len(truth) != 4 or count(truth) < 8 * truth[2]:
            raise ShapeError(
                f"bottom 3, the true boxes, is {show(truth)}; it must be 1 x 1 x count x 8: image, label, instance, "
                "xmin, ymin, xmax, ymax, difficult.",
                bottom=3,
            )
        if self._mines and not self.share_location:
            raise ShapeError(
                f"`share_location` is false, but `mining_type` is {self.mining_type.name}; mining requires coordinates "
                "that all classes share: use `mining_type: NONE`.",
                field="mining_type" if self.given("mining_type") else "share_location",
            )
        if self.do_neg_mining is not None and self.do_neg_mining != self._mines:
            raise ShapeError(
                f"`do_neg_mining` is {str(self.do_neg_mining).lower()}, but `mining_type` is {self.mining_type.name}; "
                "remove `do_neg_mining`.",
                field="do_neg_mining",
            )
        if self.map_object_to_agnostic and self.num_classes != 2:
            raise ShapeError(
                f"`num_classes` is {self.num_classes}, but with `map_object_to_agnostic` there are 2: background and "
                "object.",
                field="num_classes",
            )
        return ()

    def apply(
        self, w: tuple[Array, ...], loc: Array, conf: Array, priors: Array, truth: Array, *, ctx: Context
    ) -> Array:
        n, boxes = loc.shape[0], priors.shape[2] // 4
        default = priors_of(priors, boxes)
        offsets = boxes_of(jnp.moveaxis(loc.reshape(n, boxes, -1, 4), 2, 1))  # (n, 1 or classes, boxes)
        conf = conf.reshape(n, boxes, self.num_classes)
        true, invalid = self._truth(lax.stop_gradient(truth), n)
        decoded = decode(self.code_type.name, default, offsets.each(lax.stop_gradient), self.encode_variance_in_target)
        matches = self._matches(true, default, decoded)
        positive = matches.positive
        loc_loss = self._loc_loss(true, matches, default, offsets, decoded)
        labels = self._labels(true, matches)
        is_label = self._is_label(labels, positive)
        counted = jnp.ones((n, boxes), bool)
        if self._mines:
            mined = self._mined(true, matches, loc_loss[:, 0], self._each(conf, is_label), default, decoded)
            hard = self.mining_type is MiningType.HARD_EXAMPLE
            positive = positive & mined[:, None] if hard else positive
            counted = positive[:, 0] | mined & matches.free[:, 0]
        divisor = self.loss_param.divisor(jnp.sum(positive), n, boxes)
        total = jnp.float32(0)
        reached = (*self.propagate_down, True, True)
        if reached[0]:
            total += self.loc_weight * jnp.sum(jnp.where(positive, loc_loss, 0.0)) / divisor
        if reached[1]:
            each = self._each(conf, self._targets(labels, matches.positive, is_label))
            total += jnp.sum(jnp.where(counted, each, 0.0)) / divisor
        invalid |= jnp.any(positive & ((labels < 0) | (labels >= self.num_classes)))
        return jnp.where(invalid, jnp.nan, total)

    def _truth(self, truth: Array, n: int) -> tuple[_Truth, Array]:
        """Returns the true boxes, and whether one has the label of the background."""
        rows = truth.reshape(-1)[: 8 * truth.shape[2]].reshape(-1, 8)
        number, label = rows[:, 0].astype(jnp.int32), rows[:, 1].astype(jnp.int32)
        image = own_image(number, n)
        counted = (image >= 0) & (image < n)
        if not self.use_difficult_gt:
            counted &= rows[:, 7].astype(jnp.int32) == 0
        invalid = jnp.any((number != -1) & (label == self.background_label_id))
        return _Truth(jnp.clip(image, 0, n - 1), label, boxes_of(rows[:, 3:7]), counted), invalid

    def _matches(self, true: _Truth, default: Priors, decoded: Boxes) -> _Matches:
        """Matches default boxes, or the predictions `decoded` (n, 1 or classes, boxes), with the true boxes."""
        n, parts, boxes = decoded.xmin.shape
        in_range = (true.label >= 0) & (true.label < self.num_classes)
        counted = true.counted
        if self.use_prior_for_matching:
            parts, group = 1, true.image
            own = default.boxes.each(lambda side: side[None])
            crossing = _crosses(default.boxes)
        else:
            part = jnp.where(in_range, true.label, 0) if parts > 1 else 0
            counted = counted & in_range if parts > 1 else counted
            group = true.image * parts + part
            own = decoded.each(lambda side: side[true.image, part])
            crossing = _crosses(decoded)
        overlaps = overlap(own, true.boxes.each(lambda side: side[:, None]))
        overlaps = jnp.where((overlaps > LEAST_OVERLAP) & counted[:, None], overlaps, 0.0)
        if self.ignore_cross_boundary_bbox:
            overlaps = jnp.where(_crosses(own), 0.0, overlaps)
        else:
            crossing = jnp.zeros((), bool)
        most, nearest = best_matches(overlaps, group, n * parts)
        found = bipartite(overlaps, group, n * parts)
        if self.match_type is MatchType.PER_PREDICTION:
            found = jnp.where((found < 0) & (most > 0) & (most >= self.overlap_threshold), nearest, found)
        found, most = found.reshape(n, parts, boxes), most.reshape(n, parts, boxes)
        positive = found >= 0
        if not self.share_location:
            positive &= in_range[found]
        return _Matches(jnp.maximum(found, 0), positive, (found < 0) & ~crossing, most)

    def _loc_loss(self, true: _Truth, matches: _Matches, default: Priors, offsets: Boxes, decoded: Boxes) -> Array:
        """Returns the loss of the coordinates of each matched box, 0 of the others."""
        if matches.truth.shape[1] < offsets.xmin.shape[1]:  # of the class of the match
            part = jnp.where(matches.positive, true.label[matches.truth], 0)
            offsets, decoded = (b.each(lambda side: jnp.take_along_axis(side, part, 1)) for b in (offsets, decoded))
        scaled = self.encode_variance_in_target
        target = encode(self.code_type, default, true.boxes.each(lambda side: side[matches.truth]), scaled)
        target = target.each(lambda side: jnp.where(matches.positive, side, 0.0))
        if self.bp_inside:
            away = outside(default.boxes if self.use_prior_for_matching else decoded)
            offsets = Boxes(*map(jnp.where, away, target, offsets))
        if scaled:  # as in the fork, the gradient passes through the division unchanged
            offsets = Boxes(
                *(o + lax.stop_gradient(o / v - o) for o, v in zip(offsets, default.variances, strict=True))
            )
            target = Boxes(*(t / v for t, v in zip(target, default.variances, strict=True)))
        each = [self._distance(o - lax.stop_gradient(t)) for o, t in zip(offsets, target, strict=True)]
        return jnp.where(matches.positive, sum(each), 0.0)

    def _distance(self, difference: Array) -> Array:
        square = 0.5 * difference * difference
        if self.loc_loss_type is LocLossType.L2:
            return square
        size = jnp.abs(difference)
        return jnp.where(size < 1, square, size - 0.5)

    def _labels(self, true: _Truth, matches: _Matches) -> Array:
        """Returns the label of each match, the background's where there is none."""
        background = self.background_label_id
        label = background + 1 if self.map_object_to_agnostic else true.label[matches.truth]
        return jnp.where(matches.positive, label, background)

    def _is_label(self, labels: Array, positive: Array) -> Array:
        """Returns (n, boxes, classes): whether this is the label of the box; of several classes, the last one."""
        label = jnp.max(jnp.where(positive, labels, -1), 1)
        label = jnp.where(label < 0, self.background_label_id, label)
        return label[..., None] == jnp.arange(self.num_classes)

    def _targets(self, labels: Array, positive: Array, is_label: Array) -> Array:
        """Returns the targets of the confidences (n, boxes, classes)."""
        if self.conf_loss_type is ConfLossType.SOFTMAX:
            return is_label
        rest = float(self.background_label_id)  # the fork fills the targets with it
        if self._mines:
            return jnp.where(is_label, 1.0, rest)
        # The fork advances by one value per box from image to image, where the targets have one per box and class.
        n, boxes, classes = is_label.shape
        at = jnp.arange(n)[:, None, None] * boxes + jnp.arange(boxes) * classes + labels
        at = jnp.where(positive, at, n * boxes * classes)
        return jnp.full(n * boxes * classes, rest).at[at.reshape(-1)].set(1.0, mode="drop").reshape(is_label.shape)

    def _each(self, conf: Array, targets: Array) -> Array:
        """Returns the loss of the confidences of each box (n, boxes)."""
        if self.conf_loss_type is ConfLossType.SOFTMAX:
            return -jnp.sum(jnp.where(targets, floored(jax.nn.log_softmax(conf, -1), SMALLEST_LOG), 0.0), -1)
        return jnp.sum(jax.nn.softplus(conf) - conf * targets, -1)

    def _mined(
        self, true: _Truth, matches: _Matches, loc_loss: Array, conf_loss: Array, default: Priors, decoded: Boxes
    ) -> Array:
        """Returns the boxes (n, boxes) with the highest losses, as many as `mining_type` says."""
        n, boxes = conf_loss.shape
        has_truth = jnp.zeros((n, 1), bool).at[true.image, 0].max(true.counted)
        if self.mining_type is MiningType.HARD_EXAMPLE:
            loss = lax.stop_gradient(conf_loss + loc_loss)
            eligible = jnp.broadcast_to(has_truth, (n, boxes))
            number = jnp.full((n, 1), min(self.sample_size, boxes))
        else:
            loss = lax.stop_gradient(conf_loss)
            eligible = has_truth & matches.free[:, 0] & (matches.overlap[:, 0] < self.neg_overlap)
            positive = jnp.sum(matches.positive[:, 0], 1, keepdims=True)
            number = (positive.astype(jnp.float32) * self.neg_pos_ratio).astype(jnp.int32)
            number = jnp.minimum(number, jnp.sum(eligible, 1, keepdims=True))
        loss = jnp.where(eligible, loss, -jnp.inf)
        if self.nms_param is None or not self.nms_param.nms_threshold:
            return _highest(loss, number)
        top_k = self.nms_param.top_k or 0  # 0 by default, as in the fork
        top_k = boxes if top_k < 0 or top_k > boxes else top_k
        if not top_k:
            return jnp.zeros((n, boxes), bool)
        loss, order = lax.top_k(loss, top_k)
        kept = default.boxes.each(lambda side: side[order])
        if not self.use_prior_for_nms:
            kept = decoded.each(lambda side: jnp.take_along_axis(side[:, 0], order, 1))
        candidates = (loss > -jnp.inf) & (kept.size() >= SMALLEST)
        chosen = suppress(kept, candidates, self.nms_param.nms_threshold, most=number)
        return jnp.zeros((n, boxes), bool).at[jnp.arange(n)[:, None], order].set(chosen)


def _crosses(boxes: Boxes) -> Array:
    """Returns whether a box is partly outside the image."""
    xmin, ymin, xmax, ymax = outside(boxes)
    return xmin | ymin | xmax | ymax


def _highest(loss: Array, number: Array) -> Array:
    """Returns which values of each row are the `number` (rows, 1) highest, the first ones in case of ties."""
    at = jnp.clip(number - 1, 0, loss.shape[1] - 1)
    limit = jnp.take_along_axis(-jnp.sort(-loss, 1), at, 1)
    above, equal = loss > limit, (loss == limit) & (loss > -jnp.inf)
    missing = number - jnp.sum(above, 1, keepdims=True)
    return (number > 0) & (above | equal & (jnp.cumsum(equal, 1) <= missing))
