"""The report of a sweep as a single HTML file, in the style of the report of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..language.errors import NetdefError
from .figure import written
from .page import document, image, section
from .searched import parallel
from .sweep_record import Score, Swept, shown
from .swept import swept

CSS = """
table.runs th, table.runs td { white-space: nowrap; }
table.runs tbody th { font-weight: 400; }
table.runs tr.best td, table.runs tr.best th { background: #fdf1e7; font-weight: 600; }
table.runs tr.ended td, table.runs tr.ended th { color: #777; }
"""
LAST = ("seeds", "iterations", "state")  # columns at the right


def sweep_page(sweep: Swept) -> str:
    """Returns the whole page.  NetdefError if no run has a score, and if matplotlib is missing."""
    score = sweep.score
    if score is None:
        raise NetdefError(f"{sweep.name}: its runs have neither a loss nor an accuracy to compare.")
    parts = [
        f"<h1>{escape(sweep.title)}</h1>",
        f'<p class="state">{escape(_state(sweep))}</p>',
        _cards(sweep, score),
        section("Results", image(written(swept(sweep, " "), "svg"), "results of the runs by setting")),
        section("Settings together", _together(sweep, score)),
        section("Runs", _runs(sweep, score)),
    ]
    return document(f"{sweep.title}: sweep report", parts, CSS)


def _state(sweep: Swept) -> str:
    """One line about the kind of the sweep."""
    options = sweep.search
    if not options:
        seeds = len({row.get("seed") for row in sweep.rows})
        many = f" with {seeds} seeds each" if seeds > 1 and sweep.settings else ""
        return f"Sweep {sweep.name}: a grid of {len(sweep.rows)} runs{many}"
    how = {"bayes": "Bayesian search", "random": "random search"}.get(str(options.get("search")), "search")
    asked = options.get("trials")
    of = f" of {asked}" if isinstance(asked, int) and asked > len(sweep.rows) else ""
    prune = f", ended early by {options['prune']}" if options.get("prune") not in (None, "none") else ""
    each = f"; a trial is the median of {sweep.seeds} seeds" if sweep.seeds > 1 else ""
    return f"Sweep {sweep.name}: {how} with {len(sweep.rows)}{of} trials and seed {options.get('seed')}{prune}{each}"


def _cards(sweep: Swept, score: Score) -> str:
    best = sweep.best
    found: list[tuple[str, str]] = []
    if best is not None:
        found += [(score.label.removeprefix("final "), shown(best[score.column])), ("best run", _name(best))]
        found += [(name.removeprefix("solver."), shown(best.get(name))) for name in sweep.settings]
    for state in ("pruned", "diverged", "invalid"):
        count = sum(row.get("state") == state for row in sweep.rows)
        found += [(f"runs {state}", f"{count:,}")] if count else []
    cards = "".join(f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in found)
    return f'<div class="cards">{cards}</div>'


def _name(row: Mapping[str, Any]) -> str:
    """The name of a run on a card: in a grid, its settings are on cards of their own."""
    return str(row["run"]) if "trial" in row else f"seed {row.get('seed')}"


def _together(sweep: Swept, score: Score) -> str:
    if len(sweep.settings) < 2:
        return ""
    words = "A line is a run, bright if its score is good. The best run is orange"
    pruned = any(row.get("state") == "pruned" for row in sweep.rows)
    words += "; those that were ended early are dashed." if pruned else "."
    figure = image(written(parallel(sweep, score), "svg"), "the settings and the score of each run")
    return f"<p>{words}</p>{figure}"


def _runs(sweep: Swept, score: Score) -> str:
    """The table of all runs, the best one first."""
    sign = -1 if score.upwards else 1
    place = lambda row: (row.get("state") == "pruned", not math.isfinite(sweep.value(row)), sign * _finite(sweep, row))
    rows = sorted(sweep.rows, key=place)
    names = list(dict.fromkeys(name for row in rows for name in row))
    others = [n for n in names if n not in ("run", "seed", "trial", *sweep.settings, score.column, *LAST)]
    seeds = ["seed"] if len({row.get("seed") for row in rows}) > 1 else []
    columns = ["run"] if "trial" in rows[0] or not sweep.settings else []
    columns += [*sweep.settings, *seeds, score.column, *_compared(others, rows), *(n for n in LAST if n in names)]
    heads = "".join(f"<th{_kind(rows, n)}>{escape(_head(n))}</th>" for n in columns)
    body = "".join(_row(row, columns, rows, sweep.best) for row in rows)
    return f'<div class="scroll"><table class="runs"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _finite(sweep: Swept, row: Mapping[str, Any]) -> float:
    return value if math.isfinite(value := sweep.value(row)) else 0.0


def _compared(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that are not equal in all rows."""
    return [name for name in names if len({str(row.get(name)) for row in rows}) > 1 or len(rows) == 1]


def _head(name: str) -> str:
    return "training loss" if name == "loss" else name.removeprefix("solver.")


def _kind(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    numbers = any(isinstance(row.get(name), (int, float)) and not isinstance(row.get(name), bool) for row in rows)
    return ' class="number"' if numbers else ""


def _row(
    row: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None
) -> str:
    kind = ' class="best"' if row is best else ' class="ended"' if row.get("state") in ("pruned", "invalid") else ""
    text = lambda name: "" if row.get(name) is None else shown(row[name])
    cells = (f"<td{_kind(rows, name)}>{escape(text(name))}</td>" for name in columns[1:])
    return f"<tr{kind}><th{_kind(rows, columns[0])}>{escape(text(columns[0]))}</th>{''.join(cells)}</tr>"
