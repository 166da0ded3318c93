"""Records of a run: one JSON object per display and per test, in memory and in `metrics.jsonl`.

    {"iteration": 100, "phase": "train", "loss": 0.31, "lr": 0.1, "accuracy": 0.9, "images_per_s": 5120.0, "seconds": 3}

`loss` is the objective; an output with the same name and another value (another weight, no averaging) is stored as
`top/loss`. `seconds` is the training time since the start of the run, without the time before it was resumed.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_text_atomically
from ..language.errors import NetdefError
from .events import Display, Tested

# What a record says about a display or a test, beside what was measured.
NOT_MEASURED = ("iteration", "phase", "net", "lr", "images_per_s", "seconds", "bn_recalibrate")


class Recorder:
    """Stores records and appends each to the file at once.

    A line that cannot be written waits in memory for the next one, because a disk that is full for a while should not
    end a run of days; `close` raises what is still wrong at the end."""

    def __init__(self, path: Path, iteration: int, *, writes: bool = True):
        """Starts at `iteration`: later records of an existing file, from an interrupted run, are dropped.  Without
        `writes`, as in the other processes of a run, the file is only read."""
        self.path = path
        self.failure = ""  # why lines are waiting; empty: none are
        self._waiting: list[str] = []
        self._writes = writes
        self.history = [row for row in read_rows(path) if row["iteration"] < iteration]
        if writes:
            write_text_atomically(path, "".join(_line(row) for row in self.history))
        self.seconds_before = max((row.get("seconds", 0.0) for row in self.history), default=0.0)

    def add(self, event: Display | Tested, seconds: float) -> dict[str, Any]:
        """Records an event at `seconds` since the run started or resumed; returns the record."""
        row = record(event)
        row["seconds"] = round(self.seconds_before + seconds, 3)
        self.history.append(row)
        if self._writes:
            self._waiting.append(_line(row))
        self._write()
        return row

    def close(self) -> None:
        """Writes the lines that are waiting.  NetdefError if they cannot be written."""
        self._write()
        if self.failure:
            raise NetdefError(f"{self.failure}; {len(self._waiting)} records are not in it.")

    def _write(self) -> None:
        """Appends all waiting lines, or none."""
        if not self._waiting:
            return
        try:
            with self.path.open("ab", buffering=0) as file:
                end = file.tell()
                data = "".join(self._waiting).encode()
                try:
                    if file.write(data) != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    file.truncate(end)
                    raise
        except OSError as error:
            self.failure = f"{self.path}: cannot be written: {error.strerror or error}"
            return
        self.failure = ""
        self._waiting.clear()


def record(event: Display | Tested) -> dict[str, Any]:
    """Returns an event as a flat dict."""
    test = isinstance(event, Tested)
    row: dict[str, Any] = {"iteration": event.iteration, "phase": "test" if test else "train"}
    if test and event.nets > 1:
        row["net"] = event.net
    row |= {"loss": event.loss, "lr": event.lr}
    for name, value in event.outputs.items():
        if name not in row:
            row[name] = value
        elif not _same(value, row[name]):
            row[f"top/{name}"] = value
    if test and event.recalibrated:
        row["bn_recalibrate"] = event.recalibrated
    row["images_per_s"] = round(event.images_per_s, 1)
    if isinstance(event, Display):
        row |= event.extra
    return row


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal up to rounding, because they may be sums in different orders."""
    numbers = isinstance(a, float) and isinstance(b, float)
    return a == b or (numbers and (math.isclose(a, b, rel_tol=1e-5) or (a != a and b != b)))


def plain(value: Any) -> float | list[float]:
    """Converts an array to a Python number, or a flat list of them."""
    flat = [float(v) for v in value.reshape(-1)]
    return flat[0] if value.ndim == 0 or len(flat) == 1 else flat


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(_finite(row)) + "\n"


def _finite(value: Any) -> Any:
    """Converts nan and infinity to strings, because JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return {k: _finite(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the records of a file; an incomplete last line is dropped."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return [row for row in rows if isinstance(row, dict) and "iteration" in row]
