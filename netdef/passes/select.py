"""Which layers are there: the rules of include and exclude against phase, level and stages.

Source: BVLC/caffe src/caffe/net.cpp, FilterNet and StateMeetsRule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..language import codes
from ..language.diagnostics import Related, Report
from ..language.errors import NetdefError
from ..layers.base import Layer, NetStateRule, Phase

if TYPE_CHECKING:
    from ..solvers.base import NetState


@dataclass(frozen=True)
class State:
    """What a net is built for."""

    phase: Phase
    level: int = 0
    stages: tuple[str, ...] = ()

    def joined(self, own: NetState | None) -> State:
        """With the level and the stages that the file itself sets."""
        return self if own is None else State(self.phase, max(self.level, own.level), (*self.stages, *own.stage))


def phase_of(phase: str | Phase) -> Phase:
    """`"train"` and `"TRAIN"` are Phase.TRAIN.  NetdefError for any other word."""
    if isinstance(phase, Phase):
        return phase
    if str(phase).upper() not in Phase.__members__:
        raise NetdefError(f"phase is TRAIN or TEST, not {phase!r}")
    return Phase[str(phase).upper()]


def check_rules(layers: Iterable[Layer], report: Report) -> None:
    """A layer may have include rules or exclude rules, not both: of every phase, once."""
    for layer in layers:
        if layer.include and layer.exclude:
            report.add(
                codes.INCLUDE_AND_EXCLUDE,
                layer.span_of("exclude"),
                f"layer `{layer.name}` has include and exclude rules; give one kind.",
                *([Related("an include rule stands here", place)] if (place := layer.span_of("include")) else []),
            )


def select(layers: Iterable[Layer], state: State) -> list[Layer]:
    """The layers that are there in this state, in order."""
    return [layer for layer in layers if _included(layer, state)]


def _included(layer: Layer, state: State) -> bool:
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: State, rule: NetStateRule) -> bool:
    """Whether every field that the rule gives is met."""
    return (
        (rule.phase is None or rule.phase == state.phase)
        and (rule.min_level is None or state.level >= rule.min_level)
        and (rule.max_level is None or state.level <= rule.max_level)
        and all(stage in state.stages for stage in rule.stage)
        and not any(stage in state.stages for stage in rule.not_stage)
    )
