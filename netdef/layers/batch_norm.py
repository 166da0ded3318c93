"""Batch normalization: BatchNorm, and the code shared with BN (in `bn`).

    y = scale (x - mean) / sqrt(var + eps) + shift      for each channel (axis 1)

In training, mean and var (biased) are those of the batch, otherwise the stored ones.  The dialects of Caffe's forks
differ only in what they store: a `Storage` describes the blobs, their shapes and how the statistics are updated.
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
from ._channels import along, broadcast_channels, channel_axis, channel_sum
from ._engine import Engine, engine
from ._platform import on_cpu
from .base import Context, Example, Layer, Weight


class Rule(enum.Enum):
    """How the stored statistics S are updated from those of a batch, s; f is the fraction of S that is kept."""

    SUM = "S = f S + s and F = f F + 1; S / F is used"
    AVERAGE = "S = f S + (1 - f) s"
    FIRST_COPIED = "AVERAGE, but S = s for the first batch"


STATISTICS = ("mean", "var", "factor")
SCALED = ("scale", "shift")


@dataclass(frozen=True)
class Storage:
    """What one implementation stores.  `blobs` are the names in order; a blob of c channels has the shape
    (1,) * before + (c,) + (1,) * after."""

    blobs: tuple[str, ...]  # some of mean, var, factor, scale, shift
    rule: Rule = Rule.AVERAGE
    before: int = 0
    after: int = 0
    unbiased: bool = False  # var is multiplied by m / (m - 1) before it is stored, for m values per channel
    inverse: bool = False  # blob "var" contains the average of 1 / sqrt(var + eps)
    eps_at_test: bool = True  # eps is also added to a stored var
    initial: dict[str, float] = field(default_factory=dict)  # initial values of statistics that do not start at 0

    def shape(self, name: str, channels: Any) -> Shape:
        return (1,) if name == "factor" else ((1,) * self.before + (channels,) + (1,) * self.after)

    def named(self, w: tuple[Array, ...]) -> dict[str, Array]:
        """Returns the blobs as flat arrays by name."""
        return {name: blob.reshape(-1) for name, blob in zip(self.blobs, w, strict=True)}

    def stored(self, blobs: dict[str, Array], eps: float) -> tuple[Array, Array]:
        """Returns the stored (mean, 1 / sqrt(var + eps)), each (c)."""
        mean, var = blobs["mean"], blobs["var"]
        if self.inverse:
            return mean, var
        if self.rule is Rule.SUM:
            total = blobs["factor"]
            weight = jnp.where(total == 0, 0.0, 1.0 / jnp.where(total == 0, 1.0, total))
            mean, var = mean * weight, var * weight
        return mean, jax.lax.rsqrt(var + (eps if self.eps_at_test else 0.0))

    def center(self, blobs: dict[str, Array]) -> Array | None:
        """Returns the stored mean (c); None if there is none."""
        return jax.lax.stop_gradient(self.stored(blobs, 1.0)[0]) if "mean" in blobs else None

    def follow(
        self, blobs: dict[str, Array], mean: Array, var: Array, n: int, keep: float, eps: float
    ) -> dict[str, Array]:
        """Returns the statistics after a batch of `n` values per channel with this `mean` and `var` (biased)."""
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


def statistics(x: Array, axis: int = 1) -> tuple[Array, Array]:
    """Returns (mean, biased var) of each channel of a batch, in two passes over x."""
    n = x.size // x.shape[axis]
    mean = channel_sum(x, axis) / n
    centered = x - along(mean, x, axis)  # before squaring, since E x^2 - (E x)^2 loses precision
    return mean, channel_sum(centered * centered, axis) / n


def statistics_at_once(x: Array, near: Array, axis: int = 1) -> tuple[Array, Array]:
    """Returns the same as `statistics` in one pass, in which XLA for accelerators includes what computes x.

    The result has all its digits if `near` (c) is within some standard deviations of the mean.  If it is d standard
    deviations away, the relative error of var is about d^2 times that of a float32, 6e-8."""
    n = x.size // x.shape[axis]
    moved = x - along(near, x, axis)
    first, second = channel_sum(moved, axis) / n, channel_sum(moved * moved, axis) / n
    return near + first, jnp.maximum(second - first * first, 0.0)


def plain_normalize(x: Array, scale: Array, shift: Array, eps: float, axis: int = 1) -> tuple[Array, Array, Array]:
    """Returns (y, mean, var) of a batch with the channels on `axis` (1 or -1): the reference for the values and the
    gradient of `normalize`."""
    mean, var = statistics(x, axis)
    return _normalized(x, mean, var, scale, shift, eps, axis), mean, var


def _normalized(x: Array, mean: Array, var: Array, scale: Array, shift: Array, eps: float, axis: int) -> Array:
    return (x - along(mean, x, axis)) * along(scale * jax.lax.rsqrt(var + eps), x, axis) + along(shift, x, axis)


@cache
def normalize() -> Callable[..., Any]:
    """`plain_normalize` with a custom gradient: two sums and one more pass over x and dy, less than half of what JAX's
    automatic derivative needs.  The returned statistics have no gradient.

    `near`, if given, is an estimate of the mean (c), with which accelerators compute the statistics in one pass."""

    def forward(x: Array, scale: Array, shift: Array, eps: float, axis: int = 1, near: Array | None = None) -> Any:
        if near is None:
            mean, var = statistics(x, axis)
        else:
            twice, once = lambda x, near: statistics(x, axis), lambda x, near: statistics_at_once(x, near, axis)
            mean, var = on_cpu(twice, once, x, near)
        y = _normalized(x, mean, var, scale, shift, eps, axis)
        return (y, mean, var), (x, scale, mean, jax.lax.rsqrt(var + eps), near)

    def backward(eps: float, axis: int, saved: Any, given: Any) -> Any:
        (x, scale, mean, inverse, near), dy = saved, given[0]
        n = x.size // x.shape[axis]
        centered = x - along(mean, x, axis)
        sum_dy, sum_dy_x = channel_sum(dy, axis), channel_sum(dy * centered, axis)
        slope = sum_dy_x * inverse * inverse / n
        dx = along(scale * inverse, x, axis) * (dy - along(sum_dy / n, x, axis) - centered * along(slope, x, axis))
        return dx, sum_dy_x * inverse, sum_dy, None if near is None else jnp.zeros_like(near)

    def value(x: Array, scale: Array, shift: Array, eps: float, axis: int = 1, near: Array | None = None) -> Any:
        return forward(x, scale, shift, eps, axis, near)[0]

    own = jax.custom_vjp(value, nondiff_argnums=(3, 4))
    own.defvjp(forward, backward)
    return own


class BatchNormalization(Layer):
    """The base of the batch normalization types; subclasses interpret their own fields."""

    family = "normalization"
    float32, float32_tops = "its statistics are sums over the batch", False

    engine: Engine = engine()

    def storage(self) -> Storage:
        """Returns what this layer stores."""
        raise NotImplementedError

    def keep(self) -> float:
        """Returns the fraction of the stored statistics that is kept at each batch."""
        raise NotImplementedError

    def epsilon(self) -> float:
        """Returns the value that is added to the variance."""
        raise NotImplementedError

    def uses_stored(self, train: bool) -> bool:
        """Returns whether the stored statistics are used and not updated."""
        raise NotImplementedError

    def fillers(self) -> tuple[Filler, Filler]:
        """Returns the fillers of scale and shift."""
        raise NotImplementedError

    def infer(self, x: Shape) -> Any:
        if len(x) < 1:
            raise ShapeError("the input is a scalar; batch normalization requires at least a batch axis.", bottom=0)
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

    def channels_last(self, *bottoms: Shape) -> bool:
        return len(self.top) < 2

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Any:
        given = x.shape
        x = x if x.ndim > 1 else x[:, None]  # without a channel axis, all values form one channel
        blobs, channels = self.storage().named(w), x.shape[channel_axis(ctx.channels_last)]
        scale, shift = blobs.get("scale", jnp.ones(channels)), blobs.get("shift", jnp.zeros(channels))
        if self.uses_stored(ctx.train):
            return self.by_stored(blobs, x, scale, shift, ctx).reshape(given)
        return self.by_batch(blobs, x, scale, shift, ctx).reshape(given)

    def by_stored(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        axis = channel_axis(ctx.channels_last)
        mean, inverse = self.storage().stored(blobs, self.epsilon())
        wide = lambda v: broadcast_channels(v, x, axis)
        return (x - wide(mean)) * wide(scale * inverse) + wide(shift)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        axis = channel_axis(ctx.channels_last)
        near = self.storage().center(blobs)
        y, mean, var = normalize()(x, scale, shift, self.epsilon(), axis, near)
        self.learn(blobs, [(mean, var)], x.size // x.shape[axis], ctx)
        return y

    def learn(self, blobs: dict[str, Array], batches: list[tuple[Array, Array]], n: int, ctx: Context) -> None:
        """Stores the statistics (mean, var) of one or more batches of `n` values per channel."""
        storage = self.storage()
        for mean, var in batches:
            blobs = blobs | storage.follow(blobs, mean, var, n, self.keep(), self.epsilon())
        for i, name in enumerate(storage.blobs):
            if name in STATISTICS:
                ctx.update(i, blobs[name].reshape(storage.shape(name, -1)))


class BatchNorm(BatchNormalization, type="BatchNorm", block="batch_norm_param"):
    """y = (x - mean) / sqrt(var + eps) for each channel; with `scale_bias`, followed by a learned scale and shift.

    In phase TRAIN mean and var are those of the batch, and the stored statistics are updated; in phase TEST the stored
    ones are used.  `use_global_stats` overrides this in both phases.  Without its own scale and shift, the layer is
    usually followed by a Scale layer with `bias_term`.
    Bottoms: x (n, c, ...).  Tops: y, same shape as x.
    Weights: sums of mean (c) and of unbiased var (c), and the sum of their weights (1), none of them trained; then
    optional scale (c) and shift (c).  `scale_bias`, `scale_filler` or `bias_filler` select NVIDIA's form, which stores
    averages in place of sums; `filler` or `use_weight_bias` select Intel's form, which stores sums as BVLC does.
    Source: Ioffe and Szegedy 2015; src/caffe/layers/batch_norm_layer.cpp of BVLC/caffe, NVIDIA/caffe and intel/caffe.
    Differs: NVIDIA's layer ignores `use_global_stats`, which here freezes the statistics; it copies the statistics of
    the first batch of a run, here those of the first batch while the stored ones are all 0; it raises eps to at least
    1e-5; it fixes lr_mult of scale and shift at 1, here `param` applies.
    """

    nets_batch: ClassVar[int] = 0  # of an instance: `bn_stats_batch_size` of its net

    eps: float = param("Added to the variance.", default=1e-5, at_least=0)
    use_global_stats: bool | None = param(
        "Whether to use the stored statistics; if not given, only in phase TEST.", default=None
    )
    moving_average_fraction: float = param(
        "Fraction of the stored statistics that is kept at each batch.", default=0.999
    )
    scale_bias: bool = param("Whether to apply a scale and a shift (NVIDIA).", default=False)
    scale_filler: Filler | None = param("Filler of the scale; implies scale and shift (NVIDIA).", default=None)
    bias_filler: Filler | None = param("Filler of the shift; implies scale and shift.", default=None)
    filler: Filler | None = param("Filler of the scale; implies scale and shift (Intel).", default=None)
    use_weight_bias: bool = param("Whether to apply a scale and a shift (Intel).", default=False)
    bias_term: bool = param("Whether Intel's library has a shift.", default=True, inert=True)
    relu: bool = param("Whether to apply a ReLU to y (Intel).", default=False)
    stats_batch_size: int = param(
        "Number of items that share statistics; 0: the whole batch (Intel).", default=0, at_least=0
    )

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
                f"the batch size {x[0]} is not a multiple of `stats_batch_size` {self.stats_batch_size}; "
                f"choose a divisor of {x[0]}.",
                field="stats_batch_size",
            )
        return super().infer(x)

    def by_batch(self, blobs: dict[str, Array], x: Array, scale: Array, shift: Array, ctx: Context) -> Array:
        size = self.nets_batch or self.stats_batch_size or x.shape[0]
        if x.shape[0] % size:
            raise NetdefError(
                f"layer `{self.name}`: the batch size {x.shape[0]} is not a multiple of `bn_stats_batch_size` {size}; "
                f"choose a divisor of {x.shape[0]}"
            )
        groups = x.shape[0] // size
        if groups == 1:
            return super().by_batch(blobs, x, scale, shift, ctx)
        near = self.storage().center(blobs)
        parts = x.reshape(groups, -1, *x.shape[1:])
        axis = channel_axis(ctx.channels_last)
        y, mean, var = jax.vmap(lambda part: normalize()(part, scale, shift, self.eps, axis, near))(parts)
        self.learn(blobs, list(zip(mean, var, strict=True)), x.size // x.shape[axis] // groups, ctx)
        return y.reshape(x.shape)

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        y = super().apply(w, x, ctx=ctx)
        return jax.nn.relu(y) if self.relu else y
