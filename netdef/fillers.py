"""Fillers: how a parameter is filled before training.  One class each; `fill(key, shape)` gives a float32 array.

Fan-in of a blob is count / shape[0], fan-out is count / shape[1], as in Caffe (include/caffe/filler.hpp).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any, ClassVar

from .language import codes
from .language.diagnostics import Report
from .language.spelling import nearest
from .language.syntax import Message, Scalar
from .lazy import jax, jnp
from .registry import Registry
from .schema import Block, param
from .shape import Shape, count

FILLERS: Registry[Filler] = Registry("filler", group="netdef.fillers")


class VarianceNorm(enum.Enum):
    """By which number of connections a variance is divided."""

    FAN_IN = 0
    FAN_OUT = 1
    AVERAGE = 2


class Filler(Block):
    """`weight_filler { type: "xavier" }`: the class is chosen by `type`, "constant" where none is given."""

    type: ClassVar[str] = ""
    selector = "type"

    def __init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type is not None:
            cls.type = type
            FILLERS.add(type, cls)

    @classmethod
    def select(cls, message: Message, report: Report) -> type[Filler] | None:  # type: ignore[override]
        given = message.get("type")
        if given is None:
            return Constant
        if not isinstance(given.value, Scalar) or given.value.kind != "string":
            report.add(codes.WRONG_TYPE, given.span, '`type` takes a string in quotes, such as "xavier".')
            return None
        chosen = FILLERS.get(str(given.value.value))
        if chosen is None:
            close = nearest(str(given.value.value), FILLERS.names())
            report.add(
                codes.UNKNOWN_FILLER,
                given.value.span,
                f'there is no filler "{given.value.value}"; there are {", ".join(FILLERS.names())}.',
                hint=f'"{close[0]}"' if close else None,
            )
        return chosen

    @classmethod
    def tolerated(cls) -> Iterable[str]:
        return {name for _, other in FILLERS for name in other.params()}

    def fill(self, key: Any, shape: Shape) -> Any:
        """A float32 array of `shape`."""
        raise NotImplementedError


class Constant(Filler, type="constant"):
    """Every element is `value`."""

    value: float = param("The value.", default=0.0)

    def fill(self, key: Any, shape: Shape) -> Any:
        return jnp.full(shape, self.value, jnp.float32)


class Uniform(Filler, type="uniform"):
    """Uniform between `min` and `max`."""

    min: float = param("Lower bound.", default=0.0)
    max: float = param("Upper bound.", default=1.0)

    def fill(self, key: Any, shape: Shape) -> Any:
        return jax.random.uniform(key, shape, jnp.float32, self.min, self.max)


class Gaussian(Filler, type="gaussian"):
    """Normal with `mean` and `std`; with `sparse` s >= 0 an element is kept with probability s / shape[0], else 0.

    Source: GaussianFiller; `sparse` is meant as the number of inputs that reach each output."""

    mean: float = param("Mean.", default=0.0)
    std: float = param("Standard deviation.", default=1.0, at_least=0)
    sparse: int = param("Expected number of non-zero weights of an output; -1 keeps all.", default=-1, at_least=-1)

    def fill(self, key: Any, shape: Shape) -> Any:
        values_key, mask_key = jax.random.split(key)
        values = self.mean + self.std * jax.random.normal(values_key, shape, jnp.float32)
        if self.sparse < 0:
            return values
        kept = jax.random.bernoulli(mask_key, min(1.0, self.sparse / shape[0]), shape)
        return jnp.where(kept, values, 0.0)


class PositiveUnitball(Filler, type="positive_unitball"):
    """Uniform on [0, 1), then every row divided by its sum, so that a row adds up to 1."""

    def fill(self, key: Any, shape: Shape) -> Any:
        values = jax.random.uniform(key, shape, jnp.float32)
        sums = jnp.sum(values.reshape(shape[0], -1), axis=1)
        return values / sums.reshape((shape[0],) + (1,) * (len(shape) - 1))


class _ByVariance(Filler):
    variance_norm: VarianceNorm = param("Which number of connections counts.", default=VarianceNorm.FAN_IN)

    def connections(self, shape: Shape) -> float:
        """n of the formulas: fan-in, fan-out or their mean."""
        fan_in = count(shape) / shape[0]
        fan_out = count(shape) / shape[1] if len(shape) > 1 else float(count(shape))
        return {
            VarianceNorm.FAN_IN: fan_in,
            VarianceNorm.FAN_OUT: fan_out,
            VarianceNorm.AVERAGE: (fan_in + fan_out) / 2,
        }[self.variance_norm]


class Xavier(_ByVariance, type="xavier"):
    """Uniform on [-a, a], a = sqrt(3 / n).  Source: Glorot and Bengio 2010; Caffe's default n is the fan-in alone."""

    def fill(self, key: Any, shape: Shape) -> Any:
        a = math.sqrt(3.0 / self.connections(shape))
        return jax.random.uniform(key, shape, jnp.float32, -a, a)


class Msra(_ByVariance, type="msra"):
    """Normal with variance 2 / n.  Source: He et al. 2015."""

    def fill(self, key: Any, shape: Shape) -> Any:
        return math.sqrt(2.0 / self.connections(shape)) * jax.random.normal(key, shape, jnp.float32)


class Bilinear(Filler, type="bilinear"):
    """The kernel of bilinear interpolation, for a Deconvolution that upsamples: (o, i, k, k), every filter the same."""

    def fill(self, key: Any, shape: Shape) -> Any:
        if len(shape) != 4 or shape[2] != shape[3]:
            raise ValueError(f"a bilinear filler needs square filters of a 2-d convolution, not {shape}")
        side = shape[3]
        factor = math.ceil(side / 2)
        center = (2 * factor - 1 - factor % 2) / (2.0 * factor)
        ramp = 1.0 - jnp.abs(jnp.arange(side) / factor - center)
        return jnp.broadcast_to(ramp[:, None] * ramp[None, :], shape).astype(jnp.float32)
