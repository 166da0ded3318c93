"""The processes of a run on several hosts: how they find each other, what the first one tells the others, and how they
end together.

Process 0 chooses the folder and writes everything in it.  Each process tells the others every few seconds that it is
alive, or why it has ended; when one is silent for the time of `heartbeat`, or has failed, the others end with a line
that names it.  The values are exchanged by the coordination service of `jax.distributed`, in process 0, which the
others reach through a relay (`meeting`).  Where JAX finds the processes itself, in a cluster, there is no relay: if
process 0 dies there, JAX aborts the others at once.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from ..language.errors import NetdefError, printable
from .meeting import Relay, meet, relay_to

HEARTBEAT, SHORTEST = 30, 5  # seconds
ALIVE, DECIDED = "netdef/alive", "netdef/decided"  # the first parts of the keys
GRACE = 5.0  # seconds, at most, in which a process may report its own error before it ends because of another one
WAIT = 24 * 3600.0  # seconds that the others wait for what process 0 decides: it may have to write a large snapshot
FAREWELL = 10.0  # seconds, at most, that process 0 waits at its end for the others, which need its service until then
CLOSING = 2.0  # seconds in which the others close their connections: JAX aborts one that finds the service gone


class Hosts(NamedTuple):
    """The processes of a run: the address of process 0, the index of this one, and their number."""

    address: str
    index: int
    count: int

    @classmethod
    def parse(cls, address: str | None, place: str | None) -> Hosts | None:
        """From `HOST:PORT` and `I/N`; None if neither is given.  NetdefError for anything else."""
        if address is None and place is None:
            return None
        if address is None or place is None:
            raise NetdefError("`hosts` is the address of process 0, `host` is I/N, which process this is; give both.")
        name, _, port = address.rpartition(":")
        if not name or not port.isdigit() or not 0 < int(port) < 65536:
            raise NetdefError(f"hosts: expected ADDRESS:PORT of process 0, as in gpu1:7000, not {address!r}.")
        index, _, count = place.partition("/")
        if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
            raise NetdefError(f"host: expected I/N, the index of this process from 0 and their number, not {place!r}.")
        return cls(address, int(index), int(count))


def join(hosts: Hosts | None, heartbeat: float = HEARTBEAT) -> Relay | None:
    """Connects this process with the others, before JAX is used: those of `hosts`, or those that SLURM, Open MPI or the
    environment of a TPU pod name.  Returns the relay to process 0 of `hosts`.  NetdefError if they do not all arrive.
    """
    relay = relay_to(hosts.address) if hosts is not None and hosts.index else None
    if jax.distributed.is_initialized() or (hosts is None and not _in_a_cluster()):
        return relay
    if heartbeat < SHORTEST:
        raise NetdefError(
            f"heartbeat is {heartbeat:g} seconds; it must be at least {SHORTEST}, or a busy host seems dead."
        )
    given: dict[str, Any] = {}
    if hosts is not None:
        meet(*hosts)
        address = relay.address if relay else hosts.address
        given = {"coordinator_address": address, "process_id": hosts.index, "num_processes": hosts.count}
    jax.config.update("jax_enable_recoverability", True)  # the others report a dead process before they end
    jax.config.update("jax_enable_preemption_service", False)  # signals are those of the loop
    try:
        jax.distributed.initialize(**given, heartbeat_timeout_seconds=int(2 * heartbeat))
    except (RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        where = f" at {hosts.address}" if hosts else ""
        raise NetdefError(f"the processes of this run do not find each other{where}: {why}") from error
    atexit.unregister(jax.distributed.shutdown)  # which waits for processes that have failed
    atexit.register(_depart, relay)
    return relay


def _in_a_cluster() -> bool:
    """Whether the environment is that of one of several processes that were started together."""
    counts = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    many = any(os.environ.get(name, "").isdigit() and int(os.environ[name]) > 1 for name in counts)
    return many or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def is_first() -> bool:
    """Whether this is process 0, or the only one."""
    return jax.process_index() == 0


class Told(NamedTuple):
    """What a process tells the others; `beat` is another number each time."""

    beat: int
    host: str
    failed: str = ""  # the first line of its error
    done: bool = False  # with the run
    left: bool = False  # it does not need the others any more


def _tell(**told: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the service has ended: so does this process
        value = json.dumps(Told(time.monotonic_ns(), socket.gethostname(), **told))
        _client().key_value_set(f"{ALIVE}/{jax.process_index()}", value, allow_overwrite=True)


def _told() -> dict[int, Told]:
    """What the processes have told, by index.  RuntimeError if process 0 does not answer."""
    found = _client().key_value_dir_get(ALIVE)
    return {int(key.rpartition("/")[2]): Told(*json.loads(value)) for key, value in found}


def _client() -> Any:
    from jax._src import distributed  # JAX has no public name for it

    return distributed.global_state.client


def _depart(relay: Relay | None) -> None:
    """Ends the connection when the program ends; process 0 lets the others end first."""
    if relay and relay.lost.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # JAX would wait for process 0, and then abort
    _tell(done=True, left=True)
    until = time.monotonic() + FAREWELL
    with contextlib.suppress(RuntimeError):
        if is_first():
            while sum(told.left for told in _told().values()) < jax.process_count() and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(CLOSING)
        jax.distributed.shutdown()


class Peers:
    """The other processes of a run, watched by a thread.

    When one of them has failed or is silent, `fail` is called in the thread with a sentence that names it; by default
    it prints the sentence and ends this process, because the main thread may be waiting for the other one."""

    def __init__(
        self, heartbeat: float = HEARTBEAT, fail: Callable[[str], None] | None = None, relay: Relay | None = None
    ):
        self._heartbeat, self._fail, self._relay = heartbeat, fail or _leave, relay
        self._grace = min(GRACE, heartbeat / 5)
        self._me, self._count = jax.process_index(), jax.process_count()
        self._seen: dict[int, tuple[int, float]] = {}  # the last beat of each process, and when it was new
        self._looked = time.monotonic()
        self._decided = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="netdef-peers", daemon=True)
        self._thread.start()
        if relay:
            threading.Thread(target=self._listen, args=(relay,), name="netdef-process-0", daemon=True).start()

    def decide(self, make: Callable[[], Any]) -> Any:
        """Returns what `make` returns in process 0, a JSON value; its NetdefError is raised in all processes."""
        self._decided += 1
        key, client = f"{DECIDED}/{self._decided}", _client()
        if self._me:
            found = json.loads(client.blocking_key_value_get(key, int(1000 * WAIT)))
            if "error" in found:
                raise NetdefError(found["error"])
            return found["value"]
        try:
            value = make()
        except NetdefError as error:
            client.key_value_set(key, json.dumps({"error": str(error)}))
            raise
        client.key_value_set(key, json.dumps({"value": value}))
        return value

    def close(self, error: BaseException | None = None) -> None:
        """Tells the others that this process has finished, or why it has failed."""
        if isinstance(error, Exception) and not isinstance(error, (NetdefError, OSError)):
            # Probably a failed collective: the thread ends this process if another one has ended.
            self._thread.join(self._heartbeat + self._grace)
        self._over.set()
        self._thread.join(self._heartbeat)
        if self._relay and self._relay.lost.is_set():
            return
        if isinstance(error, Exception) and not isinstance(error, BrokenPipeError):
            _tell(failed=printable(str(error).splitlines()[0] if str(error) else type(error).__name__))
        else:
            _tell(done=True)

    def _watch(self) -> None:
        while True:
            _tell()
            if gone := self._gone():
                self._over.wait(self._grace)  # this process may be about to report the same error itself
                if not self._over.is_set():
                    _tell(failed=gone, left=True)
                    self._fail(gone)
                return
            if self._over.wait(min(1.0, self._heartbeat / 8)):
                return

    def _listen(self, relay: Relay) -> None:
        """Watches process 0, without asking it anything: what `_watch` asks is not answered any more if it is gone."""
        looked = relay.heard = time.monotonic()
        while not self._over.is_set():
            gone, now = relay.lost.wait(0.5), time.monotonic()
            if now - looked > self._heartbeat / 3:  # this process was stopped itself
                relay.heard = now
            looked = now
            if gone or now - relay.heard > self._heartbeat:
                self._over.wait(self._grace)
                if not self._over.is_set():
                    what = "has ended" if gone else f"has not answered for {self._heartbeat:g} seconds"
                    self._fail(f"process 0 of {self._count} {what}")
                return

    def _gone(self) -> str:
        """A sentence about the first process that has failed or is silent; empty if none has."""
        now = time.monotonic()
        try:
            found = _told()
        except RuntimeError:
            return f"process 0 of {self._count} does not answer"
        if now - self._looked > self._heartbeat / 3:  # this process was stopped itself, and perhaps its host
            self._seen = {index: (beat, now) for index, (beat, _) in self._seen.items()}
        self._looked = now
        for index in {*range(self._count)} - {self._me}:
            told = found.get(index, Told(0, ""))
            who = f"process {index} of {self._count}" + (f" on {told.host}" if told.host else "")
            if self._seen.get(index, (None,))[0] != told.beat:
                self._seen[index] = (told.beat, now)
            if told.failed:
                return f"{who} has failed: {told.failed}"
            if not told.done and now - self._seen[index][1] > self._heartbeat - 2 * self._grace:
                return f"{who} has not answered for {self._heartbeat:g} seconds"
        return ""


def _leave(why: str) -> None:
    print(f"netdef: error: {why}; this process ends, too. --resume goes on.", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)


@contextlib.contextmanager
def together(heartbeat: float = HEARTBEAT, relay: Relay | None = None) -> Iterator[Peers | None]:
    """Watches the other processes of a run while it is in progress; yields None if there are none."""
    if jax.process_count() == 1:
        yield None
        return
    peers = Peers(heartbeat, relay=relay)
    try:
        yield peers
    except BaseException as error:
        peers.close(error)
        raise
    peers.close()
