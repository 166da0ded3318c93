"""Figures of a search: the score of each trial, in order and against each setting, and parallel coordinates.

A dot is a run that was trained to its end, or the median of several with different seeds, with a line from the lowest
to the highest of them; later trials are brighter, because a Bayesian search comes closer to the best settings.  The
best run is a star.  Runs that were ended as hopeless are circles at their last score; the axis is that of the others,
so circles beyond it are triangles at its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .figure import COLORS, GRAY, drawing, legend_below, new_figure, percents, plain_ticks
from .runs import kind
from .sweep_record import Score, Swept, is_numeric, is_wide, shown, value_of

BEST = COLORS[1]
COLUMNS = 3  # of axes in a figure
MOST = 8  # settings in a figure


def searched(sweep: Swept, score: Score, title: str = "") -> Any:
    """Returns the figure of a search.  NetdefError if matplotlib is missing."""
    settings = sweep.settings[:MOST]
    panels = 1 + len(settings)
    columns = min(panels, COLUMNS) if panels != 4 else 2
    lines = -(-panels // columns)
    figure = new_figure(3.6 * columns, 2.7 * lines + 0.4)
    with drawing():
        grid = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
        _scale(grid[0], sweep, score)
        _in_order(grid[0], sweep)
        for axes, setting in zip(grid[1:], settings, strict=False):
            _against(axes, sweep, setting)
        for axes in grid[panels:]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel(score.label[:1].upper() + score.label[1:])
        figure.suptitle(title or f"{sweep.title}: {score.label} ({_many(sweep)})", fontsize=11)
        legend_below(figure, _legend(sweep))
    return figure


def _many(sweep: Swept) -> str:
    how = {"bayes": "Bayesian search", "random": "random search"}.get(str(sweep.search.get("search")), "search")
    return f"{how}, {len(sweep.rows)} trials" + (f", medians of {sweep.seeds} seeds" if sweep.seeds > 1 else "")


def _trial(row: Mapping[str, Any]) -> float:
    found = row.get("trial")
    return float(found) if isinstance(found, (int, float)) else 0.0


def _parts(sweep: Swept) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The runs that finished, those that were ended as hopeless, and those without a score."""
    scored = [row for row in sweep.rows if math.isfinite(sweep.value(row))]
    pruned = [row for row in scored if row.get("state") == "pruned"]
    return [row for row in scored if row.get("state") != "pruned"], pruned, [r for r in sweep.rows if r not in scored]


def _dots(axes: Any, sweep: Swept, place: Any) -> None:
    """Draws the runs at (place, score)."""
    finished, pruned, lost = _parts(sweep)
    best = sweep.best
    hollow = {"s": 20, "facecolors": "none", "edgecolors": "#999999", "linewidths": 0.9, "zorder": 2}
    low, high = axes.get_ylim()
    for row in pruned:
        inside = low <= (value := sweep.value(row)) <= high
        if inside:
            axes.scatter(place(row), value, **hollow)
        else:
            mark, height = ("v", 0.025) if value < low else ("^", 0.975)
            axes.scatter(place(row), height, marker=mark, transform=axes.get_xaxis_transform(), **hollow)
    if finished:
        for row, shade in zip(finished, _shades(sweep, finished), strict=True):
            if spread := _spread(row):
                axes.plot([place(row)] * 2, spread, color=shade, lw=1.4, alpha=0.45, zorder=2.5, solid_capstyle="round")
        at = [place(row) for row in finished], [sweep.value(row) for row in finished]
        axes.scatter(*at, s=26, c=_shades(sweep, finished), linewidths=0, zorder=3)
    if lost:
        high = [0.965] * len(lost)
        axes.plot([place(r) for r in lost], high, "x", color=GRAY, transform=axes.get_xaxis_transform(), ms=5, mew=1.6)
    if best is not None:
        axes.plot(place(best), sweep.value(best), "*", color=BEST, ms=13, mec="white", mew=0.8, zorder=4)


def _spread(row: Mapping[str, Any]) -> list[float]:
    """The lowest and the highest score over the seeds of a trial; empty if it is one run."""
    found = [value_of(row, name) for name in ("lowest", "highest")]
    return found if all(map(math.isfinite, found)) else []


