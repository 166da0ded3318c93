"""Regression losses: EuclideanLoss, L1Loss, SmoothL1Loss."""

from __future__ import annotations

from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape
from ._loss import Loss, check_same_count
from .base import Context, Example


class EuclideanLoss(Loss, type="EuclideanLoss"):
    """sum of (a - b)^2 / (2 n): half the squared distance, averaged over the n items of the batch.

    Bottoms: a (n, ...); b (n, ...), the same number of values.  Tops: loss ().
    Source: BVLC/caffe src/caffe/layers/euclidean_loss_layer.cpp.  Differs: nothing.
    """

    examples = (
        Example(
            'layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "target" top: "loss" }',
            {"x": (3, 4), "target": (3, 4)},
        ),
    )

    def infer(self, a: Shape, b: Shape) -> Shape:
        check_same_count(a, b)
        return ()

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *, ctx: Context) -> Array:
        return jnp.sum((a - b.reshape(a.shape)) ** 2) / (2 * a.shape[0])


class L1Loss(Loss, type="L1Loss"):
    """sum of |a - b| / n.

    Bottoms: a (n, ...); b (n, ...), the same number of values.  Tops: loss ().
    Source: NVIDIA/caffe src/caffe/layers/l1_loss_layer.cpp.  Differs: nothing.
    """

    examples = (
        Example(
            'layer { name: "loss" type: "L1Loss" bottom: "x" bottom: "target" top: "loss" }',
            {"x": (3, 4), "target": (3, 4)},
            differentiable=False,  # a kink
        ),
    )

    def infer(self, a: Shape, b: Shape) -> Shape:
        check_same_count(a, b)
        return ()

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *, ctx: Context) -> Array:
        d = a - b.reshape(a.shape)
        return jnp.sum(d * jnp.sign(d)) / a.shape[0]  # the gradient of jnp.abs is 1 at 0, Caffe's is 0


class SmoothL1Loss(Loss, type="SmoothL1Loss", block="smooth_l1_loss_param"):
    """sum of v f(u (a - b)) / n, where f(d) = (sigma d)^2 / 2 if |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2).

    Bottoms: a (n, ...); target b; optional inner weights u and outer weights v (default: 1), each with the same number
    of values.  Tops: loss ().
    Source: rbgirshick/fast-rcnn, rbgirshick/py-faster-rcnn (sigma, v) and weiliu89/caffe, branch ssd (u alone).
    Differs: nothing.
    """

    n_bottoms = (2, 4)

    sigma: float = param("The loss is quadratic up to a distance of 1 / sigma^2.", default=1.0, above=0)

    examples = (
        Example(
            'layer { name: "loss" type: "SmoothL1Loss" bottom: "x" bottom: "target" top: "loss" }',
            {"x": (3, 4), "target": (3, 4)},
        ),
        Example(
            'layer { name: "loss" type: "SmoothL1Loss" bottom: "x" bottom: "target" bottom: "inside"\n'
            '        bottom: "outside" top: "loss" smooth_l1_loss_param { sigma: 3.0 } }',
            {"x": (3, 4), "target": (3, 4), "inside": (3, 4), "outside": (3, 4)},
        ),
    )

    def infer(self, a: Shape, *others: Shape) -> Shape:
        for i, other in enumerate(others, 1):
            check_same_count(a, other, i)
        return ()

    def apply(self, w: tuple[Array, ...], a: Array, b: Array, *weights: Array, ctx: Context) -> Array:
        each = self.each(a, b, *weights[:1])
        return jnp.sum(each * weights[1].reshape(a.shape) if len(weights) > 1 else each) / a.shape[0]

    def each(self, a: Array, b: Array, u: Array | None = None) -> Array:
        """Returns f(u (a - b)), same shape as a."""
        d = a - b.reshape(a.shape)
        return smooth_l1(d if u is None else u.reshape(a.shape) * d, self.sigma)


def smooth_l1(d: Array, sigma: float) -> Array:
    """Returns (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2)."""
    square = sigma * sigma
    return jnp.where(jnp.abs(d) < 1 / square, 0.5 * square * d * d, jnp.abs(d) - 0.5 / square)
