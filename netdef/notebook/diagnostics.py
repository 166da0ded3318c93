"""Diagnostics with their source lines, as HTML and as the traceback of an error."""

from __future__ import annotations

import re
import traceback
from html import escape
from typing import Any

from ..language.diagnostics import CompileError, Diagnostic
from ..language.errors import NetdefError
from ..language.render import COLORS, count, render
from .markup import whole

PAINTED = re.compile(r"\x1b\[([\d;]*)m")
CLASSES = {code: name for name, code in COLORS.items()}
CELL = re.compile(r"ipykernel_\d+|^<")  # in the name of the file that a notebook gives a cell
OWN = ("netdef", "IPython")  # whose lines a traceback does not show


def diagnostics_page(shown: Any) -> str:
    """Returns the page of one diagnostic, of several, or of the error that contains them."""
    if isinstance(shown, Diagnostic):
        return whole(text_of([shown]))
    found = shown.diagnostics if isinstance(shown, CompileError) else shown
    if not found:
        return whole('<span class="good">no errors, no warnings</span>')
    return whole(text_of(found), f'<div class="muted">{escape(count(found))}</div>' if len(found) > 1 else "")


def text_of(found: Any) -> str:
    """Returns diagnostics as the command line prints them, with classes for its colors."""
    parts = []
    for i, part in enumerate(PAINTED.split(render(found, color=True).rstrip("\n"))):
        if i % 2 == 0:
            parts.append(escape(part))
        else:
            parts.append("</span>" if part == "0" else f'<span class="{CLASSES.get(part, "")}">')
    return f"<pre>{''.join(parts)}</pre>"


def traceback_of(error: NetdefError) -> list[str]:
    """Returns the lines that IPython shows for an error: what caused it, the lines of the caller without those of
    netdef, and the message; of a CompileError, every diagnostic."""
    cause = "".join(traceback.format_exception(error.__cause__)).splitlines() if error.__cause__ else []
    lines = [*cause, *map(_place, _frames(error))]
    name = f"\x1b[1m{type(error).__name__}\x1b[0m"
    if not isinstance(error, CompileError):
        return [*lines, f"{name}: {error}"]
    told = render(error.diagnostics, color=True)
    for kind in ("error", "hint"):  # bold, because notebooks show errors on red, where these colors cannot be read
        told = told.replace(f"\x1b[{COLORS[kind]}m", "\x1b[1m")
    return [*lines, f"{name}: {count(error.diagnostics)}", "", *told.splitlines()]


def _frames(error: NetdefError) -> list[traceback.FrameSummary]:
    """The frames of an error, the outermost first, without those of netdef and IPython."""
    at = zip(traceback.walk_tb(error.__traceback__), traceback.extract_tb(error.__traceback__), strict=True)
    own = lambda frame: frame.f_globals.get("__name__", "").partition(".")[0] in OWN
    return [summary for (frame, _), summary in at if not own(frame)]


def _place(at: traceback.FrameSummary) -> str:
    """A line of a cell, or of another file of the caller."""
    where = "" if CELL.search(at.filename) else f" of {at.filename}"
    return f"line {at.lineno}{where}{'' if at.name == '<module>' else f', in {at.name}'}: {at.line}"
