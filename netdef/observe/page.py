"""A report as a single HTML file: styles and images are inline, and there are no links, so that it can be sent, stored,
printed and opened without a network connection.
"""

from __future__ import annotations

import base64
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..inspect.summary import size, summarize
from ..shape import show
from ..training.progress import duration
from .curves import curves
from .facts import Confusion, Facts
from .figure import written
from .worst import SURE, Found, Worst

MANY_CLASSES = 12  # with more classes, names of columns are vertical and cells are small
MOST_CLASSES = 40  # with more classes, only the most frequent errors are listed
CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c1c1c; background: #fff;
       max-width: 66rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; }
p.state { margin: .2rem 0 1.4rem; color: #555; }
img { max-width: 100%; height: auto; } .net img { max-height: 60rem; }
.scroll { overflow: auto; max-height: 62rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; } th, td { padding: .2rem .9rem .2rem 0; vertical-align: top; }
thead th { border-bottom: 1px solid #bbb; } tbody tr + tr td, tbody tr + tr th { border-top: 1px solid #eee; }
.number { text-align: right; }
table.matrix td { width: 2.1rem; min-width: 2.1rem; text-align: center; padding: .15rem; border: 1px solid #eee; }
table.matrix th { padding: .15rem .4rem; font-weight: 400; color: #555; text-align: center; border: 0; }
table.matrix tbody th { text-align: right; white-space: nowrap; }
table.matrix thead th { vertical-align: bottom; }
table.many { font-size: .75rem; }
table.many td { width: 1.35rem; min-width: 1.35rem; padding: .1rem 0; }
table.many thead th + th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; padding: .3rem 0; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 0 0 1rem; padding: 0; }
.cards div { border: 1px solid #ddd; border-radius: .4rem; padding: .5rem .9rem; min-width: 7rem; }
.cards b { display: block; font-size: 1.35rem; font-weight: 600; } .cards span { color: #555; font-size: .85rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
.grid.small { grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
.grid.small img { width: 100%; image-rendering: pixelated; }
figure { margin: 0; break-inside: avoid; } figcaption { color: #555; font-size: .85rem; }
ul.notes { color: #8a3b00; } details { margin: .8rem 0; } summary { cursor: pointer; }
pre { background: #f6f6f6; padding: .8rem; overflow: auto;
      font: 12.5px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
@media print { body { max-width: none; } .scroll { max-height: none; overflow: visible; } }
"""


def page(facts: Facts) -> str:
    """Returns the whole page.  NetdefError if matplotlib is missing."""
    name = str(facts.told.get("name") or facts.history.name)
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="state">{escape(_state(facts))}</p>',
        _cards(facts),
        _notes(facts.notes),
        section("Scores", _scores(facts)),
        section(
            "Curves", image(written(curves([facts.history], title=" "), "svg"), "loss, accuracy and learning rate")
        ),
        section("Confusion matrix", _confusion(facts.confusion)) if facts.confusion else "",
        section("Detections", _detections(facts.found)) if facts.found else "",
        section("Net", _net(facts)),
        section("Hardware and versions", _sittings(facts.told)),
    ]
    return document(f"{name}: run report", parts)


def document(title: str, parts: Sequence[str], css: str = "") -> str:
    """Returns a page with the style of all reports."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}{css}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _state(facts: Facts) -> str:
    """Returns one line about how far the run came and how it ended."""
    last = max(int(row["iteration"]) for row in facts.history.rows)
    sittings = _dicts(facts.told.get("sittings"))
    if not sittings:
        return f"Run {facts.history.name}, {last:,} iterations"
    end = sittings[-1]
    if "to" not in end:
        return f"Run {facts.history.name}: at iteration {last:,} or later; still running or killed"
    ended = str(end.get("ended"))
    why = {"max_iter": "finished", "interrupted": "interrupted"}.get(ended, f"ended: {ended}")
    spent = sum(float(s.get("seconds") or 0) for s in sittings)
    return f"Run {facts.history.name}: {int(end['to']):,} iterations in {duration(spent)}, {why}"


def _cards(facts: Facts) -> str:
    """Returns the most important values."""
    tests = [s for s in facts.scores if s.name.startswith("test")]
    shown = [(s.name, _number(s.last)) for s in (tests or facts.scores)[:3]]
    told = facts.told
    shown += [("learned parameters", f"{int(told['parameters']):,}")] if "parameters" in told else []
    shown += [("images per iteration", f"{int(told['batch']):,}")] if "batch" in told else []
    shown += [("seed", str(told["seed"]))] if "seed" in told else []
    speed = [v for row in facts.history.of("train") if isinstance(v := row.get("images_per_s"), (int, float))]
    shown += [("images per second", f"{statistics.median(speed):,.0f}")] if speed else []
    return (
        '<div class="cards">'
        + "".join(f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in shown)
        + "</div>"
    )


def _notes(notes: Sequence[str]) -> str:
    return '<ul class="notes">' + "".join(f"<li>{escape(n)}</li>" for n in notes) + "</ul>" if notes else ""


def _scores(facts: Facts) -> str:
    rows = [(s.name, _number(s.last), _number(s.best), f"{s.at:,}") for s in facts.scores]
    return _table(("Metric", "Last", "Best", "Iteration of best"), rows)


def _confusion(found: Confusion) -> str:
    share = f"{found.right:,} of {found.records:,} records ({found.right / max(found.records, 1):.2%})"
    head = f"<p>{share} are classified correctly with the weights of {escape(found.snapshot)}.</p>"
    mistakes = _table(("True class", "Predicted class", "Count"), [(a, b, f"{n:,}") for a, b, n in found.mistakes(12)])
    images = f"<p>The images that are most wrong:</p>{_figures(found.worst, 'grid small')}" if found.worst else ""
    if len(found.names) > MOST_CLASSES:
        return f"{head}<p>The most frequent errors among {len(found.names):,} classes:</p>{mistakes}{images}"
    columns = "".join(f"<th>{escape(n)}</th>" for n in found.names)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(_cell(n, sum(row), i == j) for j, n in enumerate(row))}</tr>"
        for i, (name, row) in enumerate(zip(found.names, found.counts, strict=True))
    )
    top = f"<tr><th>true \\ predicted</th>{columns}</tr>"
    kind = "matrix many" if len(found.names) > MANY_CLASSES else "matrix"
    table = f'<table class="{kind}"><thead>{top}</thead><tbody>{rows}</tbody></table>'
    return f'{head}<div class="scroll">{table}</div>{images}'


def _cell(count: int, of: int, right: bool) -> str:
    """Returns a count, darker for a larger fraction of the class: blue if correct, orange if wrong."""
    share = count / of if of else 0.0
    color = "0, 114, 178" if right else "213, 94, 0"
    strength = 0.12 + 0.78 * (share if right else min(1.0, 3 * share)) if count else 0.0
    ink = "#fff" if strength > 0.6 else "#1c1c1c"
    style = f' style="background: rgba({color}, {strength:.2f}); color: {ink}"' if count else ""
    return f"<td{style}>{count or ''}</td>"


def _detections(found: Found) -> str:
    """Returns the numbers of mistakes, and the images with the most of them."""
    hit = found.boxes - found.missed
    share = f" ({hit / found.boxes:.2%})" if found.boxes else ""
    plural = "s" if found.false != 1 else ""
    words = (
        f"{hit:,} of {found.boxes:,} objects{share} in {found.images:,} images are found with the weights of "
        f"{escape(found.snapshot)}, with {found.false:,} false detection{plural}, at a score of at least {SURE}."
    )
    if not found.worst:
        return f"<p>{words}</p><p>No image has a mistake.</p>"
    shown = _figures(found.worst, "grid")
    return f"<p>{words}</p><p>The images with the most mistakes; true boxes are dashed:</p>{shown}"


def _figures(worst: Sequence[Worst], kind: str) -> str:
    shown = "".join(
        f'<figure><img alt="{escape(one.words)}" src="data:image/png;base64,{base64.b64encode(one.picture).decode()}">'
        f"<figcaption>{escape(one.words)}</figcaption></figure>"
        for one in worst
    )
    return f'<div class="{kind}">{shown}</div>'


def _net(facts: Facts) -> str:
    parts = []
    if facts.picture:
        parts.append(f'<div class="scroll net">{image(facts.picture, "diagram of the net")}</div>')
    if facts.net is not None:
        found = summarize(facts.net)
        rows = [
            (
                row.name,
                row.type,
                ", ".join(f"{name} {show(shape) if shape is not None else '?'}" for name, shape in row.tops),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
            )
            for row in found.rows
        ]
        table = _table(("Layer", "Type", "Output", "Parameters", "Multiply-adds"), rows)
        work = f"{found.multiply_adds:,} multiply-adds, {size(found.activations)} of activations"
        total = f"{len(found.rows)} layers, {found.counted}, {work}"
        parts.append(f"<details><summary>{total}</summary>{table}</details>")
    settings = facts.told.get("settings")
    if isinstance(settings, dict) and settings:
        given = ", ".join(escape(f"{k}={v}") for k, v in settings.items())
        parts.append(f"<p>Settings overridden with --set: {given}</p>")
    if facts.text:
        parts.append(f"<details><summary>Net file</summary><pre>{escape(facts.text)}</pre></details>")
    return "".join(parts)


def _sittings(told: Mapping[str, Any]) -> str:
    """Returns a table of hardware and versions, with a column for each session (start of the program)."""
    sittings = _dicts(told.get("sittings"))
    if not sittings:
        return "<p>Not recorded.</p>"
    rows: list[tuple[str, ...]] = []
    facts = [sitting_facts(sitting, told) for sitting in sittings]
    for key in dict.fromkeys(key for fact in facts for key in fact):
        rows.append((key, *(fact.get(key, "") for fact in facts)))
    heads = ("", *(f"Session {i + 1}" for i in range(len(facts)))) if len(facts) > 1 else ()
    return _table(heads, rows, numbers=False)


def _second(began: str) -> str:
    """A time of a record without its fractions: "2026-01-31 12:00:00 UTC"."""
    return f"{began[:19].replace('T', ' ')} UTC" if began else ""


def sitting_facts(sitting: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, str]:
    """Returns the machine, versions and times of one start of the program, by their names for users."""
    machine, versions = sitting.get("machine") or {}, sitting.get("versions") or {}
    memory = machine.get("memory_bytes") if isinstance(machine.get("memory_bytes"), int) else None
    found = {
        "seed": str(told.get("seed", "")),
        "started": _second(str(sitting.get("began", ""))),
        "iterations": f"{int(sitting.get('from', 0)):,} to {int(sitting['to']):,}" if "to" in sitting else "",
        "duration": duration(float(sitting["seconds"])) if "seconds" in sitting else "",
        "device": f"{sitting.get('devices', 1)} x {sitting.get('device', '')}",
        "processor": str(machine.get("processor", "")),
        "cores": str(machine.get("cores", "")),
        "memory": size(int(memory)) if memory else "",
        "operating system": str(machine.get("system", "")),
        **{str(name): str(version) for name, version in versions.items()},
    }
    return {key: value for key, value in found.items() if value}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """Returns a table; numbers are aligned to the right."""

    def cell(text: str, first: bool) -> str:
        kind = ' class="number"' if numbers and text[:1].isdigit() and not first else ""
        return f"<th>{escape(text)}</th>" if first else f"<td{kind}>{escape(text)}</td>"

    body = "".join("<tr>" + "".join(cell(t, i == 0) for i, t in enumerate(row)) + "</tr>" for row in rows)
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"


def section(title: str, body: str) -> str:
    """Returns a heading and what is below it; empty without a body."""
    return f"<h2>{title}</h2>\n{body}" if body else ""


def image(svg: bytes, what: str) -> str:
    """Returns an image that is inside the page, with a description for those who cannot see it."""
    return f'<img alt="{escape(what)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
