"""Curves of runs: loss, accuracies and learning rate by iteration and by time; a thin line for every value, a bold one
for the running mean.

There is a row of axes for each metric, with one column by iteration and one by time.  A single run has one color for
training and one for tests; several runs have a color each, with solid lines for training and dashed lines for tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..language.errors import NetdefError
from ..language.spelling import suggestion
from .figure import GRAY, colors, drawing, legend_below, new_figure, percents, plain_ticks, say_nothing_to_draw
from .runs import Curve, History, kind, number, smoothed

MOST = 30  # runs named in the legend
CROSS = "not-finite"
BY = ("iteration", "time")
UNITS = ((2 * 3600, 3600.0, "hours"), (600, 60.0, "minutes"), (0, 1.0, "seconds"))  # (least seconds, factor, name)
LABELS = {"loss": "Loss", "accuracy": "Accuracy", "lr": "Learning rate"}  # other metrics are labeled with their names


@dataclass(frozen=True)
class Look:
    """How one curve is drawn."""

    color: Any
    test: bool = False
    smooth: float = 0.0


@dataclass(frozen=True)
class Chart:
    """One set of axes: its metric, its horizontal axis, and the unit of time."""

    axes: Any
    name: str
    by: str
    per: float = 1.0  # seconds per unit

    def xs(self, curve: Curve) -> list[float]:
        if self.by == "iteration":
            return list(curve.iterations)
        return [s / self.per for s in curve.seconds]


def curves(
    runs: Sequence[History],
    metrics: Sequence[str] = (),
    by: Sequence[str] = BY,
    smooth: float = 0.05,
    log: bool = False,
    title: str = "",
) -> Any:
    """Returns a figure of `metrics` (default: loss, accuracies and learning rate) of runs.

    `by`: "iteration", "time" or both.  `smooth`: the fraction of a run that a running mean covers, approximately; 0 for
    none.  `log`: the loss on a logarithmic axis.
    Errors: NetdefError for a metric that no run has, for runs without times, and if matplotlib is not installed."""
    if not 0 <= smooth < 1:
        raise NetdefError(f"`smooth` is {smooth:g}; it must be a fraction of a run, at least 0 and below 1.")
    names = _asked(runs, metrics) if metrics else chosen(runs)
    if not names:
        there = ", ".join(dict.fromkeys(name for run in runs for name in run.names())) or "none"
        raise NetdefError(f"{runs[0].folder}: there is no loss, accuracy or learning rate to plot; metrics: {there}.")
    columns = [how for how in by if how == "iteration" or any(_timed(run) for run in runs)]
    if not columns:
        raise NetdefError(f"{runs[0].folder}: its records have no `seconds`, so it can only be plotted by iteration.")
    per, unit = _unit(runs)
    figure = new_figure(5.2 * len(columns) + 0.6, 2.1 * len(names) + 0.6)
    with drawing():
        grid = figure.subplots(len(names), len(columns), squeeze=False, sharex="col", sharey="row")
        for row, name in zip(grid, names, strict=True):
            charts = [Chart(axes, name, how, per) for axes, how in zip(row, columns, strict=True)]
            for chart in charts:
                _draw(chart, runs, smooth)
            _finish_row(charts, log)
        for axes, how in zip(grid[-1], columns, strict=True):
            axes.set_xlabel("Iteration" if how == "iteration" else f"Time ({unit})")
        figure.suptitle(title or (runs[0].name if len(runs) == 1 else ""), fontsize=11)
        legend_below(figure, _legend(runs, names, smooth))
    return figure


def chosen(runs: Sequence[History]) -> list[str]:
    """Returns the default metrics: loss, accuracies and learning rate, if the runs have them."""
    names = list(dict.fromkeys(name for run in runs for name in run.names() if any(_of(run, name))))
    return [
        *(n for n in names if n == "loss"),
        *(n for n in names if kind(n) == "accuracy" and not n.startswith(("watch/", "top/"))),
        *(n for n in names if n == "lr"),
    ]


def _asked(runs: Sequence[History], metrics: Sequence[str]) -> list[str]:
    there = list(dict.fromkeys(name for run in runs for name in run.names()))
    for name in metrics:
        if name not in there:
            meant = suggestion(name, there)
            raise NetdefError(f"no run has a metric `{name}`; the metrics are {', '.join(there)}.{meant}")
    return list(metrics)


def _of(run: History, name: str) -> list[Curve]:
    """Returns the curves of a metric: training, then each test net; for the learning rate, training only."""
    found = [run.curve(name, "train")]
    if name == "lr" and found[0]:
        return found
    return [*found, *(run.curve(name, "test", net) for net in run.test_nets)]


def _draw(chart: Chart, runs: Sequence[History], smooth: float) -> None:
    palette = _palette(runs)
    for i, run in enumerate(runs):
        train, *tests = _of(run, chart.name)
        weight = 0.0 if chart.name == "lr" else smooth
        _line(chart, train, Look(palette[i], smooth=weight))
        for curve in tests:
            _line(chart, curve, Look(palette[i] if len(runs) > 1 else palette[1], test=True))


def _palette(runs: Sequence[History]) -> list[Any]:
    """Returns a color for each run, or for a single run one for training and one for tests."""
    return colors(max(len(runs), 2))


def _line(chart: Chart, curve: Curve, look: Look) -> None:
    """Draws one curve, and a cross at the bottom of the axes wherever its value is not finite."""
    if not curve.values:
        return
    xs, axes = chart.xs(curve), chart.axes
    if look.test:
        many = len(xs) > 40
        axes.plot(xs, curve.values, color=look.color, lw=1.3, ls=(0, (4, 2)), marker="" if many else "o", ms=3)
    elif look.smooth * len(xs) > 1:
        axes.plot(xs, curve.values, color=look.color, lw=0.7, alpha=0.45)
        axes.plot(xs, smoothed(curve.values, 1 - 1 / (look.smooth * len(xs))), color=look.color, lw=2)
    else:
        style = "steps-post" if chart.name == "lr" and _has_steps(curve.values) else "default"
        axes.plot(xs, curve.values, color=look.color, lw=1.6, ds=style, marker="o" if len(xs) == 1 else "", ms=4)
    bad = [x for x, value in zip(xs, curve.values, strict=True) if not math.isfinite(value) and math.isfinite(x)]
    if bad:
        axes.plot(
            bad,
            [0.03] * len(bad),
            "x",
            color=look.color,
            transform=axes.get_xaxis_transform(),
            ms=6,
            mew=1.6,
            gid=CROSS,
        )


def _has_steps(values: Sequence[float]) -> bool:
    """Whether values stay the same for a while and then change, as the rates of a policy with steps."""
    same = sum(a == b for a, b in zip(values, values[1:], strict=False))
    return 2 * same > len(values) - 1


def _finish_row(charts: Sequence[Chart], log: bool) -> None:
    """Sets scales and labels, which are the same for all axes of a row."""
    from matplotlib.ticker import MaxNLocator

    first, name = charts[0].axes, charts[0].name
    values = [v for line in _drawn(first) for v in line if math.isfinite(v)]
    positive = bool(values) and min(values) > 0
    what = kind(name)
    first.set_ylabel(LABELS.get(name, name))
    for chart in charts:
        axes = chart.axes
        if (what == "rate" and positive and max(values) > 20 * min(values)) or (what == "loss" and log and positive):
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
        elif what == "accuracy" and values and min(values) >= 0 and max(values) <= 1:
            percents(axes.yaxis, values)
        if what == "rate" and axes.get_yscale() == "linear" and values:
            axes.set_ylim(0, 1.15 * max(values) or 1)
        if what == "loss" and axes.get_yscale() == "linear":
            _without_outliers(axes)
        if chart.by == "iteration":
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if not values:
            say_nothing_to_draw(axes, "No finite values")


def _drawn(axes: Any) -> list[list[float]]:
    """Returns the values of all lines except the crosses."""
    return [list(line.get_ydata()) for line in axes.lines if line.get_gid() != CROSS]


def _without_outliers(axes: Any) -> None:
    """Limits the axis to the later losses of every curve if the first few are much larger than all others."""
    lines = [[v for v in line if math.isfinite(v)] for line in _drawn(axes)]
    values = [v for line in lines for v in line]
    if not any(len(line) > 3 for line in lines):
        return
    ranked = [sorted(line[1:] if len(line) > 3 else line) for line in lines if line]
    usual = max(line[math.ceil(0.99 * (len(line) - 1))] for line in ranked)  # of the highest curve
    least = min(values)
    if max(values) - least > 30 * (usual - least) > 0:
        axes.set_ylim(least - 0.05 * (usual - least), usual + 0.5 * (usual - least))


def _legend(runs: Sequence[History], names: Sequence[str], smooth: float) -> list[tuple[Any, str]]:
    """Returns entries for the curves that exist: runs, training, tests, values that are not finite."""
    from matplotlib.lines import Line2D

    all_curves = [(name, _of(run, name)) for run in runs for name in names]
    trains = any(train.values for _, (train, *_) in all_curves)
    longest = max((len(train.values) for name, (train, *_) in all_curves if name != "lr"), default=0)
    is_smoothed = smooth * longest > 1
    tests = any(curve.values for _, (_, *others) in all_curves for curve in others)
    bad = any(not math.isfinite(v) for _, found in all_curves for curve in found for v in curve.values)
    palette = _palette(runs)
    one = len(runs) == 1
    entries: list[tuple[Any, str]] = []
    if not one:
        entries += [(Line2D([], [], color=c, lw=2.5), run.name) for c, run in zip(palette, runs, strict=True)][:MOST]
        if len(runs) > MOST:
            entries.append((Line2D([], [], ls=""), f"and {len(runs) - MOST} more"))
    ink = palette[0] if one else GRAY
    if trains:
        entries.append((Line2D([], [], color=ink, lw=2), "Training (smoothed)" if is_smoothed else "Training"))
        if is_smoothed:
            entries.append((Line2D([], [], color=ink, lw=0.7, alpha=0.6), "Training (each display)"))
    if tests:
        entries.append((Line2D([], [], color=palette[1] if one else GRAY, ls=(0, (4, 2)), marker="o", ms=3), "Test"))
    if bad:
        entries.append((Line2D([], [], color=GRAY, ls="", marker="x", mew=1.6), "Not finite"))
    return entries


def _timed(run: History) -> bool:
    return any(math.isfinite(number(row["seconds"])) for row in run.rows if "seconds" in row)


def _unit(runs: Sequence[History]) -> tuple[float, str]:
    took = [number(row["seconds"]) for run in runs for row in run.rows if "seconds" in row]
    longest = max((seconds for seconds in took if math.isfinite(seconds)), default=0.0)
    return next(((per, unit) for least, per, unit in UNITS if longest >= least), UNITS[-1][1:])
