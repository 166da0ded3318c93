"""Optimizers of optax as solvers: `type: "optax.adafactor"`.

Each array of a net has an optimizer of its own, so its learning rate, weight decay and state are its own, as with other
solvers. One optimizer updates all arrays together if the step of an array depends on the others, on the loss, or on
random numbers; then `lr_mult` scales the step of an array. `_optax_traits.py` finds out which of both it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

from ..language import codes
from ..language.diagnostics import Report
from ..language.source import Span
from ..language.spelling import closest
from ..lazy import Array, jax, jnp, optax
from ..policies import _optax
from ..registry import Refusal
from ..schema import param
from . import _optax_state
from ._optax_traits import ALONE, CALLED, Factory, Traits, traits
from .base import Moving, Numbers, Objective, Solver

RATES = ("learning_rate", "scaling")  # the argument that `base_lr` and `lr_policy` set
DECAYS = ("weight_decay", "weight_decay_rate")  # the argument that `weight_decay` of the solver replaces
SEEDS = ("key", "seed")  # the argument that `random_seed` sets
OF_SOLVER = {
    "learning_rate": "the learning rate is set by `base_lr` and `lr_policy` of the solver, and by `lr_mult`.",
    "scaling": "it is the learning rate, which `base_lr` and `lr_policy` of the solver set.",
    **dict.fromkeys(SEEDS, "`random_seed` of the solver sets it."),
}
REASONS = {"optax.contrib.dpsgd": "it needs the gradient of each record, and a net computes that of a whole batch"}


class Started(NamedTuple):
    """The history of an array whose optimizer reads its learning rate only before the first update."""

    rate: Array
    state: Any


class OptaxSolver(Solver):
    """w <- w + u, with the update u of an optimizer of optax, which has a state for each array."""

    has_caffe_state = False  # the arrays of a state have shapes of their own
    factory: ClassVar[Factory]
    about: ClassVar[str] = ""
    optax_param: _optax.Arguments

    @classmethod
    def settled(cls, values: dict[str, Any], spans: Mapping[str, tuple[Span, ...]], report: Report) -> dict[str, Any]:
        """Sets `weight_decay` to the argument of the optimizer, unless the solver gives it itself."""
        if not cls.factory.decay:
            return values
        arguments = values.get("optax_param") or cls.params()["optax_param"].default
        attribute = f"{cls.factory.decay}_"
        own = getattr(arguments, attribute, None) or 0.0
        if "weight_decay" not in values:
            return {**values, "weight_decay": own}
        if arguments.given(attribute):
            report.add(
                codes.GIVEN_TWICE,
                arguments.span_of(attribute),
                f"`{cls.factory.decay}` is {own:g} here, and `weight_decay` of the solver is "
                f"{values['weight_decay']:g}; remove one of them.",
            )
        return values

    def verify(self, report: Report) -> None:
        """Reports fields of the solver that this optimizer does not read."""
        ratios = [field for field in ("larc", "local_lr_auto") if self.given(field) and getattr(self, field)]
        if self.traits.together and ratios:
            detail = f"`{ratios[0]}` is not read: {self.type} computes the steps of all arrays together."
            report.add(codes.NO_EFFECT, self.span_of(ratios[0]), detail)

    @property
    def traits(self) -> Traits:
        return traits(self.factory, tuple(sorted(self.optax_param.values().items())))

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        further = self.traits.further
        return (("value", "function") if set(CALLED) & set(further) else ("value",)) if further else ()

    @property
    def whole(self) -> bool:
        return self.traits.combines or self.traits.together

    @property
    def averages(self) -> bool:
        return super().averages or self.traits.averages

    def tested(self, w: Array, history: Any) -> Array:
        if not self.traits.averages:
            return w
        return optax.contrib.schedule_free_eval_params(history, _with_axis(w)).reshape(w.shape)

    # An optimizer for each array

    def init(self, w: Array) -> Any:
        state = _optax_state.as_numbers(self._first_rule().init(_with_axis(w)))
        return Started(jnp.float32(self.base_lr or 1.0), state) if self.traits.reads_first_rate else state

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        rule, first = self._rule(at.rate, at.decay, at.decay_mult), self.traits.reads_first_rate
        step, state = rule.update(_with_axis(g), history.state if first else history, _with_axis(w))
        delta = -step.reshape(w.shape)
        return (delta * (at.rate / history.rate), history._replace(state=state)) if first else (delta, state)

    # One optimizer for all arrays

    def init_all(self, weights: Mapping[str, Array]) -> tuple[dict[str, Any], Any]:
        if not self.traits.together:
            return super().init_all(weights)
        state = self._first_rule().init({name: _with_axis(w) for name, w in weights.items()})
        return _optax_state.parted(_optax_state.as_numbers(state), weights)

    def update_all(
        self, moving: Mapping[str, Moving], shared: Any, objective: Objective | None
    ) -> tuple[dict[str, tuple[Array, Any]], Any]:
        """Where arrays have several `decay_mult`, the update of each is that with its own one, and what they share is
        that with the largest."""
        if not self.traits.together or not moving:
            return super().update_all(moving, shared, objective)
        mult = lambda array: array.at.decay_mult if self.factory.decay else 1.0
        each = {mult(array): array.at for array in moving.values()}
        made = {m: self._together(moving, shared, objective, at) for m, at in sorted(each.items())}
        return {name: made[mult(array)][0][name] for name, array in moving.items()}, made[max(each)][1]

    def _together(
        self, moving: Mapping[str, Moving], shared: Any, objective: Objective | None, at: Numbers
    ) -> tuple[dict[str, tuple[Array, Any]], Any]:
        """The updates with the weight decay of one of the arrays.

        `lr_mult` scales the step of an array.  A line search, which compares steps, works on w / sqrt(lr_mult) instead,
        for which the first step, along the gradient, is the same."""
        rule, searches = self._rule(at.base, at.decay, at.decay_mult), "value_fn" in self.traits.further
        scale = {name: abs(array.at.lr_mult) ** 0.5 if searches else 1.0 for name, array in moving.items()}
        g = {name: _with_axis(array.g) * scale[name] for name, array in moving.items()}
        w = {name: _with_axis(array.w) / scale[name] for name, array in moving.items()}
        like = _optax_state.parted(jax.eval_shape(rule.init, w), w)[1]
        own = {name: array.history for name, array in moving.items()}
        state = _optax_state.joined(own, _optax_state.as_keys(shared, like))
        steps, state = rule.update(g, state, w, **self._further(moving, g, scale, objective))
        own, shared = _optax_state.parted(_optax_state.as_numbers(state), w)
        delta = lambda name, array: -steps[name].reshape(array.w.shape) * (array.at.lr_mult / scale[name])
        return {name: (delta(name, array), own[name]) for name, array in moving.items()}, shared

    def _further(
        self, moving: Mapping[str, Moving], g: Any, scale: Mapping[str, float], objective: Objective | None
    ) -> dict[str, Any]:
        """The other arguments of an update."""
        names = self.traits.further
        if not names:
            return {}
        assert objective is not None
        of = objective.of

        def loss(arrays: Mapping[str, Array]) -> Array:
            assert of is not None
            return of({name: array.reshape(moving[name].w.shape) * scale[name] for name, array in arrays.items()})

        known = {"value": objective.value, "grad": g, **dict.fromkeys(CALLED, loss)}
        return {name: known[name] for name in names}

    def _first_rule(self) -> Any:
        """The optimizer whose initial state is used; that does not depend on a rate of 0, with which an optimizer may
        leave something out."""
        return self._rule(self.base_lr or 1.0, self.weight_decay or 1.0)

    def _rule(self, rate: Any, decay: Any, decay_mult: float = 1.0) -> Any:
        return self.factory(self.optax_param.values(), rate, decay, decay_mult, self.seed)


def _with_axis(array: Array) -> Array:
    """An array with an axis, which a scalar does not have and some optimizers expect."""
    return array if array.ndim else array.reshape(1)


def names() -> list[str]:
    """The optimizers that a file can use."""
    return [name for name in candidates() if isinstance(make(name), type)]


def candidates() -> list[str]:
    """The functions of optax that return an optimizer with a learning rate."""
    return [name for name, found in _optax.functions() if _optax.returns_optimizer(found) and _is_complete(name, found)]


def _is_complete(name: str, found: Any) -> bool:
    """Whether a function returns a whole optimizer, not a part of one."""
    return bool(_argument(found, RATES)) and not name.rpartition(".")[2].startswith("scale_by")


def _argument(found: Any, names: tuple[str, ...]) -> str:
    """The first of some arguments that a function has; empty if it has none."""
    return next((name for name in names if name in _optax.signature(found)), "")


@cache
def make(name: str) -> type[Solver] | Refusal:
    """The solver of an optimizer of optax, or why there is none."""
    found = _optax.function(name)
    if found is None or not _optax.returns_optimizer(found):
        what = f"`{name}` is not an optimizer" if found else f'optax has no optimizer "{name}"'
        contributed = f"optax.contrib.{name.removeprefix(_optax.PREFIX)}"
        last = {known.rpartition(".")[2]: f'"{known}"' for known in candidates()}  # without the module
        near = closest(name.rpartition(".")[2], last)
        hint = f'"{contributed}"' if _optax.function(contributed) else near and last[near]
        return Refusal(f"{what}; `netdef explain optax` lists them.", hint)
    if not _is_complete(name, found):
        return Refusal(
            f"`{name}` is only a part of an optimizer, or has no argument `learning_rate`, which `base_lr` and "
            "`lr_policy` could set."
        )
    factory = Factory(found, *(_argument(found, names) for names in (RATES, DECAYS, SEEDS)))
    tried = classmethod(lambda _, values: _refusal(factory, values).removeprefix(ALONE))
    arguments = _optax.arguments_class(name, found, _not_given(name, found), wrong=tried)
    why = REASONS.get(name) or _optax.missing(found, arguments, set_elsewhere=factory[1:])
    why = why or _refusal(factory, {spec.name: spec.type(1) for spec in arguments.params().required.values()})
    return Refusal(f"`{name}` cannot be used here: {why.rstrip('.')}.") if why else _solver(name, factory, arguments)


def _refusal(factory: Factory, values: Mapping[str, Any]) -> str:
    """Why an optimizer with these arguments cannot be used; empty if it can."""
    found = traits(factory, tuple(sorted(values.items())))
    if found.together and (found.reads_first_rate or found.averages):
        return "it updates all arrays together, and reads its learning rate only before the first update"
    if found.averages and values.get("b1") == 0:
        return "`b1` must be positive: the weights that are tested are divided by it."
    return found.wrong


def _solver(name: str, factory: Factory, arguments: type[_optax.Arguments]) -> type[Solver]:
    found, decay = factory.function, factory.decay
    where = f"`weight_decay` of the solver takes the place of its `{decay}`" if decay else "weight decay is added to g"
    required = {spec.name: spec.type(1) for spec in arguments.params().required.values()}
    notes = "\n".join(_notes(factory, traits(factory, tuple(sorted(required.items())))))
    doc = (
        f"w <- w + u, with the update u of {name}.  {_optax.summary(found)}.\n\n"
        f"Its arguments but `{factory.rate}` are fields of `optax_param`; {where}.\n{notes}\nDiffers: Caffe has no "
        "such solver."
    )
    of = f"The arguments of {name}."
    body = {
        "__doc__": doc,
        "__annotations__": {"optax_param": arguments},
        "__module__": __name__,
        "factory": factory,
        "about": _optax.summary(found),
        "type": name,
        "decoupled": bool(decay),
        "optax_param": param(of) if arguments.params().required else param(of, default=arguments()),
    }
    return type("OptaxSolver", (OptaxSolver,), body)


def _notes(factory: Factory, of: Traits) -> list[str]:
    """What a user of an optimizer should know beside its arguments."""
    rate = _optax.signature(factory.function)[factory.rate].default
    notes = [f"The learning rate of optax, in place of which `base_lr` is given, is {rate:g}."] if _number(rate) else []
    if "value_fn" in of.further:
        notes.append("One update computes the steps of all arrays; a line search works on w / sqrt(lr_mult).")
    elif of.together:
        notes.append("One update computes the steps of all arrays, and `lr_mult` scales that of an array.")
    else:
        notes.append("Each array has a state of its own.")
    if of.reads_first_rate:
        notes.append("It reads `base_lr` before the first update; `lr_policy` scales its steps.")
    if set(CALLED) & set(of.further):
        notes.append("An update computes the loss of the same batch several times.")
    elif of.further:
        notes.append("It reads the loss of each batch.")
    if of.averages:
        notes.append("Tests, snapshots and results have the weights that it averages; it trains others.")
    return notes


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _not_given(name: str, found: Any) -> dict[str, str]:
    """Arguments that a file does not give, and why."""
    rate, own = OF_SOLVER["learning_rate"], _optax.signature(found)
    set_elsewhere = {"learning_rate": rate} | {argument: why for argument, why in OF_SOLVER.items() if argument in own}
    if "learning_rate" in own:
        set_elsewhere |= {argument: rate for argument in own if argument.endswith("learning_rate")}
    given = {argument: f"`{argument}` of {name} is not a field: {why}" for argument, why in set_elsewhere.items()}
    for argument in own:
        if argument in ("mask", "weight_decay_mask"):
            given[argument] = f"`{argument}` of {name} is not a field; use `decay_mult` of the layers."
    return given
