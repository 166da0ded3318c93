"""Margins between classes for face recognition: inner products and cosines with a lower score for the true class.

A margin layer is placed before SoftmaxWithLoss.  It lowers the score of each item's true class, so training separates
classes further than classification alone requires.
"""

from __future__ import annotations

import enum
import math
from functools import cache
from typing import Any, ClassVar

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._classes import ClassWeights
from ._loss import check_one_label, check_rows, look_up
from ._product import rows_product
from .base import LAYERS, Context, Example, Layer, Weight

SMALL = 1e-9  # added to products of lengths, which prevents a division by zero


class Angle(enum.Enum):
    """m, the factor of the angle to the true class: 1 to 4."""

    SINGLE = 0
    DOUBLE = 1
    TRIPLE = 2
    QUADRUPLE = 3


class _AngularMargin(ClassWeights):
    """An inner product in which the score of the true class is computed with psi(m theta) in place of cos theta.

    psi decreases from 1 to 1 - 2 m as theta increases from 0 to pi.  The score of the true class is the weighted mean
    of the plain one, with weight lambda, and the one with margin, with weight 1.  In training lambda decreases:
    lambda = max(lambda_min, base (1 + gamma iteration)^-power).
    """

    family = "product"
    float32 = "bfloat16 has no cosine of an angle between 0 and 5 degrees"
    n_bottoms = 2
    n_tops = (1, 2)

    num_output: int = param("Number of classes.", default=0, at_least=0)
    type_: Angle = param("m, the factor of the angle to the true class: 1 to 4.", default=Angle.SINGLE)
    weight_filler: Filler = param("Filler of W.", default=Constant())
    axis: int = param("First axis of x to flatten.", default=1)
    base: float = param("Initial lambda.", default=1.0)
    gamma: float = param("gamma in the formula of lambda.", default=0.0)
    power: float = param("power in the formula of lambda.", default=1.0)
    iteration: int = param("Initial value of the iteration count.", default=0)
    lambda_min: float = param("Minimum of lambda.", default=0.0)

    @property
    def multiple(self) -> int:
        """m, the factor of the angle."""
        return self.type_.value + 1

    unit_rows: ClassVar[bool] = False  # whether rows of W are treated as having length 1

    def deployed(self) -> Layer | None:
        """Returns the plain inner product."""
        product = LAYERS.get("InnerProduct")
        outputs, rows = self.num_output, self.unit_rows
        return product and product(num_output=outputs, axis=self.axis, bias_term=False, normalize=rows)  # pyright: ignore[reportCallIssue]

    def infer(self, x: Shape, label: Shape, matrix: Shape | None = None) -> list[Shape]:
        axis = check_rows(x, label, self.axis)
        if matrix is None and not self.num_output:
            raise ShapeError("`num_output`, the number of classes, is 0; give at least 1.", field="num_output")
        if matrix is not None and count(matrix[1:]) != count(x[axis:]):
            raise ShapeError(
                f"bottom 2, the weights, is {show(matrix)}, {count(matrix[1:])} values per class, but the input "
                f"{show(x)} has {count(x[axis:])} values per item; they must be equal.",
                bottom=2,
            )
        classes = self.num_output if matrix is None else matrix[0]
        return self.tops((*x[:axis], classes), (1,))

    def weights(self, x: Shape, label: Shape, matrix: Shape | None = None) -> list[Weight]:
        own = [self.rows((self.num_output, count(x[axis_of(x, self.axis) :])), self.weight_filler)]
        return (own if matrix is None else []) + [iterations(self.iteration)]

    def lambda_now(self, w: tuple[Array, ...], ctx: Context) -> Array:
        """Returns lambda of this iteration, ()."""
        iteration = count_iteration(w, ctx) + 1
        return jnp.maximum(self.lambda_min, self.base * (1 + self.gamma * iteration) ** -self.power)

    def scores(self, y: Array, lambda_: Array, x: Shape) -> list[Array]:
        """Returns the tops: scores y (n, classes), with trailing axes as in the input, and lambda."""
        shape = (*x[: axis_of(x, self.axis)], y.shape[1])
        return self.tops(y.reshape(shape), lambda_.reshape(1))

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return count(tops[0]) * count(bottoms[0][axis_of(bottoms[0], self.axis) :])


