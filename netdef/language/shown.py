"""Objects that a notebook shows as HTML: nets, models, diagnostics, runs, scores.

Their pages contain diagrams and curves, so the component that makes them, `notebook`, is above all of these objects. It
is imported by its name when a notebook asks for a page, as is `observe` when the result of a run is plotted.
"""

from __future__ import annotations

import importlib
from typing import Any


class Shown:
    """An object with a page in notebooks; `repr` is one line."""

    def _repr_html_(self) -> str:
        return above("notebook").page(self)


def above(component: str) -> Any:
    """Imports a component that is above the one that asks for it."""
    return importlib.import_module(f"netdef.{component}")
