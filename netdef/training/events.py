"""What a run tells whoever watches it: frozen values, in the order in which things happen.

`train(on_event=f)` calls `f(event)` for each.  The command line renders them, `metrics.jsonl` is written from them.  A
number in an event is a Python number: whoever takes an event never waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Value = float | list[float]  # a scalar top, or the elements of one that has several


@dataclass(frozen=True)
class Started:
    """The run begins, or goes on: `iteration` is how many updates were made before."""

    name: str
    folder: Path
    iteration: int
    max_iter: int
    seed: int
    batch: int  # images of one iteration
    parameters: int
    device: str
    resumed_from: Path | None = None
    untouched: tuple[str, ...] = ()  # layers with parameters that no given weight file filled
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stepped:
    """Work up to `iteration` was given to the device; for progress bars."""

    iteration: int


@dataclass(frozen=True)
class Display:
    """The state of training at `iteration`: the loss averaged as the solver says, before that iteration's update."""

    iteration: int
    loss: float
    lr: float
    outputs: Mapping[str, Value]
    images_per_s: float
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tested:
    """Means over a test after `iteration` updates; `net` counts the test nets."""

    iteration: int
    net: int
    loss: float
    lr: float
    outputs: Mapping[str, Value]
    images_per_s: float
    nets: int = 1


@dataclass(frozen=True)
class Snapshotted:
    """Everything needed to go on was saved whole."""

    iteration: int
    path: Path


@dataclass(frozen=True)
class Notice:
    """Something worth a line: a stage begins, a snapshot was damaged, the rate fell."""

    iteration: int
    text: str


@dataclass(frozen=True)
class Interrupted:
    """Stopped from outside; `resume` is what to call to go on."""

    iteration: int
    snapshot: Path | None
    resume: str


@dataclass(frozen=True)
class Finished:
    """The run is over."""

    iteration: int
    seconds: float
    folder: Path
    snapshot: Path | None = None
    why: str = "max_iter"  # or "interrupted", "early stopping"


Event = Started | Stepped | Display | Tested | Snapshotted | Notice | Interrupted | Finished
OnEvent = Callable[[Event], Any]
