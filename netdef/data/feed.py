"""Feed: the batches of all data layers of a net, made ahead by a thread.

    feed = Feed(net, seed=0)
    batch = next(feed)             # {top: float32 array} of every data layer
    state = feed.state()           # after the last batch that was taken, not of those made ahead
    feed.restore(state)            # go on there, bit for bit
    feed.close()

A fault while a batch is made is raised by `next`; nothing waits for a thread that is gone.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..files import locator
from ..graph import Net
from ..language.errors import NetdefError
from ..layers.base import Phase
from . import labels
from .base import Batch, DataLayer, Process, Reader
from .layers.memory import MemoryData
from .workers import Opening, Workers


class Feed:
    """An endless iterator of batches.  `size` is the number of records of an epoch of the first data layer, or None.

    `arrays` holds what MemoryData layers deliver, by layer name; `root` stands in for the net's folder.  `ahead`
    batches are made before they are asked for, by `workers` threads (default: one for each core, at most 8); `place` is
    applied to each batch there, to put it on the device while the step before it runs.

    Threads decode images side by side, and share what Python itself does.  Where there are many cores, `processes` of
    them make the batches (default: `$NETDEF_DATA_PROCESSES`, else none).
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
        apart: dict[str, DataLayer] = {}  # layers that a process can open for itself
        for node in net.layers:
            if isinstance(node.layer, MemoryData) and arrays and node.name in arrays:
                self.readers[node.name] = node.layer.open_arrays(arrays[node.name], seed, process)
            elif isinstance(node.layer, DataLayer):
                self.readers[node.name] = node.layer.open(locate, phase=self.phase, seed=seed, process=process)
                apart[node.name] = node.layer
        processes = int(os.environ.get("NETDEF_DATA_PROCESSES", 0)) if processes is None else processes
        self._apart: Workers | None = None
        if processes and apart:
            self._apart = Workers(Opening(apart, root, self.phase, seed, process), processes)
        self._made_apart = apart
        workers = workers or (processes if processes else min(8, os.cpu_count() or 1))
        self.limits = labels.limits(net)
        self._place = place
        self._ahead = ahead or max(2, workers + 1)
        pool = ThreadPoolExecutor(workers, "netdef-data")
        self._pool: ThreadPoolExecutor | None = pool
        # Runs once: on closing, or when Python ends while it still can stop threads.
        self._stop = weakref.finalize(self, pool.shutdown, wait=True, cancel_futures=True)
        self._waiting: deque[Future[Any]] = deque()
        self._taken = {name: reader.position for name, reader in self.readers.items()}

    @property
    def size(self) -> int | None:
        return next((reader.size for reader in self.readers.values()), None)

    @property
    def batch_size(self) -> int | None:
        """Records of a batch of the first data layer, over all processes."""
        return next((reader.batch_size for reader in self.readers.values()), None)

    @property
    def skipped(self) -> dict[str, int]:
        """How many broken records each layer left out; layers without any are not there."""
        counts = {name: len(reader.skipped) for name, reader in self.readers.items()}
        return {name: count for name, count in counts.items() if count}

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Any:
        if self._pool is None:
            raise NetdefError("the feed is closed.")
        if not self.readers:
            return {}
        while len(self._waiting) < self._ahead:
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
        """Take the next batch without making it: `plan(reader, position)` of each layer."""
        self._forget()
        made = {}
        for name, reader in self.readers.items():
            made[name] = plan(reader, self._taken[name])
            self._taken[name] += reader.batch_size
            reader.position = self._taken[name]
        return made

    def _make(self, positions: dict[str, int]) -> Any:
        batch: Batch = {}
        ready: dict[str, Batch] = {}
        if self._apart is not None:
            ready = self._apart.make({name: positions[name] for name in self._made_apart}, self.readers)
        for name, reader in self.readers.items():
            made = ready[name] if name in ready else reader.batch(positions[name])
            for top in made.keys() & self.limits.keys():
                name_of = lambda row, reader=reader, at=positions[name]: reader.name_of(at, row)
                labels.check(name, made[top], self.limits[top], name_of)
            batch |= made
        return self._place(batch) if self._place is not None else batch

    def state(self) -> dict[str, Any]:
        """The position after the last batch that was taken, as JSON takes it."""
        return {name: {"position": position} for name, position in self._taken.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.  NetdefError if it is of other data layers."""
        if set(state) != set(self.readers):
            raise NetdefError(
                f"the saved data position is of the layers {sorted(state)}, and this net has {sorted(self.readers)}; "
                "resume with the net that was trained."
            )
        self._forget()
        for name, reader in self.readers.items():
            reader.restore(state[name])
            self._taken[name] = reader.position

    def _forget(self) -> None:
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def close(self) -> None:
        """Stop the threads and close the files; a closed feed can be closed again."""
        if self._pool is not None:
            self._forget()
            self._stop()
            self._pool = None
            if self._apart is not None:
                self._apart.close()
            for reader in self.readers.values():
                reader.close()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _phase(phase: Phase | str | None, net: Net) -> Phase:
    if phase is None:
        return net.phase
    return Phase[phase] if isinstance(phase, str) else phase
