"""Figures and reports of runs: curves of one or several runs, sweeps, learning-rate range tests, and HTML reports.

    from netdef.observe import curves, read_runs, save
    save(curves(read_runs(["runs/a", "runs/b"])), "both.svg")
    html = page(facts_of("runs/a"))

Nothing here trains a net or modifies a run.  Figures require matplotlib (`pip install matplotlib`); jax is loaded
only if a report tests a net.
"""

from __future__ import annotations

from .curves import curves
from .facts import facts_of
from .figure import save, written
from .page import page
from .runs import History, read_run, read_runs

__all__ = ["History", "curves", "facts_of", "page", "read_run", "read_runs", "save", "written"]
