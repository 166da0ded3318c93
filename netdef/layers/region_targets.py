"""Targets for training Faster R-CNN and R-FCN: of the anchors, AnchorTarget, and of the proposals, ProposalTarget."""

from __future__ import annotations

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Dim, Shape, ShapeError, count, show
from ._boxes import boxes_of
from ._image_numbers import of_ssd
from ._regions import (
    Anchors,
    check_four,
    check_image_info,
    drawn,
    offsets_to,
    region_overlaps,
    rows_of_boxes,
    true_regions,
)
from .base import Context, Example, Layer


class AnchorTarget(Anchors, Layer, type="AnchorTarget", block="anchor_target_param"):
    """Labels of anchors, 1 for an object and 0 for the background, and the offsets from anchors to true boxes.

    An anchor that overlaps a true box at least by `positive_overlap`, or more than any other anchor does, is an object;
    one that overlaps none by `negative_overlap` is background.  Anchors outside the image are ignored: their label is
    -1.  At most `batch_size` x `fg_fraction` objects and `batch_size` anchors are drawn at random; the others are
    ignored, too.  The inner weights are 1 for objects; the outer ones 1 / count for all that are drawn.
    A layer of type Python with the module `rpn.anchor_target_layer` is read as this type.
    Bottoms: scores (1, 2 a, h, w), only for their shape; true boxes (count, 5) or (1, count, 5): x1, y1, x2, y2, label;
    or as in SSD, (1, 1, count, 8), in fractions of the image; height, width and scale of the image (1, 3); optional
    image, which is not used.  A row with a label below 1 is not a box.
    Tops: labels (1, 1, a h, w); offsets, inner and outer weights (1, 4 a, h, w).  There is no gradient.
    Source: rbgirshick/py-faster-rcnn lib/rpn/anchor_target_layer.py, lib/fast_rcnn/config.py.
    `target_mean` and `target_std` are RPN_NORMALIZE_MEANS and RPN_NORMALIZE_STDS of YuwenXiong/py-R-FCN.
    Differs: the settings are in the layer and not in a YAML file; an image without true boxes is background, where the
    original fails; the inner weights are 1.
    """

    family = "data"
    float32 = "its tops are coordinates and labels"
    n_bottoms = (3, 4)
    n_tops = 4

    allowed_border: float = param("Pixels by which an anchor may extend outside the image.", default=0.0)
    positive_overlap: float = param("Overlap from which on an anchor is an object.", default=0.7)
    negative_overlap: float = param("Overlap below which an anchor is background.", default=0.3)
    clobber_positives: bool = param("Whether background takes precedence over objects.", default=False)
    batch_size: int = param("Number of anchors to draw.", default=256, at_least=1)
    fg_fraction: float = param("Largest fraction of objects.", default=0.5, at_least=0, at_most=1)
    positive_weight: float = param(
        "Sum of the outer weights of objects, that of the background being 1 - it; -1: all weights are equal.",
        default=-1.0,
        below=1,
    )
    target_mean: tuple[float, ...] = param("Subtracted from the offsets: 4 values.", default=(0.0, 0.0, 0.0, 0.0))
    target_std: tuple[float, ...] = param("Divisors of the offsets: 4 values.", default=(1.0, 1.0, 1.0, 1.0), above=0)

    examples = (
        Example(
            'layer { name: "t" type: "AnchorTarget" bottom: "score" bottom: "gt_boxes" bottom: "im_info"\n'
            '        top: "labels" top: "targets" top: "inside" top: "outside"\n'
            "        anchor_target_param { scale: 1 ratio: 1 ratio: 0.5 batch_size: 8 } }",
            {"score": (1, 4, 3, 4), "gt_boxes": (3, 5), "im_info": (1, 3)},
            {"gt_boxes": 60, "im_info": 90},
            differentiable=False,
        ),
    )

    def infer(self, scores: Shape, truth: Shape, info: Shape, image: Shape | None = None) -> list[Shape]:
        self.check_scores(scores)
        _check_one_image(scores)
        rows_of_boxes(truth)
        check_image_info(info, 1, 2)
        check_four(self, "target_mean", "target_std")
        a, (height, width) = self.per_place(), scores[2:]
        return [(1, 1, a * height, width), *[(1, 4 * a, height, width)] * 3]

    def apply(
        self,
        w: tuple[Array, ...],
        scores: Array,
        truth: Array,
        info: Array,
        image: Array | None = None,
        *,
        ctx: Context,
    ) -> list[Array]:
        a, (height, width) = self.per_place(), scores.shape[2:]
        corners = jnp.asarray(self.anchors(height, width)).reshape(-1, 4)
        truth, size = true_regions(truth, info), lax.stop_gradient(info).reshape(info.shape[0], -1)[0]
        anchors, real = boxes_of(corners), truth[:, 4] > 0
        border = self.allowed_border
        inside = (anchors.xmin >= -border) & (anchors.ymin >= -border)
        inside &= (anchors.xmax < size[1] + border) & (anchors.ymax < size[0] + border)
        overlaps = jnp.where(real, region_overlaps(anchors, boxes_of(truth)), -1.0)
        labels = self._drawn(self._labels(overlaps, inside, real), ctx)
        nearest = boxes_of(truth[jnp.argmax(overlaps, 1)])
        offsets = (offsets_to(anchors, nearest) - jnp.asarray(self.target_mean)) / jnp.asarray(self.target_std)
        offsets = jnp.where((inside & jnp.any(real))[:, None], offsets, 0.0)
        wide = lambda values: jnp.broadcast_to(values[:, None], (len(values), 4))
        maps = (offsets, wide((labels == 1).astype(jnp.float32)), wide(self._outer_weights(labels)))
        labels = jnp.moveaxis(labels.reshape(1, height, width, a), 3, 1).reshape(1, 1, a * height, width)
        return [labels, *(jnp.moveaxis(m.reshape(1, height, width, 4 * a), 3, 1) for m in maps)]

    def _labels(self, overlaps: Array, inside: Array, real: Array) -> Array:
        """Returns the labels of all anchors before they are drawn; `overlaps` (anchors, true boxes)."""
        most = jnp.max(overlaps, 1)
        overlaps = jnp.where(inside[:, None], overlaps, -1.0)
        best = jnp.any((overlaps == jnp.max(overlaps, 0)) & real, 1)
        positive, negative = best | (most >= self.positive_overlap), most < self.negative_overlap
        if self.clobber_positives:
            positive &= ~negative
        return jnp.where(inside, jnp.where(positive, 1.0, jnp.where(negative, 0.0, -1.0)), -1.0)

    def _drawn(self, labels: Array, ctx: Context) -> Array:
        """Returns labels with -1 for the anchors that are not drawn."""
        positive = drawn(ctx.rng(), labels == 1, int(self.fg_fraction * self.batch_size))
        negative = drawn(ctx.rng(), labels == 0, self.batch_size - jnp.sum(positive))
        return jnp.where(jnp.logical_or(positive, negative), labels, -1.0)

    def _outer_weights(self, labels: Array) -> Array:
        positive, negative = jnp.sum(labels == 1), jnp.sum(labels == 0)
        if self.positive_weight < 0:
            return jnp.where(labels >= 0, 1.0 / jnp.maximum(positive + negative, 1), 0.0)
        of_objects = self.positive_weight / jnp.maximum(positive, 1)
        rest = (1.0 - self.positive_weight) / jnp.maximum(negative, 1)
        return jnp.where(labels == 1, of_objects, jnp.where(labels == 0, rest, 0.0))


