"""Layers that slide filters over images: Convolution, Deconvolution, ConvolutionDepthwise, and Im2col."""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..fillers import Constant, Filler
from ..lazy import Array, jnp
from ..schema import param
from ..shape import Shape, ShapeError, axis_of, count, show
from ._channels import broadcast_channels, with_channels_first, with_channels_last
from ._convolve import convolve, spread
from ._engine import Engine, engine
from ._slide import Slide
from ._window import Pads, axis_names, padding, per_axis, side_field, steps, window_words
from .base import Context, Example, Layer, Weight


class _Sliding(Layer):
    """The positions of the windows: fields that convolutions and Im2col share."""

    family = "convolution"

    kernel_size: tuple[int, ...] = param(
        "Size of the window: one value, or one per spatial axis.", default=(), at_least=1
    )
    kernel_h: int | None = param("Height of the window (2 spatial axes).", default=None, at_least=1)
    kernel_w: int | None = param("Width of the window (2 spatial axes).", default=None, at_least=1)
    stride: tuple[int, ...] = param(
        "Step of the window: one value, or one per spatial axis; 1 if not given.", default=(), at_least=1
    )
    stride_h: int | None = param("Vertical step.", default=None, at_least=1)
    stride_w: int | None = param("Horizontal step.", default=None, at_least=1)
    pad: tuple[int, ...] = param("Zeros added at each end: one value, or one per spatial axis.", default=(), at_least=0)
    pad_h: int | None = param("Rows of zeros added above and below.", default=None, at_least=0)
    pad_w: int | None = param("Columns of zeros added left and right.", default=None, at_least=0)
    pad_t: int | None = side_field("Rows of zeros above")
    pad_b: int | None = side_field("Rows of zeros below")
    pad_l: int | None = side_field("Columns of zeros on the left")
    pad_r: int | None = side_field("Columns of zeros on the right")
    dilation: tuple[int, ...] = param(
        "Distance between elements of the window: one value, or one per spatial axis; 1 if not given.",
        default=(),
        at_least=1,
    )
    axis: int = param("Axis of the channels; preceding axes are the batch, following axes are spatial.", default=1)
    force_nd_im2col: bool = param("Selects a routine in Caffe.", default=False, inert=True)
    engine: Engine = engine()

    def details(self) -> list[str]:
        return window_words(self)

    def kernel(self, axes: int) -> tuple[int, ...]:
        return per_axis(self, "kernel_size", "kernel", axes)

    def strides(self, axes: int) -> tuple[int, ...]:
        return per_axis(self, "stride", "stride", axes, 1)

    def dilations(self, axes: int) -> tuple[int, ...]:
        if len(self.dilation) not in (0, 1, axes):
            raise ShapeError(
                f"`dilation` has {len(self.dilation)} values, but the input has {axes} spatial axes; "
                f"give 1 value, or {axes}.",
                field="dilation",
            )
        return self.dilation if len(self.dilation) == axes else (self.dilation or (1,)) * axes

    def extents(self, axes: int) -> tuple[int, ...]:
        """Returns the lengths of the dilated window."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel(axes), self.dilations(axes), strict=True))

    def pads(self, axes: int) -> Pads:
        return padding(self, axes, lone=True)

    def sliding(self, axes: int, groups: int = 1) -> Slide:
        return Slide(self.strides(axes), self.pads(axes), self.dilations(axes), groups)

    def steps(self, spatial: Shape) -> Shape:
        """Returns the number of windows along each spatial axis."""
        axes = len(spatial)
        rows = zip(spatial, self.extents(axes), self.strides(axes), self.pads(axes), axis_names(axes), strict=True)
        return tuple(steps(*row) for row in rows)


SEARCHES = {"cudnn_convolution_algo_seeker", "conv_algos_override"}  # of a routine, in NVIDIA's fork


class _Convolving(_Sliding):
    """Filters, groups and a bias: all bottoms share one set of weights."""

    n_bottoms = (1, None)
    n_tops = (1, None)
    prefers_channels_last = True

    num_output: int = param("Number of filters.", at_least=1)
    bias_term: bool = param("Whether to add a bias b.", default=True)
    group: int = param("Number of groups; each uses only its own part of the input channels.", default=1, at_least=1)
    weight_filler: Filler = param("Filler of the filters.", default=Constant())
    bias_filler: Filler = param("Filler of the bias.", default=Constant())
    mem_group_size: int | None = param("Memory setting of a fork.", default=None, inert=True)
    cudnn_worspace_allow_on_groups: bool | None = param("Memory setting of a fork.", default=None, inert=True)

    @classmethod
    def tolerated(cls) -> set[str]:
        return SEARCHES

    def details(self) -> list[str]:
        return [*super().details(), *([f"in {self.group} groups"] if self.group > 1 else [])]

    def groups(self, channels: Any) -> Any:
        """Returns the number of groups, after checking that it divides the channels of input and output."""
        for n, what in (
            (channels, f"the {channels} channels of the input"),
            (self.num_output, f"`num_output` {self.num_output}"),
        ):
            if n % self.group:
                raise ShapeError(
                    f"`group` is {self.group}, which does not divide {what}; choose a divisor of {n}.",
                    field="group",
                )
        return self.group

    def infer(self, *bottoms: Shape) -> list[Shape]:
        first = bottoms[0]
        for i, other in enumerate(bottoms):
            if other != first:
                raise ShapeError(
                    f"bottom {i} is {show(other)}, but bottom 0 is {show(first)}; bottoms of one layer share its "
                    f"filters and must have the same shape.",
                    bottom=i,
                )
        axis = axis_of(first, self.axis)
        self.groups(first[axis])
        return [(*first[:axis], self.num_output, *self.result(first[axis + 1 :]))] * len(bottoms)

    def result(self, spatial: Shape) -> Shape:
        """Returns the spatial size of the top."""
        return self.steps(spatial)

    def weights(self, *bottoms: Shape) -> list[Weight]:
        axis = axis_of(bottoms[0], self.axis)
        filters = self.filters(bottoms[0][axis]) + self.kernel(len(bottoms[0]) - axis - 1)
        bias = [Weight((self.num_output,), self.bias_filler)] if self.bias_term else []
        return [Weight(filters, self.weight_filler), *bias]

    def filters(self, channels: Any) -> Shape:
        """Returns the first two axes of the weights."""
        return (self.num_output, channels // self.groups(channels))

    def channels_last(self, *bottoms: Shape) -> bool:
        return all(len(x) > 2 and axis_of(x, self.axis) == 1 for x in bottoms)

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        if ctx.channels_last:
            return [self._one(w, x) for x in bottoms]
        return [self._by_axis(w, x) for x in bottoms]

    def _by_axis(self, w: tuple[Array, ...], x: Array) -> Array:
        axis = axis_of(x.shape, self.axis)
        batch = x.shape[:axis]
        y = self._one(w, with_channels_last(x.reshape(math.prod(batch), *x.shape[axis:])))
        return with_channels_first(y).reshape(*batch, y.shape[-1], *y.shape[1:-1])

    def _one(self, w: tuple[Array, ...], x: Array) -> Array:
        y = self.slide(x, w[0])
        return y + broadcast_channels(w[1], y, -1) if self.bias_term else y

    def slide(self, x: Array, w: Array) -> Array:
        """Applies filters to x (n, spatial..., c): (n, spatial..., num_output)."""
        raise NotImplementedError


class Convolution(_Convolving, type="Convolution", block="convolution_param"):
    """y[o] = b[o] + sum over c and window of W[o, c] x[c]: a convolution over any number of spatial axes.

    Bottoms: x (n..., c, spatial...); several bottoms of the same shape share the filters.
    Tops: y (n..., num_output, (size + 2 pad - dilation (kernel - 1) - 1) // stride + 1 ...), one per bottom.
    Weights: W (num_output, c / group, kernel...); b (num_output).
    Source: BVLC/caffe src/caffe/layers/base_conv_layer.cpp, conv_layer.cpp.
    Differs: a window larger than the padded input is an error; in Caffe the division may round to one step.
    """

    examples = (
        Example(
            'layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"\n'
            '        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }',
            {"x": (2, 3, 6, 5)},
        ),
        Example(
            'layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"\n'
            "        convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 dilation: 2 group: 2\n"
            '                            weight_filler { type: "xavier" } } }',
            {"x": (2, 4, 9, 8)},
        ),
        Example(
            'layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"\n'
            '        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }',
            {"x": (2, 2, 7)},
        ),
    )

    def slide(self, x: Array, w: Array) -> Array:
        return convolve(x, w, self.sliding(x.ndim - 2, self.groups(x.shape[-1])))

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        axis = axis_of(bottoms[0], self.axis)
        filters = self.filters(bottoms[0][axis]) + self.kernel(len(bottoms[0]) - axis - 1)
        return sum(count(top) * count(filters[1:]) for top in tops)


class ConvolutionDepthwise(
    Convolution, type="ConvolutionDepthwise", aliases=("DepthwiseConvolution",), block="convolution_param"
):
    """A depthwise Convolution: each channel has its own filters.  `group` is ignored; it is the number of channels.

    Bottoms: x (n, c, h, w).  Tops: y (n, num_output, h', w').
    Weights: W (num_output, 1, kernel...); b (num_output).
    Source: farmingyard/ShuffleNet, yonghenglh6/DepthwiseConvolution.  Differs: nothing.
    """

    examples = (
        Example(
            'layer { name: "conv" type: "ConvolutionDepthwise" bottom: "x" top: "conv"\n'
            '        convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }',
            {"x": (2, 3, 6, 5)},
        ),
    )

    def groups(self, channels: Any) -> Any:
        if self.num_output % channels:
            raise ShapeError(
                f"`num_output` is {self.num_output}, which is not a multiple of the {channels} channels of the input; "
                f"each channel has its own filters, so give a multiple of {channels}.",
                field="num_output",
            )
        return channels


class Deconvolution(_Convolving, type="Deconvolution", block="convolution_param"):
    """The transpose of a convolution: each x adds a scaled filter to y, at steps of `stride`; overlaps are summed.

    Bottoms: x (n..., c, spatial...); several bottoms of the same shape share the filters.
    Tops: y (n..., num_output, stride (size - 1) + dilation (kernel - 1) + 1 - 2 pad ...), one per bottom.
    Weights: W (c, num_output / group, kernel...); b (num_output).
    Source: BVLC/caffe src/caffe/layers/deconv_layer.cpp.  Differs: nothing.
    """

    examples = (
        Example(
            'layer { name: "up" type: "Deconvolution" bottom: "x" top: "up"\n'
            "        convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 group: 3 bias_term: false\n"
            '                            weight_filler { type: "bilinear" } } }',
            {"x": (2, 3, 4, 5)},
        ),
        Example(
            'layer { name: "up" type: "Deconvolution" bottom: "x" top: "up"\n'
            '        convolution_param { num_output: 2 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }',
            {"x": (2, 3, 4, 5)},
        ),
    )

    def result(self, spatial: Shape) -> Shape:
        axes = len(spatial)
        sizes = []
        for size, extent, stride, (low, high), name in zip(
            spatial, self.extents(axes), self.strides(axes), self.pads(axes), axis_names(axes), strict=True
        ):
            full = stride * (size - 1) + extent
            if full <= low + high:
                raise ShapeError(
                    f"the {name} of the output would be {full - low - high}: {full} without padding, less {low + high} "
                    f"for `pad`; reduce `pad`.",
                    field="pad",
                )
            sizes.append(full - low - high)
        return tuple(sizes)

    def filters(self, channels: Any) -> Shape:
        return (channels, self.num_output // self.groups(channels))

    def slide(self, x: Array, w: Array) -> Array:
        return spread(x, w, self.sliding(x.ndim - 2, self.groups(x.shape[-1])), self.result(x.shape[1:-1]))

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        axis = axis_of(bottoms[0], self.axis)
        filters = self.filters(bottoms[0][axis]) + self.kernel(len(bottoms[0]) - axis - 1)
        return sum(count(bottom) * count(filters[1:]) for bottom in bottoms)


class Im2col(_Sliding, type="Im2col", block="convolution_param"):
    """Arranges windows as columns: y[c, window element, position] = x[c, element at that position].

    Bottoms: x (n..., c, spatial...).  Tops: y (n..., c * kernel..., steps...), where c varies slowest.
    Source: BVLC/caffe src/caffe/layers/im2col_layer.cpp.  Differs: nothing.
    """

    examples = (
        Example(
            'layer { name: "col" type: "Im2col" bottom: "x" top: "col"\n'
            "        convolution_param { kernel_size: 3 stride: 2 pad: 1 } }",
            {"x": (2, 3, 6, 5)},
        ),
    )

    @classmethod
    def tolerated(cls) -> set[str]:
        return set(Convolution.params())

    def infer(self, x: Shape) -> Shape:
        axis = axis_of(x, self.axis)
        spatial = x[axis + 1 :]
        return (*x[:axis], x[axis] * math.prod(self.kernel(len(spatial))), *self.steps(spatial))

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        axis = axis_of(x.shape, self.axis)
        axes, shape = x.ndim - axis - 1, self.infer(x.shape)
        slide = self.sliding(axes)
        x = jnp.pad(x, [(0, 0)] * (axis + 1) + list(slide.pads))
        columns = []
        for offsets in itertools.product(*map(range, self.kernel(axes))):
            columns.append(x[(..., *slide.windows(offsets, shape[axis + 1 :]))])  # (n..., c, steps...)
        return jnp.stack(columns, axis=axis + 1).reshape(shape)
