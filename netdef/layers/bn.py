"""Batch normalization: BN, which has its own scale and shift, in the dialects of several forks of Caffe."""

from __future__ import annotations

import enum

from ..fillers import Constant, Filler
from ..lazy import Array, jax
from ..schema import param
from ..shape import Shape, ShapeError
from ._channels import broadcast_channels, channel_axis
from .base import Context, Example
from .batch_norm import SCALED, BatchNormalization, Storage, normalize, plain_normalize


class BNMode(enum.Enum):
    """The mode of SegNet's BN, in each phase."""

    LEARN = 0
    INFERENCE = 1


class BNDialect(enum.Enum):
    """The forks with a layer BN, and how they update the stored statistics S from those of the batch, s; f is
    `momentum`."""

    HAPPYNEAR = 0  # engine CAFFE: S = f S + (1 - f) s of mean and of 1 / sqrt(var + eps)
    HAPPYNEAR_CUDNN = 1  # engine CUDNN: S = (1 - f) S + f s of mean and unbiased var
    YJXIONG = 2  # S = f S + (1 - f) s of mean and biased var
    HAPPYNEAR_2017 = 3  # as YJXIONG, with `decay` and `var_eps`; no eps is added to the stored var
    SEGNET = 4  # no statistics: see `bn_mode`


_FORK = (*SCALED, "mean", "var")
_ONE = {"var": 1.0}
BN_STORAGE = {
    BNDialect.HAPPYNEAR: Storage(_FORK, before=1, inverse=True, initial=_ONE),
    BNDialect.HAPPYNEAR_CUDNN: Storage(_FORK, before=1, unbiased=True, initial=_ONE),
    BNDialect.YJXIONG: Storage(_FORK, before=1, initial=_ONE),
    BNDialect.HAPPYNEAR_2017: Storage(_FORK, before=1, after=2, eps_at_test=False, initial=_ONE),
    BNDialect.SEGNET: Storage(SCALED, before=1, after=2),
}