def iterations(start: int) -> Weight:
    """Returns the iteration count, as the last weight of a layer."""
    return Weight((), Constant(value=float(start)), kind="carry", lr_mult=0, decay_mult=0)


def count_iteration(w: tuple[Array, ...], ctx: Context) -> Array:
    """Returns the number of previous iterations, stored in the last weight; each pass in phase TRAIN counts as one."""
    before = lax.stop_gradient(w[-1])
    if ctx.train:
        ctx.update(len(w) - 1, before + 1)
    return before


def psi(cos: Array, m: int) -> Array:
    """(-1)^k cos(m theta) - 2 k, theta in [k pi / m, (k + 1) pi / m]: monotonically decreasing, unlike cos(m theta)."""
    k = sum((jnp.where(cos < math.cos(j * math.pi / m), 1.0, 0.0) for j in range(1, m)), jnp.zeros_like(cos))
    return (1 - 2 * (k % 2)) * CHEBYSHEV[m](cos) - 2 * k


CHEBYSHEV = {  # cos(m theta) as a polynomial of cos(theta)
    1: lambda c: c,
    2: lambda c: 2 * c * c - 1,
    3: lambda c: (4 * c * c - 3) * c,
    4: lambda c: 8 * c * c * (c * c - 1) + 1,
}


class MarginInnerProduct(_AngularMargin, type="MarginInnerProduct", block="margin_inner_product_param"):
    """A-Softmax: y = x . w for rows w of length 1; (|x| psi(m theta) + lambda y) / (1 + lambda) at the true class.

    Bottoms: x (n, k...); label (n).  Tops: y (n, num_output); optional lambda (1).
    Weights: W (num_output, product of k...).
    As in the fork, the gradient of W is that of a plain inner product, without the normalization of the rows, and the
    gradient of |x| psi with respect to x, a w + b x, is divided by sqrt(a^2 + b^2).
    Source: happynear/caffe-windows src/caffe/layers/margin_inner_product_layer.cpp after Liu et al. 2017 (SphereFace).
    Differs: the fork overwrites W with its normalized rows at each pass, here W is unchanged; the iteration count does
    not increase in phase TEST, and snapshots include it.
    """

    unit_rows = True

    examples = (
        Example(
            'layer { name: "fc" type: "MarginInnerProduct" bottom: "x" bottom: "label" top: "fc" top: "lambda"\n'
            "        margin_inner_product_param { num_output: 5 type: QUADRUPLE base: 1000 gamma: 0.12 lambda_min: 5\n"
            '                                     weight_filler { type: "xavier" } } }',
            {"x": (6, 4), "label": (6,)},
            integers={"label": 5},
            differentiable=False,  # a custom rule
        ),
    )

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> list[Array]:
        flat = x.reshape(x.shape[0], -1)
        lambda_ = self.lambda_now(w, ctx)
        return self.scores(a_softmax(flat, w[0], label, lambda_, self.multiple), lambda_, x.shape)


def a_softmax(x: Array, w: Array, label: Array, lambda_: Array, m: int) -> Array:
    """Returns scores (n, classes) of x (n, k) and w (classes, k), with the gradient of MarginInnerProduct."""
    return _a_softmax()(x, w, look_up(jnp.empty((len(x), len(w))), label, 1, None).hit, lambda_, m)


