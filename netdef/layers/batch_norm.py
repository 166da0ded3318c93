"""BatchNorm, and what every batch normalisation of Caffe's forks shares; the layers called BN are in `bn`.

    y = scale (x - mean) / sqrt(var + eps) + shift      for each channel (axis 1)

mean and var (biased) are those of the batch while training, stored ones otherwise.  The dialects differ only in what
they store: a `Storage` says which blobs there are, of what shape, and how the stored statistics follow each batch.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

from ..fillers import Constant, Filler
from ..language.errors import NetdefError
from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, ShapeError
from ._engine import Engine, engine
from .base import Context, Example, Layer, Weight


class Rule(enum.Enum):
    """How stored statistics S follow those of a batch, s; f is the fraction of the old that stays."""

    SUM = "S = f S + s, beside it F = f F + 1, and S / F is used"
    AVERAGE = "S = f S + (1 - f) s"
    FIRST_COPIED = "AVERAGE, but the first batch is copied"


STATISTICS = ("mean", "var", "factor")
SCALED = ("scale", "shift")


@dataclass(frozen=True)
class Storage:
    """What one implementation stores.  `blobs` is their order; a blob of c channels has the shape
    (1,) * before + (c,) + (1,) * after."""

    blobs: tuple[str, ...]  # of mean, var, factor, scale, shift
    rule: Rule = Rule.AVERAGE
    before: int = 0
    after: int = 0
    unbiased: bool = False  # var is multiplied by m / (m - 1) before it is stored, m values having gone into it
    inverse: bool = False  # blob "var" holds the average of 1 / sqrt(var + eps)
    eps_at_test: bool = True  # eps is added to a stored var as well
    initial: dict[str, float] = field(default_factory=dict)  # where statistics do not begin at 0

    def shape(self, name: str, channels: Any) -> Shape:
        return (1,) if name == "factor" else ((1,) * self.before + (channels,) + (1,) * self.after)

    def named(self, w: tuple[Array, ...]) -> dict[str, Array]:
        """The blobs as flat arrays by name."""
        return {name: blob.reshape(-1) for name, blob in zip(self.blobs, w, strict=True)}

    def stored(self, blobs: dict[str, Array], eps: float) -> tuple[Array, Array]:
        """(mean, 1 / sqrt(var + eps)) as stored, both (c)."""
        mean, var = blobs["mean"], blobs["var"]
        if self.inverse:
            return mean, var
        if self.rule is Rule.SUM:
            total = blobs["factor"]
            weight = jnp.where(total == 0, 0.0, 1.0 / jnp.where(total == 0, 1.0, total))
            mean, var = mean * weight, var * weight
        return mean, jax.lax.rsqrt(var + (eps if self.eps_at_test else 0.0))

    def follow(
        self, blobs: dict[str, Array], mean: Array, var: Array, n: int, keep: float, eps: float
    ) -> dict[str, Array]:
        """The statistics after a batch of `n` values a channel, of which `mean` and `var` (biased) are given."""
        if self.inverse:
            var = jax.lax.rsqrt(var + eps)
        elif self.unbiased and n > 1:
            var = var * (n / (n - 1))
        if self.rule is Rule.SUM:
            old = {name: keep * blobs[name] for name in STATISTICS}
            return {"mean": old["mean"] + mean, "var": old["var"] + var, "factor": old["factor"] + 1.0}
        old_weight: Any = keep
        if self.rule is Rule.FIRST_COPIED:
            touched = jnp.any(blobs["mean"] != 0) | jnp.any(blobs["var"] != 0)
            old_weight = jnp.where(touched, keep, 0.0)
        return {
            "mean": old_weight * blobs["mean"] + (1 - old_weight) * mean,
            "var": old_weight * blobs["var"] + (1 - old_weight) * var,
        }


BVLC = Storage(STATISTICS, Rule.SUM, unbiased=True)
INTEL = Storage((*STATISTICS, *SCALED), Rule.SUM, unbiased=True)
NVIDIA = Storage((*STATISTICS, *SCALED), Rule.FIRST_COPIED, unbiased=True, initial={"factor": 1.0})


def along(v: Array, x: Array) -> Array:
    """(c) as (c, 1, 1), to broadcast along x (n, c, h, w)."""
    return v.reshape(-1, *(1,) * (x.ndim - 2))


def per_channel(x: Array) -> Array:
    """Sums over all axes but 1: (n, c, ...) to (c).  First along rows that are whole in memory, then over the batch."""
    return jnp.sum(x.reshape(*x.shape[:2], -1), axis=2).sum(axis=0)


def plain_normalise(x: Array, scale: Array, shift: Array, eps: float) -> tuple[Array, Array, Array]:
    """(y, mean, var) of a batch (n, c, ...): what `normalise` computes, and what its gradient is held against."""
    n = x.size // x.shape[1]
    mean = per_channel(x) / n
    centred = x - along(mean, x)  # before it is squared: the mean of squares minus the squared mean loses digits
    var = per_channel(centred * centred) / n
    return centred * along(scale * jax.lax.rsqrt(var + eps), x) + along(shift, x), mean, var


@cache
def normalise() -> Callable[..., Any]:
    """`plain_normalise` with its own gradient, which needs two sums and one more pass over x and dy; the derivative
    that jax finds makes more than twice as many.  No gradient goes through the statistics that are handed out."""

    def forward(x: Array, scale: Array, shift: Array, eps: float) -> Any:
        y, mean, var = plain_normalise(x, scale, shift, eps)
        return (y, mean, var), (x, scale, mean, jax.lax.rsqrt(var + eps))

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


class BatchNormalisation(Layer):
    """What the types share; a subclass says how it reads its fields."""

    family = "normalization"

    engine: Engine = engine()

    def storage(self) -> Storage:
        """What this layer stores."""
        raise NotImplementedError

    def keep(self) -> float:
        """Fraction of the stored statistics that stays at each batch."""
        raise NotImplementedError

    def epsilon(self) -> float:
        """What is added to the variance."""
        raise NotImplementedError

    def uses_stored(self, train: bool) -> bool:
        """Whether the stored statistics are used, and stay as they are."""
        raise NotImplementedError

    def fillers(self) -> tuple[Filler, Filler]:
        """Those of scale and shift."""
        raise NotImplementedError

    def infer(self, x: Shape) -> Any:
        if len(x) < 1:
            raise ShapeError("the input is a single number; batch normalisation needs a batch axis at least.", bottom=0)
        return x

    def weights(self, x: Shape) -> list[Weight]:
        storage, channels = self.storage(), x[1] if len(x) > 1 else 1
        trained = dict(zip(SCALED, self.fillers(), strict=True))
        made = []
        for name in storage.blobs:
            shape = storage.shape(name, channels)
            if name in trained:
                made.append(Weight(shape, trained[name]))
            else:
                first = Constant(value=storage.initial.get(name, 0.0))
                made.append(Weight(shape, first, "stat", lr_mult=0.0, decay_mult=0.0))
        return made

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Any:
        given = x.shape
        x = x if x.ndim > 1 else x[:, None]  # without a channel axis all values are one channel
        blobs = self.storage().named(w)
        scale, shift = blobs.get("scale", jnp.ones(x.shape[1])), blobs.get("shift", jnp.zeros(x.shape[1]))
        if self.uses_stored(ctx.train):
            return self.by_stored(blobs, x, scale, shift).reshape(given)
        return self.by_batch(blobs, x, scale, shift, ctx).reshape(given)

    def by_stored(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array) -> Array:
        mean, inverse = self.storage().stored(blobs, self.epsilon())
        return (x - along(mean, x)) * along(scale * inverse, x) + along(shift, x)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        y, mean, var = normalise()(x, scale, shift, self.epsilon())
        self.learn(blobs, [(mean, var)], x.size // x.shape[1], ctx)
        return y

    def learn(self, blobs: dict[str, Array], batches: list[tuple[Array, Array]], n: int, ctx: Context) -> None:
        """Store the statistics (mean, var) of some batches of `n` values a channel."""
        storage = self.storage()
        for mean, var in batches:
            blobs = blobs | storage.follow(blobs, mean, var, n, self.keep(), self.epsilon())
        for i, name in enumerate(storage.blobs):
            if name in STATISTICS:
                ctx.update(i, blobs[name].reshape(storage.shape(name, -1)))


class BatchNorm(BatchNormalisation, type="BatchNorm", block="batch_norm_param"):
    """y = (x - mean) / sqrt(var + eps) for each channel; with `scale_bias` times a scale plus a shift, both learned.

    In phase TRAIN mean and var are those of the batch, and the stored ones follow; in TEST the stored ones are used.
    `use_global_stats` decides for both phases.  Without scale and shift, a Scale layer with `bias_term` mostly follows.
    Bottoms: x (n, c, ...).  Tops: y, as x.
    Weights: sums of mean (c) and of unbiased var (c), the sum of their weights (1), none of them trained; then scale
    (c) and shift (c) if asked for: as NVIDIA has it by `scale_bias`, `scale_filler` or `bias_filler`, which stores
    averages in place of sums; as Intel has it by `filler` or `use_weight_bias`, which stores sums as BVLC does.
    Source: Ioffe and Szegedy 2015; src/caffe/layers/batch_norm_layer.cpp of BVLC/caffe, NVIDIA/caffe and intel/caffe.
    Differs: NVIDIA's ignores `use_global_stats`, here it freezes; it copies the first batch of a run, here the first
    one after statistics that are all 0; it raises eps to 1e-5; it fixes lr_mult of scale and shift at 1, here `param`
    counts.
    """

    nets_batch: ClassVar[int] = 0  # of an instance: `bn_stats_batch_size` of its net

    eps: float = param("Added to the variance.", default=1e-5, at_least=0)
    use_global_stats: bool | None = param("Whether stored statistics are used; not given: in TEST.", default=None)
    moving_average_fraction: float = param("Fraction of the stored statistics that stays at each batch.", default=0.999)
    scale_bias: bool = param("Whether there are a scale and a shift (NVIDIA).", default=False)
    scale_filler: Filler | None = param("Filler of the scale; asks for scale and shift (NVIDIA).", default=None)
    bias_filler: Filler | None = param("Filler of the shift; asks for scale and shift.", default=None)
    filler: Filler | None = param("Filler of the scale; asks for scale and shift (Intel).", default=None)
    use_weight_bias: bool = param("Whether there are a scale and a shift (Intel).", default=False)
    bias_term: bool = param("Whether Intel's library has a shift.", default=True, inert=True)
    relu: bool = param("Whether y is max(y, 0) in the end (Intel).", default=False)
    stats_batch_size: int = param("Items that share statistics; 0: the whole batch (Intel).", default=0, at_least=0)

    examples = (
        Example('layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }', {"x": (4, 3, 5, 5)}),
        Example(
            'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y"\n'
            "        batch_norm_param { scale_bias: true eps: 0.001 } }",
            {"x": (6, 3)},
        ),
    )

    def storage(self) -> Storage:
        if self.use_weight_bias or self.filler is not None:
            return INTEL
        nvidia = self.scale_bias or self.scale_filler is not None or self.bias_filler is not None
        return NVIDIA if nvidia else BVLC

    def keep(self) -> float:
        return self.moving_average_fraction

    def epsilon(self) -> float:
        return self.eps

    def uses_stored(self, train: bool) -> bool:
        return not train if self.use_global_stats is None else self.use_global_stats

    def fillers(self) -> tuple[Filler, Filler]:
        return self.scale_filler or self.filler or Constant(value=1.0), self.bias_filler or Constant()

    def infer(self, x: Shape) -> Shape:
        if self.stats_batch_size and x and x[0] % self.stats_batch_size:
            raise ShapeError(
                f"the batch of {x[0]} is no multiple of `stats_batch_size`, {self.stats_batch_size}; "
                "give a number that divides it.",
                field="stats_batch_size",
            )
        return super().infer(x)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        size = self.nets_batch or self.stats_batch_size or x.shape[0]
        if x.shape[0] % size:
            raise NetdefError(
                f"layer `{self.name}`: the batch of {x.shape[0]} is no multiple of `bn_stats_batch_size`, {size}"
            )
        groups = x.shape[0] // size
        if groups == 1:
            return super().by_batch(blobs, x, scale, shift, ctx)
        parts = x.reshape(groups, -1, *x.shape[1:])
        y, mean, var = jax.vmap(lambda part: normalise()(part, scale, shift, self.eps))(parts)
        self.learn(blobs, list(zip(mean, var, strict=True)), x.size // x.shape[1] // groups, ctx)
        return y.reshape(x.shape)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        y = super().apply(w, x, ctx=ctx)
        return jax.nn.relu(y) if self.relu else y
