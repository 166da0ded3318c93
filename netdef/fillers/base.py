"""Fillers: how a parameter is filled before training.  One class each; `fill(draw, shape)` gives a float32 array.

Fan-in of a blob is count / shape[0], fan-out is count / shape[1], as in Caffe (include/caffe/filler.hpp).  The
distributions are Caffe's, the draws are not.  A net's own filler is one more class with a `type`.

Random numbers come from a `Draw`: NumPy's for parameters, which would cost a compilation for every shape if JAX made
them, and JAX's for what is drawn anew inside a compiled net (DummyData).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from ..language import codes
from ..language.diagnostics import Report
from ..language.spelling import closest
from ..language.syntax import Message, Scalar
from ..lazy import jax, jnp, np
from ..registry import Registry
from ..schema import Block, param
from ..shape import Shape, ShapeError, count, show

FILLERS: Registry[Filler] = Registry("filler", "netdef.fillers", group="netdef.fillers")


class VarianceNorm(enum.Enum):
    """By which number of connections a variance is divided."""

    FAN_IN = 0
    FAN_OUT = 1
    AVERAGE = 2


class Draw(Protocol):
    """A source of random float32 arrays; `np` is the array library that they belong to."""

    np: Any

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any: ...

    def normal(self, shape: Shape) -> Any: ...


class HostDraw:
    """NumPy's Philox generator, keyed by a few whole numbers: the same on every machine."""

    def __init__(self, *key: int):
        self.np = np
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any:
        return self._generator.random(shape, np.float32) * np.float32(high - low) + np.float32(low)

    def normal(self, shape: Shape) -> Any:
        return self._generator.standard_normal(shape, np.float32)


class TracedDraw:
    """JAX's generator, for use inside a compiled function; `key` is a jax random key."""

    def __init__(self, key: Any):
        self.np = jnp
        self._key = key

    def _next(self) -> Any:
        self._key, key = jax.random.split(self._key)
        return key

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any:
        return jax.random.uniform(self._next(), shape, jnp.float32, low, high)

    def normal(self, shape: Shape) -> Any:
        return jax.random.normal(self._next(), shape, jnp.float32)


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
            report.add(
                codes.UNKNOWN_FILLER,
                given.value.span,
                f'there is no filler "{given.value.value}"; there are {", ".join(FILLERS.names())}.',
                hint=closest(str(given.value.value), FILLERS.names(), '"{}"'),
            )
        return chosen

    @classmethod
    def tolerated(cls) -> Iterable[str]:
        return {name for _, other in FILLERS for name in other.params()}

    def check(self, shape: Shape) -> None:
        """ShapeError if the fields do not go together, or not with a blob of this shape."""

    def fill(self, draw: Draw, shape: Shape) -> Any:
        """A float32 array of `shape`."""
        raise NotImplementedError


class Constant(Filler, type="constant"):
    """Every element is `value`.  Source: ConstantFiller."""

    value: float = param("The value.", default=0.0)

    def fill(self, draw: Draw, shape: Shape) -> Any:
        return draw.np.full(shape, self.value, draw.np.float32)


class Uniform(Filler, type="uniform"):
    """Uniform between `min` and `max`.  Source: UniformFiller."""

    min: float = param("Lower bound.", default=0.0)
    max: float = param("Upper bound.", default=1.0)

    def check(self, shape: Shape) -> None:
        if self.min > self.max:
            raise ShapeError(f"`min` is {self.min:g}, above `max`, which is {self.max:g}; exchange them.", field="min")

    def fill(self, draw: Draw, shape: Shape) -> Any:
        return draw.uniform(shape, self.min, self.max)


