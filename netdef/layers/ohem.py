"""Online hard example mining, as in R-FCN: losses that also output the loss of each region, and selection of regions.

Such a net has each of the two losses twice: once for all regions, with loss weight 0, as input of BoxAnnotatorOHEM, and
once with the labels and weights that BoxAnnotatorOHEM outputs.
"""

from __future__ import annotations

import math
from typing import Any

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from ._loss import LossParam, check_batch
from .base import Context, Example, Layer
from .regression_loss import SmoothL1Loss
from .softmax import SoftmaxWithLoss


class SoftmaxWithLossOHEM(SoftmaxWithLoss, type="SoftmaxWithLossOHEM", block="softmax_param"):
    """SoftmaxWithLoss that also outputs the loss of each position: mean of -log softmax(x)[label].

    Bottoms: x (n, classes, ...); label, one integer per position of x.
    Tops: loss (); optional softmax(x), same shape as x; optional loss of each position, same shape as label.
    Source: intel/caffe src/caffe/layers/softmax_loss_ohem_layer.cpp.
    Differs: with ignored labels the fork counts the wrong positions; with three tops it does not fill the second.
    """

    n_bottoms = 2

    examples = (
        Example(
            'layer { name: "loss" type: "SoftmaxWithLossOHEM" bottom: "x" bottom: "label" top: "loss"\n'
            "        loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 } }",
            {"x": (4, 5), "label": (4,)},
            integers={"label": 5},
        ),
    )


class SmoothL1LossOHEM(SmoothL1Loss, type="SmoothL1LossOHEM", block="smooth_l1_loss_param"):
    """SmoothL1Loss that also outputs the loss of each position: sum of f(u (a - b)), divided as `loss_param` says.

    f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, and |d| - 1 / (2 sigma^2) elsewhere.
    Bottoms: a (n, c, h, w) or (n, c); target b and optional weights u (default: 1), each with the same number of
    values.  Tops: loss (); optional loss of each position (n, 1, h, w).
    Source: intel/caffe src/caffe/layers/smooth_L1_loss_ohem_layer.cpp.
    Differs: the gradient is exact for any u, in the fork only for 0 and 1.
    """

    n_bottoms = (2, 3)
    n_tops = (0, 2)

    loss_param: LossParam = param("How the sum is normalized.", default=LossParam(), beside=True)

    examples = (
        Example(
            'layer { name: "loss" type: "SmoothL1LossOHEM" bottom: "x" bottom: "target" bottom: "weight" top: "loss"\n'
            "        loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 } }",
            {"x": (3, 4), "target": (3, 4), "weight": (3, 4)},
        ),
    )

    def infer(self, a: Shape, *others: Shape) -> Any:
        super().infer(a, *others)
        if not 2 <= len(a) <= 4:
            raise ShapeError(f"the input {show(a)} has {len(a)} axes; it must have 2 to 4: n x c x h x w.", bottom=0)
        return self.tops((), (a[0], 1, *a[2:], *(1,) * (4 - len(a))))

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *weights: Array, ctx: Context) -> Any:
        each = self.each(a, b, *weights)
        places = a.shape[0] * math.prod(a.shape[2:])
        loss = jnp.sum(each) / self.loss_param.divisor(jnp.asarray(places), a.shape[0], math.prod(a.shape[2:]))
        of_place = lax.stop_gradient(jnp.sum(each, 1, keepdims=True))
        return self.tops(loss, of_place.reshape(a.shape[0], 1, *a.shape[2:], *(1,) * (4 - a.ndim)))


class BoxAnnotatorOHEM(Layer, type="BoxAnnotatorOHEM", block="box_annotator_ohem_param"):
    """Selects the regions of each image with the highest loss; the others get `ignore_label` and weight 0.

    Bottoms: regions (n, 5, ...), image index first; losses; labels, each one value per region; weights of the
    coordinates (n, c, ...).  Tops: labels (n, 1, h, w); weights (n, c, h, w).
    Source: intel/caffe src/caffe/layers/box_annotator_ohem_layer.cpp.
    Differs: keeps the first regions in case of ties.
    """

    n_bottoms = 4
    n_tops = 2

    roi_per_img: int = param("Number of regions to select per image.", at_least=1)
    ignore_label: int = param("Label of the other regions.", default=-1)

    examples = (
        Example(
            'layer { name: "hard" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "loss" bottom: "label"\n'
            '        bottom: "weight" top: "hard" top: "weights" box_annotator_ohem_param { roi_per_img: 2 } }',
            {"rois": (6, 5), "loss": (6, 1, 1, 1), "label": (6,), "weight": (6, 8)},
            integers={"rois": 2, "label": 3},
            differentiable=False,
        ),
    )

    def infer(self, rois: Shape, loss: Shape, label: Shape, weight: Shape) -> list[Shape]:
        if len(rois) < 2 or rois[1] != 5:
            raise ShapeError(f"the regions are {show(rois)}; they must be n x 5, image index first.", bottom=0)
        places = rois[0] * count(rois[2:])
        for i, shape in ((1, loss), (2, label)):
            if count(shape) != places:
                raise ShapeError(
                    f"there are {places} regions, but bottom {i} {show(shape)} has {count(shape)} values; "
                    "give one value for each region.",
                    bottom=i,
                )
        check_batch(rois, weight, 3)
        ones = (1,) * (4 - len(rois))
        return [(rois[0], 1, *rois[2:], *ones), (*weight[:2], *rois[2:], *ones)]

    def apply(
        self, w: tuple[Array, ...], rois: Array, loss: Array, label: Array, weight: Array, *, ctx: Context
    ) -> list[Array]:
        image = rois[:, 0].reshape(-1)  # (regions)
        loss, places = loss.reshape(-1), jnp.arange(image.size)
        worse = (loss > loss[:, None]) | ((loss == loss[:, None]) & (places < places[:, None]))
        ahead = jnp.sum(worse & (image == image[:, None]), 1)  # regions of the image with a higher rank than each one
        kept = (ahead < self.roi_per_img).reshape(rois.shape[0], 1, *rois.shape[2:], *(1,) * (4 - rois.ndim))
        labels = jnp.where(kept, label.reshape(kept.shape), self.ignore_label)
        weights = jnp.where(kept, weight.reshape(*weight.shape[:2], *kept.shape[2:]), 0.0)
        return jax.tree.map(lax.stop_gradient, [labels, weights])
