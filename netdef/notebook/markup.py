"""Parts of all pages: the style, tables, folded parts and pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

# The colors of text have a contrast of about 4.4 on white and on the black of dark notebooks.  Three classes in a
# selector are more specific than the rules of notebooks for tables in their outputs.
STYLE = """
.netdef { font-size: 13px; line-height: 1.5; max-width: 62rem; margin: .3rem 0 .5rem; }
.netdef b.title { font-size: 15px; }
.netdef .muted { opacity: .68; }
.netdef .scroll { overflow: auto; max-height: 52rem; }
.netdef details { margin: .35rem 0; } .netdef summary { cursor: pointer; }
.netdef.netdef.netdef table { border-collapse: collapse; border: 0; margin: .35rem 0; table-layout: auto;
  font-size: 13px; font-variant-numeric: tabular-nums; color: inherit; }
.netdef.netdef.netdef tr, .netdef.netdef.netdef tr:hover { background: none; color: inherit; }
.netdef.netdef.netdef td, .netdef.netdef.netdef th { text-align: left; padding: .12rem 1.4rem .12rem 0; border: 0;
  vertical-align: top; max-width: none; white-space: nowrap; }
.netdef.netdef.netdef th { font-weight: 600; border-bottom: 1px solid rgba(128,128,128,.6); }
.netdef.netdef.netdef tr + tr td { border-top: 1px solid rgba(128,128,128,.2); }
.netdef.netdef.netdef .number { text-align: right; }
.netdef.netdef.netdef td.wrap { white-space: normal; overflow-wrap: anywhere; }
.netdef i.dot { display: inline-block; width: .62rem; height: .62rem; border-radius: .2rem; margin-right: .5rem;
  box-shadow: inset 0 0 0 1px rgba(110,110,110,.55); }
.netdef .card { display: inline-block; background: #fff; border-radius: .4rem; padding: .6rem; max-width: 100%; }
.netdef .card img { display: block; max-width: 100%; max-height: 44rem; margin: 0; }
.netdef svg { display: block; max-width: 100%; height: auto; }
.netdef.netdef.netdef pre { font: 12.5px/1.45 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; margin: 0;
  padding: .6rem .8rem; border-radius: .3rem; background: rgba(128,128,128,.1); color: inherit; white-space: pre;
  overflow: auto; }
.netdef .error { color: #e0393f; font-weight: 700; } .netdef .warning { color: #a86b00; font-weight: 700; }
.netdef .note { color: #0b80b0; font-weight: 700; } .netdef .good { color: #1f8a4c; font-weight: 700; }
.netdef .related { color: #3576d8; font-weight: 700; } .netdef .hint { color: #0b80b0; }
.netdef .gutter { opacity: .6; } .netdef .bold { font-weight: 700; }
"""


def whole(*parts: str) -> str:
    """Returns a page of these parts."""
    style = " ".join(STYLE.split())
    return f'<div class="netdef"><style>{style}</style>\n' + "\n".join(filter(None, parts)) + "\n</div>"


def title(name: str, *facts: str) -> str:
    """Returns the first line: a name, and facts in weaker letters."""
    more = f' <span class="muted">{escape(" · ".join(filter(None, facts)))}</span>' if any(facts) else ""
    return f'<div><b class="title">{escape(name)}</b>{more}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Returns a table of texts; the columns `numbers` are aligned to the right.  A cell that `mark` made is markup."""
    right = set(numbers)

    def cell(i: int, text: str, tag: str) -> str:
        kind = ' class="number"' if i in right else ""
        return f"<{tag}{kind}>{text if isinstance(text, Markup) else escape(text)}</{tag}>"

    line = lambda cells, tag: "<tr>" + "".join(cell(i, text, tag) for i, text in enumerate(cells)) + "</tr>"
    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(heads, 'th')}</thead><tbody>{body}</tbody></table>"


class Markup(str):
    """Text that is markup already."""


def mark(kind: str, text: str) -> Markup:
    """Returns text in the style of a class."""
    return Markup(f'<span class="{kind}">{escape(text)}</span>')


def dot(color: str, text: str) -> Markup:
    """Returns text after a small square of this color."""
    return Markup(f'<i class="dot" style="background: {color}"></i>{escape(text)}')


def folded(head: str, body: str, is_open: bool = False) -> str:
    """Returns a part that a click opens and closes."""
    return f"<details{' open' if is_open else ''}><summary>{escape(head)}</summary>{body}</details>"


def scrolled(body: str) -> str:
    """Returns a part that scrolls if it is long."""
    return f'<div class="scroll">{body}</div>'


def card(svg: bytes, what: str) -> str:
    """Returns a picture with colors of its own, on white."""
    data = base64.b64encode(svg).decode()
    return f'<div class="card"><img alt="{escape(what)}" src="data:image/svg+xml;base64,{data}"></div>'
