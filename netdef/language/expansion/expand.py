"""The stage between parsing and decoding: imports, constants, templates, loops and expressions become plain fields.

Takes a document; gives one with plain fields only, as if they had been written by hand.  Every field that a template or
a loop made carries in its span's `via` where that was used, so that later faults can be shown at both places.  What is
wrong goes to the report and the rest is expanded; where the budget is used up, the expansion ends and gives no fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..diagnostics import Report
from ..source import Source
from ..syntax import Document


def expand(
    document: Document,
    report: Report,
    *,
    settings: Mapping[str, Any] | None = None,
    load: Callable[[Path], Source] = Source.read,
) -> Document:
    """The document with plain fields only.

    `settings` overrides constants of the top level (`width`) and fields of the solver (`solver.base_lr`); `load` reads
    an imported file.
    """
    if document.plain and not settings:
        return document
    from .expander import expand_document

    return expand_document(document, report, settings or {}, load)
