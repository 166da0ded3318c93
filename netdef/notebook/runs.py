"""The pages of runs: the result of `netdef.train`, a run on disk, a list of them, and the scores of a test."""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any

from ..language.errors import NetdefError
from ..observe import History, curves, read_run, written
from ..observe.curves import chosen
from ..observe.listing import Run, Runs, cells
from ..observe.runs import scores_of
from ..training.progress import duration
from ..training.run import Result
from ..training.scoring import Evaluation
from .markup import dot, mark, scrolled, table, title, whole

STATES = {"running": "#3d7de0", "finished": "#2c9c5a", "interrupted": "#c98a1b", "died": "#e5484d", "unknown": "#888"}
INKS = {  # what figures draw on white -> what can be read on any background, most of it in the color of the text around
    **{"#ffffff": "none", "#000000": "currentColor", "#555555": "currentColor", "#999999": "#8888"},
    **{"#e4e4e4": "#8884", "#0072b2": "#2f86c9"},
}
ENDS = {"max_iter": "finished", "interrupted": "interrupted"}
MOST_VALUES = 12  # of an output with an element for each class


def page(shown: Any) -> str:
    """Returns the page of a Result, a Run, Runs or an Evaluation."""
    match shown:
        case Result():
            return _result(shown)
        case Run():
            return _run(shown)
        case Runs():
            return _runs(shown)
        case Evaluation():
            return _evaluation(shown)
    raise TypeError(f"there is no page for {type(shown).__name__}")


def _result(result: Result) -> str:
    history = History(result.folder.name, result.folder, tuple(result.history))
    why = ENDS.get(result.why, result.why)
    facts = (f"{result.iteration:,} iterations", why, f"loss {_value(result.loss)}")
    return whole(title(str(result.folder), *facts), _scores(history), _curves(history))


def _run(run: Run) -> str:
    of = f" of {run.max_iter:,}" if run.max_iter and run.max_iter != run.iterations else ""
    facts = (f"{run.iterations:,}{of} iterations", run.state)
    settings = ", ".join(f"{name} = {value}" for name, value in run.settings.items())
    try:
        history = read_run(run.folder)
    except NetdefError:  # it has no records yet
        return whole(title(run.name, *facts, settings))
    return whole(title(run.name, *facts, settings), _scores(history), _curves(history))


def _runs(found: Runs) -> str:
    if not found:
        return whole('<span class="muted">no runs</span>')
    heads, *rows = _without_empty_columns(cells(found))
    states = [dot(STATES[run.state], run.state) for run in found]
    marked = [
        (mark("bold", name), began, state, *rest) for (name, began, _, *rest), state in zip(rows, states, strict=True)
    ]
    return whole(scrolled(table([head.capitalize() for head in heads], marked, [3])))


def _without_empty_columns(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows without columns that have only a head, such as that of settings."""
    kept = [i for i, column in enumerate(zip(*rows[1:], strict=True)) if i < 4 or any(column)]
    return [tuple(row[i] for i in kept) for row in rows]


def _evaluation(found: Evaluation) -> str:
    speed = f"{found.images:,} records in {duration(found.seconds)}"
    rows = [(name, _value(value)) for name, value in {"loss": found.loss, **found.scores}.items()]
    notes = "".join(f'<div><span class="warning">warning:</span> {escape(note)}</div>' for note in found.notes)
    return whole(title("Test", speed, found.weights), table(("Score", "Value"), rows, [1]), notes)


def _scores(history: History) -> str:
    rows = [(s.name, _value(s.last), _value(s.best), f"{s.at:,}") for s in scores_of(history)]
    return table(("Score", "Last", "Best", "At iteration"), rows, [1, 2, 3]) if rows else ""


def _curves(history: History) -> str:
    """The curves as SVG in the colors of the notebook; without them, why."""
    rates = history.curve("lr", "train").values
    metrics = [name for name in chosen([history]) if name != "lr" or len(set(rates)) > 1]
    try:
        svg = written(curves([history], metrics, by=["iteration"], title=" "), "svg").decode()
        return inline(svg, f"curves of {', '.join(metrics)}")
    except NetdefError as error:
        return f'<div class="muted">no curves: {escape(str(error))}</div>'


def inline(svg: str, what: str) -> str:
    """Returns an SVG file as a part of a page: with the colors of `INKS`, and without styles for the whole page."""
    svg = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.S)
    for color, ink in INKS.items():
        svg = svg.replace(color, ink)
    head = f'<svg role="img" aria-label="{escape(what)}" fill="currentColor" stroke-linejoin="round"'
    return svg.replace("<svg", head, 1).strip()


def _value(value: Any) -> str:
    """A score, or the scores of the classes."""
    if isinstance(value, list):
        return " ".join(map(_value, value[:MOST_VALUES])) + (" ..." if len(value) > MOST_VALUES else "")
    return f"{value:.4g}" if isinstance(value, (int, float)) and math.isfinite(value) else "not finite"
