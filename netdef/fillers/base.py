"""The contract of a filler, which computes the initial values of a parameter, and of its random numbers.

    class Constant(Filler, type="constant"):
        value: float = param("The value.", default=0.0)
        def fill(self, draw, shape): ...    # a float32 array of this shape

The distributions are those of Caffe (include/caffe/filler.hpp), the random numbers are not.  They come from a `Draw`:
NumPy's for parameters, because JAX would compile a program for every shape, and JAX's for values drawn inside a
compiled net (DummyData).
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
DEFAULT = "constant"  # the type of a filler without `type`


class Draw(Protocol):
    """A source of random float32 arrays; `np` is the array library of these arrays."""

    np: Any

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any: ...

    def normal(self, shape: Shape) -> Any: ...

    def full(self, shape: Shape, value: float) -> Any: ...


class NumpyRandom:
    """NumPy's Philox generator, seeded by a few integers: the same on every host."""

    def __init__(self, *key: int):
        self.np = np
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any:
        return self._generator.random(shape, np.float32) * np.float32(high - low) + np.float32(low)

    def normal(self, shape: Shape) -> Any:
        return self._generator.standard_normal(shape, np.float32)

    def full(self, shape: Shape, value: float) -> Any:
        return np.full(shape, value, np.float32)


class RowsRandom(NumpyRandom):
    """A source of some rows of each array: of the first `rows` that another key has not drawn."""

    def __init__(self, rows: int, *key: int):
        super().__init__(*key)
        self._rows = rows

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Any:
        return super().uniform((self._rows, *shape[1:]), low, high)

    def normal(self, shape: Shape) -> Any:
        return super().normal((self._rows, *shape[1:]))

    def full(self, shape: Shape, value: float) -> Any:
        return super().full((self._rows, *shape[1:]), value)


class JaxRandom:
    """JAX's generator, for use inside a compiled function; `key` is a JAX random key."""

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

    def full(self, shape: Shape, value: float) -> Any:
        return jnp.full(shape, value, jnp.float32)


class Filler(Block):
    """`weight_filler { type: "xavier" }`: `type` selects the class; the default is "constant"."""

    type: ClassVar[str] = ""
    selector = "type"
    by_rows: ClassVar[bool] = False  # of rows: `fill` returns as many as the draw does, independent of the others

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
            report.add(codes.WRONG_TYPE, given.span, '`type` expects a quoted string, such as "xavier".')
            return None
        chosen = FILLERS.get(str(given.value.value))
        if chosen is None:
            report.add(
                codes.UNKNOWN_FILLER,
                given.value.span,
                f'there is no filler "{given.value.value}"; the fillers are {", ".join(FILLERS.names())}.',
                hint=closest(str(given.value.value), FILLERS.names(), '"{}"'),
            )
        return chosen

    @classmethod
    def tolerated(cls) -> Iterable[str]:
        return {name for _, other in FILLERS for name in other.params()}

    def check(self, shape: Shape) -> None:
        """Raises ShapeError if the fields contradict each other or do not fit a blob of this shape."""

    def fill(self, draw: Draw, shape: Shape) -> Any:
        """Returns a float32 array of `shape`."""
        raise NotImplementedError


BLOCK = 4096  # rows that are drawn together; a multiple of them is drawn in the same way by any number of devices


def fill_rows(filler: Filler, key: tuple[int, ...], shape: Shape, first: int, last: int) -> Any:
    """Returns the rows `first` to `last` of a parameter, which has the same values however it is divided.

    Each block of rows has random numbers of its own. Fillers that need the whole parameter compute all of it."""
    if not filler.by_rows:
        return filler.fill(NumpyRandom(*key), shape)[first:last]
    made = np.empty((last - first, *shape[1:]), np.float32)
    for number in range(first // BLOCK, -(-last // BLOCK)):
        begin, end = number * BLOCK, min((number + 1) * BLOCK, shape[0])
        block = filler.fill(RowsRandom(end - begin, *key, number), shape)
        made[max(begin - first, 0) : end - first] = block[max(first - begin, 0) : last - begin]
    return made


class ByRow(Filler):
    """Fillers that treat each row (index of axis 0) as a vector."""

    def check(self, shape: Shape) -> None:
        if not shape or any(d < 1 for d in shape):
            raise ShapeError(
                f'the filler "{self.type}" requires a parameter with at least one row, but this one is {show(shape)}; '
                'use another filler, such as "constant".'
            )

    def over(self, values: Any, by: Any) -> Any:
        """Divides each row by its own number."""
        return values / by.reshape(-1, *(1,) * (values.ndim - 1))


class VarianceNorm(enum.Enum):
    """The number of connections by which a variance is divided."""

    FAN_IN = 0
    FAN_OUT = 1
    AVERAGE = 2


class ByVariance(ByRow):
    """Fillers that keep the variance of signals the same from layer to layer.

    The fan-in of a parameter is count / shape[0], its fan-out count / shape[1], as in Caffe."""

    variance_norm: VarianceNorm = param("Which number of connections is used.", default=VarianceNorm.FAN_IN)

    def connections(self, shape: Shape) -> float:
        """Returns n of the formulas: fan-in, fan-out or their mean."""
        fan_in = count(shape) / shape[0]
        fan_out = count(shape) / shape[1] if len(shape) > 1 else float(count(shape))
        return {
            VarianceNorm.FAN_IN: fan_in,
            VarianceNorm.FAN_OUT: fan_out,
            VarianceNorm.AVERAGE: (fan_in + fan_out) / 2,
        }[self.variance_norm]
