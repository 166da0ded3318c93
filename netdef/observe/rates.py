"""Figure of a learning-rate range test: the loss at each learning rate, and the suggested base_lr."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .figure import COLORS, drawing, legend_below, new_figure, plain_ticks, say_nothing_to_draw
from .runs import smoothed

WEIGHT = 0.8  # of the running mean, as in the search for the suggestion


def rates(
    points: Sequence[tuple[float, float]], suggestion: float | None, diverged: float | None, title: str = ""
) -> Any:
    """Returns a figure of `points`, (learning rate, loss) of each iteration.  NetdefError if matplotlib is missing."""
    figure = new_figure(7.2, 3.8)
    xs, losses = [rate for rate, _ in points], [loss if math.isfinite(loss) else math.nan for _, loss in points]
    means = smoothed(losses, WEIGHT)
    with drawing():
        axes = figure.subplots()
        lines = [
            (axes.plot(xs, losses, color=COLORS[0], lw=0.8, alpha=0.5)[0], "Loss of each iteration"),
            (axes.plot(xs, means, color=COLORS[0], lw=2)[0], "Running mean"),
        ]
        if suggestion is not None:
            line = axes.axvline(suggestion, color=COLORS[2], lw=1.8)
            lines.append((line, f"Suggested base_lr: {suggestion:.2g}"))
        if diverged is not None:
            line = axes.axvline(diverged, color=COLORS[1], lw=1.8, ls=(0, (2, 2)))
            lines.append((line, f"Loss diverges at {diverged:.2g}"))
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
        finite = [loss for loss in losses if math.isfinite(loss)]
        if finite:
            least, first = min(finite), finite[0]
            room = max(first - least, 0.1 * abs(first), 1e-6)
            axes.set_ylim(least - 0.1 * room, first + 0.6 * room)
        else:
            say_nothing_to_draw(axes, "No finite loss")
        axes.set_xlabel("Learning rate")
        axes.set_ylabel("Training loss")
        figure.suptitle(title, fontsize=11)
        legend_below(figure, lines)
    return figure
