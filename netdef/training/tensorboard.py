"""TensorBoard events of a run, in its folder `tensorboard`, with the contents of `metrics.jsonl`.

    netdef.train("model.net", tensorboard=True)          tensorboard --logdir runs

Displays are written to `tensorboard/train`, tests to `tensorboard/test` (`test1` and so on for further test nets), with
the same names, so that TensorBoard plots the loss of both in one chart.  The net is included as text.  If events cannot
be written, training continues without them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..lazy import need
from .events import OnEvent, Started
from .solver_nets import Nets
from .tracker import Tracker

PREFIX = "events.out.tfevents."
FLUSH = 10.0  # seconds after which events are on the disk


class TensorBoard(Tracker):
    """An event listener that writes TensorBoard events.  NetdefError if tensorboardX is not installed."""

    name = "tensorboard"
    writes = "TensorBoard events"
    failures = (OSError,)

    def __init__(self, nets: Nets, folder: Path, report: OnEvent | None = None):
        super().__init__(nets, folder, report)
        self._summary = self.require()
        self._first = 0
        self._files: dict[str, EventFile] = {}

    @classmethod
    def require(cls) -> Any:
        return need("tensorboardX", "writing TensorBoard events").summary

    def begin(self, event: Started) -> None:
        self._first = event.iteration
        text = self._summary.text("net", f"```\n{self.nets.train.text}\n```")
        self._file("train").add(event.iteration, summary=text)

    def log(self, kind: str, iteration: int, row: Mapping[str, float]) -> None:
        file = self._file(kind)
        for tag, scalar in row.items():
            file.add(iteration, summary=self._summary.scalar(tag, scalar))
        file.flush(FLUSH)

    def end(self, interrupted: bool) -> None:
        for file in self._files.values():
            file.flush()

    def _file(self, kind: str) -> EventFile:
        if kind not in self._files:
            self._files[kind] = EventFile(self.folder / kind, self._first)
        return self._files[kind]

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


class EventFile:
    """A file of events.  Methods raise OSError, with the name of the file.

    The SummaryWriter of tensorboardX is not used: it writes in a thread, which ends at an error without a report, and
    then waits forever for a place in the queue of that thread."""

    def __init__(self, folder: Path, begin: int):
        """Opens a new file for the events from iteration `begin`."""
        events: Any = need("tensorboardX.proto.event_pb2", "writing TensorBoard events")
        records: Any = need("tensorboardX.record_writer", "writing TensorBoard events")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{PREFIX}{_seconds(folder)}.{socket.gethostname()}.{begin:09d}"
        self._event = events.Event
        self._records = records.RecordWriter(str(self.path))
        self._flushed = time.monotonic()
        self.add(0, file_version="brain.Event:2")
        if begin:  # hides the later events of an interrupted run, because the resumed run repeats them
            self.add(begin, session_log=events.SessionLog(status=events.SessionLog.START))

    def add(self, iteration: int, **content: Any) -> None:
        """Adds one event."""
        event = self._event(wall_time=time.time(), step=iteration, **content)
        self._named(lambda: self._records.write(event.SerializeToString()))

    def flush(self, after: float = 0.0) -> None:
        """Writes all events to the disk, unless the last time was less than `after` seconds ago."""
        if time.monotonic() >= self._flushed + after:
            self._named(self._records.flush)
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Closes the file; what cannot be written is lost."""
        with suppress(OSError):
            self._records.close()

    def _named(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _seconds(folder: Path) -> int:
    """The time for the name of a new file: later than those in the folder, also if the run is resumed within a second
    or the clock was set back, because TensorBoard reads the files of a folder in the order of their names."""
    there = (path.name.removeprefix(PREFIX).partition(".")[0] for path in folder.glob(f"{PREFIX}*"))
    return max(int(time.time()), 0, *(int(digits) + 1 for digits in there if digits.isdecimal()))
