"""Figure of a sweep: the result of each run against the setting with the most values, and the curves of all runs.

A dot is a run, a line connects the medians over seeds, and colors show the other settings.  Runs that did not reach the
goal of the sweep (`--until`) are crosses at the top.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..language.errors import NetdefError
from .figure import GRAY, colors, drawing, legend_below, new_figure, percents, plain_ticks
from .runs import kind, smoothed
from .searched import searched
from .sweep_record import Score, Swept, axes_of, is_numeric, is_wide, shown, value_of

MARKERS = "osD^vP*X"


def swept(sweep: Swept, title: str = "") -> Any:
    """Returns the figure.  NetdefError if no run has a value to compare, and if matplotlib is missing."""
    score = sweep.score
    if score is None:
        raise NetdefError(f"{sweep.name}: its runs have neither a loss nor an accuracy to compare.")
    if sweep.search:
        return searched(sweep, score, title)
    across, others = axes_of(sweep)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in sweep.rows:
        groups.setdefault(", ".join(_words(row, others)) or "all runs", []).append(row)
    palette = dict(zip(groups, colors(len(groups)), strict=True))
    curves = bool(sweep.histories) and not score.is_reached
    figure = new_figure(10.8 if curves else 7.2, 4.0)
    with drawing():
        axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
        never = _compare(axes[0], groups, across, score, palette)
        if curves:
            _all_curves(axes[1], sweep, groups, palette, score)
        figure.suptitle(title or _title(sweep, score), fontsize=11)
        _legend(figure, palette, never, score)
    return figure


def _capitalized(label: str) -> str:
    return label[:1].upper() + label[1:]


def _title(sweep: Swept, score: Score) -> str:
    seeds = len({row.get("seed") for row in sweep.rows})
    many = f"{len(sweep.rows)} runs" + (f", {seeds} seeds each" if seeds > 1 and sweep.settings else "")
    return f"{sweep.title}: {score.label} ({many})"


def _words(row: Mapping[str, Any], settings: Sequence[str]) -> list[str]:
    return [f"{name.removeprefix('solver.')} {shown(row.get(name))}" for name in settings]


def _compare(
    axes: Any, groups: Mapping[str, list[Mapping[str, Any]]], across: str, score: Score, palette: Mapping[str, Any]
) -> int:
    """Draws runs as dots and connects medians; returns the length of the longest run without a value, or 0."""
    from matplotlib.ticker import NullLocator

    rows = [row for group in groups.values() for row in group]
    numeric = is_numeric(rows, across)
    places = list(dict.fromkeys(row.get(across) for row in rows))
    place = lambda row: float(row[across]) if numeric else float(places.index(row.get(across)))
    xs = sorted({place(row) for row in rows})
    log = numeric and is_wide(xs)
    at = (lambda x: math.log(x)) if log else (lambda x: x)
    gap = min((at(b) - at(a) for a, b in zip(xs, xs[1:], strict=False)), default=1.0)
    never = 0
    for i, (name, group) in enumerate(groups.items()):
        shift = gap * 0.09 * (i - (len(groups) - 1) / 2) / max(1, len(groups) / 5)  # side by side
        spot = lambda row, shift=shift: place(row) * math.exp(shift) if log else place(row) + shift
        look = {"color": palette[name], "marker": MARKERS[i % len(MARKERS)]}
        dots = [(spot(row), value) for row in group if math.isfinite(value := value_of(row, score.column))]
        if dots:
            axes.plot(*zip(*dots, strict=True), ls="", ms=4, alpha=0.55, mew=0, **look)
        middle = list(_medians(group, spot, score))
        if middle:
            axes.plot(*zip(*middle, strict=True), lw=2, ms=6, **look)
        lost = [spot(row) for row in group if not math.isfinite(value_of(row, score.column))]
        if lost:
            never = max([never, *(int(n) for row in group if isinstance(n := row.get("iterations"), (int, float)))])
            axes.plot(lost, [0.965] * len(lost), "x", color=palette[name], transform=axes.get_xaxis_transform(), mew=2)
    _scales(axes, rows, score, never)
    if never:
        _set_apart(axes)
    axes.set_xlabel(across.removeprefix("solver."))
    axes.set_ylabel(_capitalized(score.label))
    if log:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    if len(xs) <= 12:
        axes.set_xticks(xs, [f"{x:g}" for x in xs] if numeric else [str(p) for p in places], minor=False)
        axes.xaxis.set_minor_locator(NullLocator())
    return never


def _set_apart(axes: Any) -> None:
    """Draws a band at the top for the crosses, which have no value."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((0, 0.93), 1, 0.07, transform=axes.transAxes, color="#f1f1f1", zorder=0.5))
    low, high = axes.transData.inverted().transform(axes.transAxes.transform([(0, 0), (0, 0.93)]))[:, 1]
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])


def _medians(group: Iterable[Mapping[str, Any]], place: Any, score: Score) -> Iterable[tuple[float, float]]:
    """Yields the median over seeds at each position; runs that did not reach the goal count as infinite."""
    at: dict[float, list[float]] = {}
    for row in group:
        value = value_of(row, score.column)
        at.setdefault(place(row), []).append(math.inf if math.isnan(value) else value)
    for x in sorted(at):
        middle = statistics.median_low(at[x])
        yield x, (middle if math.isfinite(middle) else math.nan)


def _scales(axes: Any, rows: Sequence[Mapping[str, Any]], score: Score, never: int) -> None:
    """Sets the scale of the scores, with room for the crosses."""
    values = [v for row in rows if math.isfinite(v := value_of(row, score.column))]
    if not values:
        return
    if min(values) > 0 and max(values) > 100 * min(values):
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
        axes.set_ylim(min(values) / 1.4, max(values) * (2.2 if never else 1.4))
    elif kind(score.column) == "accuracy" and not score.is_reached and min(values) >= 0 and max(values) <= 1:
        percents(axes.yaxis, values)
    elif score.is_reached:
        axes.set_ylim(0, max(values) * (1.25 if never else 1.08))


def _all_curves(
    axes: Any,
    sweep: Swept,
    groups: Mapping[str, list[Mapping[str, Any]]],
    palette: Mapping[str, Any],
    score: Score,
) -> None:
    """Draws every run by iteration: the test score, or the training loss."""
    test = score.column.startswith("test ")
    name = score.column.removeprefix("test ")
    shown: list[float] = []
    for group, rows in groups.items():
        for row in rows:
            history = sweep.histories.get(str(row.get("run")))
            if history is None:
                continue
            curve = history.curve(name, "test" if test else "train")
            values = curve.values if test else smoothed(curve.values, 1 - 1 / max(1.0, 0.05 * len(curve.values)))
            axes.plot(curve.iterations, values, color=palette[group], lw=1.0, alpha=0.75)
            shown += [v for v in values if math.isfinite(v)]
    if kind(name) == "accuracy" and shown and max(shown) <= 1:
        percents(axes.yaxis, shown)
    axes.set_xlabel("Iteration")
    axes.set_ylabel(_capitalized(score.column) if test else f"Training {name}")


def _legend(figure: Any, palette: Mapping[str, Any], never: int, score: Score) -> None:
    from matplotlib.lines import Line2D

    entries = [
        (Line2D([], [], color=color, lw=2, marker=MARKERS[i % len(MARKERS)], ms=6), name)
        for i, (name, color) in enumerate(palette.items())
    ]
    if never:
        what = f"Not within {never:,} iterations" if score.is_reached else "Not finite"
        entries.append((Line2D([], [], color=GRAY, ls="", marker="x", mew=2), what))
    if len(entries) > 1:
        legend_below(figure, entries)
