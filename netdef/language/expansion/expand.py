"""The stage between parsing and decoding: imports, constants, templates, loops and expressions become plain fields.

Given a document, returns one with plain fields only, as if they had been written by hand. The span of a field from a
template or a loop has the place of use in `via`, so later errors are shown at both places. Errors go to the report, and
the rest is expanded; if the budget is exhausted, the expansion stops and returns no fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..diagnostics import Report
from ..source import Source
from ..syntax import Document
from ..trust import UNTRUSTED, Trust


def expand(
    document: Document,
    report: Report,
    *,
    settings: Mapping[str, Any] | None = None,
    load: Callable[[Path], Source] = Source.read,
    trust: Trust = UNTRUSTED,
) -> Document:
    """Returns the document with plain fields only.

    `settings` overrides constants of the top level (`width`) and fields of the solver (`solver.base_lr`); `load` reads
    an imported file; `trust` contains more folders from which files may be imported.
    """
    if document.plain and not settings:
        return document
    from .expander import expand_document

    return expand_document(document, report, settings or {}, load, trust)
