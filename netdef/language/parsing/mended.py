"""The tree of a source with syntax errors, without the lines that cannot be parsed, for diagrams of what is left.

Everything that is kept has its line and column.
"""

from __future__ import annotations

import re
from collections import Counter

from .. import codes
from ..diagnostics import Code, Report
from ..source import Source, Span
from ..syntax import Document
from .parser import parse

MOST_PASSES = 10  # after which everything from the first error on is dropped
MOST_CHANGES = 3  # of a field of the file, after which lines of it are dropped, and then the field
MOST_CHARACTERS = 500_000  # of a source that is parsed so often
BEGINS = re.compile(r"[A-Za-z_]")  # a line that does not begin with a blank begins a field of the file


def mended(source: Source) -> Document | None:
    """Returns the tree of what can be parsed; None if nothing can.

    The characters of an error are dropped; if the same field of the file has several, lines of it, and then the whole
    field. A block that is not closed is closed at the end of its field, a string at the end of its line."""
    lines, changes = source.text.split("\n"), Counter[int]()
    for last in [False] * MOST_PASSES + [True]:
        document, errors = _parsed(Source(source.name, "\n".join(lines), source.path))
        if document is not None:
            return document
        if not errors or len(source.text) > MOST_CHARACTERS:
            return None
        if last:
            first = min(span.line for _, span in errors) - 1
            lines[first:] = [""] * len(lines[first:])
        else:
            for code, span in errors:
                _mend(lines, code, span, changes)
    return _parsed(Source(source.name, "\n".join(lines), source.path))[0]


def _parsed(source: Source) -> tuple[Document | None, list[tuple[Code, Span]]]:
    report = Report()
    document = parse(source, report)
    return document, [(d.kind, d.span) for d in report.in_order() if d.span is not None]


def _mend(lines: list[str], code: Code, span: Span, changes: Counter[int]) -> None:
    """Drops an error, then its lines, then the whole field of the file that contains it; or closes what is open."""
    (line, column), (end, after) = span.source.position(span.start), span.source.position(span.end)
    here = line - 1
    first = next((i for i in range(here, 0, -1) if BEGINS.match(lines[i])), 0)
    beyond = next((i for i in range(end, len(lines)) if BEGINS.match(lines[i])), len(lines))
    if changes[first] > MOST_CHANGES:
        lines[first:beyond] = [""] * (beyond - first)
    elif code is codes.UNCLOSED_BLOCK:
        at = next((i for i in range(beyond - 1, first, -1) if "#" not in lines[i]), first)
        lines[at] += " }"
    elif code is codes.UNTERMINATED_STRING:
        lines[here] += span.text[0]
    elif changes[first] == MOST_CHANGES or end > line:
        lines[here:end] = [""] * (end - here)
    else:
        lines[here] = lines[here][: column - 1] + " " * (after - column) + lines[here][after - 1 :]
    changes[first] += 1
