"""Pooling of regions of interest: ROIPooling and PSROIPooling."""

from __future__ import annotations

from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, show
from .base import Context, Example, Layer

AT_ONCE = 16  # regions per step: limits the memory, but is enough to keep an accelerator busy


class _Regions(Layer):
    """The base of layers with regions: bottoms are an image and rows (batch index, x1, y1, x2, y2)."""

    family = "pooling"
    n_bottoms = 2

    spatial_scale: float = param("Factor from coordinates of regions to pixels of x.", default=1.0, above=0)

    def check(self, x: Shape, rois: Shape) -> None:
        if len(x) != 4:
            raise ShapeError(
                f"bottom 0 {show(x)} has {len(x)} axes; it must have 4: batch, channels, height, width.", bottom=0
            )
        per_region = 1
        for size in rois[1:]:
            per_region = per_region * size
        if len(rois) < 2 or per_region != 5:
            raise ShapeError(
                f"bottom 1 is {show(rois)}; it must have 5 values per region: batch index, x1, y1, x2, y2.", bottom=1
            )


class ROIPooling(_Regions, type="ROIPooling", block="roi_pooling_param"):
    """y = the maximum of each of pooled_h x pooled_w bins of a region, or 0 if a bin has no pixel.

    Bottoms: x (n, c, h, w); rois (r, 5), batch index and corners x1 y1 x2 y2 (inclusive).
    Tops: y (r, c, pooled_h, pooled_w).  The gradient goes to the first maximum in case of ties; regions have none.
    Source: rbgirshick/caffe-fast-rcnn src/caffe/layers/roi_pooling_layer.cpp, .cu; Girshick 2015.
    Differs: a batch index out of range selects the last image, where the fork aborts.
    """

    pooled_h: int = param("Number of bins from top to bottom.", at_least=1)
    pooled_w: int = param("Number of bins from left to right.", at_least=1)

    examples = (
        Example(
            'layer { name: "roi" type: "ROIPooling" bottom: "x" bottom: "rois" top: "roi"\n'
            "        roi_pooling_param { pooled_h: 2 pooled_w: 3 } }",
            {"x": (2, 3, 6, 7), "rois": (4, 5)},
            {"rois": 2},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, rois: Shape) -> Shape:
        self.check(x, rois)
        return (rois[0], x[1], self.pooled_h, self.pooled_w)

    def apply(self, w: tuple[Array, ...], x: Array, rois: Array, *, ctx: Context) -> Array:
        n, c, height, width = x.shape
        rois = lax.stop_gradient(rois.reshape(-1, 5))
        image = jnp.clip(rois[:, 0].astype(jnp.int32), 0, n - 1)
        corners = jnp.floor(rois[:, 1:] * jnp.float32(self.spatial_scale) + 0.5)
        columns = _bins(corners[:, 0], corners[:, 2], self.pooled_w, width)  # (r, pooled_w, w)
        rows = _bins(corners[:, 1], corners[:, 3], self.pooled_h, height)  # (r, pooled_h, h)
        fixed = lax.stop_gradient(x)

        def first_maximum(region: tuple[Array, Array, Array]) -> Array:
            """Returns the position of each bin's maximum in its image, in row-major order (c, pooled_h, pooled_w)."""
            i, inside_h, inside_w = region
            across = jnp.where(inside_w, fixed[i][:, :, None, :], -jnp.inf)  # (c, h, pooled_w, w)
            column = jnp.argmax(across, -1)
            down = jnp.where(inside_h[:, :, None], jnp.max(across, -1)[:, None], -jnp.inf)  # (c, pooled_h, h, pooled_w)
            row = jnp.argmax(down, 2)
            return row * width + jnp.take_along_axis(column, row, 1)

        place = lax.map(first_maximum, (image, rows, columns), batch_size=AT_ONCE)  # (r, c, pooled_h, pooled_w)
        channel = jnp.arange(c)[:, None, None]
        y = x.reshape(n, c, -1)[image[:, None, None, None], channel, place]
        some = rows.any(-1)[:, :, None] & columns.any(-1)[:, None, :]
        return jnp.where(some[:, None], y, 0)


def _bins(first: Array, last: Array, bins: int, size: int) -> Array:
    """Returns which pixels are in each bin between two corners (inclusive): (r, bins, size), in float32 as in Caffe."""
    side = jnp.maximum(last - first + 1, 1)[:, None] / bins
    at = jnp.arange(bins, dtype=jnp.float32)
    starts = jnp.floor(at * side) + first[:, None]
    ends = jnp.ceil((at + 1) * side) + first[:, None]
    return _inside(starts, ends, size)


def _inside(starts: Array, ends: Array, size: int) -> Array:
    pixel = jnp.arange(size)
    return (pixel >= starts[..., None]) & (pixel < ends[..., None])


class PSROIPooling(_Regions, type="PSROIPooling", block="psroi_pooling_param"):
    """Position-sensitive pooling: y[r, o, i, j] = mean of channel (o g + i) g + j of x over bin (i, j) of region r.

    Each of the g x g bins of a region uses its own channels.
    Bottoms: x (n, output_dim g^2, h, w); rois (r, 5), batch index and corners x1 y1 x2 y2.
    Tops: y (r, output_dim, g, g), where g = group_size.  The regions have no gradient.
    Source: daijifeng001/caffe-rfcn src/caffe/layers/psroi_pooling_layer.cu; Dai et al. 2016.  Differs: nothing.
    """

    output_dim: int = param("Number of outputs per bin.", at_least=1)
    group_size: int = param("g, the number of bins per side.", at_least=1)

    examples = (
        Example(
            'layer { name: "roi" type: "PSROIPooling" bottom: "x" bottom: "rois" top: "roi"\n'
            "        psroi_pooling_param { spatial_scale: 1 output_dim: 2 group_size: 2 } }",
            {"x": (2, 8, 6, 7), "rois": (4, 5)},
            {"rois": 2},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, rois: Shape) -> Shape:
        self.check(x, rois)
        wanted = self.output_dim * self.group_size**2
        if x[1] != wanted:
            raise ShapeError(
                f"x has {x[1]} channels, but {self.output_dim} outputs in {self.group_size} x {self.group_size} bins "
                f"require {wanted}; change `output_dim`, `group_size` or the channels.",
                field="output_dim",
            )
        return (rois[0], self.output_dim, self.group_size, self.group_size)

    def apply(self, w: tuple[Array, ...], x: Array, rois: Array, *, ctx: Context) -> Array:
        n, _, height, width = x.shape
        g = self.group_size
        rois = lax.stop_gradient(rois.reshape(-1, 5))
        columns = self._bins(rois[:, 1], rois[:, 3], width)  # (r, g, w)
        rows = self._bins(rois[:, 2], rois[:, 4], height)  # (r, g, h)
        image = jax.nn.one_hot(rois[:, 0].astype(jnp.int32), n, dtype=x.dtype)
        channels = x.reshape(n, self.output_dim, g, g, height, width)
        exact = lax.Precision.HIGHEST
        across = jnp.einsum("noijhw,rjw->rnoijh", channels, columns.astype(x.dtype), precision=exact)
        total = jnp.einsum("rnoijh,rih,rn->roij", across, rows.astype(x.dtype), image, precision=exact)
        area = rows.sum(-1)[:, :, None] * columns.sum(-1)[:, None, :]  # (r, g, g)
        return total / jnp.maximum(area, 1)[:, None]

    def _bins(self, first: Array, last: Array, size: int) -> Array:
        scale = jnp.float32(self.spatial_scale)
        start = _round(first) * scale
        side = jnp.maximum((_round(last) + 1) * scale - start, 0.1)[:, None] / self.group_size
        at = jnp.arange(self.group_size, dtype=jnp.float32)
        return _inside(jnp.floor(at * side + start[:, None]), jnp.ceil((at + 1) * side + start[:, None]), size)


def _round(x: Array) -> Array:
    """Rounds to the nearest integer, halves away from 0 as in C."""
    return jnp.sign(x) * jnp.floor(jnp.abs(x) + 0.5)
