"""Log lines and log files in the format of glog, in which Caffe's programs write and which its scripts read
(`parse_log.py`, `plot_training_log.py`)."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from ..language.errors import NetdefError
from .events import Display, Event, Finished, Interrupted, Notice, OnEvent, Snapshotted, Started, Tested, Value

PROGRAM = "caffe"  # in the names of log files, because scripts look for caffe.INFO


class Lines(logging.Formatter):
    """`I0102 03:04:05.678901  1234 solver.py:56] message`"""

    def format(self, record: logging.LogRecord) -> str:
        level = {logging.DEBUG: "I", logging.CRITICAL: "F"}.get(record.levelno, record.levelname[0])
        return _line(level, record.created, f"{record.filename}:{record.lineno}", record.getMessage())


def _line(level: str, seconds: float, place: str, message: str) -> str:
    when = time.strftime("%m%d %H:%M:%S", time.localtime(seconds))
    return f"{level}{when}.{int(seconds % 1 * 1e6):06d} {os.getpid():5d} {place}] {message}"


@contextmanager
def log_file(folder: str | Path) -> Iterator[OnEvent]:
    """Yields a function that writes events to a new log file in an existing folder, as Caffe's `--log_dir` does.
    `caffe.INFO` in the folder is a link to it."""
    now = time.localtime()
    who = f"{PROGRAM}.{socket.gethostname()}.{_user()}.log.INFO"
    path = Path(folder) / f"{who}.{time.strftime('%Y%m%d-%H%M%S', now)}.{os.getpid()}"
    try:
        with open(path, "w", encoding="utf-8", buffering=1) as file:
            _write_head(file, now)
            _link(path)
            yield lambda event: _write(file, event)
    except OSError as error:
        if error.filename != str(path):
            raise
        raise NetdefError(f"--log_dir {folder}: {error.strerror or error}; give an existing folder") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may have no name for the user
        return "unknown"


def _write_head(file: TextIO, now: time.struct_time) -> None:
    file.write(f"Log file created at: {time.strftime('%Y/%m/%d %H:%M:%S', now)}\n")
    file.write(f"Running on machine: {socket.gethostname()}\n")
    file.write("Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n")


def _link(path: Path) -> None:
    link = path.with_name(f"{PROGRAM}.INFO")
    with suppress(OSError):  # some file systems have no links; glog ignores this too
        if link.is_symlink():
            link.unlink()
        link.symlink_to(path.name)


def _write(file: TextIO, event: Event) -> None:
    for message in messages(event):
        file.write(_line("I", time.time(), "solver.py:1", message) + "\n")


def messages(event: Event) -> list[str]:
    """Returns the messages of Caffe's solver for an event."""
    match event:
        case Started():
            resumed = [f"Resuming from {event.resumed_from}"] if event.resumed_from else []
            return [*resumed, f"Solving {event.name}"]
        case Display():
            said = f"Iteration {event.iteration} ({event.images_per_s:.4g} images/s), loss = {event.loss:g}"
            return [said, *_outputs("Train", event.outputs), f"Iteration {event.iteration}, lr = {event.lr:g}"]
        case Tested():
            return [
                f"Iteration {event.iteration}, Testing net (#{event.net})",
                *_outputs("Test", event.outputs),
            ]
        case Snapshotted():
            return [f"Snapshotting to {event.path}"]
        case Notice():
            return [event.text]
        case Interrupted():
            return ["Optimization stopped early."]
        case Finished(why="interrupted"):
            return []
        case Finished():
            return ["Optimization Done."]
    return []


def _outputs(phase: str, outputs: Mapping[str, Value]) -> list[str]:
    named = [(name, one) for name, value in outputs.items() for one in (value if isinstance(value, list) else [value])]
    return [f"    {phase} net output #{i}: {name} = {value:g}" for i, (name, value) in enumerate(named)]
