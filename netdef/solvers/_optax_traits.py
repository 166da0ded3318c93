"""What an optimizer of optax needs and does, found by tracing two updates, for which JAX needs no device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from ..lazy import jax, jnp, optax
from ..policies import _optax

COMBINED = re.compile(r"\b(reduce_\w+|dot_general|transpose|sort|cum\w+|eigh|svd|qr)\b")  # of elements of an array
RANDOM = re.compile(r"\brandom_\w+|threefry")
FURTHER = ((), ("value",), ("value", "grad", "value_fn"), ("obj_fn",))  # arguments of updates that step can give
CALLED = ("value_fn", "obj_fn")  # those that are functions of the weights
ALONE = "it fails with a gradient alone: "

Values = tuple[tuple[str, Any], ...]  # arguments and their values, sorted


class Factory(NamedTuple):
    """A function of optax that returns an optimizer, and the names of the arguments that the solver sets."""

    function: Any
    rate: str
    decay: str = ""  # empty: it has none
    seed: str = ""

    def __call__(self, values: Mapping[str, Any], rate: Any, decay: Any, decay_mult: float = 1.0, seed: int = 0) -> Any:
        own = {self.rate: rate} | ({self.decay: decay} if self.decay else {}) | ({self.seed: seed} if self.seed else {})
        # an optimizer may have others beside `decay`, such as `adam_weight_decay` of muon
        decays = {name: value * decay_mult for name, value in values.items() if "weight_decay" in name}
        with _optax.quiet():
            return optax.with_extra_args_support(self.function(**{**values, **decays, **own}))


class Traits(NamedTuple):
    """What an update needs and does; `wrong` says why there is none."""

    wrong: str = ""
    further: tuple[str, ...] = ()  # its arguments other than gradients, state and weights
    together: bool = False  # whether the steps of an array depend on others, or on random numbers
    combines: bool = False  # whether it computes something from the elements of an array together, such as a norm
    reads_first_rate: bool = False  # whether only the learning rate before the first update has an effect
    averages: bool = False  # whether its state says which weights to test


@cache
def traits(factory: Factory, values: Values) -> Traits:
    """The traits of an optimizer with these arguments."""
    given = dict(values)
    reasons: list[str] = []
    for further in FURTHER:
        traced: list[str] = []
        reasons.append(_optax.failure(lambda: traced.append(_traced(factory, given, further))))  # noqa: B023
        if traced:
            return _found(factory, given, further, traced[0])
    usual = traits(factory, ()).further if values else ()
    return Traits(wrong=f"{ALONE}{reasons[FURTHER.index(usual)]}")


def _found(factory: Factory, values: Mapping[str, Any], further: tuple[str, ...], text: str) -> Traits:
    return Traits(
        further=further,
        together=bool(further or RANDOM.search(text)) or _depends(factory, values, further, others=True),
        combines=bool(COMBINED.search(text)),
        reads_first_rate=not _depends(factory, values, further, others=False),
        averages=_averages(factory, values),
    )


def _two_updates(factory: Factory, values: Mapping[str, Any], further: tuple[str, ...]) -> Any:
    """The updates of the first of two arrays, as a function of rate, decay, that array and the other one."""

    def updates(rate: Any, decayed: Any, first: Any, other: Any) -> Any:
        arrays = (first, other)
        loss = lambda arrays: sum(jnp.sum(a * a) for a in arrays)
        known = {"grad": arrays, **dict.fromkeys(CALLED, loss)}
        more = {name: loss(arrays) if name == "value" else known[name] for name in further}
        state = factory(values, 0.1, decayed).init(arrays)
        optimizer = factory(values, rate, decayed)
        one, state = optimizer.update(arrays, state, arrays, **more)
        two, _ = optimizer.update(arrays, state, arrays, **more)
        return one[0], two[0]

    return updates


def _abstract() -> tuple[Any, ...]:
    number = jax.ShapeDtypeStruct((), jnp.float32)
    return number, number, jax.ShapeDtypeStruct((3000, 2000), jnp.float32), jax.ShapeDtypeStruct((7,), jnp.float32)


def _depends(factory: Factory, values: Mapping[str, Any], further: tuple[str, ...], others: bool) -> bool:
    """Whether the updates depend on the other array, or on the rate: vmap refuses an output that does."""
    axes = (None, None, None, 0) if others else (0, None, None, None)
    many = lambda like: jax.ShapeDtypeStruct((2, *like.shape), like.dtype)
    given = [like if axis is None else many(like) for axis, like in zip(axes, _abstract(), strict=True)]
    work = jax.vmap(_two_updates(factory, values, further), in_axes=axes, out_axes=None)
    return bool(_optax.failure(lambda: jax.eval_shape(work, *given)))


@_optax.quiet()
def _traced(factory: Factory, values: Mapping[str, Any], further: tuple[str, ...]) -> str:
    return str(jax.make_jaxpr(_two_updates(factory, values, further))(*_abstract()))


@_optax.quiet()
def _averages(factory: Factory, values: Mapping[str, Any]) -> bool:
    """Whether the state is that of `schedule_free`, for which optax has a function of the weights to test."""
    state = jax.eval_shape(factory(values, 0.1, 0.0).init, _abstract()[2])
    return all(hasattr(state, name) for name in ("b1", "z"))
