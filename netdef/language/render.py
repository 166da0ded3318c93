"""Formats diagnostics for people and for programs: as text with the source line and a mark under it, or as plain dicts.

Returns one string, with or without color, or JSON values, and prints nothing.

    lenet.net:3:20: error: Unknown field [unknown-field]
      convolution_param has no field `num_outputs`.

      3 | convolution_param { num_outputs: 20 }
        |                     ^^^^^^^^^^^
      hint: did you mean num_output?
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

from .diagnostics import Diagnostic
from .errors import printable
from .source import Span

TAB = 4  # cells
WIDEST = 100  # cells of a source line that are shown
NEAR = 4 * WIDEST  # characters on each side of the mark that are considered
MOST_USES = 4  # places of a `via` chain that are shown
COLORS = {
    **{"error": "1;31", "warning": "1;33", "note": "1;36"},
    **{"bold": "1", "gutter": "34", "hint": "36", "related": "1;34"},
}


def render(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """All diagnostics as text, separated by blank lines."""
    return "\n".join(render_one(diagnostic, color) for diagnostic in diagnostics)


def count(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning`; notes are counted last."""
    severities = [d.severity for d in diagnostics]
    numbers = [(severities.count(kind), kind) for kind in ("error", "warning", "note") if kind in severities]
    return ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for n, kind in numbers)


def to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """One dict per diagnostic: code, severity, message, file, line, column, end, hint, related, and its uses (via)."""
    return [
        {"code": d.code, "severity": d.severity, "message": d.message}
        | place(d.span)
        | {
            "hint": d.hint,
            "related": [{"message": related.message} | place(related.span) for related in d.related],
            "via": [place(use) for use in uses(d.span)],
        }
        for d in diagnostics
    ]


def place(span: Span | None) -> dict[str, Any]:
    if span is None:
        return {"file": None, "line": None, "column": None, "end": None}
    return {
        "file": span.source.file,
        "line": span.line,
        "column": span.column,
        "end": list(span.source.position(span.end)),
    }


def uses(span: Span | None) -> list[Span]:
    """The places of the expansions that produced this span, the innermost first."""
    found = []
    while span is not None and span.via is not None:
        span = span.via
        found.append(span)
    return found


def how(use: Span) -> str:
    """The kind of an expansion: a loop, an import or the use of a template."""
    keyword = use.source.text[use.start : use.end].split(None, 1)[:1]
    return {"for": "repeated", "import": "imported"}.get("".join(keyword), "used")


def render_one(diagnostic: Diagnostic, color: bool) -> str:
    paint = painter(color)
    severity, code = diagnostic.severity, paint("gutter", f"[{diagnostic.code}]")
    head = f"{paint(severity, severity + ':')} {paint('bold', diagnostic.kind.summary)} {code}"
    lines = [f"{paint('bold', str(diagnostic.span))}: {head}" if diagnostic.span else head]
    lines += textwrap.wrap(
        visible(diagnostic.detail[:1].upper() + diagnostic.detail[1:]),
        WIDEST,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    if diagnostic.span:
        lines.append("")
        lines += snippet(diagnostic.span, paint, severity)
        chain = uses(diagnostic.span)
        shown = chain if len(chain) <= MOST_USES else [*chain[: MOST_USES - 1], chain[-1]]
        for use in shown:
            if use is chain[-1] and len(chain) > MOST_USES:
                lines.append(f"  ... through {len(chain) - MOST_USES} more ...")
            lines.append(f"  {paint('related', how(use) + ' here:')} {use}")
            lines += snippet(use, paint, "related")
    for message, span in diagnostic.related:
        lines.append(f"  {paint('related', visible(message) + ':')} {span}")
        lines += snippet(span, paint, "related")
    if diagnostic.hint:
        lines.append(f"  {paint('hint', 'hint:')} {visible(diagnostic.hint)}")
    return "\n".join(lines) + "\n"


def visible(text: str) -> str:
    """A text that contains names of the file, with escapes for characters that would change the terminal."""
    return "".join(c if c in " \t\n" else printable(c) for c in text)


def painter(color: bool):
    """A function that colors a string, or returns it unchanged."""
    return lambda name, text: f"\x1b[{COLORS[name]}m{text}\x1b[0m" if color else text


def snippet(span: Span, paint: Any, color: str) -> list[str]:
    """The source line of a span with a mark under it; if the span has several lines, the first and the last of them."""
    source = span.source
    first, last = source.position(span.start)[0], source.position(max(span.start, span.end - 1))[0]
    numbers = [first] if last == first else [first, last]
    width = len(str(numbers[-1]))
    lines = []
    for number in numbers:
        if number == last and last > first + 1:
            lines.append("  " + paint("gutter", f"{'...':>{width + 2}}"))
        text = source.line(number)
        begins = source.line_starts[number - 1]
        start = span.start - begins if number == first else len(text) - len(text.lstrip())
        end = min(span.end - begins, len(text)) if number == last else len(text.rstrip())
        shown = marked(text, start, max(end, start))
        lines.append(f"  {paint('gutter', f'{number:>{width}} |')} {shown.text}")
        lines.append(f"  {paint('gutter', ' ' * width + ' |')} {' ' * shown.before}{paint(color, '^' * shown.under)}")
    return lines


class Marked(NamedTuple):
    """A source line as displayed, the number of cells `before` the mark, and the width of the mark (`under`)."""

    text: str
    before: int
    under: int


def marked(text: str, start: int, end: int) -> Marked:
    """A line with tabs and unprintable characters replaced, and shortened around the mark if it is long."""
    cut, near = max(0, start - NEAR), text[max(0, start - NEAR) : start + NEAR]
    more, text = cut + len(near) < len(text), near
    start, end = start - cut, end - cut
    cells = [cell(character) for character in text]
    at = [0]
    for character in cells:
        at.append(at[-1] + width_of(character))
    start, end = min(start, len(text)), min(end, len(text))
    first, last = 0, len(text)
    if at[-1] > WIDEST:
        # Keep the start of the mark at a third of the width, and cut only between characters.
        while first < start and at[start] - at[first] > WIDEST // 3 and at[-1] - at[first] > WIDEST:
            first += 1
        while last > first and at[last] - at[first] > WIDEST:
            last -= 1
    left, right = "..." if first + cut > 0 else "", "..." if last < len(text) or more else ""
    shown = left + "".join(cells[first:last]) + right
    before = len(left) + at[start] - at[first]
    return Marked(shown.rstrip(), before, max(1, at[min(end, last)] - at[start]))


def cell(character: str) -> str:
    if character == "\t":
        return " " * TAB
    if character.isprintable() or unicodedata.combining(character):
        return character
    return "\N{REPLACEMENT CHARACTER}"


def width_of(text: str) -> int:
    """The number of terminal cells that these characters occupy."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