@cache
def _a_softmax() -> Any:
    def forward(x: Array, w: Array, hit: Array, lambda_: Array, m: int) -> tuple[Array, Any]:
        rows = w / length(w)
        y = rows_product(x, rows)  # (n, classes)
        long = length(x)  # (n, 1)
        own = jnp.sum(jnp.where(hit, y, 0.0), 1, keepdims=True)
        made = (long * psi(own / long, m) + lambda_ * own) / (1 + lambda_)
        return jnp.where(hit, made, y), (x, rows, hit, lambda_, long, own / long)

    def backward(m: int, kept: Any, g: Array) -> tuple[Array, Array, None, Array]:
        x, rows, hit, lambda_, long, cos = kept
        value, slope = jax.jvp(lambda c: psi(c, m), (cos,), (jnp.ones_like(cos),))
        along_w, along_x = slope, (value - cos * slope) / long  # |x| psi by x: along_w w + along_x x
        both = jnp.sqrt(along_w**2 + along_x**2)
        own = jnp.sum(jnp.where(hit, g, 0.0), 1, keepdims=True) / (1 + lambda_)
        on_rows = jnp.where(hit, own * (along_w / both + lambda_), g)
        return on_rows @ rows + own * (along_x / both) * x, g.T @ x, None, jnp.zeros_like(lambda_)

    scores = jax.custom_vjp(lambda *args: forward(*args)[0], nondiff_argnums=(4,))
    scores.defvjp(forward, backward)
    return scores


def length(x: Array) -> Array:
    """Returns the length of each row (n, 1), never 0."""
    return jnp.sqrt(jnp.sum(x * x, -1, keepdims=True) + SMALL**2)


class LargeMarginInnerProduct(_AngularMargin, type="LargeMarginInnerProduct", block="largemargin_inner_product_param"):
    """L-Softmax: y = x . w; (|x| |w| psi(m theta) + lambda y) / (1 + lambda) at the true class.

    Bottoms: x (n, k...); label (n); optional W (classes, k...).
    Tops: y (n, classes); optional lambda (1).
    Weights: W (num_output, product of k...), unless it is a bottom.
    Source: happynear/caffe-windows src/caffe/layers/largemargin_inner_product_layer.cpp after Liu et al. 2016.
    Differs: the constant that keeps lengths above 0 is added under the root; the iteration count does not increase in
    phase TEST, and snapshots include it.
    """

    n_bottoms = (2, 3)

    examples = (
        Example(
            'layer { name: "fc" type: "LargeMarginInnerProduct" bottom: "x" bottom: "label" top: "fc" top: "lambda"\n'
            "        largemargin_inner_product_param { num_output: 5 type: DOUBLE base: 1000 gamma: 0.00003 power: 35\n"
            '                                          weight_filler { type: "msra" } } }',
            {"x": (6, 4), "label": (6,)},
            integers={"label": 5},
        ),
    )

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *matrix: Array, ctx: Context) -> list[Array]:
        flat = x.reshape(x.shape[0], -1)
        rows = matrix[0].reshape(matrix[0].shape[0], -1) if matrix else w[0]
        lambda_ = self.lambda_now(w, ctx)
        y = rows_product(flat, rows)
        hit = look_up(y, label, 1, None).hit
        own = jnp.sum(jnp.where(hit, y, 0.0), 1, keepdims=True)
        own_length = jnp.sum(jnp.where(hit, length(rows).T, 0.0), 1, keepdims=True)
        long = length(flat) * jnp.where(own_length > 0, own_length, 1.0)  # 1 where the label is out of range
        made = (long * psi(own / long, self.multiple) + lambda_ * own) / (1 + lambda_)
        return self.scores(jnp.where(hit, made, y), lambda_, x.shape)


class LabelSpecific(Layer):
    """Base of layers that change the score of the true class by a value, which they output as a second top."""

    float32 = "bfloat16 has no cosine of an angle between 0 and 5 degrees"
    n_bottoms = 2
    n_tops = (1, 2)

    iteration: int = param("Initial value of the iteration count.", default=0, at_least=0)

    @property
    def changes(self) -> bool:
        """Returns whether the value changes during training."""
        raise NotImplementedError

    def deployed(self) -> Layer | None:
        return None

    def infer(self, x: Shape, label: Shape) -> list[Shape]:
        check_one_label(x, label)
        return self.tops(x, (1,))

    def weights(self, x: Shape, label: Shape) -> list[Weight]:
        return [iterations(self.iteration)] if self.changes else []


