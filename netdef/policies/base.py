"""The contract of a learning-rate policy, and of what is watched in tests.

    class Step(Policy, name="step"):
        def rate(self, iteration, at, state): ...

A policy is frozen; what it remembers between iterations is part of the training state, as scalars by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from ..language import codes
from ..language.diagnostics import Report
from ..language.spelling import closest
from ..language.syntax import Message, Scalar
from ..lazy import Array
from ..registry import Registry
from ..schema import Block, is_text, param

POLICIES: Registry[Policy] = Registry("learning-rate policy", "netdef.policies", group="netdef.policies")


class Monitor(Block):
    """An output of a test net that is watched, and what counts as better."""

    monitor: str = param('Output that is watched; "loss" is the whole loss.', default="loss")
    test_net: int = param("Which test net, counted from 0.", default=0, at_least=0)
    mode: str = param('"min" or "max" is better; "auto": max for an accuracy or a score, else min.', default="auto")
    min_delta: float = param("Less than this is not better.", default=0.0, at_least=0)
    patience: int = param("Tests in a row without a better value that are waited for.", default=3, at_least=1)
    target: float | None = param("The value at which there is nothing left to wish for.", default=None)

    @property
    def upwards(self) -> bool:
        """Whether more is better."""
        words = ("accuracy", "acc", "top", "score", "precision", "recall", "auc", "map", "iou", "f1")
        return self.mode == "max" or (self.mode == "auto" and any(w in self.monitor.lower() for w in words))

    def better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best before; the first one is, and nan never."""
        if value != value:
            return False
        if best is None:
            return True
        return value > best + self.min_delta if self.upwards else value < best - self.min_delta

    def reached(self, value: float) -> bool:
        """Whether a value is at the target or past it."""
        return self.target is not None and (value >= self.target if self.upwards else value <= self.target)


class Setting(NamedTuple):
    """What a policy works with: the rate at the start, the iterations of the run, the floor.  Numbers or traced
    scalars."""

    base_lr: Any
    max_iter: Any
    min_lr: Any = 0.0


class Policy(Block):
    """How the learning rate goes: `rate` is traced, with Caffe's formula in float32."""

    name: ClassVar[str] = ""
    selector = "lr_policy"
    base_lr: float | None = param(
        "In a `piece`: its first rate; not given, the rate where the piece before ends.", default=None
    )
    until: int | None = param("In a `piece`: the iteration at which the next one begins.", default=None, at_least=1)

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            POLICIES.add(name, cls)

    @classmethod
    def select(cls, message: Message, report: Report) -> type[Policy] | None:  # type: ignore[override]
        return policy_class(message, report)

    @classmethod
    def tolerated(cls) -> Iterable[str]:
        return {name for _, other in POLICIES for name in other.params()}

    @property
    def monitor(self) -> Monitor | None:
        """What the policy watches in tests; most watch nothing."""
        return None

    @property
    def decides_alone(self) -> bool:
        """Whether tests move its state: then runs cannot share one compiled step, in which nobody asks each of them."""
        return type(self).tested is not Policy.tested

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        """The learning rate of an iteration, a float32 scalar; `state` is what `initial` and `observe` gave."""
        raise NotImplementedError

    def initial(self) -> dict[str, Array]:
        """What the policy remembers between iterations: scalars by name; most remember nothing."""
        return {}

    def observe(self, state: Mapping[str, Array], iteration: Array, loss: Array) -> Mapping[str, Array]:
        """The state with the smoothed loss of an iteration seen, before that iteration's rate is asked for; traced."""
        return state

    def tested(self, state: Mapping[str, Array], iteration: int, outputs: Mapping[str, Any]) -> Mapping[str, Array]:
        """The state with the outputs of a test seen; not traced."""
        return state

    def change(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> str:
        """What is worth a line of what a test did to the state; empty where nothing is."""
        return ""

    def steps_taken(self, iteration: int) -> int:
        """How many steps of the rate were taken before an iteration, where a policy keeps a list of them: Caffe saves
        that as `current_step`."""
        return 0


def policy_class(message: Message, report: Report) -> type[Policy]:
    """The class that `lr_policy` names; "fixed" where there is none, or after a report."""
    fixed = POLICIES.get("fixed")
    assert fixed is not None
    given = message.get("lr_policy")
    if given is None:
        return fixed
    value = given.value
    if not isinstance(value, Scalar) or not is_text(value):
        bare = str(value.value) if isinstance(value, Scalar) else ""
        hint = f'"{bare}"' if POLICIES.get(bare) else None
        report.add(codes.WRONG_TYPE, value.span, '`lr_policy` takes a string in quotes, such as "step".', hint=hint)
        return POLICIES.get(bare) or fixed
    found = POLICIES.get(str(value.value))
    if found is None:
        report.add(
            codes.UNKNOWN_POLICY,
            value.span,
            f'there is no policy "{value.value}"; there are {", ".join(POLICIES.names())}.',
            hint=closest(str(value.value), POLICIES.names(), '"{}"'),
        )
    return found or fixed