class ProposalTarget(Layer, type="ProposalTarget", block="proposal_target_param"):
    """Draws regions for training, and their labels and offsets to the true boxes, after adding the true boxes to them.

    A region that overlaps a true box at least by `fg_overlap` has the label of the box that it overlaps most; one
    whose overlap is below `bg_overlap_high` and at least `bg_overlap_low` is background, 0.  Of `batch_size` regions,
    drawn at random, at most the fraction `fg_fraction` are objects; they come first.  The offsets, from which
    `target_mean` is subtracted and which are divided by `target_std`, are at 4 label to 4 label + 3; with two classes,
    which are background and object, at 4 to 7 for every label.
    A layer of type Python with the module `rpn.proposal_target_layer` is read as this type.  In an inference net, where
    it is left out, the offsets that the net predicts must be multiplied by `target_std` and `target_mean` be added.
    Bottoms: regions (count, 5): image, x1, y1, x2, y2; true boxes (count, 5) or (1, count, 5): x1, y1, x2, y2, label;
    or as in SSD, (1, 1, count, 8), in fractions of the image, and then its height, width and scale (1, 3).  A row with
    a negative image is not a region, one with a label below 1 is not a box.
    Tops: regions (r, 5, 1, 1); labels (r, 1, 1, 1); offsets, inner and outer weights (r, 4 classes, 1, 1), with
    r = batch_size.  There is no gradient.
    Source: YuwenXiong/py-R-FCN lib/rpn/proposal_target_layer.py after rbgirshick/py-faster-rcnn; the defaults are those
    of experiments/cfgs/faster_rcnn_end2end.yml.
    Differs: the settings are in the layer and not in a YAML file; if there are fewer than r regions, they are repeated
    in turn, where the original returns fewer; an image without true boxes is background, where the original fails;
    py-faster-rcnn's own tops lack the last two axes, and its labels the last three.
    """

    family = "data"
    float32 = "its tops are coordinates and labels"
    pads_regions = False
    n_bottoms = (2, 3)
    n_tops = 5

    num_classes: int = param("Number of classes, including the background.", at_least=2)
    batch_size: int = param("Number of regions; -1: all, of objects and background.", default=128, at_least=-1)
    fg_fraction: float = param("Largest fraction of objects.", default=0.25, at_least=0, at_most=1)
    fg_overlap: float = param("Overlap from which on a region is an object.", default=0.5)
    bg_overlap_high: float = param("Overlap below which a region is background.", default=0.5)
    bg_overlap_low: float = param("Overlap from which on a region is background.", default=0.0)
    target_mean: tuple[float, ...] = param("Subtracted from the offsets: 4 values.", default=(0.0, 0.0, 0.0, 0.0))
    target_std: tuple[float, ...] = param("Divisors of the offsets: 4 values.", default=(0.1, 0.1, 0.2, 0.2), above=0)

    examples = (
        Example(
            'layer { name: "t" type: "ProposalTarget" bottom: "rois" bottom: "gt_boxes" top: "drawn" top: "labels"\n'
            '        top: "targets" top: "inside" top: "outside" proposal_target_param { num_classes: 3 batch_size: 4 }'
            " }",
            {"rois": (6, 5), "gt_boxes": (2, 5)},
            {"rois": 1, "gt_boxes": 3},
            differentiable=False,
        ),
    )

    def deployed(self) -> Layer | None:
        return None

    def infer(self, rois: Shape, truth: Shape, info: Shape | None = None) -> list[Shape]:
        if len(rois) < 2 or count(rois[1:]) != 5:
            raise ShapeError(
                f"bottom 0, the regions, is {show(rois)}; it must have 5 values per region: image, x1, y1, x2, y2.",
                bottom=0,
            )
        boxes = rows_of_boxes(truth)
        if info is not None:
            check_image_info(info, 1, 2)
        elif of_ssd(truth):
            raise ShapeError(
                f"bottom 1, the true boxes, is {show(truth)}, boxes in fractions of the image; add a third bottom with "
                "its height, width and scale.",
                bottom=1,
            )
        check_four(self, "target_mean", "target_std")
        if self.batch_size == 0:
            raise ShapeError("`batch_size` is 0; give the number of regions, or -1 for all.", field="batch_size")
        rows = self._rows(rois[0] + boxes)
        return [(rows, 5, 1, 1), (rows, 1, 1, 1), *[(rows, 4 * self.num_classes, 1, 1)] * 3]

    def _rows(self, candidates: Dim) -> Dim:
        return candidates if self.batch_size < 0 else self.batch_size

    def apply(
        self, w: tuple[Array, ...], rois: Array, truth: Array, info: Array | None = None, *, ctx: Context
    ) -> list[Array]:
        rois, truth = lax.stop_gradient(rois).reshape(-1, 5), true_regions(truth, info)
        real = truth[:, 4] > 0
        own = jnp.concatenate([jnp.where(real, 0.0, -1.0)[:, None], truth[:, :4]], 1)
        rois = jnp.concatenate([rois, own])
        overlaps = jnp.where(real, region_overlaps(boxes_of(rois[:, 1:]), boxes_of(truth)), -1.0)
        nearest = truth[jnp.argmax(overlaps, 1)]
        at, is_object = self._chosen(jnp.max(overlaps, 1), rois[:, 0] >= 0, ctx)
        rois, nearest = rois[at], nearest[at]
        labels = jnp.where(is_object, nearest[:, 4], 0.0)
        offsets = offsets_to(boxes_of(rois[:, 1:]), boxes_of(nearest))
        offsets = (offsets - jnp.asarray(self.target_mean)) / jnp.asarray(self.target_std)
        place = jnp.minimum(labels, 1) if self.num_classes == 2 else labels
        weights = jax.nn.one_hot(place.astype(jnp.int32), self.num_classes)[:, :, None] * is_object[:, None, None]
        targets = jnp.where(weights > 0, offsets[:, None], 0.0)
        weights = jnp.broadcast_to(weights, targets.shape)
        rows = len(rois)
        return [top.reshape(rows, -1, 1, 1) for top in (rois, labels, targets, weights, weights)]

    def _chosen(self, most: Array, valid: Array, ctx: Context) -> tuple[Array, Array]:
        """Returns the indices of the regions, objects first, and which are objects; `most`: the largest overlap of
        each. If there are too few, their order is repeated."""
        rows = self._rows(len(most))
        most_objects = rows if self.batch_size < 0 else round(self.fg_fraction * rows)
        objects = drawn(ctx.rng(), valid & (most >= self.fg_overlap), most_objects)
        others = jnp.maximum(most, 0.0)
        others = valid & (others < self.bg_overlap_high) & (others >= self.bg_overlap_low)
        others = drawn(ctx.rng(), others & ~objects, rows - jnp.sum(objects))
        shuffled = jax.random.uniform(ctx.rng(), most.shape)
        order = jnp.argsort(shuffled + jnp.where(objects, 0.0, jnp.where(others, 1.0, jnp.where(valid, 2.0, 3.0))))
        turn = jnp.arange(rows) % jnp.maximum(jnp.sum(objects) + jnp.sum(others), 1)
        return order[turn], turn < jnp.sum(objects)


def _check_one_image(scores: Shape) -> None:
    if scores[0] != 1:
        raise ShapeError(
            f"bottom 0, the scores, is {show(scores)}, {scores[0]} images; give one image per batch, with `iter_size` "
            "in the solver for more.",
            bottom=0,
        )
