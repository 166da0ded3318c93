"""What the trackers of runs have in common: they pass the events of a run on to a tool that keeps and compares runs.
Each is a file: `tensorboard`, `mlflow`, `wandb`.

All write into the folder of the run, without a network connection, and have the contents of `metrics.jsonl`.  A missing
package is an error before the run starts; a tool that fails later is reported once, and training continues without it.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from ..schema import Block
from .events import Display, Event, Finished, Notice, OnEvent, Snapshotted, Started, Tested
from .metrics import record
from .run_folder import METRICS, NET
from .run_record import RUN
from .solver_nets import Nets

NO_SCALARS = ("iteration", "phase", "net")  # of a record
FILES = (NET, METRICS, RUN)  # that a tool keeps of a finished run, because weights may be large


class Tracker(ABC):
    """An event listener that writes for one tool.  NetdefError if its package is not installed."""

    name: ClassVar[str]  # of the tool, and of its folder in that of the run
    writes: ClassVar[str]  # what it writes, for the message that it failed
    failures: ClassVar[tuple[type[Exception], ...]] = (Exception,)  # a tool may raise anything

    def __init__(self, nets: Nets, folder: Path, report: OnEvent | None = None):
        self.require()
        self.nets, self.run = nets, folder
        self.folder, self.report = folder / self.name, report
        self.failed = False

    @classmethod
    @abstractmethod
    def require(cls) -> Any:
        """Imports the package.  NetdefError if it is not installed."""

    # These may raise `failures`.

    @abstractmethod
    def begin(self, event: Started) -> None:
        """Begins what the tool keeps of a run, or continues that of a resumed run."""

    @abstractmethod
    def log(self, kind: str, iteration: int, row: Mapping[str, float]) -> None:
        """Writes the values of a display ("train") or a test ("test", and "test1" and so on for further test nets)."""

    def keep(self, snapshot: Path) -> None:  # noqa: B027  (most tools do not know snapshots)
        """Notes the last snapshot."""

    @abstractmethod
    def end(self, interrupted: bool) -> None:
        """Writes what remains at the end of a run."""

    @abstractmethod
    def close(self) -> None:
        """Ends the writing, also of a run that failed.  May raise `failures`, which are ignored."""

    def __call__(self, event: Event) -> None:
        if self.failed:
            return
        try:
            with warnings.catch_warnings(action="ignore"):  # of a tool about its own dependencies
                self.write(event)
        except self.failures as error:
            self._fail(error, event.iteration)

    def write(self, event: Event) -> None:
        """Writes what the tool keeps of an event."""
        match event:
            case Started():
                self.begin(event)
            case Display():
                self.log("train", event.iteration, dict(scalars(record(event))))
            case Tested():
                self.log(f"test{event.net or ''}", event.iteration, dict(scalars(record(event))))
            case Snapshotted():
                self.keep(event.path)
            case Finished():
                self.end(event.why == "interrupted")

    def _fail(self, error: Exception, iteration: int) -> None:
        self.failed = True
        with suppress(*self.failures):
            self.close()
        if self.report:
            text = f"{self.reason(error)}; training continues without {self.writes}"
            self.report(Notice(iteration, text))

    def reason(self, error: Exception) -> str:
        """What is wrong, in one line."""
        if isinstance(error, OSError) and error.strerror:
            return f"{error.filename or self.folder}: cannot be written: {error.strerror}"
        words = str(error).strip().splitlines()
        return f"{self.name} failed: {type(error).__name__}{f': {words[0]}' if words else ''}"

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(*self.failures):
            self.close()


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields the numbers of a record by name; those of a list as NAME/0, NAME/1 and so on."""
    for name, value in row.items():
        if name in NO_SCALARS:
            continue
        if isinstance(value, list):
            yield from ((f"{name}/{i}", element) for i, element in enumerate(value))
        else:
            yield name, value


def settings_of(nets: Nets, event: Started) -> dict[str, Any]:
    """The settings of a run as numbers and strings: its size, the solver, and the constants that were overridden."""
    facts = {"net": event.name, "seed": event.seed, "max_iter": event.max_iter, "batch": event.batch}
    facts |= {"parameters": event.parameters, "device": event.device}
    solver, policy = nets.solver, nets.solver.policy
    facts |= {"solver.type": solver.type, "solver.lr_policy": policy.name}
    constants = {name: _plain(value) for name, value in nets.settings.items() if not name.startswith("solver.")}
    return {**facts, **dict(_flat("solver", solver)), **dict(_flat("solver", policy)), **constants}


def _flat(prefix: str, block: Block) -> Iterator[tuple[str, Any]]:
    """Yields the fields of a block, and of the blocks in it, that are not their defaults."""
    for name, field in block.params().items():
        value = getattr(block, name)
        if isinstance(value, Block):
            yield from _flat(f"{prefix}.{name}", value)
        elif value != field.default and value not in (None, ()):
            yield f"{prefix}.{name}", _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_plain(element)) for element in value)
    value = value.name if isinstance(value, Enum) else value
    return value if isinstance(value, (bool, int, float, str)) else str(value)
