"""The stage between parsing and decoding: imports, constants, templates, loops and expressions become plain fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .diagnostics import Report
from .syntax import Document


def expand(document: Document, report: Report, *, settings: Mapping[str, Any]) -> Document:
    """The document with plain fields only."""
    return document