class BN(BatchNormalization, type="BN", block="bn_param"):
    """y = scale (x - mean) / sqrt(var + eps) + shift for each channel, with a learned scale and shift.

    In phase TRAIN mean and var are those of the batch, and the stored statistics are updated; in phase TEST, or with
    `frozen`, the stored ones are used.  Several forks have a layer BN; `dialect` selects one.  Without it, the fields
    decide: `bn_mode` selects SEGNET; else `decay` or `moving_average` select HAPPYNEAR_2017; else `scale_filler` or
    `shift_filler` select SEGNET; else it is HAPPYNEAR.
    SEGNET: in `bn_mode` LEARN each phase uses the statistics of the batch; in INFERENCE y = scale x + shift.
    Bottoms: x (n, c, ...).  Tops: y, same shape as x; with SEGNET, optionally the batch's mean and var (1, c, 1, 1).
    Weights: scale (1, c), shift (1, c), mean (1, c), and 1 / sqrt(var + eps) or var (1, c), the last two not trained;
    with HAPPYNEAR_2017 and SEGNET the shapes are (1, c, 1, 1), and SEGNET has only scale and shift.
    Source: src/caffe/layers/bn_layer.cpp of happynear/caffe-windows (branches ms and master), yjxiong/caffe and
    alexgkendall/caffe-segnet.
    Differs: in happynear's forks the solver updates mean and var (weight decay shrinks them unless lr_mult and
    decay_mult are 0), here they are never trained; in phase TRAIN the gradient is exact, unlike that of happynear's
    engine CAFFE.
    """

    n_tops = (1, 3)

    slope_filler: Filler = param("Filler of the scale; 0 if not given.", default=Constant())
    bias_filler: Filler = param("Filler of the shift.", default=Constant())
    momentum: float = param("Fraction of the stored statistics that is kept at each batch.", default=0.9)
    eps: float = param("Added to the variance.", default=1e-5, at_least=0)
    frozen: bool = param(
        "Whether to use the stored statistics also in phase TRAIN; scale and shift get no gradient.", default=False
    )
    dialect: BNDialect | None = param("The fork whose BN this is; a field of netdef only.", default=None)
    scale_filler: Filler | None = param("Filler of the scale (HAPPYNEAR_2017, SEGNET).", default=None)
    shift_filler: Filler | None = param("Filler of the shift (HAPPYNEAR_2017, SEGNET).", default=None)
    var_eps: float = param(
        "Added to the variance (HAPPYNEAR_2017; SEGNET always adds 1e-9).", default=1e-10, at_least=0
    )
    moving_average: bool | None = param(
        "Whether phase TEST uses the stored statistics (HAPPYNEAR_2017; default: true).", default=None
    )
    decay: float | None = param("Same as `momentum` (HAPPYNEAR_2017; default: 0.95).", default=None)
    bn_mode: BNMode | None = param(
        "LEARN normalizes by the batch, INFERENCE does not normalize (SEGNET; default: LEARN).", default=None
    )

    examples = (
        Example(
            'layer { name: "bn" type: "BN" bottom: "x" top: "y"\n'
            "        bn_param { slope_filler { value: 1 } eps: 0.001 } }",
            {"x": (4, 3, 5, 5)},
        ),
        Example(
            'layer { name: "bn" type: "BN" bottom: "x" top: "y"\n'
            "        bn_param { scale_filler { value: 1 } bn_mode: INFERENCE } }",
            {"x": (4, 3, 5, 5)},
        ),
    )

    def spoken(self) -> BNDialect:
        """Returns the dialect, given explicitly or implied by the fields."""
        if self.dialect is not None:
            return self.dialect
        if self.bn_mode is None and (self.decay is not None or self.moving_average is not None):
            return BNDialect.HAPPYNEAR_2017
        if self.bn_mode is not None or self.scale_filler is not None or self.shift_filler is not None:
            return BNDialect.SEGNET
        return BNDialect.HAPPYNEAR

    def storage(self) -> Storage:
        return BN_STORAGE[self.spoken()]

    def keep(self) -> float:
        if self.spoken() is BNDialect.HAPPYNEAR_2017:
            return 0.95 if self.decay is None else self.decay
        return 1.0 - self.momentum if self.spoken() is BNDialect.HAPPYNEAR_CUDNN else self.momentum

    def epsilon(self) -> float:
        return {BNDialect.HAPPYNEAR_2017: self.var_eps, BNDialect.SEGNET: 1e-9}.get(self.spoken(), self.eps)

    def uses_stored(self, train: bool) -> bool:
        if self.spoken() is BNDialect.SEGNET:
            return self.bn_mode is BNMode.INFERENCE
        return self.frozen or (not train and self.moving_average is not False)

    def fillers(self) -> tuple[Filler, Filler]:
        return self.scale_filler or self.slope_filler, self.shift_filler or self.bias_filler

    def infer(self, x: Shape) -> list[Shape]:
        if len(self.top) > 1 and (self.spoken() is not BNDialect.SEGNET or self.bn_mode is BNMode.INFERENCE):
            raise ShapeError(
                f"there are {len(self.top)} tops, but only SEGNET with `bn_mode: LEARN` has more than one; "
                "remove the others.",
                field="top",
            )
        channels = x[1] if len(x) > 1 else 1
        return [super().infer(x), *[(1, channels, 1, 1)] * (len(self.top) - 1)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> list[Array]:
        if self.frozen:
            w = tuple(jax.lax.stop_gradient(blob) for blob in w)
        y = super().apply(w, x, ctx=ctx)
        if len(self.top) < 2:
            return [y]
        scale, shift = (blob.reshape(-1) for blob in w)
        _, mean, var = plain_normalize(x, scale, shift, self.epsilon())
        return self.tops(y, mean.reshape(1, -1, 1, 1), var.reshape(1, -1, 1, 1))

    def by_stored(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        if "mean" not in blobs:
            axis = channel_axis(ctx.channels_last)
            return x * broadcast_channels(scale, x, axis) + broadcast_channels(shift, x, axis)
        return super().by_stored(blobs, x, scale, shift, ctx)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        axis = channel_axis(ctx.channels_last)
        near = self.storage().center(blobs)
        y, mean, var = normalize()(x, scale, shift, self.epsilon(), axis, near)
        if "mean" in blobs and ctx.train:
            self.learn(blobs, [(mean, var)], x.size // x.shape[axis], ctx)
        return y
