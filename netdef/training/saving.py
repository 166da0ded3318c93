"""Snapshots that are written while training continues.

The arrays are copied to host memory before the next step, which reuses those of its state; a thread then writes the
copies.  At most one snapshot is under way, and its result is returned in the main thread, which reports it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from ..language.errors import NetdefError
from .params import by_parts

HOST = "pinned_host"  # the kind of memory


class Abandoned(NetdefError):
    """The program has been interrupted, and does not wait for the snapshot that is being written."""


class Attempt(NamedTuple):
    """A snapshot that is being written: the iteration, whether it is the best one, and what becomes of it."""

    iteration: int
    best: bool
    outcome: Future[Path]


class Saving:
    """The snapshot of a run that is under way.  At the end of the `with` statement, it is complete or has failed."""

    def __init__(self) -> None:
        self._attempt: Attempt | None = None
        self._abandoned = False

    def __enter__(self) -> Saving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._abandoned = kind is not None and not issubclass(kind, Exception)  # KeyboardInterrupt
        if self._attempt and not self._abandoned:
            self._attempt.outcome.exception()  # which waits, because an error of the run does not concern a snapshot

    @property
    def busy(self) -> bool:
        """Whether there is a snapshot that has not been taken."""
        return self._attempt is not None

    def decide(self, make: Callable[[], Any]) -> Any:
        """Calls a function that begins or completes a snapshot, unless nobody waits for it any more."""
        if self._abandoned:
            raise Abandoned("the program was interrupted")
        return make()

    def begin(self, iteration: int, best: bool, write: Callable[[], Path]) -> None:
        """Begins to write a snapshot; the one before must have been taken."""
        assert self._attempt is None, "one snapshot at a time"
        outcome: Future[Path] = Future()

        def work() -> None:
            try:
                outcome.set_result(write())
            except BaseException as error:
                outcome.set_exception(error)

        self._attempt = Attempt(iteration, best, outcome)
        # A daemon, so that an interrupted program ends at once.
        threading.Thread(target=work, name="netdef-snapshot", daemon=True).start()

    def take(self, wait: bool) -> Attempt | None:
        """The snapshot under way, when it is complete or has failed; None if there is none, or, unless `wait`, if it is
        still being written."""
        attempt = self._attempt
        if attempt is None or not (wait or attempt.outcome.done()):
            return None
        attempt.outcome.exception()
        self._attempt = None
        return attempt


def on_host(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of arrays in host memory.  Of those that devices divide, a process copies the parts of its own devices."""
    for array in arrays.values():
        if isinstance(array, jax.Array) and array.is_fully_replicated:
            array.addressable_data(0).copy_to_host_async()
    return jax.block_until_ready({name: _on_host(array) for name, array in arrays.items()})


def _on_host(array: Any) -> Any:
    if not isinstance(array, jax.Array):
        return np.array(array)
    if array.is_fully_replicated:
        first = array.addressable_shards[0]
        # `np.asarray` shares the memory of a CPU: the next step would have to copy it, which takes longer.
        return np.array(first.data) if first.device.platform == "cpu" else np.asarray(first.data)
    put = lambda part: jax.device_put(part, SingleDeviceSharding(part.device, memory_kind=HOST))
    return by_parts(array, put, array.sharding.with_memory_kind(HOST))
