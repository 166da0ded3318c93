"""Decodes a `solver { }` block or a whole solver file to a `Solver`.

A solver block is flat: it contains the fields that all solvers share, those of its type and those of its `lr_policy`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..language import codes
from ..language.diagnostics import Report
from ..language.source import Span
from ..language.spelling import closest
from ..language.syntax import Field, Message, Scalar
from ..policies.base import POLICIES, Policy, policy_class
from ..registry import Registry
from ..schema import Param, Params, build, take, unknown_field
from .base import SOLVERS, Solver

Users = dict[str, list[str]]  # the names of the classes that have each field
_INLINE_NETS = ("net_param", "train_net_param", "test_net_param")  # blocks that the compiler reads itself
_OF_OPTAX = {  # the blocks that only solvers and policies of optax have, and examples of these
    "optax_param": ("optimizers of optax", '`type: "optax.adafactor"`'),
    "optax_schedule_param": ("schedules of optax", '`lr_policy: "optax.cosine_decay_schedule"`'),
}
_OLD_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")  # the old `solver_type`, by enum value


def decode_solver(message: Message, report: Report) -> Solver | None:
    """Decodes a `solver { }` block or a whole solver file.  Errors are added to the report; returns None if the type is
    unknown."""
    errors = report.errors_met
    cls, policy_cls = _solver_class(message, report), policy_class(message, report)
    if cls is None:
        return None
    values, spans, rest = take(cls.params(), message, report)
    own = Params({name: spec for name, spec in policy_cls.params().items() if name not in Policy.params()})
    place = named.span if (named := message.get("lr_policy")) else _place(message)
    policy_values, policy_spans, rest = take(own, Message(tuple(rest), message.span), report, place)
    strays = [field for field in rest if field.name not in ("type", "solver_type", "lr_policy", *_INLINE_NETS)]
    users = (_users(SOLVERS), _users(POLICIES)) if strays else ({}, {})
    for field in strays:
        _stray(field, cls, policy_cls, *users, report)
    if message.get("base_lr") is None and policy_cls.needs_base_lr:
        report.add(codes.MISSING_FIELD, place, "`base_lr` is required here: initial learning rate.")
    if policy_cls.usual_base_lr is not None:
        values.setdefault("base_lr", policy_cls.usual_base_lr)
    policy = build(policy_cls, policy_values, policy_spans, place)
    made = build(cls, cls.settled(values, spans, report), spans, message.span, policy=policy)
    if report.errors_met == errors:
        made.verify(report)
    return made


def solver_fields() -> dict[str, Param]:
    """All fields of a solver block, for all types and policies."""
    found: dict[str, Param] = {}
    for registry in (SOLVERS, POLICIES):
        for _, cls in registry:
            found.update({name: spec for name, spec in cls.params().items() if name not in found})
    return found


def _place(message: Message) -> Span | None:
    """The place to report for a missing field: the first field, because the block may be a whole file."""
    return message.fields[0].name_span if message.fields else message.span


def _solver_class(message: Message, report: Report) -> type[Solver] | None:
    """The class named by `type`, a string, or by `solver_type`, an enum value of old files; SGD by default."""
    given, old = message.get("type"), message.get("solver_type")
    if given is None and old is None:
        return SOLVERS.get("SGD")
    if given is not None and old is not None:
        report.add(
            codes.GIVEN_TWICE, old.span, "`type` and `solver_type`, its old form, are both given; remove one of them."
        )
    field = given or old
    assert field is not None
    value = field.value
    if not isinstance(value, Scalar) or (given is not None and value.kind not in ("string", "name")):
        report.add(codes.WRONG_TYPE, value.span, '`type` expects a quoted string, such as "Adam".')
        return None
    name = str(value.value)
    if value.kind == "int" and isinstance(value.value, int) and 0 <= value.value < len(_OLD_TYPES):
        name = _OLD_TYPES[value.value]
    elif value.kind == "name":
        name = next((known for known in SOLVERS.known() if known.upper() == name.upper()), name)
    found = SOLVERS.get(name)
    if (refused := SOLVERS.refusal(name)) is not None:
        report.add(codes.UNKNOWN_SOLVER, value.span, refused.reason, hint=refused.hint)
    elif found is None:
        report.add(
            codes.UNKNOWN_SOLVER,
            value.span,
            f'there is no solver "{name}"; the solvers are {", ".join(SOLVERS.names())}.',
            hint=closest(name, SOLVERS.names(), '"{}"'),
        )
    return found


def _stray(
    field: Field, cls: type[Solver], policy: type[Policy], by_solver: Users, by_policy: Users, report: Report
) -> None:
    """Reports a field that this solver does not have: without effect if another solver or policy has it, or unknown."""
    solvers = by_solver.get(field.name)
    policies = by_policy.get(field.name) if field.name != "base_lr" else None
    if field.name == "until":
        report.add(codes.NO_EFFECT, field.name_span, '`until` belongs in a `piece { }` of the policy "join".')
    elif _stray_of_optax(field, cls, policy, report):
        pass
    elif policies:
        used = f"the policies {', '.join(policies)}" if len(policies) > 1 else f"the policy {policies[0]}"
        report.add(codes.NO_EFFECT, field.name_span, f"`{field.name}` belongs to {used}; this one is {policy.name}.")
    elif solvers:
        used = f"the solvers {', '.join(solvers)}" if len(solvers) > 1 else f"the solver {solvers[0]}"
        report.add(codes.NO_EFFECT, field.name_span, f"`{field.name}` belongs to {used}; this one is {cls.type}.")
    else:
        known = {name for registry in (SOLVERS, POLICIES) for _, other in registry for name in other.params()}
        unknown_field(field, known | {"type", "lr_policy"}, (), report)


def _stray_of_optax(field: Field, cls: type[Solver], policy: type[Policy], report: Report) -> bool:
    """Reports an argument of a function of optax outside of its block, or a block of a solver that has none."""
    if field.name in _OF_OPTAX:
        of, example = _OF_OPTAX[field.name]
        this = cls.type if field.name == "optax_param" else policy.name
        report.add(
            codes.NO_EFFECT, field.name_span, f"`{field.name}` belongs to {of}, such as {example}, not to {this}."
        )
        return True
    own = {name: spec for name, spec in (*cls.params().items(), *policy.params().items()) if name in _OF_OPTAX}
    block = next((name for name, spec in own.items() if field.name in spec.type.params().by_name), None)
    if block is None:
        return False
    detail, hint = f"`{field.name}` belongs inside `{block} {{ }}`.", f"{block} {{ {field.span.text} }}"
    report.add(codes.UNKNOWN_FIELD, field.name_span, detail, hint=hint)
    return True


def _users(registry: Registry[Any]) -> Users:
    return _users_by_field(registry, tuple(registry.names()))


@lru_cache(8)
def _users_by_field(registry: Registry[Any], names: tuple[str, ...]) -> Users:
    """The classes that have each field; `names` are all classes, so that those of a plugin are not missed."""
    found: Users = {}
    for name, cls in registry:
        for field in cls.params():
            found.setdefault(field, []).append(name)
    return found
