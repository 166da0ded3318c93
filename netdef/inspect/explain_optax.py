"""The optimizers and schedules of optax, for `netdef explain optax`, and why others are not used."""

from __future__ import annotations

from ..language.spelling import question
from ..policies import optax_schedules
from ..policies.base import POLICIES
from ..solvers import optax_optimizers
from ..solvers.base import SOLVERS

USE = """Optimizers of optax are solver types, and its schedules policies. Their arguments are fields of a block:

    solver { type: "optax.lion" base_lr: 0.0001 optax_param { b1: 0.95 } max_iter: 1000
             lr_policy: "optax.cosine_decay_schedule" optax_schedule_param { init_value: 1 decay_steps: 1000 } }

`netdef explain optax.lion` shows the arguments of one."""


def listing() -> str:
    """Returns the text of `netdef explain optax`: all names, and the reasons for those that cannot be used."""
    used, schedules = optax_optimizers.names(), optax_schedules.names()
    others = [name for name in optax_optimizers.candidates() if name not in used]
    reasons = {name: _why(name) for name in others}
    parts = [USE, _table("optimizers", {name: _of(SOLVERS.get(name)) for name in used})]
    parts.append(_table("schedules", {name: _of(POLICIES.get(name)) for name in schedules}))
    return "\n\n".join([*parts, _table("optimizers that cannot be used", reasons)])


def refused(name: str) -> str:
    """Returns why a name of optax is neither a solver type nor a policy; empty for other names."""
    solver, policy = SOLVERS.refusal(name), POLICIES.refusal(name)
    if solver is None or policy is None:
        return ""
    unknown = name not in optax_optimizers.candidates()
    first = policy if optax_schedules.is_schedule(name) or (unknown and policy.hint and not solver.hint) else solver
    return first.reason[:1].upper() + first.reason[1:] + question(first.hint)


def _why(name: str) -> str:
    refusal = SOLVERS.refusal(name)
    return refusal.reason.partition(": ")[2] if refusal else ""


def _of(cls: type | None) -> str:
    """The first sentence about a function of optax."""
    return getattr(cls, "about", "")


def _table(heading: str, rows: dict[str, str]) -> str:
    width = max(map(len, rows), default=0) + 2
    return "\n".join([heading, *(f"  {name:<{width}}{text}" for name, text in rows.items())])
