"""Batch normalisation in the dialects of Caffe and its forks: BatchNorm and BN.

    y = scale (x - mean) / sqrt(var + eps) + shift      for each channel (axis 1)

mean and var (biased) are those of the batch while training, stored ones otherwise.  The dialects differ only in what they
store: a `Dialect` says which blobs there are, of what shape, and how the stored statistics follow those of each batch.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..fillers import Constant, Filler
from ..layer import Array, Context, Example, Layer, Weight
from ..lazy import jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError
from .engine import Engine, engine


class Rule(enum.Enum):
    """How stored statistics S follow those of a batch, with the fraction f of the old that stays."""

    SUM = "S = f S + s, and the sum of weights F = f F + 1 beside it; S / F is used"
    AVERAGE = "S = f S + (1 - f) s"
    FIRST_COPIED = "AVERAGE, but the first batch is copied"


@dataclass(frozen=True)
class Dialect:
    """What one implementation stores.  `blobs` is their order: mean, var, factor, scale, shift.  A blob of c channels has
    the shape (1,) * before + (c,) + (1,) * after."""

    blobs: tuple[str, ...]
    rule: Rule = Rule.SUM
    before: int = 0
    after: int = 0
    unbiased: bool = True  # var is multiplied by m / (m - 1) before it is stored, m values having gone into it
    inverse: bool = False  # blob "var" holds the average of 1 / sqrt(var + eps)
    initial: dict[str, float] | None = None  # where stored statistics do not begin at 0

    def named(self, w: tuple[Array, ...]) -> dict[str, Array]:
        """The blobs as flat arrays by name."""
        return {name: blob.reshape(-1) for name, blob in zip(self.blobs, w, strict=True)}

    def stored(self, blobs: dict[str, Array], eps: float, eps_at_test: bool) -> tuple[Array, Array]:
        """(mean, 1 / sqrt(var + eps)) as stored."""
        mean, var = blobs["mean"], blobs["var"]
        if self.inverse:
            return mean, var
        if self.rule is Rule.SUM:
            total = blobs["factor"]
            weight = jnp.where(total == 0, 0.0, 1.0 / jnp.where(total == 0, 1.0, total))
            mean, var = mean * weight, var * weight
        return mean, lax.rsqrt(var + (eps if eps_at_test else 0.0))

    def follow(
        self, blobs: dict[str, Array], mean: Array, var: Array, n: int, keep: float, eps: float
    ) -> dict[str, Array]:
        """The statistics after a batch of `n` values a channel."""
        if self.inverse:
            var = lax.rsqrt(var + eps)
        elif self.unbiased and n > 1:
            var = var * (n / (n - 1))
        if self.rule is Rule.SUM:
            return {
                "mean": keep * blobs["mean"] + mean,
                "var": keep * blobs["var"] + var,
                "factor": keep * blobs["factor"] + 1.0,
            }
        if self.rule is Rule.FIRST_COPIED:
            untouched = ~(jnp.any(blobs["mean"] != 0) | jnp.any(blobs["var"] != 0))
            keep = jnp.where(untouched, 0.0, keep)
        return {"mean": keep * blobs["mean"] + (1 - keep) * mean, "var": keep * blobs["var"] + (1 - keep) * var}


STATISTICS = ("mean", "var", "factor")
BVLC = Dialect(STATISTICS)
INTEL = Dialect((*STATISTICS, "scale", "shift"))
NVIDIA = Dialect((*STATISTICS, "scale", "shift"), Rule.FIRST_COPIED, initial={"factor": 1.0})
_AVERAGED = ("scale", "shift", "mean", "var")
HAPPYNEAR = Dialect(_AVERAGED, Rule.AVERAGE, before=1, inverse=True, initial={"var": 1.0})
CUDNN = Dialect(_AVERAGED, Rule.AVERAGE, before=1, initial={"var": 1.0})
YJXIONG = Dialect(_AVERAGED, Rule.AVERAGE, before=1, unbiased=False, initial={"var": 1.0})
MOVING = Dialect(_AVERAGED, Rule.AVERAGE, before=1, after=2, unbiased=False, initial={"var": 1.0})
SEGNET = Dialect(("scale", "shift"), before=1, after=2)


def along(v: Array, x: Array) -> Array:
    """(c) as (c, 1, 1), to broadcast along x (n, c, h, w)."""
    return v.reshape(-1, *(1,) * (x.ndim - 2))


def per_channel(x: Array) -> Array:
    """Sums over all axes but 1: (n, c, ...) to (c).  First along rows that lie together in memory, then over the batch."""
    return jnp.sum(x.reshape(*x.shape[:2], -1), axis=2).sum(axis=0)


def plain_normalise(x: Array, scale: Array, shift: Array, eps: float) -> tuple[Array, Array, Array]:
    """(y, mean, var) of a batch (n, c, ...) without a gradient of its own: what `normalise` is held against."""
    n = x.size // x.shape[1]
    mean = per_channel(x) / n
    centred = x - along(mean, x)
    var = per_channel(centred * centred) / n
    return centred * along(scale * lax.rsqrt(var + eps), x) + along(shift, x), mean, var


@cache
def normalise() -> Callable[..., Any]:
    """`plain_normalise` with its own gradient: the formula needs two sums and one pass over memory, where the derivative of
    the plain form makes several.  No gradient flows through the statistics that it hands out."""

    def forward(x: Array, scale: Array, shift: Array, eps: float) -> Any:
        y, mean, var = plain_normalise(x, scale, shift, eps)
        return (y, mean, var), (x, scale, mean, lax.rsqrt(var + eps))

    def backward(eps: float, saved: Any, given: Any) -> Any:
        (x, scale, mean, inverse), dy = saved, given[0]
        n = x.size // x.shape[1]
        centred = x - along(mean, x)
        sum_dy, sum_dy_x = per_channel(dy), per_channel(dy * centred)
        slope = sum_dy_x * inverse * inverse / n
        dx = along(scale * inverse, x) * (dy - along(sum_dy / n, x) - centred * along(slope, x))
        return dx, sum_dy_x * inverse, sum_dy

    own = jax.custom_vjp(plain_normalise, nondiff_argnums=(3,))
    own.defvjp(forward, backward)
    return own


class _BatchNormalisation(Layer):
    """What the types share; a subclass reads its fields as a dialect."""

    eps: float = param("Added to the variance.", default=1e-5, at_least=0)
    engine: Engine = engine()

    def storage(self) -> Dialect:
        """The dialect of this layer."""
        raise NotImplementedError

    def keep(self) -> float:
        """Fraction of the stored statistics that stays at each batch."""
        raise NotImplementedError

    def frozen_for(self, train: bool) -> bool:
        """Whether the stored statistics are used, and stay as they are."""
        raise NotImplementedError

    def fillers(self) -> tuple[Filler, Filler]:
        """Those of scale and shift."""
        return Constant(value=1.0), Constant()

    def infer(self, x: Shape) -> Shape:
        if len(x) < 1:
            raise ShapeError("the input is a single number; batch normalisation needs a batch axis at least.", bottom=0)
        return x

    def weights(self, x: Shape) -> list[Weight]:
        storage, (scale, shift) = self.storage(), self.fillers()
        channels = x[1] if len(x) > 1 else 1
        shape = (*(1,) * storage.before, channels, *(1,) * storage.after)
        made = {"scale": Weight(shape, scale), "shift": Weight(shape, shift)}
        for name in STATISTICS:
            first = Constant(value=(storage.initial or {}).get(name, 0.0))
            made[name] = Weight((1,) if name == "factor" else shape, first, "stat", lr_mult=0.0, decay_mult=0.0)
        return [made[name] for name in storage.blobs]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        shape = x.shape
        x = x if x.ndim > 1 else x[:, None]  # without a channel axis all values are one channel
        storage = self.storage()
        blobs = storage.named(w)
        scale, shift = blobs.get("scale", jnp.ones(x.shape[1])), blobs.get("shift", jnp.zeros(x.shape[1]))
        y = (self.by_stored if self.frozen_for(ctx.train) else self.by_batch)(blobs, x, scale, shift, ctx)
        return y.reshape(shape)

    def by_stored(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        mean, inverse = self.storage().stored(blobs, self.eps, True)
        return (x - along(mean, x)) * along(scale * inverse, x) + along(shift, x)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        y, mean, var = normalise()(x, scale, shift, self.eps)
        self.learn(blobs, mean, var, x.size // x.shape[1], ctx)
        return y

    def learn(self, blobs: dict[str, Array], mean: Array, var: Array, n: int, ctx: Context) -> None:
        """Hand the statistics after a batch to `ctx`."""
        storage = self.storage()
        if "mean" not in storage.blobs:
            return
        shape = (*(1,) * storage.before, -1, *(1,) * storage.after)
        for name, value in storage.follow(blobs, mean, var, n, self.keep(), self.eps).items():
            ctx.update(storage.blobs.index(name), value if name == "factor" else value.reshape(shape))


class BatchNorm(_BatchNormalisation, type="BatchNorm", block="batch_norm_param"):
    """y = (x - mean) / sqrt(var + eps) for each channel; with `scale_bias` times a scale plus a shift, both learned.

    In phase TRAIN mean and var are those of the batch, and the stored ones follow them; in TEST the stored ones are used.
    `use_global_stats` says so for both phases.  Without scale and shift a Scale layer with `bias_term` follows, as a rule.
    Bottoms: x (n, c, ...).  Tops: y, as x.
    Weights: sums of mean (c) and unbiased var (c), and the sum of their weights (1), none of them trained; then scale (c)
    and shift (c) if there are any.  NVIDIA's dialect (`scale_bias`, `scale_filler` or `bias_filler` alone) stores averages
    in place of sums, and the third blob stays 1; Intel's (`filler` or `use_weight_bias`) stores sums as BVLC does.
    Source: Ioffe and Szegedy 2015; BVLC/caffe src/caffe/layers/batch_norm_layer.cpp, and the files of that name in NVIDIA/caffe
    and intel/caffe.
    Differs: NVIDIA's ignores `use_global_stats`, here it freezes; it copies the first batch of a run into the statistics,
    here the first batch after they were all zero; eps is not raised to its floor of 1e-5.
    """

    use_global_stats: bool | None = param("Whether stored statistics are used; not given: in phase TEST.", default=None)
    moving_average_fraction: float = param("Fraction of the stored statistics that stays at each batch.", default=0.999)
    scale_bias: bool = param("Whether scale and shift are there (NVIDIA).", default=False)
    scale_filler: Filler | None = param(
        "Filler of scale; its presence asks for scale and shift (NVIDIA).", default=None
    )
    bias_filler: Filler | None = param("Filler of shift; its presence asks for scale and shift.", default=None)
    filler: Filler | None = param("Filler of scale; its presence asks for scale and shift (Intel).", default=None)
    use_weight_bias: bool = param("Whether scale and shift are there (Intel).", default=False)
    bias_term: bool = param("Whether Intel's library has a shift.", default=True, inert=True)
    relu: bool = param("Whether max(y, 0) is taken in the end (Intel).", default=False)
    stats_batch_size: int = param("Items that share statistics; 0: the whole batch (Intel).", default=0, at_least=0)

    examples = (
        Example('layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }', {"x": (4, 3, 5, 5)}),
        Example(
            'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { scale_bias: true eps: 0.001 } }',
            {"x": (4, 3)},
        ),
    )

    def storage(self) -> Dialect:
        if self.use_weight_bias or self.filler is not None:
            return INTEL
        nvidia = self.scale_bias or self.scale_filler is not None or self.bias_filler is not None
        return NVIDIA if nvidia else BVLC

    def keep(self) -> float:
        return self.moving_average_fraction

    def frozen_for(self, train: bool) -> bool:
        return not train if self.use_global_stats is None else self.use_global_stats

    def fillers(self) -> tuple[Filler, Filler]:
        return self.scale_filler or self.filler or Constant(value=1.0), self.bias_filler or Constant()

    def infer(self, x: Shape) -> Shape:
        if self.stats_batch_size and x and x[0] % self.stats_batch_size:
            raise ShapeError(
                f"the batch of {x[0]} is not a multiple of `stats_batch_size` {self.stats_batch_size}; "
                "give a number that divides it.",
                field="stats_batch_size",
            )
        return super().infer(x)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        groups = x.shape[0] // (self.stats_batch_size or x.shape[0])
        if groups == 1:
            return super().by_batch(blobs, x, scale, shift, ctx)
        parts = x.reshape(groups, -1, *x.shape[1:])
        y, mean, var = jax.vmap(lambda part: normalise()(part, scale, shift, self.eps))(parts)
        n = x.size // x.shape[1] // groups
        for i in range(groups):
            blobs = blobs | self.storage().follow(blobs, mean[i], var[i], n, self.keep(), self.eps)
        for i, name in enumerate(STATISTICS):
            ctx.update(i, blobs[name])
        return y.reshape(x.shape)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        y = super().apply(w, x, ctx=ctx)
        return jax.nn.relu(y) if self.relu else y
