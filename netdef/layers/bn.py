"""BN: batch normalisation with its own scale and shift, as several forks of Caffe have it under this name."""

from __future__ import annotations

import enum

from ..fillers import Constant, Filler
from ..lazy import Array, jax
from ..schema import param
from ..shape import Shape, ShapeError
from .base import Context, Example
from .batch_norm import SCALED, BatchNormalisation, Storage, along, normalise, plain_normalise


class BNMode(enum.Enum):
    """What a BN of SegNet does, whatever the phase."""

    LEARN = 0
    INFERENCE = 1


class BNDialect(enum.Enum):
    """The forks that have a layer BN, and what they keep.  f is `momentum`, S the stored and s the batch's
    statistics."""

    HAPPYNEAR = 0  # engine CAFFE: S = f S + (1 - f) s of mean and of 1 / sqrt(var + eps)
    HAPPYNEAR_CUDNN = 1  # engine CUDNN: S = (1 - f) S + f s of mean and unbiased var
    YJXIONG = 2  # S = f S + (1 - f) s of mean and biased var
    HAPPYNEAR_2017 = 3  # as YJXIONG, with `decay` and `var_eps`, and no eps where the stored var is used
    SEGNET = 4  # nothing: see `bn_mode`


_FORK = (*SCALED, "mean", "var")
_ONE = {"var": 1.0}
BN_STORAGE = {
    BNDialect.HAPPYNEAR: Storage(_FORK, before=1, inverse=True, initial=_ONE),
    BNDialect.HAPPYNEAR_CUDNN: Storage(_FORK, before=1, unbiased=True, initial=_ONE),
    BNDialect.YJXIONG: Storage(_FORK, before=1, initial=_ONE),
    BNDialect.HAPPYNEAR_2017: Storage(_FORK, before=1, after=2, eps_at_test=False, initial=_ONE),
    BNDialect.SEGNET: Storage(SCALED, before=1, after=2),
}


class BN(BatchNormalisation, type="BN", block="bn_param"):
    """y = scale (x - mean) / sqrt(var + eps) + shift for each channel, scale and shift being learned.

    In phase TRAIN mean and var are those of the batch, and the stored ones follow; in TEST, or with `frozen`, the
    stored ones are used.  Several forks have a BN; `dialect` says which is meant.  Where it is not given, `bn_mode`
    means SEGNET, `decay` or `moving_average` HAPPYNEAR_2017, `scale_filler` or `shift_filler` else SEGNET, all others
    HAPPYNEAR. SEGNET: LEARN uses the batch in both phases, INFERENCE is y = scale x + shift; more tops are the
    batch's mean and var.
    Bottoms: x (n, c, ...).  Tops: y, as x.
    Weights: scale (1, c), shift (1, c), mean (1, c), and 1 / sqrt(var + eps) or var (1, c), the last two not trained;
    HAPPYNEAR_2017 and SEGNET have the shapes (1, c, 1, 1), SEGNET the first two only.
    Source: src/caffe/layers/bn_layer.cpp of happynear/caffe-windows (branches ms and master), yjxiong/caffe and
    alexgkendall/caffe-segnet.
    Differs: happynear lets the solver change mean and var (weight decay shrinks them unless lr_mult and decay_mult
    are 0), here they are never trained; the gradient is that of the formula in TRAIN, which happynear's engine CAFFE
    misses.
    """

    n_tops = (1, 3)

    slope_filler: Filler = param("Filler of scale; 0 where there is none.", default=Constant())
    bias_filler: Filler = param("Filler of shift.", default=Constant())
    momentum: float = param("Fraction of the stored statistics that stays at each batch.", default=0.9)
    eps: float = param("Added to the variance.", default=1e-5, at_least=0)
    frozen: bool = param(
        "Whether stored statistics are used in TRAIN too, scale and shift having no gradient.", default=False
    )
    dialect: BNDialect | None = param("Which fork's BN this is; not in any fork.", default=None)
    scale_filler: Filler | None = param("Filler of scale (HAPPYNEAR_2017, SEGNET).", default=None)
    shift_filler: Filler | None = param("Filler of shift (HAPPYNEAR_2017, SEGNET).", default=None)
    var_eps: float = param("Added to the variance (HAPPYNEAR_2017; SEGNET has 1e-9).", default=1e-10, at_least=0)
    moving_average: bool | None = param(
        "Whether TEST uses stored statistics (HAPPYNEAR_2017; not given: yes).", default=None
    )
    decay: float | None = param("As `momentum` (HAPPYNEAR_2017; not given: 0.95).", default=None)
    bn_mode: BNMode | None = param("Normalise or not (SEGNET; not given: LEARN).", default=None)

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
        """The dialect, as given or as the fields tell."""
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
                f"there are {len(self.top)} tops, but only a BN of SegNet in `bn_mode: LEARN` has more than one.",
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
        _, mean, var = plain_normalise(x, scale, shift, self.epsilon())
        return self.tops(y, mean.reshape(1, -1, 1, 1), var.reshape(1, -1, 1, 1))

    def by_stored(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array) -> Array:
        if "mean" not in blobs:
            return x * along(scale, x) + along(shift, x)
        return super().by_stored(blobs, x, scale, shift)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        y, mean, var = normalise()(x, scale, shift, self.epsilon())
        if "mean" in blobs and ctx.train:
            self.learn(blobs, [(mean, var)], x.size // x.shape[1], ctx)
        return y
