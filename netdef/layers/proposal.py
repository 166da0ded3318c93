"""Proposals of Faster R-CNN and R-FCN: the boxes that a region proposal network considers to be objects."""

from __future__ import annotations

from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Dim, Shape, ShapeError, show
from ._boxes import Boxes, boxes_of, suppress
from ._regions import Anchors, check_four, check_image_info, shifted, with_ends
from .base import Context, Example, Layer, Phase


class Proposal(Anchors, Layer, type="Proposal", block="proposal_param"):
    """Regions of interest (image, x1, y1, x2, y2) in pixels: anchors, moved and scaled, after non-maximum suppression.

    At every position (y, x) there is an anchor for each ratio and scale, around the square (0, 0, base_size - 1,
    base_size - 1) + feat_stride (x, y, x, y).  It is moved by (dx w, dy h) and scaled by (exp dw, exp dh), and cut off
    at the borders of the image.  Boxes narrower or lower than `min_size` x scale are dropped.  Of the `pre_nms_topn`
    boxes with the highest scores, highest first, a box is kept if it overlaps no kept box by more than `nms_thresh`,
    up to `post_nms_topn` boxes for each image.
    Bottoms: scores (n, 2 a, h, w), a of the background, then a of objects; (dx, dy, dw, dh) (n, 4 a, h, w); height,
    width and scale of the images (1 or n, 3 or more; a fourth value is the scale of widths).  a is the number of
    ratios times that of scales.
    Tops: regions (count, 5); optional scores (count, 1).  In a compiled program, count is the largest possible one,
    and rows of -1 follow the regions; they are not shown, nor are the rows of later layers that belong to them.  There
    is no gradient.
    Source: sanghoon/caffe, branch dev_pvanet, src/caffe/layers/proposal_layer.cpp.
    Differs: boxes that are too small are dropped as in py-faster-rcnn, where the fork sorts them last with score 0; in
    case of ties the first box comes first; halves of sides of anchors are rounded to even numbers; without `ratio`
    or `scale`, those of py-faster-rcnn are used; the scores have a second axis, as those of py-faster-rcnn.
    """

    family = "pooling"
    float32 = "its tops are coordinates and indices"
    pads_regions = True
    n_bottoms = 3
    n_tops = (1, 2)

    min_size: float = param("Minimum width and height, in pixels of the original image.", default=16.0, at_least=0)
    pre_nms_topn: int | None = param("Number of boxes to consider; 0: all; default: 6000.", default=None, at_least=-1)
    post_nms_topn: int | None = param(
        "Number of boxes to keep per image; 0: all; default: 300.", default=None, at_least=-1
    )
    nms_thresh: float = param("Boxes that overlap more than this are dropped.", default=0.7, at_least=0)

    examples = (
        Example(
            'layer { name: "p" type: "Proposal" bottom: "prob" bottom: "pred" bottom: "im_info" top: "rois"\n'
            '        top: "scores" proposal_param { scale: 2 ratio: 0.5 ratio: 1 post_nms_topn: 5 } }',
            {"prob": (1, 4, 3, 4), "pred": (1, 8, 3, 4), "im_info": (1, 3)},
            {"im_info": 60},
            differentiable=False,
        ),
    )

    def limits_of(self) -> tuple[int, int]:
        """Returns the numbers of boxes to consider and to keep per image."""
        considered, kept = self.pre_nms_topn, self.post_nms_topn
        return 6000 if considered is None else considered, 300 if kept is None else kept

    def _numbers(self, boxes: Dim) -> tuple[Dim, Dim]:
        """Returns the numbers of boxes to consider and to keep, of so many boxes of an image."""
        considered, kept = self.limits_of()
        considered = considered if 0 < considered < boxes else boxes
        return considered, kept if 0 < kept < considered else considered

    def predicted(self, offsets: Array, ctx: Context) -> Array:
        """Returns the offsets (n, boxes, 4) that the values in bottom 1 represent."""
        return offsets

    def infer(self, scores: Shape, offsets: Shape, info: Shape) -> list[Shape]:
        self.check_scores(scores)
        wanted = (scores[0], 4 * self.per_place(), *scores[2:])
        if offsets != wanted:
            raise ShapeError(
                f"bottom 1, the offsets, is {show(offsets)}, but the scores {show(scores)} require {show(wanted)}: "
                "4 values for each anchor at each position.",
                bottom=1,
            )
        check_image_info(info, scores[0], 2)
        rows = scores[0] * self._numbers(self.per_place() * scores[2] * scores[3])[1]
        return self.tops((rows, 5), (rows, 1))

    def apply(self, w: tuple[Array, ...], scores: Array, offsets: Array, info: Array, *, ctx: Context) -> list[Array]:
        n, _, height, width = scores.shape
        a, number = self.per_place(), self.per_place() * height * width
        considered, kept = self._numbers(number)
        scores = jnp.moveaxis(lax.stop_gradient(scores)[:, a:], 1, 3).reshape(n, number)
        offsets = jnp.moveaxis(lax.stop_gradient(offsets), 1, 3).reshape(n, number, 4)
        offsets = self.predicted(offsets, ctx)
        info = jnp.broadcast_to(lax.stop_gradient(info).reshape(info.shape[0], -1), (n, info.size // info.shape[0]))
        anchors = boxes_of(jnp.asarray(self.anchors(height, width)).reshape(number, 4))
        boxes = _cut_off(shifted(anchors, boxes_of(offsets)), info)
        wide, high = with_ends(boxes).sides
        scale_w = info[:, 3:4] if info.shape[1] > 3 else info[:, 2:3]
        large = (wide >= self.min_size * scale_w) & (high >= self.min_size * info[:, 2:3])
        scores, order = lax.top_k(jnp.where(large, scores, -jnp.inf), considered)
        boxes = boxes.each(lambda side: jnp.take_along_axis(side, order, 1))
        most = jnp.full((n, 1), kept, jnp.int32)
        chosen = suppress(with_ends(boxes), scores > -jnp.inf, self.nms_thresh, most=most)
        return self.tops(*_listed(boxes, scores, chosen, kept))


def _cut_off(boxes: Boxes, info: Array) -> Boxes:
    """Returns boxes (n, boxes) inside images of these heights and widths."""
    x, y = (lambda v: jnp.clip(v, 0, info[:, 1:2] - 1)), (lambda v: jnp.clip(v, 0, info[:, :1] - 1))
    return Boxes(x(boxes.xmin), y(boxes.ymin), x(boxes.xmax), y(boxes.ymax))


def _listed(boxes: Boxes, scores: Array, chosen: Array, number: int) -> tuple[Array, Array]:
    """Returns the rows of the chosen boxes, up to `number` for each image, and their scores; then rows of -1."""
    n, total = chosen.shape
    at = jnp.sort(jnp.where(chosen, jnp.arange(total), total), 1)[:, :number]
    there, at = at < total, jnp.minimum(at, total - 1)
    pick = lambda values: jnp.take_along_axis(values, at, 1)
    image = jnp.broadcast_to(jnp.arange(n, dtype=jnp.float32)[:, None], at.shape)
    rows = jnp.stack([image, *boxes.each(pick), pick(scores)], -1)
    rows = jnp.where(there[..., None], rows, -1.0).reshape(-1, 6)
    if n > 1:
        rows = rows[jnp.argsort(~there.reshape(-1), stable=True)]
    return rows[:, :5], rows[:, 5:]


class ProposalLayer(Proposal, type="ProposalLayer", block="proposal_param"):
    """Proposal as the Python layer `rpn.proposal_layer` of py-faster-rcnn, whose defaults depend on the phase.

    A layer of type Python with this module is read as this type.
    In phase TRAIN, 12000 boxes are considered and 2000 kept, in phase TEST 6000 and 300; in phase TRAIN, the offsets
    are multiplied by `target_std` and `target_mean` is added.
    Bottoms: as those of Proposal.  Tops: as those of Proposal.
    Source: rbgirshick/py-faster-rcnn lib/rpn/proposal_layer.py, lib/fast_rcnn/config.py; `target_mean` and `target_std`
    are RPN_NORMALIZE_MEANS and RPN_NORMALIZE_STDS of YuwenXiong/py-R-FCN.
    Differs: the settings are in the layer and not in a YAML file; several images are allowed; in case of ties the first
    box comes first.
    """

    pre_nms_topn: int | None = param(
        "Number of boxes to consider; 0: all; default: 12000 in phase TRAIN, 6000 in TEST.", default=None, at_least=-1
    )
    post_nms_topn: int | None = param(
        "Number of boxes to keep per image; 0: all; default: 2000 in phase TRAIN, 300 in TEST.",
        default=None,
        at_least=-1,
    )
    target_mean: tuple[float, ...] = param("`target_mean` of AnchorTarget.", default=(0.0, 0.0, 0.0, 0.0))
    target_std: tuple[float, ...] = param("`target_std` of AnchorTarget.", default=(1.0, 1.0, 1.0, 1.0), above=0)

    examples = (
        Example(
            'layer { name: "p" type: "ProposalLayer" bottom: "prob" bottom: "pred" bottom: "im_info" top: "rois"\n'
            "        proposal_param { scale: 2 ratio: 1 } }",
            {"prob": (1, 2, 3, 4), "pred": (1, 4, 3, 4), "im_info": (1, 3)},
            {"im_info": 60},
            differentiable=False,
        ),
    )

    def in_phase(self, phase: Phase) -> Layer:
        considered, kept = (12000, 2000) if phase is Phase.TRAIN else (6000, 300)
        return self.replace(
            pre_nms_topn=considered if self.pre_nms_topn is None else self.pre_nms_topn,
            post_nms_topn=kept if self.post_nms_topn is None else self.post_nms_topn,
        )

    def infer(self, scores: Shape, offsets: Shape, info: Shape) -> list[Shape]:
        check_four(self, "target_mean", "target_std")
        return super().infer(scores, offsets, info)

    def predicted(self, offsets: Array, ctx: Context) -> Array:
        return offsets * jnp.asarray(self.target_std) + jnp.asarray(self.target_mean) if ctx.train else offsets
