"""The contract of a filler, which computes the initial values of a parameter, and the random numbers it draws.

    class Constant(Filler, type="constant"):
        value: float = param("The value.", default=0.0)
        def fill(self, draw, shape): ...    # a float32 array of this shape

The distributions are Caffe's (include/caffe/filler.hpp), the random numbers are not.  They come from a `Draw`: NumPy's
for parameters, which would cost a compilation for every shape if JAX drew them, and JAX's for what is drawn anew inside
a compiled net (DummyData).
"""

from __future__ import annotations

import enum
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
DEFAULT = "constant"  # the type of a filler that names none


class Draw(Protocol):
    """A source of random float32 arrays; `np` is the array library that they belong to."""

    np: Any

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any: ...

    def normal(self, shape: Shape) -> Any: ...


class NumpyRandom:
    """NumPy's Philox generator, keyed by a few whole numbers: the same on every machine."""

    def __init__(self, *key: int):
        self.np = np
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any:
        return self._generator.random(shape, np.float32) * np.float32(high - low) + np.float32(low)

    def normal(self, shape: Shape) -> Any:
        return self._generator.standard_normal(shape, np.float32)


class JaxRandom:
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
            return FILLERS.get(DEFAULT)
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


class ByRow(Filler):
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


class VarianceNorm(enum.Enum):
    """By which number of connections a variance is divided."""

    FAN_IN = 0
    FAN_OUT = 1
    AVERAGE = 2


class ByVariance(ByRow):
    """Fillers that keep the variance of signals the same from layer to layer.

    Fan-in of a blob is count / shape[0], fan-out is count / shape[1], as in Caffe."""

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
