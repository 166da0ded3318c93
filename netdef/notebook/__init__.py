"""What a notebook shows: HTML of nets, models, diagnostics, runs and scores, and short tracebacks.

    page(netdef.load("model.net"))      the HTML that `net._repr_html_()` returns

A page has no scripts and no links.  Its colors are those of the text around it, or ones that can be read on white and
on black, because a notebook does not say which of them it has.  Every name and value is escaped.
"""

from __future__ import annotations

from typing import Any

from .diagnostics import diagnostics_page, traceback_of
from .nets import net_page

__all__ = ["page", "traceback_of"]


def page(shown: Any) -> str:
    """Returns the HTML of an object; that of runs is imported only for them, because it imports jax."""
    names = {cls.__name__ for cls in type(shown).__mro__}
    if names & {"Net", "Model"}:
        return net_page(shown)
    if names & {"Diagnostic", "Diagnostics", "CompileError"}:
        return diagnostics_page(shown)
    from . import runs

    return runs.page(shown)
