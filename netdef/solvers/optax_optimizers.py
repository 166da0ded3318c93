"""Optimizers of optax as solvers: `type: "optax.adafactor"`.

Each array of a net has an optimizer of its own, so its learning rate, weight decay and state are its own, as with other
solvers. An optimizer that is more than that, because it needs the loss, or the gradients of all arrays together, is
refused: `make` finds out by tracing two updates, for which JAX needs no device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from ..language import codes
from ..language.diagnostics import Report
from ..language.source import Span
from ..language.spelling import closest
from ..lazy import Array, jax, jnp
from ..policies import _optax
from ..registry import Refusal
from ..schema import param
from .base import Numbers, Solver

RATE = "learning_rate"
DECAYS = ("weight_decay", "weight_decay_rate")  # the argument that `weight_decay` of the solver replaces
COMBINED = re.compile(r"\b(reduce_\w+|dot_general|transpose|sort|cum\w+|eigh|svd|qr)\b")  # of elements of an array
RANDOM = re.compile(r"\brandom_\w+|threefry")
ALONE = "it fails with a gradient alone: "
OF_SOLVER = {RATE: "the learning rate is set by `base_lr` and `lr_policy` of the solver, and by `lr_mult`."}
REASONS = {
    "optax.lbfgs": "its line search computes the loss several times in each update",
    "optax.contrib.schedule_free_adamw": "the weights to test and save are not those that it trains",
    "optax.contrib.schedule_free_sgd": "the weights to test and save are not those that it trains",
}


class OptaxSolver(Solver):
    """w <- w + u, with the update u of an optimizer of optax, which has a state for each array."""

    has_caffe_state = False  # the arrays of a state have shapes of their own
    function: ClassVar[Any]
    about: ClassVar[str] = ""
    decay_argument: ClassVar[str] = ""
    optax_param: _optax.Arguments

    @classmethod
    def settled(cls, values: dict[str, Any], spans: Mapping[str, tuple[Span, ...]], report: Report) -> dict[str, Any]:
        """Sets `weight_decay` to the argument of the optimizer, unless the solver gives it itself."""
        if not cls.decay_argument:
            return values
        arguments = values.get("optax_param") or cls.params()["optax_param"].default
        attribute = f"{cls.decay_argument}_"
        own = getattr(arguments, attribute, None) or 0.0
        if "weight_decay" not in values:
            return {**values, "weight_decay": own}
        if arguments.given(attribute):
            report.add(
                codes.GIVEN_TWICE,
                arguments.span_of(attribute),
                f"`{cls.decay_argument}` is {own:g} here, and `weight_decay` of the solver is "
                f"{values['weight_decay']:g}; remove one of them.",
            )
        return values

    @property
    def whole(self) -> bool:
        return _combines(type(self), tuple(sorted(self.optax_param.values().items())))

    def init(self, w: Array) -> Any:
        # Not 0, with which an optimizer may leave something out; the state does not depend on it.
        state = self._rule(self.base_lr or 1.0, self.weight_decay or 1.0).init(_with_axis(w))
        return jax.tree.map(jnp.array, state)  # copies, because a state may contain the array itself

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        rule = self._rule(at.rate, at.decay, at.decay_mult)
        step, history = rule.update(_with_axis(g), history, _with_axis(w))
        return -step.reshape(w.shape), history

    def _rule(self, rate: Any, decay: Any, decay_mult: float = 1.0) -> Any:
        with _optax.quiet():
            return made(type(self).function, self.decay_argument, self.optax_param.values(), rate, decay, decay_mult)


def _with_axis(array: Array) -> Array:
    """An array with an axis, which a scalar does not have and some optimizers expect."""
    return array if array.ndim else array.reshape(1)


def made(function: Any, decay_argument: str, values: Mapping[str, Any], rate: Any, decay: Any, mult: float) -> Any:
    """The optimizer of one array."""
    further = {name: value * mult for name, value in values.items() if "weight_decay" in name}  # adam_weight_decay
    own = {decay_argument: decay} if decay_argument else {}
    return function(**{**values, **further, RATE: rate, **own})


def names() -> list[str]:
    """The optimizers that a file can use."""
    return [name for name in candidates() if isinstance(make(name), type)]


def candidates() -> list[str]:
    """The functions of optax that return an optimizer with a learning rate."""
    return [name for name, found in _optax.functions() if _optax.returns_optimizer(found) and _is_complete(found)]


def _is_complete(found: Any) -> bool:
    """Whether a function returns a whole optimizer, not a part of one."""
    return RATE in _optax.signature(found) and not found.__name__.startswith("scale_by")


@cache
def make(name: str) -> type[Solver] | Refusal:
    """The solver of an optimizer of optax, or why there is none."""
    found = _optax.function(name)
    if found is None or not _optax.returns_optimizer(found):
        what = f"`{name}` is not an optimizer" if found else f'optax has no optimizer "{name}"'
        contributed = f"optax.contrib.{name.removeprefix(_optax.PREFIX)}"
        hint = f'"{contributed}"' if _optax.function(contributed) else closest(name, candidates(), '"{}"')
        return Refusal(f"{what}; `netdef explain optax` lists them.", hint)
    if not _is_complete(found):
        return Refusal(
            f"`{name}` is only a part of an optimizer, or has no argument `{RATE}`, which `base_lr` and `lr_policy` "
            "could set."
        )
    decay = next((argument for argument in DECAYS if argument in _optax.signature(found)), "")
    tried = classmethod(lambda _, values: refusal(found, decay, values).removeprefix(ALONE))
    arguments = _optax.arguments_class(name, found, _not_given(name, found), wrong=tried)
    why = REASONS.get(name) or _optax.missing(found, arguments)
    why = why or refusal(found, decay, {spec.name: spec.type(1) for spec in arguments.params().required.values()})
    return (
        Refusal(f"`{name}` cannot be used here: {why.rstrip('.')}.") if why else _solver(name, found, decay, arguments)
    )


def _solver(name: str, found: Any, decay: str, arguments: type[_optax.Arguments]) -> type[Solver]:
    where = f"`weight_decay` of the solver takes the place of its `{decay}`" if decay else "weight decay is added to g"
    doc = (
        f"w <- w + u, with the update u of {name}.  {_optax.summary(found)}.\n\n"
        f"Each argument of the optimizer but `{RATE}` is a field of `optax_param`; {where}.\n"
        "Each array has a state of its own.  Differs: Caffe has no such solver."
    )
    of = f"The arguments of {name}."
    body = {
        "__doc__": doc,
        "__annotations__": {"optax_param": arguments},
        "__module__": __name__,
        "function": staticmethod(found),
        "about": _optax.summary(found),
        "type": name,
        "decay_argument": decay,
        "decoupled": bool(decay),
        "optax_param": param(of) if arguments.params().required else param(of, default=arguments()),
    }
    return type("OptaxSolver", (OptaxSolver,), body)


def _not_given(name: str, found: Any) -> dict[str, str]:
    """Arguments that a file does not give, and why."""
    given = {argument: f"`{argument}` of {name} is not a field: {why}" for argument, why in OF_SOLVER.items()}
    for argument in _optax.signature(found):
        if argument.endswith(RATE) and argument != RATE:
            given[argument] = f"`{argument}` of {name} is not a field: {OF_SOLVER[RATE]}"
        elif argument in ("mask", "weight_decay_mask"):
            given[argument] = f"`{argument}` of {name} is not a field; use `decay_mult` of the layers."
    return given


# What tracing finds out


def refusal(found: Any, decay: str, values: Mapping[str, Any]) -> str:
    """Why an optimizer with these arguments cannot update each array on its own; empty if it can."""
    traced: list[str] = []
    if why := _optax.failure(lambda: traced.append(_traced(found, decay, values))):
        return f"{ALONE}{why}"
    if RANDOM.search(traced[0]):
        return "it draws random numbers, which would be the same ones for each array"
    if _depends(found, decay, values, others=True):
        return "it computes the step of each array from the gradients of all together"
    if not _depends(found, decay, values, others=False):
        return "it reads its learning rate only before the first update, so `lr_policy` would have no effect"
    return ""


def _two_updates(found: Any, decay: str, values: Mapping[str, Any]) -> Any:
    """The updates of the first of two arrays, as a function of rate, decay, that array and the other one."""

    def updates(rate: Any, decayed: Any, first: Any, other: Any) -> Any:
        state = made(found, decay, values, 0.1, decayed, 1.0).init((first, other))
        optimizer = made(found, decay, values, rate, decayed, 1.0)
        one, state = optimizer.update((first, other), state, (first, other))
        two, _ = optimizer.update((first, other), state, (first, other))
        return one[0], two[0]

    return updates


def _abstract() -> tuple[Any, ...]:
    number = jax.ShapeDtypeStruct((), jnp.float32)
    return number, number, jax.ShapeDtypeStruct((3000, 2000), jnp.float32), jax.ShapeDtypeStruct((7,), jnp.float32)


def _depends(found: Any, decay: str, values: Mapping[str, Any], others: bool) -> bool:
    """Whether the updates depend on the other array, or on the rate: vmap refuses an output that does."""
    axes = (None, None, None, 0) if others else (0, None, None, None)
    many = lambda like: jax.ShapeDtypeStruct((2, *like.shape), like.dtype)
    given = [like if axis is None else many(like) for axis, like in zip(axes, _abstract(), strict=True)]
    work = jax.vmap(_two_updates(found, decay, values), in_axes=axes, out_axes=None)
    return bool(_optax.failure(lambda: jax.eval_shape(work, *given)))


@_optax.quiet()
def _traced(found: Any, decay: str, values: Mapping[str, Any]) -> str:
    return str(jax.make_jaxpr(_two_updates(found, decay, values))(*_abstract()))


@cache
def _combines(of: type[OptaxSolver], values: tuple[tuple[str, Any], ...]) -> bool:
    """Whether an update computes something from the elements of an array together, such as a norm."""
    return bool(COMBINED.search(_traced(of.function, of.decay_argument, dict(values))))
