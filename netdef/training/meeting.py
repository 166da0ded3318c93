"""How the processes of a run on several hosts meet at process 0, and how they notice that it is gone.

JAX connects them, but it aborts a process with a stack trace if others do not come, and at once if process 0 ends.
Therefore process 0 calls the roll before JAX connects anything, and the others reach its service through a `Relay`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cache

from ..language.errors import NetdefError

ARRIVAL = 300.0  # seconds in which all processes of a run have to be started
GREETING = "netdef"  # the first word of what a process says to process 0
MOST = 1000  # characters of a line
SETTLING = 1.0  # seconds after the end of a connection in which JAX may close it itself, or process 0 end entirely


def meet(address: str, index: int, count: int, seconds: float = ARRIVAL) -> None:
    """Returns when all processes have arrived at process 0.  NetdefError, in all that have, if others do not."""
    if index:
        _report(address, index, count, seconds)
    elif count > 1:
        _call_the_roll(address, count, seconds)


def _call_the_roll(address: str, count: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    with ExitStack() as opened:
        listener = opened.enter_context(_listening(address))
        arrived: dict[int, socket.socket] = {}
        while len(arrived) < count - 1:
            listener.settimeout(max(0.01, until - time.monotonic()))
            try:
                caller = opened.enter_context(listener.accept()[0])
                index = _index_of(caller, count)
            except TimeoutError:
                index = None
            if index is not None:
                arrived[index] = caller
            elif time.monotonic() > until:
                missing = _missing(address, count, {*range(1, count)} - {*arrived}, seconds)
                _tell(arrived.values(), missing)
                raise NetdefError(missing)
        _tell(arrived.values(), "")


def _listening(address: str) -> socket.socket:
    """A socket that listens at the port of an address, on all interfaces, as JAX does."""
    port = int(address.rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise NetdefError(
            f"process 0 of this run cannot listen at {address}: {os.strerror(error.errno or 0)}."
        ) from error


def _index_of(caller: socket.socket, count: int) -> int | None:
    """The index that a process reports; None for a caller that is none of this run."""
    caller.settimeout(5)
    try:
        word, index, whole = _line(caller).split()
    except (OSError, ValueError):
        return None
    ours = word == GREETING and index.isdigit() and whole == str(count) and 0 < int(index) < count
    return int(index) if ours else None


def _missing(address: str, count: int, missing: Iterable[int], seconds: float) -> str:
    names = [str(index) for index in sorted(missing)]
    few = [*names[:20], f"{len(names) - 20} more"] if len(names) > 21 else names
    who = f"process {few[0]}" if len(few) == 1 else f"processes {', '.join(few[:-1])} and {few[-1]}"
    have = "has" if len(names) == 1 else "have"
    return f"{who} of {count} {have} not arrived at {address}, where process 0 waits, within {seconds:g} seconds."


def _tell(callers: Iterable[socket.socket], text: str) -> None:
    for caller in callers:
        with contextlib.suppress(OSError):
            caller.sendall(f"{text}\n".encode())


def _report(address: str, index: int, count: int, seconds: float) -> None:
    """Reports to process 0, when it listens, and waits for the others."""
    until = time.monotonic() + seconds
    while True:
        try:
            with _connected(address, 5) as home:
                home.sendall(f"{GREETING} {index} {count}\n".encode())
                home.settimeout(max(1.0, until + 5 - time.monotonic()))
                if failure := _line(home).rstrip("\n"):
                    raise NetdefError(failure)
                break
        except OSError as error:
            if isinstance(error, socket.gaierror) or time.monotonic() > until:
                why = error.strerror or error
                raise NetdefError(f"process 0 of this run does not answer at {address}: {why}.") from error
        time.sleep(0.2)
    _await_service(address, until)


def _await_service(address: str, until: float) -> None:
    """Waits for the service of JAX, which listens at the same port after the roll was called."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _connected(address, 5).close()
            return
        time.sleep(0.05)


def _line(end: socket.socket) -> str:
    """The next line.  OSError if the other end has closed the connection before its end."""
    text = b""
    while not text.endswith(b"\n") and len(text) < MOST:
        part = end.recv(MOST)
        if not part:
            raise ConnectionResetError("the connection was closed")
        text += part
    return text.decode(errors="replace")


@cache
def relay_to(home: str) -> Relay:
    """The relay of this process to the address of process 0."""
    return Relay(home)


def _connected(address: str, seconds: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=seconds)


class Relay:
    """Passes on what this process and process 0 say to each other.

    JAX connects to `address`, on this machine.  If process 0 ends, its end of the connection closes, and `lost` is set;
    the end of JAX stays open, so that this process can say what has happened.  `heard` is when process 0 last answered.
    """

    def __init__(self, home: str):
        self._home = home
        self.lost = threading.Event()
        self.heard = time.monotonic()
        self._open: list[socket.socket] = []  # the ends of JAX of lost connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def _start(self, function: Callable[..., None], *given: object) -> None:
        threading.Thread(target=function, args=given, name="netdef-relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = _connected(self._home, 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            done = threading.Event()  # JAX has closed its end
            self._start(self._pass, near, far, done)
            self._start(self._return, far, near, done)

    def _pass(self, near: socket.socket, far: socket.socket, done: threading.Event) -> None:
        """From JAX to process 0."""
        while part := _received(near):
            if not _sent(far, part):
                return  # what `_return` notices, too
        done.set()
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _return(self, far: socket.socket, near: socket.socket, done: threading.Event) -> None:
        """From process 0 to JAX.  A connection may also be closed by JAX, or by a service that goes on."""
        with far:
            while part := _received(far):
                self.heard = time.monotonic()
                if not _sent(near, part):
                    break
            else:
                if not done.wait(SETTLING) and self._is_gone():
                    self._open.append(near)
                    self.lost.set()
                    return
        with near, contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)

    def _is_gone(self) -> bool:
        try:
            _connected(self._home, 5).close()
        except OSError:
            return True
        return False


def _received(end: socket.socket) -> bytes:
    """The next bytes; empty if the other end has closed the connection."""
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def _sent(end: socket.socket, part: bytes) -> bool:
    """Sends bytes; returns whether the other end is open."""
    try:
        end.sendall(part)
    except OSError:
        return False
    return True
