"""Selects the layers of a net by the include and exclude rules for phase, level and stages.

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
    """The phase, level and stages for which a net is built."""

    phase: Phase
    level: int = 0
    stages: tuple[str, ...] = ()

    def joined(self, own: NetState | None) -> State:
        """This state combined with the level and stages that the file itself sets."""
        return self if own is None else State(self.phase, max(self.level, own.level), (*self.stages, *own.stage))


def phase_of(phase: str | Phase) -> Phase:
    """The phase of a name: `"train"` and `"TRAIN"` are Phase.TRAIN. Raises NetdefError for an unknown name."""
    if isinstance(phase, Phase):
        return phase
    if str(phase).upper() not in Phase.__members__:
        raise NetdefError(f"phase must be TRAIN or TEST, not {phase!r}")
    return Phase[str(phase).upper()]


def check_rules(layers: Iterable[Layer], report: Report) -> None:
    """Reports layers with both include and exclude rules; called once for the layers of all phases."""
    for layer in layers:
        if layer.include and layer.exclude:
            report.add(
                codes.INCLUDE_AND_EXCLUDE,
                layer.span_of("exclude"),
                f"layer `{layer.name}` has both include and exclude rules; use only one kind.",
                *([Related("an include rule is here", place)] if (place := layer.span_of("include")) else []),
            )


def select(layers: Iterable[Layer], state: State) -> list[Layer]:
    """The layers that are included in this state, in order, as they are in its phase."""
    return [layer.in_phase(state.phase) for layer in layers if _included(layer, state)]


def _included(layer: Layer, state: State) -> bool:
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: State, rule: NetStateRule) -> bool:
    """Whether a state meets every condition of a rule."""
    return (
        (rule.phase is None or rule.phase == state.phase)
        and (rule.min_level is None or state.level >= rule.min_level)
        and (rule.max_level is None or state.level <= rule.max_level)
        and all(stage in state.stages for stage in rule.stage)
        and not any(stage in state.stages for stage in rule.not_stage)
    )
