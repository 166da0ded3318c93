"""Signals that end a run, SIGINT, SIGTERM and SIGHUP, and those that have another effect in this run, as in Caffe.

The first one ends the run after the current piece, with a snapshot; a second one has its usual effect, at once.  A
handler of the program that calls `netdef.train`, and a signal that is ignored as under nohup, stay as they are, except
for SIGINT.  If the terminal is lost, but the output goes to a file, the run continues.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

STREAMS = (1, 2)  # the descriptors of stdout and stderr


@contextmanager
def stopped_by_signals(
    stop: Callable[[int], None],
    effects: Mapping[int, str] | None = None,
    snapshot: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Calls `stop` with the number of the first signal that ends the run.  `effects` are what signals do instead: for
    "snapshot", that function is called each time; for "none", nothing happens.  Only in the main thread, because Python
    allows signal handlers nowhere else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}  # the handlers of signals that end the run
    kept: dict[int, Any] = {}  # and of the others
    terminals = [descriptor for descriptor in STREAMS if os.isatty(descriptor)]
    had_terminal = _has_terminal()

    def ask(number: int, frame: Any) -> None:
        lost = number == _hangup() and had_terminal and not _has_terminal()
        if lost:
            _detach(terminals)
            if any(map(is_file, STREAMS)):
                return
        for other, handler in before.items():
            # Both the kernel and the shell report a lost terminal; the second report must not end the snapshot.
            signal.signal(other, signal.SIG_IGN if lost and other == number else handler)
        stop(number)

    try:
        for number, effect in (effects or {}).items():
            if effect != "stop":
                handler = signal.SIG_IGN if effect == "none" else lambda number, frame: snapshot()
                kept[number] = signal.signal(number, handler)
        for number in (signal.SIGINT, signal.SIGTERM, _hangup()):
            if number in kept:
                continue
            if number is not None and (number == signal.SIGINT or signal.getsignal(number) is signal.SIG_DFL):
                before[number] = signal.signal(number, ask)
        yield
    finally:
        for number, handler in (before | kept).items():
            signal.signal(number, handler)


def is_file(descriptor: int) -> bool:
    """Whether a descriptor is an open regular file."""
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _hangup() -> int | None:
    """SIGHUP, which Windows does not have."""
    return getattr(signal, "SIGHUP", None)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _detach(terminals: list[int]) -> None:
    """Discards what is written to a lost terminal, which would otherwise be an error."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in terminals:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
