"""Work in a process that is killed at a chosen moment, with SIGKILL: nothing in it can clean up.

    child = Child(lambda: snapshot.save(...))
    killed = child.kill_when(lambda: child.worked() > moment)

The process is forked, so it starts at once with everything imported.  Call this from a process that has imported jax
but not used it: a fork of running devices does not work.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

PAUSE = 0.0002  # seconds between two looks at the condition


class Child:
    """A forked process that does `work` and ends with its return value, None being 0; with 1 for an exception."""

    def __init__(self, work: Callable[[], int | None]):
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = work() or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        self.code: int | None = None

    def ended(self) -> bool:
        """Whether the process has ended; then `code` is its exit status, negative for a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def wait(self) -> int:
        """The exit status, once the process has ended."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def worked(self) -> float:
        """Seconds of CPU that the process has used, in steps of 10 ms.  Unlike the time since its start, they tell how
        far it is on a busy machine, too."""
        user, system = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def kill_when(self, due: Callable[[], bool], last_look: Callable[[int], None] = lambda pid: None) -> bool:
        """Kill the process as soon as `due`, after a `last_look` at it; False if it ended before."""
        while not due():
            if self.ended():
                return False
            time.sleep(PAUSE)
        last_look(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL


def after(seconds: float) -> Callable[[], bool]:
    """A condition that holds from `seconds` after this call on."""
    moment = time.monotonic() + seconds
    return lambda: time.monotonic() >= moment
