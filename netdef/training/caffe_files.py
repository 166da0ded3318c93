"""Snapshots under the names that Caffe gives them, `PREFIX_iter_N.caffemodel` and `.solverstate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..interop.solver_state import export_snapshot
from ..language.errors import NetdefError
from ..solvers.base import SnapshotFormat, Solver
from .events import Event, Snapshotted


def caffe_files(solver: Solver, say: Callable[[str], None]) -> Callable[[Event], None]:
    """Returns a function of events that also writes each numbered snapshot as the two files that Caffe would write, at
    the solver's `snapshot_prefix`. `say` is told of files that cannot be written; the run continues."""
    ending = ".h5" if solver.given("snapshot_format") and solver.snapshot_format is SnapshotFormat.HDF5 else ""

    def see(event: Event) -> None:
        if not isinstance(event, Snapshotted) or not event.path.name.startswith("iter_"):
            return
        state = Path(f"{solver.snapshot_prefix}_iter_{event.iteration}.solverstate{ending}")
        try:
            state.parent.mkdir(parents=True, exist_ok=True)
            export_snapshot(event.path, state, solver)
        except (NetdefError, OSError) as error:
            say(f"{state} and its weights cannot be written: {error}; the snapshot itself is complete")

    return see
