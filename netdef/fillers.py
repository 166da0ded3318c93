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
        return {"type"} | {name for _, other in FILLERS for name in other.params()}

    def fill(self, key: Any, shape: Shape) -> Any:
        """A float32 array of `shape`."""
        raise NotImplementedError
