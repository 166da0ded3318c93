"""Schedules of optax as policies: `lr_policy: "optax.warmup_cosine_decay_schedule"`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from ..language.spelling import closest
from ..lazy import Array, jax, jnp
from ..registry import Refusal
from ..schema import param
from . import _optax
from .base import Policy, Setting


class OptaxSchedule(Policy):
    """base_lr schedule(t): the value of a schedule of optax, times base_lr, which is 1 unless it is given."""

    needs_base_lr = False
    usual_base_lr = 1.0
    function: ClassVar[Any]
    about: ClassVar[str] = ""
    optax_schedule_param: _optax.Arguments

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        schedule = type(self).function(**self.optax_schedule_param.values())
        return at.base_lr * jnp.asarray(schedule(jnp.asarray(iteration)), jnp.float32)


def names() -> list[str]:
    """The schedules that a file can use."""
    return [name for name in candidates() if isinstance(make(name), type)]


def candidates() -> list[str]:
    """The functions of optax that return a schedule."""
    return [name for name, found in _optax.functions() if _optax.returns_schedule(found)]


def is_schedule(name: str) -> bool:
    return name in candidates()


@cache
def make(name: str) -> type[Policy] | Refusal:
    """The policy of a schedule of optax, or why there is none."""
    found = _optax.function(name)
    if found is None or not _optax.returns_schedule(found):
        what = f"`{name}` is not a schedule of optax" if found else f'optax has no schedule "{name}"'
        return Refusal(f"{what}; `netdef explain optax` lists them.", closest(name, candidates(), '"{}"'))
    arguments = _optax.arguments_class(name, found, {}, wrong=classmethod(lambda _, values: _wrong(found, values)))
    if why := _optax.missing(found, arguments):
        return Refusal(f'`{name}` cannot be used here: {why}; the policies "join" and "multistep" combine rates.')
    required = bool(arguments.params().required)
    doc = f"The arguments of {name}."
    body = {
        "__doc__": f"base_lr {name}(t), and base_lr is 1 unless it is given.  {_optax.summary(found)}.\n\n"
        "Each argument of the schedule is a field of `optax_schedule_param`.",
        "__annotations__": {"optax_schedule_param": arguments},
        "__module__": __name__,
        "function": staticmethod(found),
        "about": _optax.summary(found),
        "name": name,
        "optax_schedule_param": param(doc) if required else param(doc, default=arguments()),
    }
    return type("OptaxSchedule", (OptaxSchedule,), body)


def _wrong(found: Any, values: Mapping[str, Any]) -> str:
    of = lambda iteration: found(**values)(iteration)
    return _optax.failure(lambda: jax.eval_shape(of, jax.ShapeDtypeStruct((), jnp.int32)))
