"""Feed: the batches of all data layers of a net, prefetched by threads.

    feed = Feed(net, seed=0)
    batch = next(feed)             # {top: float32 array} of all data layers
    state = feed.state()           # after the last batch that was returned, not after those prefetched
    feed.restore(state)            # continue there, bit for bit
    feed.close()

An error while a batch is made is raised by `next`; nothing waits for a thread that has ended.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import Any

from ..files import locator
from ..graph import Net, Node
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..lazy import np
from . import labels
from .base import Batch, DataLayer, Process, Reader
from .layers.memory import MemoryData
from .stamps import described
from .workers import Opening, Workers

THREADS = "netdef-data"  # the names of the threads that make batches begin so


class Feed:
    """An endless iterator of batches.  `size` is the number of records in an epoch of the first data layer, or None;
    `sources` describes the files of each layer as they were opened, for snapshots.

    `arrays` contains the arrays of MemoryData layers, by layer name; `root` replaces the net's folder.  `ahead` batches
    are prefetched by `workers` threads (default: one per core, at most 8), which also apply `place` to each batch, to
    put it on the device while the preceding step runs.

    Threads decode images in parallel, but share one Python interpreter.  On hosts with many cores, `processes`
    processes make the batches instead (default: `$NETDEF_DATA_PROCESSES`, else none).
    """

    def __init__(
        self,
        net: Net,
        *,
        seed: int = 0,
        phase: Phase | str | None = None,
        process: Process = (0, 1),
        root: Any = None,
        arrays: Mapping[str, tuple[Any, ...]] | None = None,
        workers: int | None = None,
        ahead: int | None = None,
        place: Callable[[Batch], Any] | None = None,
        processes: int | None = None,
    ):
        self.phase = _phase(phase, net)
        self.readers: dict[str, Reader] = {}
        root = root if root is not None else net.folder
        locate = locator(root)
        separate: dict[str, DataLayer] = {}  # layers that a worker process can open
        for node in net.layers:
            if isinstance(node.layer, MemoryData) and arrays and node.name in arrays:
                self.readers[node.name] = node.layer.open_arrays(
                    _with_unused(net, node, arrays[node.name]), seed, process
                )
            elif isinstance(node.layer, DataLayer):
                self.readers[node.name] = node.layer.open(locate, phase=self.phase, seed=seed, process=process)
                separate[node.name] = node.layer
        processes = int(os.environ.get("NETDEF_DATA_PROCESSES", 0)) if processes is None else processes
        self._processes: Workers | None = None
        if processes and separate:
            self._processes = Workers(Opening(separate, root, self.phase, seed, process), processes)
        self._separate = separate
        workers = workers or (processes if processes else min(8, os.cpu_count() or 1))
        self.limits = labels.limits(net)
        self._place = place
        self._ahead = ahead or max(2, workers + 1)
        self._left = math.inf  # batches that may still be prefetched
        pool = ThreadPoolExecutor(workers, THREADS)
        self._pool: ThreadPoolExecutor | None = pool
        # Runs once: on closing, when collected, or at exit, while Python can still stop threads.
        self._stop = weakref.finalize(self, _shut_down, pool)
        self._waiting: deque[Future[Any]] = deque()
        self._taken = {name: reader.position for name, reader in self.readers.items()}
        self.sources = {name: described(reader.size, reader.sources()) for name, reader in self.readers.items()}

    @property
    def size(self) -> int | None:
        return next((reader.size for reader in self.readers.values()), None)

    @property
    def batch_size(self) -> int | None:
        """Number of records in a batch of the first data layer, over all processes."""
        return next((reader.batch_size for reader in self.readers.values()), None)

    @property
    def skipped(self) -> dict[str, int]:
        """Number of broken records that each layer has skipped; layers without any are omitted."""
        counts = {name: len(reader.skipped) for name, reader in self.readers.items()}
        return {name: count for name, count in counts.items() if count}

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Any:
        if self._pool is None:
            raise NetdefError("the feed is closed.")
        if not self.readers:
            return {}
        while len(self._waiting) < (self._ahead if self._left > 0 else 1):
            self._left -= 1
            self._waiting.append(self._pool.submit(self._make, {n: r.position for n, r in self.readers.items()}))
            for reader in self.readers.values():
                reader.position += reader.batch_size
        made = self._waiting.popleft()
        try:
            batch = made.result()
        except BaseException:
            self.close()
            raise
        for name, reader in self.readers.items():
            self._taken[name] += reader.batch_size
        return batch

    def advance(self, plan: Callable[[Reader, int], Any]) -> dict[str, Any]:
        """Advances by one batch without making it; returns `plan(reader, position)` of each layer."""
        self._forget()
        made = {}
        for name, reader in self.readers.items():
            made[name] = plan(reader, self._taken[name])
            self._taken[name] += reader.batch_size
            reader.position = self._taken[name]
        return made

    def first_rows(self, count: int) -> Batch:
        """Returns the first `count` records of the next batch, in each process all of them, and advances by the batch.
        Layers with another batch size than the first one return theirs."""
        self._forget()
        batch: Batch = {}
        for name, reader in self.readers.items():
            position, part = self._taken[name], copy(reader)
            part.rows = slice(0, count if reader.batch_size == self.batch_size else reader.batch_size)
            batch |= self._checked(name, part, position, part.batch(position))
            self._taken[name] += reader.batch_size
            reader.position = self._taken[name]
        return batch

    def _make(self, positions: dict[str, int]) -> Any:
        batch: Batch = {}
        ready: dict[str, Batch] = {}
        if self._processes is not None:
            ready = self._processes.make({name: positions[name] for name in self._separate}, self.readers)
        for name, reader in self.readers.items():
            made = ready[name] if name in ready else reader.batch(positions[name])
            batch |= self._checked(name, reader, positions[name], made)
        return self._place(batch) if self._place is not None else batch

    def _checked(self, name: str, reader: Reader, position: int, made: Batch) -> Batch:
        for top in made.keys() & self.limits.keys():
            labels.check(name, made[top], self.limits[top], lambda row: reader.name_of(position, row))
        return made

    def state(self) -> dict[str, Any]:
        """Returns the position after the last batch that was returned, as JSON values."""
        return {name: {"position": position} for name, position in self._taken.items()}

    def restore(self, state: Mapping[str, Any], batches: float = math.inf) -> None:
        """Continues from a saved `state`, and prefetches no more than `batches` batches.  Raises NetdefError if it
        belongs to other data layers."""
        if set(state) != set(self.readers):
            raise NetdefError(
                f"the saved data position is of the layers {sorted(state)}, but this net has {sorted(self.readers)}; "
                "resume with the net that was trained."
            )
        self._forget()
        self._left = batches
        for name, reader in self.readers.items():
            reader.restore(state[name])
            self._taken[name] = reader.position

    def _forget(self) -> None:
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def close(self) -> None:
        """Stops the threads and closes the files.  May be called again."""
        if self._pool is not None:
            self._forget()
            self._stop()
            self._pool = None
            if self._processes is not None:
                self._processes.close()
            for reader in self.readers.values():
                reader.close()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _with_unused(net: Net, node: Node, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the arrays of a MemoryData layer, with zeros for labels that no layer uses and that are not given."""
    if len(arrays) == 1 and len(node.tops) == 2 and node.tops[1].name in net.unused_inputs:
        return (*arrays, np.zeros(len(arrays[0]), np.float32))
    return arrays


def _shut_down(pool: ThreadPoolExecutor) -> None:
    """Stops the threads, and waits for them unless this is one of them: any thread may run the garbage collector."""
    pool.shutdown(wait=not threading.current_thread().name.startswith(THREADS), cancel_futures=True)


def _phase(phase: Phase | str | None, net: Net) -> Phase:
    if phase is None:
        return net.phase
    return Phase[phase] if isinstance(phase, str) else phase
