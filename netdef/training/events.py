"""Events of a run: frozen values, reported in order.

`train(on_event=f)` calls `f(event)` for each.  The command line prints them, and `metrics.jsonl` is written from them.
Numbers in events are Python numbers, so a listener never waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Value = float | list[float]  # a scalar top, or the elements of one that has several


@dataclass(frozen=True)
class Started:
    """The run starts or resumes; `iteration` is the number of updates before."""

    name: str
    folder: Path
    iteration: int
    max_iter: int
    seed: int
    batch: int  # images of one iteration
    parameters: int
    device: str
    resumed_from: Path | None = None
    untouched: tuple[str, ...] = ()  # layers with parameters that the given weights do not contain
    warnings: tuple[str, ...] = ()
    devices: int = 1
    divided: str = ""  # what the batch means to several devices
    data: Mapping[str, Any] = field(default_factory=dict)  # fingerprints of the data, by phase and layer


@dataclass(frozen=True)
class Stepped:
    """The iterations up to `iteration` were dispatched to the device; for progress bars."""

    iteration: int


@dataclass(frozen=True)
class Display:
    """The state of training at `iteration`: the loss before its update, averaged over `average_loss` iterations."""

    iteration: int
    loss: float
    lr: float
    outputs: Mapping[str, Value]
    images_per_s: float
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tested:
    """Means over a test after `iteration` updates; `net` is the index of the test net."""

    iteration: int
    net: int
    loss: float
    lr: float
    outputs: Mapping[str, Value]
    images_per_s: float
    nets: int = 1
    recalibrated: int = 0  # training batches from which the statistics of batch normalization were estimated again


@dataclass(frozen=True)
class Snapshotted:
    """A snapshot was saved, with everything needed to resume."""

    iteration: int
    path: Path


@dataclass(frozen=True)
class Notice:
    """A message: a stage begins, a snapshot could not be saved, the learning rate was reduced."""

    iteration: int
    text: str


@dataclass(frozen=True)
class Interrupted:
    """The run was interrupted; `resume` is the argument or command that resumes it."""

    iteration: int
    snapshot: Path | None
    resume: str


@dataclass(frozen=True)
class Finished:
    """The run ended."""

    iteration: int
    seconds: float
    folder: Path
    snapshot: Path | None = None
    why: str = "max_iter"  # or "interrupted", or the reason for stopping early


Event = Started | Stepped | Display | Tested | Snapshotted | Notice | Interrupted | Finished
OnEvent = Callable[[Event], Any]
