"""Resizing of images without weights: Interp, Upsample, Crop, CropCenter, Reorg, and ShuffleChannel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..lazy import Array, jax, jnp, lax, np
from ..schema import param
from ..shape import Dim, Shape, ShapeError, axis_of, show
from .base import Context, Example, Layer


def _image(x: Shape, bottom: int = 0) -> Shape:
    """Returns the shape of a (n, c, h, w) blob; raises ShapeError for any other."""
    if len(x) != 4:
        raise ShapeError(
            f"bottom {bottom} {show(x)} has {len(x)} axes; it must have 4: batch, channels, height, width.",
            bottom=bottom,
        )
    return x


class Interp(Layer, type="Interp", block="interp_param"):
    """Bilinear resizing with aligned corners: y[i] is x at position i (in - 1) / (out - 1).

    Bottoms: x (n, c, h, w); optional second one, whose size is used with `use_blob_size` or if no size is given.
    Tops: y (n, c, height, width); or size becomes (size - 1) // shrink_factor + 1, then (size - 1) zoom_factor + 1.
    Source: the DeepLab and PSPNet forks, src/caffe/layers/interp_layer.cpp, util/interp.cpp.  Differs: nothing.
    """

    family = "pooling"
    n_bottoms = (1, 2)

    height: int | None = param("Height of the output.", default=None, at_least=1)
    width: int | None = param("Width of the output.", default=None, at_least=1)
    zoom_factor: int | None = param("Size becomes (size - 1) zoom_factor + 1.", default=None, at_least=1)
    shrink_factor: int | None = param(
        "Size becomes (size - 1) // shrink_factor + 1, before `zoom_factor`.", default=None, at_least=1
    )
    pad_beg: int = param("Negative number of rows and columns to crop at the top and left.", default=0, at_most=0)
    pad_end: int = param("Negative number of rows and columns to crop at the bottom and right.", default=0, at_most=0)
    use_blob_size: bool = param("Whether the output has the size of the second bottom.", default=False)

    examples = (
        Example(
            'layer { name: "up" type: "Interp" bottom: "x" top: "up" interp_param { height: 7 width: 9 } }',
            {"x": (2, 3, 4, 5)},
        ),
        Example(
            'layer { name: "up" type: "Interp" bottom: "x" top: "up" interp_param { zoom_factor: 2 pad_beg: -1 } }',
            {"x": (2, 3, 4, 5)},
        ),
    )

    def infer(self, x: Shape, like: Shape | None = None) -> Shape:
        n, c, *sizes = _image(x)
        inner = [size + self.pad_beg + self.pad_end for size in sizes]
        for size, left, name in zip(sizes, inner, ("height", "width"), strict=True):
            if left < 1:
                raise ShapeError(
                    f"the {name} is {size}, but `pad_beg` and `pad_end` crop {-self.pad_beg - self.pad_end}; use less.",
                    field="pad_beg" if self.pad_beg else "pad_end",
                )
        return (n, c, *self._result(inner, like))

    def _result(self, inner: list[Dim], like: Shape | None) -> list[Dim]:
        factors = self.zoom_factor or self.shrink_factor
        if self.use_blob_size or (like is not None and not factors and self.height is None):
            if like is None:
                raise ShapeError(
                    "`use_blob_size` requires a second bottom of the output size, but there is only one bottom.",
                    field="use_blob_size",
                )
            return list(_image(like, 1)[2:])
        if self.height is not None and self.width is not None:
            if bool(self.zoom_factor) != bool(self.shrink_factor):
                field = "zoom_factor" if self.zoom_factor else "shrink_factor"
                raise ShapeError(f"`{field}` and `height` or `width` are both given; remove one of them.", field=field)
            return [self.height, self.width]
        if not factors:
            raise ShapeError("the output size is missing; give `height` and `width`, `zoom_factor` or `shrink_factor`.")
        shrunk = [(size - 1) // (self.shrink_factor or 1) + 1 for size in inner]
        return [(size - 1) * (self.zoom_factor or 1) + 1 for size in shrunk]

    def apply(self, w: tuple[Array, ...], x: Array, *like: Array, ctx: Context) -> Array:
        height, width = self.infer(x.shape, *(b.shape for b in like))[2:]
        bottom, right = (size + self.pad_end for size in x.shape[2:])
        x = x[:, :, -self.pad_beg : bottom, -self.pad_beg : right]
        rows, columns = _between(x.shape[2], height), _between(x.shape[3], width)
        y = jnp.einsum("nchw,vw->nchv", x, columns, precision=lax.Precision.HIGHEST)
        return jnp.einsum("nchv,uh->ncuv", y, rows, precision=lax.Precision.HIGHEST)


def _between(size: int, result: int) -> Any:
    """Returns the matrix (result, size) that interpolates along one axis, in float32 arithmetic as in Caffe."""
    ratio = np.float32(size - 1) / np.float32(result - 1) if result > 1 else np.float32(0)
    place = np.arange(result, dtype=np.float32) * ratio
    first = np.minimum(place.astype(np.int32), size - 1)
    second = np.minimum(first + 1, size - 1)
    part = (place - first)[:, None]
    rows = np.eye(size, dtype=np.float32)
    return (1 - part) * rows[first] + part * rows[second]


class Upsample(Layer, type="Upsample", block="upsample_param"):
    """Unpooling: writes each x to its position in the mask of a pooling; all other values are 0.

    Without a mask, each x is repeated `scale` times in both directions.
    Bottoms: x (n, c, h, w); optional mask, same shape as x, the second top of a MAX Pooling.
    Tops: y (n, c, upsample_h, upsample_w), or size times `scale`, less a row or column with `pad_out_h`, `pad_out_w`.
    Source: alexgkendall/caffe-segnet src/caffe/layers/upsample_layer.cpp; without a mask, eric612/MobileNet-YOLO.
    Differs: values whose position is outside the output are dropped, where the fork aborts.
    """

    family = "pooling"
    n_bottoms = (1, 2)

    scale: int = param("Factor of height and width.", default=2, at_least=1)
    scale_h: int | None = param("Factor of the height.", default=None, at_least=2)
    scale_w: int | None = param("Factor of the width.", default=None, at_least=2)
    upsample_h: int | None = param("Height of the output.", default=None, at_least=2)
    upsample_w: int | None = param("Width of the output.", default=None, at_least=2)
    pad_out_h: bool = param("Whether the height before the pooling was odd: one row less.", default=False)
    pad_out_w: bool = param("Whether the width before the pooling was odd: one column less.", default=False)

    examples = (
        Example(
            'layer { name: "up" type: "Upsample" bottom: "x" bottom: "mask" top: "up" upsample_param { scale: 2 } }',
            {"x": (1, 2, 2, 2), "mask": (1, 2, 2, 2)},
            {"mask": 16},
            differentiable=False,
        ),
        Example(
            'layer { name: "up" type: "Upsample" bottom: "x" top: "up" upsample_param { scale: 2 } }',
            {"x": (1, 2, 2, 3)},
        ),
    )

    def infer(self, x: Shape, mask: Shape | None = None) -> Shape:
        n, c, h, w = _image(x)
        if mask is not None and mask != x:
            raise ShapeError(f"the mask is {show(mask)} and x is {show(x)}; they must have the same shape.", bottom=1)
        if mask is not None and self.upsample_h is not None and self.upsample_w is not None:
            return (n, c, self.upsample_h, self.upsample_w)
        return (n, c, self._scaled(h, "h", mask), self._scaled(w, "w", mask))

    def _scaled(self, size: Dim, side: str, mask: Shape | None) -> Dim:
        one_sided = self.scale_h if side == "h" else self.scale_w
        if (self.scale_h is None) != (self.scale_w is None) or (one_sided is not None and self.given("scale")):
            given = "scale_h" if self.scale_h is not None else "scale_w"
            raise ShapeError(
                f"only `{given}` is given; give both `scale_h` and `scale_w`, or only `scale`.", field=given
            )
        factor = self.scale if one_sided is None else one_sided
        padded = self.pad_out_h if side == "h" else self.pad_out_w
        if padded and (factor != 2 or mask is None):
            reason = f"the scale is {factor}" if factor != 2 else "there is no mask"
            raise ShapeError(
                f"`pad_out_{side}` requires a mask and scale 2, but {reason}; remove it.", field=f"pad_out_{side}"
            )
        return size * factor - int(padded)

    def apply(self, w: tuple[Array, ...], x: Array, *mask: Array, ctx: Context) -> Array:
        shape = self.infer(x.shape, *(m.shape for m in mask))
        if not mask:
            rows, columns = shape[2] // x.shape[2], shape[3] // x.shape[3]
            return jnp.repeat(jnp.repeat(x, rows, 2), columns, 3)
        return unpool(x, mask[0], shape[2:])


def unpool(x: Array, mask: Array, size: Sequence[int]) -> Array:
    """Returns images of (height, width) with each x at its position in the mask, and 0 elsewhere."""
    places = mask.astype(jnp.int32).reshape(*x.shape[:2], -1)
    return _scatter()(x.reshape(places.shape), places, size[0] * size[1]).reshape(*x.shape[:2], *size)


@cache
def _scatter() -> Callable[[Array, Array, int], Array]:
    """y[n, c, place[n, c, i]] = x[n, c, i].  The gradient is read at the same positions, also those written twice."""

    def put(x: Array, place: Array, size: int) -> Array:
        n, c = jnp.indices(x.shape[:2])
        return jnp.zeros((*x.shape[:2], size), x.dtype).at[n[..., None], c[..., None], place].set(x, mode="drop")

    def backward(size: int, place: Array, dy: Array) -> tuple[Array, None]:
        read = jnp.take_along_axis(dy, jnp.minimum(place, size - 1), 2)
        return jnp.where(place < size, read, 0), None

    scatter = jax.custom_vjp(put, nondiff_argnums=(2,))
    scatter.defvjp(lambda x, place, size: (put(x, place, size), place), backward)
    return scatter


class Crop(Layer, type="Crop", block="crop_param"):
    """Crops x to the size of a second blob, starting at `offset`, along all axes from `axis` on.

    Bottoms: x; like, of which only the shape is used.
    Tops: y (the axes of x before `axis`, then the axes of like).
    Source: BVLC/caffe src/caffe/layers/crop_layer.cpp.  Differs: nothing.
    """

    family = "pooling"
    n_bottoms = 2
    shape_only = (1,)

    axis: int = param("First axis to crop.", default=2)
    offset: tuple[int, ...] = param(
        "Start of the crop: one value, or one per cropped axis; 0 if not given.", default=(), at_least=0
    )

    examples = (
        Example(
            'layer { name: "crop" type: "Crop" bottom: "x" bottom: "like" top: "crop" crop_param { offset: 1 } }',
            {"x": (2, 3, 5, 6), "like": (2, 1, 3, 4)},
        ),
    )

    def infer(self, x: Shape, like: Shape) -> Shape:
        axis = axis_of(x, self.axis)
        if len(like) != len(x):
            raise ShapeError(
                f"bottom 1 is {show(like)} and bottom 0 is {show(x)}; they must have the same number of axes.", bottom=1
            )
        for i, offset in enumerate(self._offsets(len(x) - axis), axis):
            if x[i] - offset < like[i]:
                raise ShapeError(
                    f"axis {i} of {show(x)} has only {x[i]} elements, but the crop is {like[i]} elements from {offset} "
                    f"on; reduce `offset` or bottom 1.",
                    field="offset" if self.offset else None,
                )
        return (*x[:axis], *like[axis:])

    def _offsets(self, axes: int) -> tuple[int, ...]:
        if len(self.offset) not in (0, 1, axes):
            raise ShapeError(
                f"`offset` has {len(self.offset)} values, but {axes} axes are cropped; give 1 value, or {axes}.",
                field="offset",
            )
        return self.offset if len(self.offset) == axes else (self.offset or (0,)) * axes

    def apply(self, w: tuple[Array, ...], x: Array, like: Array, *, ctx: Context) -> Array:
        axis = axis_of(x.shape, self.axis)
        offsets = (0,) * axis + self._offsets(x.ndim - axis)
        return lax.slice(x, offsets, [o + n for o, n in zip(offsets, self.infer(x.shape, like.shape), strict=True)])


class CropCenter(Layer, type="CropCenter", block="crop_center_param"):
    """Crops the same number of elements at both ends of each axis.

    Bottoms: x (any shape).  Tops: y, x with 2 crop_size[i] fewer elements along axis i.
    Source: src/caffe/layers/crop_center_layer.cpp of a fork of BVLC/caffe.  Differs: nothing.
    """

    family = "pooling"

    crop_size: tuple[int, ...] = param("Elements to crop at each end: one value per axis.", default=(), at_least=0)

    examples = (
        Example(
            'layer { name: "center" type: "CropCenter" bottom: "x" top: "center"\n'
            "        crop_center_param { crop_size: [0, 0, 1, 2] } }",
            {"x": (2, 3, 5, 6)},
        ),
    )

    def infer(self, x: Shape) -> Shape:
        if len(self.crop_size) != len(x):
            raise ShapeError(
                f"`crop_size` has {len(self.crop_size)} values, but the input {show(x)} has {len(x)} axes; give one "
                "value per axis.",
                field="crop_size",
            )
        for axis, (size, crop) in enumerate(zip(x, self.crop_size, strict=True)):
            if size <= 2 * crop:
                raise ShapeError(
                    f"axis {axis} of the input {show(x)} has {size} elements, but `crop_size` removes {crop} at each "
                    "end; use less.",
                    field="crop_size",
                )
        return tuple(size - 2 * crop for size, crop in zip(x, self.crop_size, strict=True))

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        ends = [size - crop for size, crop in zip(x.shape, self.crop_size, strict=True)]
        return lax.slice(x, self.crop_size, ends)


class Reorg(Layer, type="Reorg", block="reorg_param"):
    """Moves blocks of pixels into channels, as Darknet's YOLO does.

    The memory of x is interpreted as an image of c / s^2 channels that is s times as high and wide, and its s x s
    blocks become channels.  `reverse` moves channels back into pixels.
    Bottoms: x (n, c, h, w).  Tops: y (n, c s^2, h / s, w / s), or (n, c / s^2, h s, w s) with `reverse`.
    Source: the YOLO v2 forks, src/caffe/layers/reorg_layer.cpp; pjreddie/darknet src/blas.c.
    Differs: the gradient is the derivative; in the forks it reads an uninitialized buffer.
    """

    family = "pooling"

    stride: int = param("Side s of the blocks.", default=2, at_least=1)
    reverse: bool = param("Whether to move channels into pixels.", default=False)

    examples = (
        Example('layer { name: "reorg" type: "Reorg" bottom: "x" top: "reorg" }', {"x": (2, 4, 4, 6)}),
        Example(
            'layer { name: "reorg" type: "Reorg" bottom: "x" top: "reorg" reorg_param { reverse: true } }',
            {"x": (2, 8, 2, 3)},
        ),
    )

    def details(self) -> list[str]:
        return [f"/ {self.stride}"] if self.stride > 1 else []

    def infer(self, x: Shape) -> Shape:
        n, c, h, w = _image(x)
        s = self.stride
        if c % (s * s):
            raise ShapeError(
                f"the {c} channels are not a multiple of {s * s}, `stride` squared; change `stride` or the channels.",
                field="stride",
            )
        for size, name in () if self.reverse else ((h, "height"), (w, "width")):
            if size % s:
                raise ShapeError(
                    f"the {name} is {size}, which is not a multiple of `stride` {s}; choose a divisor of {size}.",
                    field="stride",
                )
        return (n, c // (s * s), h * s, w * s) if self.reverse else (n, c * s * s, h // s, w // s)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        (n, c, height, width), s = x.shape, self.stride
        if self.reverse:
            blocks = x.reshape(n, s, s, c // (s * s), height, width).transpose(0, 3, 4, 1, 5, 2)
        else:
            blocks = x.reshape(n, c // (s * s), height, s, width, s).transpose(0, 3, 5, 1, 2, 4)
        return blocks.reshape(self.infer(x.shape))


class ShuffleChannel(Layer, type="ShuffleChannel", block="shuffle_channel_param"):
    """Interleaves the channels of all groups: y[i group + g] = x[g c / group + i].

    Bottoms: x (n, c, any...).  Tops: y, same shape as x.
    Source: farmingyard/ShuffleNet shuffle_channel_layer.cpp; Zhang et al. 2018.  Differs: nothing.
    """

    family = "pooling"

    group: int = param("Number of groups.", default=1, at_least=1)

    examples = (
        Example(
            'layer { name: "shuffle" type: "ShuffleChannel" bottom: "x" top: "shuffle"\n'
            "        shuffle_channel_param { group: 3 } }",
            {"x": (2, 6, 2, 2)},
        ),
    )

    def details(self) -> list[str]:
        return [f"in {self.group} groups"] if self.group > 1 else []

    def infer(self, x: Shape) -> Shape:
        if len(x) < 2:
            raise ShapeError(f"the input {show(x)} has no channel axis; it must have at least 2 axes.", bottom=0)
        if x[1] % self.group:
            raise ShapeError(
                f"`group` is {self.group}, which does not divide the {x[1]} channels of the input; "
                f"choose a divisor of {x[1]}.",
                field="group",
            )
        return x

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x.reshape(x.shape[0], self.group, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)
