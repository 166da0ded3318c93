"""A profile of some iterations of a run, by jax's profiler: `netdef.train("model.net", profile="prof")`.

The first iterations, which compile and fill caches, are not traced.  The folder then has

    layers.json.gz              the layers over time, forward and backward, for https://ui.perfetto.dev
    plugins/profile/*/          jax's own trace: *.xplane.pb for XProf, *.trace.json.gz for Perfetto

In jax's trace, operations have the names that the compiler gives them. Of a GPU or TPU, XProf also shows the path of
each in the net, with its layer. Of a CPU, it has no statistics of operations, but of layers, in Framework Op Stats,
because these are added to the trace (`layer_events.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from ..language.errors import NetdefError
from .layer_trace import LAYERS, layer_trace
from .loop import Dispatch, Work

WARM, TRACED = 10, 20  # iterations before the trace, and in it, at least
STEPS = 5  # of a dispatch at most, so that a trace has several dispatches
SHOWN = 5  # layers that are named in the result


class Profile:
    """The profile of a run of the iterations from `first` to `end`; `layers` are their types by name.  NetdefError if
    its folder cannot be written."""

    def __init__(self, folder: str | Path, layers: Mapping[str, str], first: int, end: int):
        self.folder, self.layers = Path(folder), dict(layers)
        self.begin = first + min(WARM, (end - first) // 2)
        self.until = min(self.begin + TRACED, end)
        self.traced: tuple[int, int] | None = None  # the first iteration in the trace, and the first one after it
        self.running = False
        self.failure = ""
        self.before: set[tuple[Path, int]] = set()  # the traces of earlier runs in the folder
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NetdefError(f"the folder {folder} of the profile cannot be made: {error.strerror}.") from error

    def after(self, iteration: int, state: Any) -> None:
        """Begins or ends the trace after the dispatch that ends at an iteration; `state` is its result."""
        if self.failure or (self.traced and not self.running):
            return
        try:
            if not self.running and iteration >= self.begin:
                self._start(iteration, state)
            elif self.running and iteration >= self.until:
                self._stop(iteration, state)
        except Exception as error:  # the profiler may raise anything, and training continues without it
            self.running, self.failure = False, f"{type(error).__name__}: {error}"

    def _start(self, iteration: int, state: Any) -> None:
        jax.block_until_ready(state)
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # every call of a function of Python would be an event
        self.before = self._traces()
        jax.profiler.start_trace(str(self.folder), profiler_options=options)
        self.running, self.traced = True, (iteration, iteration)

    def _stop(self, iteration: int, state: Any) -> None:
        assert self.traced is not None
        jax.block_until_ready(state)
        self.running, self.traced = False, (self.traced[0], iteration)
        jax.profiler.stop_trace()

    def close(self) -> None:
        """Ends a trace in progress, also of a run that failed."""
        if self.running:
            self.running = False
            with suppress(Exception):
                jax.profiler.stop_trace()

    def _traces(self) -> set[tuple[Path, int]]:
        """The files of jax's traces with their times, which only tell whether one was written again: the newest is not
        the last one if the clock was set back."""
        return {(path, path.stat().st_mtime_ns) for path in self.folder.glob("plugins/profile/*/*.xplane.pb")}

    def report(self) -> list[str]:
        """Writes the trace of the layers, and returns what was traced and which file to open where."""
        self.close()
        if self.failure:
            return [f"no profile: {self.failure}"]
        if self.traced is None or self.traced[0] == self.traced[1]:
            return [f"no profile: the run ended before iteration {self.begin}, with which the trace begins"]
        files = sorted(path for path, _ in self._traces() - self.before)
        if not files:
            return [f"no profile: jax has written no trace to {self.folder}"]
        times = layer_trace(files[-1], self.layers, self.folder / LAYERS)
        total = sum(times.values())
        most = sorted(times.items(), key=lambda item: -item[1])[:SHOWN]
        shares = ", ".join(f"{name} {time / total:.0%}" for name, time in most if total)
        first, after = self.traced
        return [
            f"profile of iterations {first} to {after - 1}" + (f": {shares}" if shares else ""),
            *([f"for the layers, open {self.folder / LAYERS} at https://ui.perfetto.dev"] if times else []),
            f"for statistics and all operations, run `xprof --logdir {self.folder}` (`pip install xprof`)",
        ]


def marked(work: Work) -> Work:
    """The work with its dispatches marked in the trace as steps, as XProf expects them."""
    numbers = itertools.count()

    def mark(dispatch: Dispatch) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            with jax.profiler.StepTraceAnnotation("train", step_num=next(numbers)):
                return dispatch(*args)

        return run

    return replace(work, stages=tuple(stage._replace(dispatch=mark(stage.dispatch)) for stage in work.stages))