class LabelSpecificAdd(LabelSpecific, type="LabelSpecificAdd", block="label_specific_add_param"):
    """The additive margin of AM-Softmax and CosFace: x + bias at the true class where x > -bias, x elsewhere.

    The bias is the negative margin.  In phase TEST y = x.
    Bottoms: x (n, classes...), cosines; label (n).  Tops: y, same shape as x; optional bias (1).
    With `bias_base` the bias is bias_base + (1 + bias_gamma iteration)^bias_power - 1, clipped to bias_min and
    bias_max.
    Source: happynear/caffe-windows src/caffe/layers/label_specific_add.cpp after Wang et al. 2018.
    Differs: snapshots include the iteration count.
    """

    family = "product"

    bias: float = param("Added to the score of the true class: the negative margin.", default=0.0)
    transform_test: bool = param(
        "Intended for phase TEST, but the fork uses it only in TRAIN.", default=False, inert=True
    )
    bias_base: float | None = param("Initial bias; makes the bias change during training.", default=None)
    bias_gamma: float = param("bias_gamma in the formula of the bias.", default=0.0)
    bias_power: float = param("bias_power in the formula of the bias.", default=1.0)
    bias_min: float = param("Minimum of the bias, with `bias_base`.", default=0.0)
    bias_max: float = param("Maximum of the bias, with `bias_base`.", default=0.0)

    examples = (
        Example(
            'layer { name: "margin" type: "LabelSpecificAdd" bottom: "cosines" bottom: "label" top: "margin"\n'
            "        label_specific_add_param { bias: -0.35 } }",
            {"cosines": (6, 5), "label": (6,)},
            integers={"label": 5},
        ),
    )

    @property
    def changes(self) -> bool:
        return self.bias_base is not None

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> list[Array]:
        if not ctx.train:
            return self.tops(x, jnp.zeros(1, x.dtype))
        bias = jnp.asarray(self.bias, x.dtype)
        if self.bias_base is not None:
            grown = (1 + self.bias_gamma * count_iteration(w, ctx)) ** self.bias_power - 1
            bias = jnp.clip(self.bias_base + grown, self.bias_min, self.bias_max)
        flat = x.reshape(x.shape[0], -1)
        hit = look_up(flat, label, 1, None).hit & (flat > -bias)
        return self.tops((flat + jnp.where(hit, bias, 0.0)).reshape(x.shape), bias.reshape(1))


class ArcFace(Layer, type="ArcFace", block="arc_face_param"):
    """The additive angular margin of ArcFace: scale cos(theta + margin) at the true class, scale cos(theta) elsewhere.

    Where theta + margin exceeds pi, the true class gets scale (cos(theta) - margin sin(margin)), which keeps
    decreasing.  In phase TEST there is no margin: scale cos(theta).
    Bottoms: cosines (n, classes), for example of InnerProduct with `normalize` and normalized features; label (n).
    Tops: scores, same shape as the cosines.
    Source: netdef's own; Deng et al. 2019.  Differs: Caffe has no such layer.
    """

    family = "product"
    float32 = "bfloat16 has no cosine of an angle between 0 and 5 degrees"
    n_bottoms = 2

    margin: float = param("Added to the angle of the true class.", default=0.5, at_least=0, unit="radians")
    scale: float = param("Factor of all cosines.", default=64.0, above=0)

    examples = (
        Example(
            'layer { name: "scores" type: "ArcFace" bottom: "cosines" bottom: "label" top: "scores"\n'
            "        arc_face_param { margin: 0.5 scale: 64 } }",
            {"cosines": (6, 5), "label": (6,)},
            integers={"label": 5},
            differentiable=False,  # random inputs are not cosines
        ),
    )

    def deployed(self) -> Layer | None:
        power = LAYERS.get("Power")
        return power and power(scale=self.scale)  # pyright: ignore[reportCallIssue]

    def infer(self, x: Shape, label: Shape) -> Shape:
        if len(x) != 2:
            raise ShapeError(f"the cosines {show(x)} have {len(x)} axes; they must have 2: batch, classes.", bottom=0)
        check_one_label(x, label)
        return x

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        if not ctx.train:
            return self.scale * x
        hit = look_up(x, label, 1, None).hit
        sine = jnp.sqrt(jnp.maximum(1 - x * x, SMALL))
        turned = x * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = x < math.cos(math.pi - self.margin)
        own = jnp.where(beyond, x - self.margin * math.sin(self.margin), turned)
        return self.scale * jnp.where(hit, own, x)
