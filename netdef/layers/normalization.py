"""Normalization of single items: MVN, Normalize, LayerNorm, GroupNorm.  Over the batch: `batch_norm`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp
from ..schema import Block, param
from ..shape import Shape, ShapeError, axis_of, show
from .base import Context, Example, Layer, Weight


def image(x: Shape) -> Shape:
    """Returns the shape with at least four axes, as in Caffe's older layers: (n, c) is (n, c, 1, 1)."""
    return (*x, *(1,) * (4 - len(x)))


@cache
def standardize() -> Callable[[Array, float], Array]:
    """(x - mean) / (std + eps) along the last axis, with Caffe's gradient: std + eps is treated as the standard
    deviation, which keeps the gradient finite where all values are equal."""

    def plain(x: Array, eps: float) -> Array:
        return forward(x, eps)[0]

    def forward(x: Array, eps: float) -> tuple[Array, tuple[Array, Array]]:
        centered = x - x.mean(axis=-1, keepdims=True)
        std = jnp.sqrt((centered * centered).mean(axis=-1, keepdims=True)) + eps
        y = centered / std
        return y, (y, std)

    def backward(eps: float, saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
        y, std = saved
        mean, mean_y = dy.mean(axis=-1, keepdims=True), (dy * y).mean(axis=-1, keepdims=True)
        return ((dy - mean - y * mean_y) / std,)

    own = jax.custom_vjp(plain, nondiff_argnums=(1,))
    own.defvjp(forward, backward)
    return own


class MVN(Layer, type="MVN", block="mvn_param"):
    """y = (x - mean) / (std + eps) for each channel of each item, or for each item with `across_channels`.

    Bottoms: x (n, c, ...).  Tops: y, same shape as x, with at least four axes.
    As in Caffe, the gradient treats std + eps as the standard deviation.
    Source: BVLC/caffe src/caffe/layers/mvn_layer.cpp.  Differs: nothing.
    """

    family = "normalization"
    float32, float32_tops = "its statistics are sums over an item", False

    normalize_variance: bool = param("Whether to divide by the standard deviation.", default=True)
    across_channels: bool = param("Whether all channels of an item share mean and standard deviation.", default=False)
    eps: float = param("Added to the standard deviation.", default=1e-9)

    examples = (
        Example('layer { name: "mvn" type: "MVN" bottom: "x" top: "y" }', {"x": (2, 3, 4, 5)}),
        Example(
            'layer { name: "mvn" type: "MVN" bottom: "x" top: "y" mvn_param { normalize_variance: false } }',
            {"x": (2, 3, 4, 5)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        return image(x)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        shape = image(x.shape)
        rows = x.reshape(shape[0] * (1 if self.across_channels else shape[1]), -1)
        y = standardize()(rows, self.eps) if self.normalize_variance else rows - rows.mean(axis=1, keepdims=True)
        return y.reshape(shape)


class NormBlock(Block):
    """`norm_param { }` of the SSD forks."""

    across_spatial: bool = param("Whether the norm is over a whole item, instead of each position.", default=True)
    scale_filler: Filler = param("Filler of the scale.", default=Constant(value=1.0))
    channel_shared: bool = param("Whether all channels share one scale.", default=True)
    eps: float = param("Added to the sum of squares.", default=1e-10, at_least=0)


class Normalize(Layer, type="Normalize", block="normalize_param"):
    """y = x / norm along the channels of each position; with `norm_param` (the SSD forks), times a learned scale.

    happynear: the norm is sqrt(sum of squares + 1e-6) or, with L1, sum of magnitudes + 1e-6.
    SSD: the norm is sqrt(sum of squares + eps), also over positions with `across_spatial`.
    Bottoms: x (n, c, ...).  Tops: y, same shape as x; happynear: with at least four axes; optional norm (n, 1, h, w).
    Weights: none; SSD: scale (c), or a scalar () with `channel_shared`.
    Source: src/caffe/layers/normalize_layer.cpp of happynear/caffe-windows and of weiliu89/caffe (branch ssd).
    Differs: with SSD's `channel_shared: false` the gradient of x is correct; in that fork it is wrong.
    """

    family = "normalization"
    float32, float32_tops = "its statistics are sums over an item", False
    n_tops = (1, 2)

    normalize_type: str = param('The norm, "L2" or "L1" (happynear).', default="L2")
    bp_norm: bool = param("Whether x gets a gradient from the second top, the norm (happynear).", default=False)
    fix_gradient: bool = param("Has no effect in happynear's fork either.", default=False, inert=True)
    norm_param: NormBlock | None = param("Selects the layer of the SSD forks.", default=None, beside=True)

    examples = (
        Example('layer { name: "unit" type: "Normalize" bottom: "x" top: "y" }', {"x": (2, 5, 3, 3)}),
        Example(
            'layer { name: "norm" type: "Normalize" bottom: "x" top: "y"\n'
            "        norm_param { across_spatial: false channel_shared: false scale_filler { value: 20 } } }",
            {"x": (2, 5, 3, 3)},
        ),
    )

    def infer(self, x: Shape) -> list[Shape]:
        if len(x) < 2:
            raise ShapeError(
                f"the norm is along axis 1, but the input {show(x)} has no axis 1; give at least 2 axes.", bottom=0
            )
        if self.normalize_type not in ("L1", "L2"):
            raise ShapeError(
                f'`normalize_type` is "{self.normalize_type}"; it must be "L1" or "L2".', field="normalize_type"
            )
        if self.norm_param is None:
            y = image(x)
            return self.tops(y, (y[0], 1, *y[2:]))
        if len(self.top) > 1:
            raise ShapeError(
                f"there are {len(self.top)} tops, but with `norm_param` there is only one, y; remove the other.",
                field="top",
            )
        return [x]

    def weights(self, x: Shape) -> list[Weight]:
        if self.norm_param is None:
            return []
        return [Weight(() if self.norm_param.channel_shared else (x[1],), self.norm_param.scale_filler)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> list[Array]:
        if self.norm_param is not None:
            axes = tuple(range(1, x.ndim)) if self.norm_param.across_spatial else 1
            inverse = jax.lax.rsqrt(jnp.sum(x * x, axis=axes, keepdims=True) + self.norm_param.eps)
            return [x * inverse * w[0].reshape(-1, *(1,) * (x.ndim - 2))]
        x = x.reshape(image(x.shape))
        if self.normalize_type == "L1":
            norm = jnp.sum(jnp.abs(x), axis=1, keepdims=True) + 1e-6
        else:
            norm = jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True) + 1e-6)
        return self.tops(x / norm, norm if self.bp_norm else jax.lax.stop_gradient(norm))


class _ByItem(Layer):
    """The base of LayerNorm and GroupNorm: eps, and a learned scale and shift."""

    family = "normalization"
    float32, float32_tops = "its statistics are sums over an item", False

    eps: float = param("Added to the variance.", default=1e-5, at_least=0)
    scale_term: bool = param("Whether to multiply by a learned scale.", default=True)
    bias_term: bool = param("Whether to add a learned shift.", default=True)
    filler: Filler = param("Filler of the scale.", default=Constant(value=1.0))
    bias_filler: Filler = param("Filler of the shift.", default=Constant())

    def learned(self, shape: Shape) -> list[Weight]:
        scale = [Weight(shape, self.filler)] if self.scale_term else []
        return scale + ([Weight(shape, self.bias_filler)] if self.bias_term else [])

    def normal(self, rows: Array) -> Array:
        """Returns (x - mean) / sqrt(var + eps) along the last axis."""
        centered = rows - rows.mean(axis=-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered * centered).mean(axis=-1, keepdims=True) + self.eps)

    def spread(self, y: Array, w: tuple[Array, ...], ones: int) -> Array:
        """Returns y scale + shift, where scale and shift get `ones` trailing axes of length 1."""
        spread = [blob.reshape(*blob.shape, *(1,) * ones) for blob in w]
        y = y * spread[0] if self.scale_term else y
        return y + spread[-1] if self.bias_term else y


class LayerNorm(_ByItem, type="LayerNorm", block="layer_norm_param"):
    """y = scale (x - mean) / sqrt(var + eps) + shift, with mean and var over the axes from `axis` on.

    Bottoms: x (any shape).  Tops: y, same shape as x.  Weights: scale and shift, the axes of x from `axis` on.
    Source: Ba et al. 2016.  Differs: Caffe has no such layer.
    """

    axis: int = param("First axis to normalize.", default=-1)

    examples = (Example('layer { name: "ln" type: "LayerNorm" bottom: "x" top: "y" }', {"x": (2, 5, 8)}),)

    def infer(self, x: Shape) -> Shape:
        if axis_of(x, self.axis) == 0:
            raise ShapeError(
                f"`axis` is {self.axis}, the batch axis of the input {show(x)}; give a later one.", field="axis"
            )
        return x

    def weights(self, x: Shape) -> list[Weight]:
        return self.learned(x[axis_of(x, self.axis) :])

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        rows = x.reshape(*x.shape[: axis_of(x.shape, self.axis)], -1)
        return self.spread(self.normal(rows).reshape(x.shape), w, 0)


class GroupNorm(_ByItem, type="GroupNorm", block="group_norm_param"):
    """y = scale (x - mean) / sqrt(var + eps) + shift, with mean and var over each group of channels of an item.

    Bottoms: x (n, c, ...).  Tops: y, same shape as x.  Weights: scale (c) and shift (c).
    Source: Wu and He 2018; `num_groups` equal to the channels is instance normalization.
    Differs: Caffe has no such layer.
    """

    num_groups: int = param("Number of groups of channels.", default=32, at_least=1)

    examples = (
        Example(
            'layer { name: "gn" type: "GroupNorm" bottom: "x" top: "y" group_norm_param { num_groups: 2 } }',
            {"x": (2, 6, 4, 4)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        if len(x) < 2:
            raise ShapeError(
                f"the channels are axis 1, but the input {show(x)} has no axis 1; give at least 2 axes.", bottom=0
            )
        if x[1] % self.num_groups:
            raise ShapeError(
                f"`num_groups` is {self.num_groups}, which does not divide the {x[1]} channels of the input; "
                f"choose a divisor of {x[1]}.",
                field="num_groups",
            )
        return x

    def weights(self, x: Shape) -> list[Weight]:
        return self.learned((x[1],))

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        rows = x.reshape(x.shape[0], self.num_groups, -1)
        return self.spread(self.normal(rows).reshape(x.shape), w, x.ndim - 2)