class Gaussian(Filler, type="gaussian"):
    """Normal with `mean` and `std`; with `sparse` s >= 0 an element is kept with probability s / shape[0], or is 0.

    `sparse` is meant as the number of inputs that reach each output.  Source: GaussianFiller."""

    mean: float = param("Mean.", default=0.0)
    std: float = param("Standard deviation.", default=1.0, at_least=0)
    sparse: int = param("Expected number of weights that are kept for an input; -1 keeps all.", default=-1, at_least=-1)

    def check(self, shape: Shape) -> None:
        if not shape and self.sparse >= 0:
            raise ShapeError("`sparse` counts weights of an output, and this parameter is one number.", field="sparse")
        if shape and self.sparse > shape[0]:
            raise ShapeError(
                f"`sparse` keeps {self.sparse} weights of {shape[0]} (the parameter is {show(shape)}); give "
                f"{shape[0]} at most.",
                field="sparse",
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.np.float32(self.mean) + draw.np.float32(self.std) * draw.normal(shape)
        if self.sparse < 0:
            return values
        return values * (draw.uniform(shape) < self.sparse / shape[0])


class _ByRow(Filler):
    """Fillers that treat each row (index of axis 0) as a vector."""

    def check(self, shape: Shape) -> None:
        if not shape or any(d < 1 for d in shape):
            raise ShapeError(
                f'a filler "{self.type}" needs a parameter of one row at least, and this one is {show(shape)}; '
                "give another filler, such as a constant."
            )

    def over(self, values: Any, by: Any) -> Any:
        """Rows divided by one number each."""
        return values / by.reshape(-1, *(1,) * (values.ndim - 1))


class PositiveUnitball(_ByRow, type="positive_unitball"):
    """Uniform on [0, 1), then every row divided by its sum, to add up to 1.  Source: PositiveUnitballFiller."""

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.uniform(shape)
        return self.over(values, values.reshape(shape[0], -1).sum(axis=1))


class GaussianUnitball(_ByRow, type="gaussian_unitball"):
    """Normal, then every row divided by its length: uniform on the unit sphere.  Source: happynear/caffe-windows."""

    def fill(self, draw: Draw, shape: Shape) -> Any:
        values = draw.normal(shape)
        return self.over(values, draw.np.sqrt(draw.np.square(values).reshape(shape[0], -1).sum(axis=1) + 1e-12))


class _ByVariance(_ByRow):
    """Fillers that keep the variance of signals the same from layer to layer."""

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
    """Uniform on [-a, a], a = sqrt(3 / n), n being the fan-in unless `variance_norm` says otherwise.

    Source: Glorot and Bengio 2010 (who take the average), XavierFiller."""

    def fill(self, draw: Draw, shape: Shape) -> Any:
        a = math.sqrt(3.0 / self.connections(shape))
        return draw.uniform(shape, -a, a)


class Msra(_ByVariance, type="msra"):
    """Normal with mean 0 and variance scale^2 2 / (n (1 + alpha^2)); n as for xavier.

    Source: He et al. 2015, MSRAFiller; `alpha` is happynear's, `scale` Intel's."""

    alpha: float = param("Negative slope of the ReLU that follows.", default=0.0)
    scale: float = param("Factor of the deviation.", default=1.0)

    def fill(self, draw: Draw, shape: Shape) -> Any:
        std = self.scale * math.sqrt(2.0 / (self.connections(shape) * (1.0 + self.alpha**2)))
        return draw.np.float32(std) * draw.normal(shape)


class Bilinear(Filler, type="bilinear"):
    """The kernel of bilinear interpolation, for a Deconvolution that upsamples: (o, i, k, k), every filter the same.

    Source: BilinearFiller. To upsample by f: kernel_size 2 f - f % 2, stride f, pad ceil((f - 1) / 2), group: channels.
    """

    def check(self, shape: Shape) -> None:
        if len(shape) != 4 or shape[2] != shape[3]:
            raise ShapeError(
                f'a filler "bilinear" needs square filters of a two-dimensional convolution, (o, i, k, k), and this '
                f"parameter is {show(shape)}; give kernel_h and kernel_w one value, or another filler."
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        side = shape[3]
        factor = math.ceil(side / 2)
        center = (side - 1) / (2.0 * factor)
        ramp = 1.0 - np.abs(np.arange(side) / factor - center)
        return np.broadcast_to(ramp[:, None] * ramp[None, :], shape).astype(np.float32)


class Identity(Filler, type="identity"):
    """1 where the first two indices agree and later ones are in the middle, else 0: the layer gives its input.

    Source: happynear/caffe-windows, which has it for blobs (k, k) alone."""

    def check(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[0] != shape[1]:
            raise ShapeError(
                f'a filler "identity" needs as many outputs as inputs, and this parameter is {show(shape)}; '
                "make the first two numbers equal, or give another filler."
            )

    def fill(self, draw: Draw, shape: Shape) -> Any:
        middle = tuple((k - 1) // 2 for k in shape[2:])
        values = np.zeros(shape, np.float32)
        diagonal = np.arange(shape[0])
        values[(diagonal, diagonal, *middle)] = 1.0
        return values