def _shades(sweep: Swept, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Colors from dark for the first trial to bright for the last."""
    with drawing() as matplotlib:
        shades = matplotlib.colormaps["viridis"]
    last = max((_trial(row) for row in sweep.rows), default=0) or 1
    return [shades(0.88 * _trial(row) / last) for row in rows]


def _in_order(axes: Any, sweep: Swept) -> None:
    """Draws the scores by trial, with the best one so far."""
    finished, _, _ = _parts(sweep)
    upwards = sweep.score is not None and sweep.score.upwards
    best, steps = math.nan, []
    for row in sorted(finished, key=_trial):
        value = sweep.value(row)
        best = value if math.isnan(best) else max(best, value) if upwards else min(best, value)
        steps.append((_trial(row), best))
    if steps:
        steps.append((max(map(_trial, sweep.rows)), best))
        axes.step(*zip(*steps, strict=True), where="post", color=BEST, lw=1.3, alpha=0.7, zorder=1)
    _dots(axes, sweep, _trial)
    axes.set_xlabel("Trial")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _against(axes: Any, sweep: Swept, setting: str) -> None:
    """Draws the scores against one setting."""
    from matplotlib.ticker import NullLocator

    axes.set_xlabel(setting.removeprefix("solver."))
    if is_numeric(sweep.rows, setting):
        values = [float(row[setting]) for row in sweep.rows]
        _dots(axes, sweep, lambda row: float(row[setting]))
        least, most = min(values), max(values)
        if is_wide(values):
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
            axes.set_xlim(least * (least / most) ** 0.04, most * (most / least) ** 0.04)
            return
        room = 0.05 * (most - least) or 0.5
        axes.set_xlim(least - room, most + room)
        if all(isinstance(row[setting], int) for row in sweep.rows):
            axes.xaxis.get_major_locator().set_params(integer=True)
        return
    places = sorted({shown(row.get(setting)) for row in sweep.rows})
    last = max(map(_trial, sweep.rows)) or 1
    # side by side in the order of the trials, because equal values would hide each other
    _dots(axes, sweep, lambda row: places.index(shown(row.get(setting))) + 0.36 * (_trial(row) / last - 0.5))
    axes.set_xticks(range(len(places)), places)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.xaxis.set_minor_locator(NullLocator())


def _scale(axes: Any, sweep: Swept, score: Score) -> None:
    """Sets the scale of the scores: that of the finished runs, with as much room below the worst one."""
    finished, pruned, _ = _parts(sweep)
    values = [sweep.value(row) for row in (finished if len(finished) > 1 else [*finished, *pruned])]
    if not values:
        return
    values += [value for row in finished for value in _spread(row)]
    least, most = min(values), max(values)
    room = (most - least) or abs(most) or 1.0
    if is_wide(values):
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
        axes.set_ylim(least / 1.5, most * 2)
    elif kind(score.column) == "accuracy" and least >= 0 and most <= 1:
        percents(axes.yaxis, [max(least - room, 0.0), most])
    elif score.upwards:
        axes.set_ylim(least - room, most + 0.1 * room)
    else:
        axes.set_ylim(least - 0.1 * room, most + room)


def _legend(sweep: Swept) -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D

    finished, pruned, lost = _parts(sweep)
    look = {"ls": "", "ms": 6}
    shades = _shades(sweep, finished[-1:])
    found = [(Line2D([], [], marker="o", color=c, mew=0, **look), "Finished (dark: first trials)") for c in shades]
    if sweep.best is not None:
        found.append((Line2D([], [], marker="*", color=BEST, ls="", ms=11, mew=0), "Best"))
        found.append((Line2D([], [], color=BEST, lw=1.3, alpha=0.7), "Best so far"))
    if sweep.seeds > 1:
        found.append((Line2D([], [], color=GRAY, lw=1.4, alpha=0.6), "Lowest to highest seed"))
    if pruned:
        found.append((Line2D([], [], marker="o", mfc="none", mec="#999999", **look), "Ended early"))
    if lost:
        found.append((Line2D([], [], marker="x", color=GRAY, mew=1.6, **look), "Not finite or invalid"))
    return found


def parallel(sweep: Swept, score: Score) -> Any:
    """Returns parallel coordinates: an axis for each setting and one for the score, a line for each run.  NetdefError
    if matplotlib is missing."""
    settings = sweep.settings[:MOST]
    finished, pruned, _ = _parts(sweep)
    names = [*settings, score.column]
    figure = new_figure(max(5.4, 1.75 * len(names)), 3.4)
    with drawing() as matplotlib:
        axes = figure.subplots()
        places = [_heights(axes, x, name, [*finished, *pruned]) for x, name in enumerate(settings)]
        places.append(_heights(axes, len(settings), score.column, finished))
        xs = range(len(names))
        for row in pruned:  # they have no final score
            axes.plot(xs[:-1], [place(row) for place in places[:-1]], color="#c8c8c8", lw=0.8, ls=(0, (3, 2)), zorder=1)
        shades = matplotlib.colormaps["viridis"]
        best = sweep.best
        for row in finished:
            height = places[-1](row)
            good = height if score.upwards else 1 - height
            look = {"color": shades(0.92 * good), "lw": 1.1, "alpha": 0.75, "zorder": 2 + good}
            if row is best:
                look = {"color": BEST, "lw": 2.4, "zorder": 4}
            axes.plot(xs, [place(row) for place in places], **look)
        axes.set_xlim(-0.12, len(names) - 1 + 0.32)
        axes.set_ylim(-0.06, 1.06)
        labels = [name.removeprefix("solver.") for name in settings]
        axes.set_xticks(list(xs), [*labels, score.label])
        axes.set_yticks([])
        axes.grid(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="x", length=0, pad=6)
    return figure


def _heights(axes: Any, x: int, name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draws one vertical axis with the values at its ends; returns the height of a run on it, from 0 to 1."""
    box = {"boxstyle": "square,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.8}
    look = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": "#333333", "zorder": 6, "bbox": box}
    label = lambda height, text: axes.annotate(text, (x, height), (5, 0), **look)
    axes.plot([x, x], [0, 1], color="#777777", lw=0.9, zorder=5)
    if not is_numeric(rows, name):
        places = sorted({shown(row.get(name)) for row in rows})
        span = max(len(places) - 1, 1)
        for i, place in enumerate(places):
            label(i / span, place)
        return lambda row: places.index(shown(row.get(name))) / span
    values = [float(row[name]) for row in rows]
    log = bool(values) and is_wide(values)
    at = math.log if log else float
    low, high = min(map(at, values), default=0.0), max(map(at, values), default=1.0)
    span = (high - low) or 1.0
    back = math.exp if log else float
    whole = all(isinstance(row[name], int) for row in rows)
    for height in (0.0, 0.5, 1.0) if high > low else (0.0,):
        value = back(low + height * span)
        if not (whole and height == 0.5):
            label(height, f"{value:.3g}")
    return lambda row: (at(float(row[name])) - low) / span
