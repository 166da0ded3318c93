"""The contract of a learning-rate policy, and monitors of test outputs.

    class Step(Policy, name="step"):
        def rate(self, iteration, at, state): ...

A policy is frozen; its state is part of the training state, as scalars by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from ..language import codes
from ..language.diagnostics import Report
from ..language.source import Span
from ..language.spelling import closest
from ..language.syntax import Message, Scalar
from ..lazy import Array
from ..registry import Registry
from ..schema import Block, is_text, param

POLICIES: Registry[Policy] = Registry(
    "learning-rate policy",
    "netdef.policies",
    group="netdef.policies",
    makers={"optax.": "netdef.policies.optax_schedules"},
)


class Monitor(Block):
    """A monitored output of a test net, and what counts as an improvement."""

    monitor: str = param('Output to monitor; "loss" is the total loss.', default="loss")
    test_net: int = param("Index of the test net, from 0.", default=0, at_least=0)
    mode: str = param(
        '"min" or "max"; "auto": max for an accuracy, a score or `detection_eval`, else min.', default="auto"
    )
    min_delta: float = param("Smallest change that counts as an improvement.", default=0.0, at_least=0)
    patience: int = param("Number of consecutive tests without improvement to wait for.", default=3, at_least=1)
    target: float | None = param("Value that is good enough.", default=None)

    @property
    def upwards(self) -> bool:
        """Whether larger values are better."""
        words = ("accuracy", "acc", "top", "score", "precision", "recall", "auc", "map", "iou", "f1")
        words += ("detection_eval", "/ap")
        return self.mode == "max" or (self.mode == "auto" and any(w in self.monitor.lower() for w in words))

    def better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best one before.  The first value always is, nan never."""
        if value != value:
            return False
        if best is None:
            return True
        return value > best + self.min_delta if self.upwards else value < best - self.min_delta

    def reached(self, value: float) -> bool:
        """Whether a value reaches the target."""
        return self.target is not None and (value >= self.target if self.upwards else value <= self.target)


class Setting(NamedTuple):
    """The input of a policy: initial learning rate, number of iterations, lower bound.  Python numbers or traced
    scalars."""

    base_lr: Any
    max_iter: Any
    min_lr: Any = 0.0


class Policy(Block):
    """A learning-rate schedule: `rate` is traced, with Caffe's formula in float32."""

    name: ClassVar[str] = ""
    needs_base_lr: ClassVar[bool] = True  # whether the solver must give `base_lr`
    usual_base_lr: ClassVar[float | None] = None  # `base_lr` unless the solver or the `piece` gives it
    selector = "lr_policy"
    base_lr: float | None = param(
        "In a `piece`: its initial learning rate; not set: the last one of the preceding piece.", default=None
    )
    until: int | None = param("In a `piece`: the first iteration of the next piece.", default=None, at_least=1)

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
        """The test output that the policy monitors; None for most policies."""
        return None

    @property
    def decides_alone(self) -> bool:
        """Whether tests change its state.  Such runs cannot share a compiled step, which does not call `tested`."""
        return type(self).tested is not Policy.tested

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        """Returns the learning rate of an iteration, a float32 scalar; `state` is from `initial` or `observe`."""
        raise NotImplementedError

    def initial(self) -> dict[str, Array]:
        """Returns the state of the policy before the first iteration: scalars by name; empty for most policies."""
        return {}

    def observe(self, state: Mapping[str, Array], iteration: Array, loss: Array) -> Mapping[str, Array]:
        """Returns the state for the smoothed loss of an iteration; called before `rate` of that iteration; traced."""
        return state

    def tested(self, state: Mapping[str, Array], iteration: int, outputs: Mapping[str, Any]) -> Mapping[str, Array]:
        """Returns the state for the outputs of a test; not traced."""
        return state

    def change(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> str:
        """Returns a message about the change of the state by a test; empty for no message."""
        return ""

    def steps(self) -> list[tuple[int, Span | None]]:
        """Returns the planned iterations of its steps, each with its place in the file; empty for most policies."""
        return []

    def steps_taken(self, iteration: int) -> int:
        """The number of learning-rate steps before an iteration, for policies with a list of steps.  Caffe saves it as
        `current_step`."""
        return 0


def policy_class(message: Message, report: Report) -> type[Policy]:
    """Returns the class named by `lr_policy`; "fixed" if it is missing or after an error was reported."""
    fixed = POLICIES.get("fixed")
    assert fixed is not None
    given = message.get("lr_policy")
    if given is None:
        return fixed
    value = given.value
    if not isinstance(value, Scalar) or not is_text(value):
        bare = str(value.value) if isinstance(value, Scalar) else ""
        hint = f'"{bare}"' if POLICIES.get(bare) else None
        report.add(codes.WRONG_TYPE, value.span, '`lr_policy` expects a quoted string, such as "step".', hint=hint)
        return POLICIES.get(bare) or fixed
    found = POLICIES.get(str(value.value))
    if (refused := POLICIES.refusal(str(value.value))) is not None:
        report.add(codes.UNKNOWN_POLICY, value.span, refused.reason, hint=refused.hint)
    elif found is None:
        report.add(
            codes.UNKNOWN_POLICY,
            value.span,
            f'there is no policy "{value.value}"; the policies are {", ".join(POLICIES.names())}.',
            hint=closest(str(value.value), POLICIES.names(), '"{}"'),
        )
    return found or fixed
